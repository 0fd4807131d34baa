"""Data files wherever they lie: folders, hub repositories, http(s), and every store that fsspec knows.

A file is a URL and what tells that it changed. It opens as bytes that are already decompressed; an archive opens as
the files in it. Nothing is unpacked onto the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from enfold.base.errors import ArgumentError, DataFilesNotFoundError, DatasetError, OfflineError
from enfold.datasets.patterns import NOT_DATA, Patterns, default_patterns, is_pattern, matcher
from enfold.hub.files import find_commit, list_files, resolve_file
from enfold.hub.ids import RepoType

_REPOSITORY = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+(?:/[^/@]+)?)(?:@(?P<revision>(?:refs/[^/]+/)?[^/]+))?/?(?P<path>.*)"
)


@dataclass(frozen=True)
class Access:
    """How files are reached: credentials and the hub's cache.

    `storage_options` are a store's own arguments, or several stores' keyed by protocol.
    """

    token: str | bool | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    hub_cache: str | os.PathLike | None = None
    downloads: Path | None = None  # where files from http(s) are kept
    streaming: bool = False  # read what is far away where it is, rather than fetch it whole first

    def options(self, url: str) -> dict[str, Any]:
        """The arguments for the store of this URL (for each hop of a chained one)."""
        given = dict(self.storage_options)
        if url.startswith("hf://"):
            given.setdefault("token", self.token)
        protocols = [hop.partition("://")[0] for hop in url.split("::") if "://" in hop]
        if given and all(isinstance(value, Mapping) for value in given.values()):
            chosen = {protocol: dict(given[protocol]) for protocol in protocols if protocol in given}
            return chosen if "::" in url else chosen.get(protocols[0], {}) if protocols else {}
        return {protocols[-1]: given} if "::" in url and given else given


@dataclass(frozen=True)
class DataFile:
    """One file: where it is, and what its build's fingerprint must know.

    `identity` changes when the file does: size and modification time of a local one, commit of a hub's, ETag of others.
    """

    url: str
    identity: tuple = ()
    access: Access = field(default=Access(), compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Its last path component."""
        return PurePosixPath(self.url.partition("::")[0].partition("?")[0]).name

    @property
    def is_remote(self) -> bool:
        return "://" in self.url

    def local_path(self) -> Path | None:
        """Its path on this disk: a hub's file is downloaded first, and one from http(s) if downloads are kept."""
        if not self.is_remote:
            return Path(self.url)
        if (hub := _REPOSITORY.fullmatch(self.url)) is not None:
            try:
                return resolve_file(
                    hub["repo"],
                    hub["path"],
                    revision=hub["revision"],
                    token=self.access.token,
                    cache_dir=self.access.hub_cache,
                    local_files_only=self.access.streaming,
                    repo_type="dataset",
                )
            except OfflineError:
                from huggingface_hub import constants

                if constants.HF_HUB_OFFLINE or not self.access.streaming:
                    raise
                return None
        if self.url.startswith(("http://", "https://")) and self.access.downloads and not self.access.streaming:
            from enfold.datasets.web import download

            return download(self.url, self.access.downloads, self.access.options(self.url), self.identity)
        return None

    def open(self) -> BinaryIO:
        """Its bytes as they are stored."""
        path = self.local_path()
        if path is not None:
            return open(path, "rb")
        if self.url.startswith(("http://", "https://")):
            from enfold.datasets.web import open_url

            return open_url(self.url, self.access.options(self.url))
        filesystem, path = filesystem_of(self.url, self.access)
        with _store_errors(self.url):
            return filesystem.open(path, "rb")  # type: ignore[return-value]


