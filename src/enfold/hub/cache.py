"""What the cache holds, found without a network call.

    <cache>/models--org--name/         (datasets--… for data)
        refs/main                      the commit that `main` was at, when last asked
        snapshots/<commit>/<file>      links into blobs/
        blobs/<etag>                   git's SHA-1 of a small file, the SHA-256 of a large one
        trees/<commit>.json            every file of that commit, with sizes
        .no_exist/<commit>/<file>      files that were asked for and aren't in that commit

This is the layout of the official client, shared with every library that uses it. A commit never changes, so what is
known of one needs no second question.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from enfold.base.errors import TornFileError, UnsafePathError
from enfold.base.logging import get_logger
from enfold.base.whole import file_aside
from enfold.hub.ids import RepoType, names_of
from enfold.hub.paths import safe_relative_path

COMMIT = re.compile(r"[0-9a-f]{40}")
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
# An empty file is whole if it is stored under the hash of nothing (git's SHA-1, SHA-256).
_HASHES_OF_NOTHING = (
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)
_NEVER_EMPTY = (".json", ".safetensors", ".bin", ".gguf", ".model", ".pt", ".pth", ".h5", ".onnx", ".msgpack")
_WEIGHTS = re.compile(r"\.(safetensors|bin|gguf|pt|pth|ckpt|h5|msgpack|onnx|ot)$|\.index\.json$")
_TOKENIZER = re.compile(r"tokenizer|vocab|merges|spiece|sentencepiece|tokens|chat_template|\.model$|\.tiktoken$")


@dataclass(frozen=True)
class Entry:
    """One file of a commit: its size in bytes, git's SHA-1 of it (or of its pointer), the SHA-256 of a large one."""

    size: int
    blob_id: str
    lfs_sha256: str | None = None

    @property
    def etag(self) -> str:
        """The name of its blob in the cache."""
        return self.lfs_sha256 or self.blob_id


def default_cache_dir() -> Path:
    """Where the official client keeps repositories: `HF_HUB_CACHE`, else `HF_HOME/hub`, else its place in ~/.cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def kind_of(name: str) -> str:
    """`"weights"`, `"tokenizer"` or `"other"`: which part of a model a file name belongs to."""
    base = PurePosixPath(name).name
    return "tokenizer" if _TOKENIZER.search(base) else "weights" if _WEIGHTS.search(base) else "other"


@dataclass(frozen=True)
class CachedSnapshot:
    """One commit of one repository, as far as it is on this disk."""

    repo_id: str
    cache_dir: Path
    commit: str
    repo_type: RepoType = "model"

    @property
    def storage(self) -> Path:
        return storage_folder(self.cache_dir, self.repo_id, self.repo_type)

    @property
    def folder(self) -> Path:
        return self.storage / "snapshots" / self.commit

    def file(self, name: str) -> Path | None:
        """The cached file, checked to be whole; None if it is not there.

        Raises:
            TornFileError: it is there and not whole.
            UnsafePathError: it is a link that leaves the cache.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        self._check_inside(path, name)
        entry = (self.listing or {}).get(name)
        check_whole(path, size=entry.size if entry else None, repo_id=self.repo_id)
        return path

    def files(self) -> list[str]:
        """Every file that is present, sorted."""
        return sorted(
            (Path(root) / name).relative_to(self.folder).as_posix()
            for root, _, names in os.walk(self.folder)
            for name in names
            if (Path(root) / name).is_file()
        )

    @cached_property
    def listing(self) -> dict[str, Entry] | None:
        """Every file of the commit, present or not; None if nobody has asked yet."""
        try:
            tree = json.loads((self.storage / "trees" / f"{self.commit}.json").read_bytes())
            if tree["format_version"] != 1:
                return None
            return {
                name: Entry(int(entry.get("lfs_size") or entry["size"]), entry["blob_id"], entry.get("lfs_sha256"))
                for name, entry in tree["files"].items()
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            get_logger(__name__).info("Ignored a listing that can't be read (%s): %s", self.storage / "trees", error)
            return None

    def lacks(self, name: str) -> bool:
        """True if the cache knows that the commit has no such file."""
        if self.listing is not None:
            return name not in self.listing
        return (self.storage / ".no_exist" / self.commit / name).is_file()

    def has_kind_of(self, name: str) -> bool:
        """True if a file of the same kind is present beside it.

        Whoever filled the cache without leaving a listing took what there was of that kind, so an optional file that
        is not among them does not exist.
        """
        parent, kind = PurePosixPath(name).parent, kind_of(name)
        return any(PurePosixPath(other).parent == parent and kind_of(other) == kind for other in self.files())

    def interrupted(self, name: str) -> bool:
        """True if a download that could be this file's was begun and not finished."""
        if (self.folder / name).is_symlink():
            return True
        entry = (self.listing or {}).get(name)
        return entry is not None and any((self.storage / "blobs").glob(f"{entry.etag}*.incomplete"))

    def write_listing(self, listing: Mapping[str, Entry]) -> None:
        """Keep the commit's listing, in the client's format."""
        files = {}
        for name in sorted(listing):
            entry = listing[name]
            files[name] = {"size": entry.size, "blob_id": entry.blob_id}
            if entry.lfs_sha256:
                files[name] |= {"lfs_sha256": entry.lfs_sha256, "lfs_size": entry.size}
        _write(self.storage / "trees" / f"{self.commit}.json", json.dumps({"format_version": 1, "files": files}))
        self.__dict__.pop("listing", None)

    def write_ref(self, revision: str) -> None:
        """Remember that `revision` is at this commit."""
        if revision != self.commit:
            _write(self.storage / "refs" / str(safe_relative_path(revision)), self.commit)

    def remove(self, name: str) -> None:
        """Take a file and its blob out of the cache."""
        path = self.folder / name
        blob = path.resolve()
        self._check_inside(path, name)
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)

    def _check_inside(self, path: Path, name: str) -> None:
        # A user may keep the cache, a repository or its blobs behind a link of their own; a file may not leave them.
        real = path.resolve()
        homes = (self.cache_dir, self.storage, self.storage / "blobs")
        if not any(real.is_relative_to(home.resolve()) for home in homes):
            raise UnsafePathError(
                f"Refused {name!r} of {self.repo_id}: in the cache it is a link to {real}, outside of {self.storage}. "
                "Remove that link and download the file again."
            )


