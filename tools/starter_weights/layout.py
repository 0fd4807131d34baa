"""Files → a snapshot in the hub's cache, whole or not there at all."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from enfold.hub.cache import CachedSnapshot, Entry, kind_of, storage_folder

# In the README of every snapshot that was laid out here: an older one may be replaced, a download may not.
MARK = b"by enfold's starter weights"


def present(cache_dir: Path, repo_id: str, revision: str) -> bool:
    """True if the snapshot is in the cache with every file, and `main` is at it."""
    snapshot = CachedSnapshot(repo_id, cache_dir, revision)
    if _main(cache_dir, repo_id) != revision or not snapshot.listing:
        return False
    files = ((snapshot.folder / name, entry) for name, entry in snapshot.listing.items())
    return all(path.is_file() and path.stat().st_size == entry.size for path, entry in files)


def has_other_weights(cache_dir: Path, repo_id: str, revision: str) -> bool:
    """True if `main` is at another commit with weights in it: somebody downloaded the repository itself."""
    commit = _main(cache_dir, repo_id)
    if commit in ("", revision):
        return False
    snapshot = CachedSnapshot(repo_id, cache_dir, commit)
    readme = snapshot.folder / "README.md"
    if readme.is_file() and MARK in readme.read_bytes():
        return False
    return any(kind_of(name) == "weights" for name in snapshot.files())


def lay_out(cache_dir: Path, repo_id: str, revision: str, files: dict[str, bytes]) -> Path:
    """Write a snapshot and point `main` at it: blobs, then the folder, then the listing, then the ref.

    Each step is written aside and renamed, so whoever looks sees no part of it or all of it.
    """
    snapshot = CachedSnapshot(repo_id, cache_dir, revision)
    blobs = snapshot.storage / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    entries = {name: _entry(name, data) for name, data in files.items()}
    aside = Path(tempfile.mkdtemp(prefix=".starter-", dir=snapshot.storage))
    try:
        built = aside / revision
        for name, data in files.items():
            blob, link = blobs / entries[name].etag, built / name
            part = aside / blob.name
            part.write_bytes(data)
            os.replace(part, blob)
            link.parent.mkdir(parents=True, exist_ok=True)
            _link(blob, link, from_folder=snapshot.folder / Path(name).parent)
        if snapshot.folder.exists():
            shutil.rmtree(snapshot.folder)
        snapshot.folder.parent.mkdir(exist_ok=True)
        os.replace(built, snapshot.folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    snapshot.write_listing(entries)
    snapshot.write_ref("main")
    return snapshot.folder


def _main(cache_dir: Path, repo_id: str) -> str:
    try:
        return (storage_folder(cache_dir, repo_id) / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _entry(name: str, data: bytes) -> Entry:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    large = kind_of(name) == "weights"
    return Entry(len(data), git, hashlib.sha256(data).hexdigest() if large else None)


def _link(blob: Path, link: Path, *, from_folder: Path) -> None:
    try:
        link.symlink_to(os.path.relpath(blob, from_folder))
    except OSError:
        # Windows without the right to make links: the official client copies as well.
        shutil.copyfile(blob, link)