def resolve(
    patterns: Patterns, base: str, access: Access, *, extensions: Iterable[str] | None = None
) -> dict[str, list[DataFile]]:
    """Split → its files, in the order of the patterns and sorted within each.

    Args:
        patterns: as `patterns.patterns_of` gives them; relative ones are relative to `base`.
        base: a folder, or a URL (`hf://datasets/org/name@commit`).
        extensions: keep only files one of whose suffixes is among these.

    Raises:
        DataFilesNotFoundError: a split has no file, or a file that was named isn't there.
    """
    allowed = None if extensions is None else set(extensions)
    found: dict[str, list[DataFile]] = {}
    for split, listed in patterns.items():
        files: list[DataFile] = []
        for pattern in listed:
            matched = [file for file in match(pattern, base, access) if allowed is None or _has_suffix(file, allowed)]
            if not matched and not is_pattern(pattern):
                raise DataFilesNotFoundError(
                    f"There is no data file {pattern!r}"
                    + (f" in {base}." if _is_relative(pattern) else ".")
                    + ("" if allowed is None else " (Or its extension is that of no format that enfold reads.)")
                )
            files += matched
        if not files and any(map(is_pattern, listed)):
            raise DataFilesNotFoundError(f"No data file for the split {split!r} matches {', '.join(listed)} in {base}.")
        found[split] = files
    return found


def infer_patterns(base: str, access: Access) -> Patterns:
    """The patterns by which the names of the files in `base` tell the splits."""
    tree = _tree(base, access)
    return default_patterns(lambda pattern: tree.names(pattern), base)


def match(pattern: str, base: str, access: Access) -> list[DataFile]:
    """The files that a path, URL or pattern names."""
    pattern = pattern.removeprefix("file://")
    if _is_relative(pattern):
        if "://" in base:
            tree = _tree(base, access)
            return [tree.file(name) for name in tree.names(pattern)]
        pattern = os.path.normpath(os.path.join(base, pattern)) if ".." in pattern else os.path.join(base, pattern)
    if pattern.startswith(("http://", "https://")) and "::" not in pattern:
        from enfold.datasets.web import identity_of

        if is_pattern(pattern.partition("?")[0]):
            raise ArgumentError(f"{pattern!r}: http(s) servers list no files. Give each file's URL.")
        return [DataFile(pattern, identity_of(pattern, access.options(pattern)), access)]
    if pattern.startswith("hf://datasets/"):
        hub = _REPOSITORY.fullmatch(pattern)
        repo, path = ("", "") if hub is None else (hub["repo"], hub["path"])
        if repo and not path and not hub["revision"]:  # type: ignore[index]
            repo, _, path = repo.partition("/")  # a repository without a namespace
        if not path:
            raise ArgumentError(f"{pattern!r}: expected hf://datasets/ORG/NAME[@REVISION]/FILE.")
        revision = hub["revision"]  # type: ignore[index]
        commit = find_commit(
            repo, revision=revision, token=access.token, cache_dir=access.hub_cache, repo_type="dataset"
        )
        tree = _Repository(f"hf://datasets/{repo}@{commit}", access)
        return [tree.file(name) for name in tree.names(path)]
    if "://" in pattern:
        return _match_in_store(pattern, access)
    head, tail = _cut(pattern)
    folder = _Folder(head or "/", access)
    return [folder.file(name) for name in folder.names(tail)]


class _Tree:
    """A place that lists its files; names are relative to it."""

    def __init__(self, base: str, access: Access) -> None:
        self.base = base.rstrip("/") or "/"
        self.access = access
        self._listed: list[str] | None = None

    def listing(self) -> list[str]:
        if self._listed is None:
            self._listed = sorted(self._list())
        return self._listed

    def names(self, pattern: str) -> list[str]:
        fits = matcher(pattern)
        return [name for name in self.listing() if fits(name)]

    def _list(self) -> Iterable[str]:
        raise NotImplementedError

    def file(self, name: str) -> DataFile:
        raise NotImplementedError


class _Folder(_Tree):
    def names(self, pattern: str) -> list[str]:
        if is_pattern(pattern):
            return super().names(pattern)
        path = os.path.join(self.base, pattern)
        return [pattern] if os.path.isfile(path) else []

    def _list(self) -> Iterator[str]:
        for folder, _, names in os.walk(self.base):
            prefix = "" if folder == self.base else os.path.relpath(folder, self.base).replace(os.sep, "/") + "/"
            yield from (prefix + name for name in names if os.path.isfile(os.path.join(folder, name)))

    def file(self, name: str) -> DataFile:
        path = os.path.abspath(os.path.join(self.base, name))
        stat = os.stat(path)
        return DataFile(path, (stat.st_size, stat.st_mtime_ns), self.access)