def storage_folder(cache_dir: Path, repo_id: str, repo_type: RepoType = "model") -> Path:
    """The folder of one repository in the cache."""
    return cache_dir / f"{repo_type}s--{repo_id.replace('/', '--')}"


def cached_snapshots(
    repo_id: str, revision: str, cache_dir: Path, repo_type: RepoType = "model"
) -> Iterator[CachedSnapshot]:
    """The cached snapshot of `revision` under each name that the repository is known by."""
    for name in names_of(repo_id, repo_type):
        storage = storage_folder(cache_dir, name, repo_type)
        commit = revision
        if not COMMIT.fullmatch(revision):
            try:
                commit = (storage / "refs" / str(safe_relative_path(revision))).read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                if isinstance(error, UnsafePathError):
                    raise
                continue
        if not re.fullmatch(r"[0-9A-Za-z_-]+", commit):
            raise TornFileError(
                f"{storage / 'refs' / revision} should hold the commit that {revision!r} is at, and holds "
                f"{commit[:60]!r}. Remove that file; the next download writes it anew."
            )
        snapshot = CachedSnapshot(name, cache_dir, commit, repo_type)
        if snapshot.folder.is_dir():
            yield snapshot


def check_whole(path: Path, *, size: int | None = None, repo_id: str | None = None) -> None:
    """Refuse a file that is visibly not what its name promises.

    Args:
        size: expected size in bytes, where it is known.
        repo_id: where to get it again, for the message.

    Raises:
        TornFileError: for a git-lfs pointer in place of the file, an empty file, or one of another size.
    """
    way_out = f"Get it again: enfold download --force {repo_id} {path.name}" if repo_id else "Get the file again."
    actual = path.stat().st_size
    if actual < 1024:
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise TornFileError(
                    f"{path} is a git-lfs pointer, not the file itself: the repository was cloned without its large "
                    f"files. Run `git lfs pull` there. {way_out if repo_id else ''}".rstrip()
                )
    blob = os.path.basename(os.path.realpath(path))
    if actual == 0 and size != 0 and path.suffix in _NEVER_EMPTY and blob not in _HASHES_OF_NOTHING:
        raise TornFileError(f"{path} is empty. {way_out}")
    if size is not None and actual != size:
        raise TornFileError(f"{path} is torn: {actual} bytes, expected {size}. {way_out}")


def matches(path: Path, entry: Entry) -> bool:
    """True if the file's bytes have the hash that the hub gave for it (or if it gave none that can be checked)."""
    if path.stat().st_size != entry.size:
        return False
    if entry.lfs_sha256 and re.fullmatch(r"[0-9a-f]{64}", entry.lfs_sha256):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry.lfs_sha256
    if not re.fullmatch(r"[0-9a-f]{40}", entry.blob_id):
        return True
    with path.open("rb") as file:
        git = hashlib.sha1(f"blob {entry.size}\0".encode(), usedforsecurity=False)
        while chunk := file.read(1 << 20):
            git.update(chunk)
    return git.hexdigest() == entry.blob_id


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_aside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
