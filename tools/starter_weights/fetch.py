"""A pinned package → the named files inside it, never installed and never run."""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
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
    with wheels[0].open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise FetchError(f"{wheels[0].name} has SHA-256 {actual}, pinned is {sha256}. Don't use it.")
    return wheels[0]


def read(wheel: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    """The named files of a wheel, under the names we give them.

    Raises:
        FetchError: one of them is not there, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {ours: archive.read(theirs) for ours, theirs in names.items()}
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name}: {error}") from error