class _Repository(_Tree):
    """`hf://datasets/org/name[@revision][/folder]`, from the cache where it is there."""

    def __init__(self, base: str, access: Access) -> None:
        super().__init__(base, access)
        hub = _REPOSITORY.fullmatch(self.base)
        if hub is None:
            raise ArgumentError(f"{base!r}: expected hf://datasets/ORG/NAME[@REVISION].")
        self.repo, self.revision, self.folder = hub["repo"], hub["revision"], hub["path"]

    def _list(self) -> list[str]:
        kind: RepoType = "dataset"
        return list_files(
            self.repo,
            revision=self.revision,
            token=self.access.token,
            cache_dir=self.access.hub_cache,
            subfolder=self.folder,
            repo_type=kind,
        )

    def file(self, name: str) -> DataFile:
        return DataFile(f"{self.base}/{name}", (self.repo, self.revision), self.access)


class _Store(_Tree):
    """A folder of a fsspec store."""

    def _list(self) -> list[str]:
        filesystem, path = filesystem_of(self.base, self.access)
        with _store_errors(self.base):
            root = path.rstrip("/") + "/"
            return [name.removeprefix(root) for name in filesystem.find(path)]

    def file(self, name: str) -> DataFile:
        return _stored(f"{self.base}/{name}", self.access)


def _tree(base: str, access: Access) -> _Tree:
    if base.startswith("hf://"):
        return _Repository(base, access)
    return _Store(base, access) if "://" in base else _Folder(base, access)


def _match_in_store(pattern: str, access: Access) -> list[DataFile]:
    filesystem, path = filesystem_of(pattern, access)
    protocol, hops = pattern.partition("://")[0], pattern.partition("::")[2]
    with _store_errors(pattern):
        if not is_pattern(path):
            found = [path] if filesystem.isfile(path) else []
        else:
            fits = matcher(path.lstrip("/"))
            found = [name for name, info in filesystem.glob(path, detail=True).items() if info["type"] == "file"]
            found = sorted(name for name in found if fits(name.lstrip("/")))
    found = [name for name in found if PurePosixPath(name).name not in NOT_DATA or not is_pattern(path)]
    names = (name if "://" in name else f"{protocol}://{name}" for name in found)
    return [_stored(f"{name}::{hops}" if hops else name, access) for name in names]


def _stored(url: str, access: Access) -> DataFile:
    filesystem, path = filesystem_of(url, access)
    with _store_errors(url):
        info = filesystem.info(path)
    kept = ("ETag", "etag", "md5", "md5Hash", "mtime", "LastModified", "last_modified", "created", "CRC", "size")
    return DataFile(url, tuple((key, str(info[key])) for key in kept if info.get(key) is not None), access)


@lru_cache(maxsize=64)
def _filesystem(url: str, options: str, _options: Any) -> tuple[Any, str]:
    import fsspec

    return fsspec.core.url_to_fs(url, **_options.value)


@dataclass(frozen=True)
class _Unhashed:
    value: dict = field(compare=False, hash=False)


def filesystem_of(url: str, access: Access) -> tuple[Any, str]:
    """The fsspec store of a URL and the path in it."""
    options = access.options(url)
    try:
        return _filesystem(url, repr(sorted(options.items(), key=str)), _Unhashed(options))
    except ImportError as error:
        raise DatasetError(f"{url} needs a package that isn't installed: {error}") from error
    except ValueError as error:
        raise ArgumentError(f"{url}: {error}") from error


class _store_errors:  # noqa: N801
    """Turn what a store raises into one error that names the file."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, FileNotFoundError):
            raise DataFilesNotFoundError(f"There is no file {self.url}.") from error
        if isinstance(error, Exception) and not isinstance(error, ArgumentError | DatasetError):
            raise DatasetError(f"{self.url} can't be read: {type(error).__name__}: {error}") from error


def _is_relative(path: str) -> bool:
    return "://" not in path and not os.path.isabs(os.path.expanduser(path))


def _cut(path: str) -> tuple[str, str]:
    """The folders before the first magic component, and the rest."""
    parts = os.path.expanduser(path).split("/")
    at = next((index for index, part in enumerate(parts) if is_pattern(part)), len(parts) - 1)
    return "/".join(parts[:at]), "/".join(parts[at:])


def _has_suffix(file: DataFile, allowed: set[str]) -> bool:
    return any("." + suffix.lower() in allowed for suffix in file.name.split(".")[1:])
