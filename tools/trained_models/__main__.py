"""`python -m tools.trained_models [ID …] [--cache-dir DIR] [--list]`."""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from enfold.hub.cache import default_cache_dir
from tools.starter_weights.fetch import FetchError
from tools.starter_weights.layout import present
from tools.trained_models import __doc__ as about
from tools.trained_models.providing import provide
from tools.trained_models.recipes import RECIPES

# Each trains on one core: batches of small models keep no more of them busy.
PROCESSES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.trained_models", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these (all by default)")
    parser.add_argument("--cache-dir", type=Path, help="where the hub's cache is (HF_HUB_CACHE, HF_HOME by default)")
    parser.add_argument("--list", action="store_true", help="show what there is, and whether it is here")
    asked = parser.parse_args(arguments)
    known = {recipe.repo_id: recipe for recipe in RECIPES}
    for repo_id in asked.ids:
        if repo_id not in known:
            parser.error(f"no trained model {repo_id!r}; there are: {', '.join(known)}")
    cache_dir = (asked.cache_dir or default_cache_dir()).expanduser().resolve()
    chosen = [known[repo_id] for repo_id in asked.ids] or list(RECIPES)
    if asked.list:
        for recipe in chosen:
            here = "here" if present(cache_dir, recipe.repo_id, recipe.revision) else "not here"
            print(f"{recipe.repo_id:30} {recipe.revision}  {here}")
        return 0
    missing = [recipe.repo_id for recipe in chosen if not present(cache_dir, recipe.repo_id, recipe.revision)]
    if not missing:
        return 0
    # Before any process loads torch, whose teams of threads would fight over the cores.
    os.environ["OMP_NUM_THREADS"] = "1"
    failed = []
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        running = {repo_id: pool.submit(provide, repo_id, cache_dir) for repo_id in missing}
        for repo_id, done in running.items():
            try:
                done.result()
            except (FetchError, OSError) as error:
                failed.append(repo_id)
                print(f"{repo_id}: {error}", file=sys.stderr)
    return 1 if asked.ids and failed else 0


if __name__ == "__main__":
    sys.exit(main())
