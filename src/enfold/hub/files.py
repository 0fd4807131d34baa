"""A name and a revision → files on disk.

A folder wins over a repository of the same name. A repository is looked for in the cache first, and what is there is
taken without a single request, branches included: `main` stays where it was when it was downloaded. To follow a branch
to where it is now, pass `force_download=True`, or run `enfold download --refresh ID`.

What isn't in the cache is downloaded by the official client, pinned to one commit, and its hash is checked.
"""

from __future__ import annotations

import difflib
import glob
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from enfold.base.errors import EntryNotFoundError, OfflineError, TornFileError
from enfold.base.logging import get_logger
from enfold.hub import remote
from enfold.hub.cache import CachedSnapshot, Entry, cached_snapshots, check_whole, default_cache_dir, kind_of
from enfold.hub.ids import RepoType, local_folder
from enfold.hub.paths import safe_relative_path
from enfold.hub.push import push_folder

__all__ = ["find_commit", "list_files", "push_folder", "resolve_file", "resolve_snapshot"]


def resolve_file(
    repo_or_folder: str | os.PathLike,
    filename: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
    required: bool = True,
    force_download: bool = False,
    repo_type: RepoType = "model",
) -> Path | None:
    """The path of one file of a model, downloaded if it isn't here yet.

    Args:
        repo_or_folder: a folder, or a repository id (`"org/name"`, `"gpt2"`).
        filename: its path inside the repository, with forward slashes.
        revision: branch, tag or commit; `main` if None. A folder has no revisions and ignores it.
        token: as the official client takes it: a string, True (the stored one), False (none) or None (if there is one).
        cache_dir: where repositories are kept; the official client's place if None.
        local_files_only: never use the network.
        subfolder: folder inside the repository that `filename` is relative to.
        required: if False, None is returned for a file that the repository doesn't have.
        force_download: ask the hub where the revision is now, and download the file even if it is in the cache.
        repo_type: `"model"` or `"dataset"`.

    Raises:
        RepositoryIdError: neither a folder nor a well-formed id.
        RepositoryNotFoundError, GatedRepositoryError, RevisionNotFoundError, EntryNotFoundError: the hub said so.
        OfflineError: not in the cache, and no network.
        TornFileError: the file is not whole.
        UnsafePathError: a name that would leave its folder.
    """
    name = _inside(subfolder, filename)
    folder = local_folder(repo_or_folder)
    if folder is not None:
        return _file_of_folder(folder, name, required=required)
    source = _Source.of(repo_or_folder, revision, token, cache_dir, local_files_only, repo_type)
    snapshots = [] if force_download else source.cached()
    for snapshot in snapshots:
        found = snapshot.file(name)
        if found is not None:
            return found
    try:
        return source.fetch(name, snapshots, required=required, force=force_download)
    except EntryNotFoundError:
        if required:
            raise
        return None


def list_files(
    repo_or_folder: str | os.PathLike,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
    repo_type: RepoType = "model",
) -> list[str]:
    """The files of a repository, sorted, relative to `subfolder`.

    For a repository in the cache that is its commit's listing (each file of which `resolve_file` can get), or the files
    that are present if the network is forbidden or nobody ever asked for the listing. Otherwise the hub is asked.

    Raises: as `resolve_file`.
    """
    prefix = "" if not subfolder else f"{safe_relative_path(subfolder)}/"
    folder = local_folder(repo_or_folder)
    if folder is not None:
        names = sorted(
            (Path(root) / name).relative_to(folder).as_posix()
            for root, folders, names in os.walk(folder, followlinks=False)
            if not _prune_hidden(folders)
            for name in names
        )
    else:
        names = _Source.of(repo_or_folder, revision, token, cache_dir, local_files_only, repo_type).names()
    return [name[len(prefix) :] for name in names if name.startswith(prefix)]


def find_commit(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    refresh: bool = False,
    repo_type: RepoType = "model",
) -> str:
    """The commit that a revision is at: as the cache remembers it, or as the hub says if it isn't there (or `refresh`).

    Raises: as `resolve_file`.
    """
    source = _Source.of(repo_id, revision, token, cache_dir, local_files_only, repo_type)
    snapshots = [] if refresh else source.cached()
    if snapshots:
        return snapshots[0].commit
    snapshot, _ = source.ask()
    snapshot.folder.mkdir(parents=True, exist_ok=True)
    snapshot.write_ref(source.revision)
    return snapshot.commit


def resolve_snapshot(
    repo_or_folder: str | os.PathLike,
    *,
    files: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    local_dir: str | os.PathLike | None = None,
    refresh: bool = False,
    force_download: bool = False,
) -> Path:
    """The folder that holds a repository's files, downloaded (with progress bars) where they aren't here yet.

    Args:
        files: exact names; each must exist.
        include, exclude: shell patterns (`"*.safetensors"`, `"onnx/*"`) over whole names; all files if none is given.
        local_dir: put the files there instead of in the cache.
        refresh: ask the hub where the revision is now, and get what changed.
        force_download: download the files even if they are here.

    The other arguments and the errors are those of `resolve_file`.
    """
    folder = local_folder(repo_or_folder)
    if folder is not None:
        for name in files:
            _file_of_folder(folder, _inside("", name), required=True)
        return folder
    for name in files:
        safe_relative_path(name)
    source = _Source.of(repo_or_folder, revision, token, cache_dir, local_files_only)
    patterns = [*map(glob.escape, files), *include] or None
    snapshots = [] if refresh or force_download else source.cached()
    for snapshot in snapshots:
        present = _all_present(snapshot, patterns, exclude, offline=bool(source.offline))
        if present and set(files) <= set(present):
            return snapshot.folder if local_dir is None else _copy(snapshot.folder, present, Path(local_dir))
    snapshot, listing = source.known(snapshots) or source.ask(snapshots[0].commit if snapshots else None)
    for name in files:
        if name not in listing:
            raise source.no_such_file(name, sorted(listing))
    if source.offline:
        raise remote.offline(f"The whole of {source.repo_id} (revision {source.revision!r})", source.offline)
    wanted = _chosen(listing, patterns, exclude)
    if not wanted:
        raise EntryNotFoundError(
            f"No file of {source.repo_id} matches include={list(include)} exclude={list(exclude)}. It has: "
            f"{_some(sorted(listing))}."
        )
    fresh = [name for name in wanted if force_download or not (snapshot.folder / name).is_file()]
    from huggingface_hub import snapshot_download

    with remote.clear_errors(source.repo_id, source.revision):
        got = snapshot_download(
            snapshot.repo_id,
            revision=snapshot.commit,
            cache_dir=snapshot.cache_dir,
            local_dir=None if local_dir is None else Path(local_dir),
            allow_patterns=[glob.escape(name) for name in wanted],
            force_download=force_download,
            token=token,
            library_name="enfold",
        )
    if local_dir is not None:
        return Path(got)
    for name in wanted:
        if name in fresh:
            remote.check_arrived(snapshot, name, listing[name])
        snapshot.file(name)
    snapshot.write_ref(source.revision)
    return snapshot.folder


@dataclass(frozen=True)
class _Source:
    """One revision of one repository: the cache first, then the hub."""

    repo_id: str
    revision: str
    token: str | bool | None
    cache_dir: Path
    offline: str  # why the network is forbidden, or ""
    repo_type: RepoType = "model"

    @classmethod
    def of(cls, repo_id, revision, token, cache_dir, local_files_only, repo_type: RepoType = "model") -> _Source:
        place = Path(cache_dir).expanduser() if cache_dir is not None else default_cache_dir()
        return cls(str(repo_id), revision or "main", token, place, remote.offline_reason(local_files_only), repo_type)

    def cached(self) -> list[CachedSnapshot]:
        return list(cached_snapshots(self.repo_id, self.revision, self.cache_dir, self.repo_type))

    def known(self, snapshots: list[CachedSnapshot]) -> tuple[CachedSnapshot, dict[str, Entry]] | None:
        """The commit that is in the cache and its listing, if somebody asked for it before."""
        if not snapshots or snapshots[0].listing is None:
            return None
        return snapshots[0], {str(safe_relative_path(name)): entry for name, entry in snapshots[0].listing.items()}

    def ask(self, commit: str | None = None) -> tuple[CachedSnapshot, dict[str, Entry]]:
        """Ask the hub for the listing, and keep it and (unless `commit` pins it) where the revision is."""
        if self.offline:
            raise remote.offline(f"{self.repo_id} (revision {self.revision!r})", self.offline)
        sha, listing, whole = remote.fetch_listing(
            self.repo_id, commit or self.revision, token=self.token, repo_type=self.repo_type
        )
        snapshot = CachedSnapshot(self.repo_id, self.cache_dir, sha, self.repo_type)
        if whole:
            with remote.clear_errors(self.repo_id):
                snapshot.write_listing(listing)
        return snapshot, listing

    def names(self) -> list[str]:
        snapshots = self.cached()
        for snapshot in snapshots:
            if snapshot.listing is not None and not self.offline:
                return sorted(str(safe_relative_path(name)) for name in snapshot.listing)
            present = snapshot.files()
            if self.offline or any(kind_of(name) == "weights" for name in present):
                return present
        try:
            return sorted(self.ask(snapshots[0].commit if snapshots else None)[1])
        except OfflineError:
            if not snapshots:
                raise
            return snapshots[0].files()

    def fetch(self, name: str, snapshots: list[CachedSnapshot], *, required: bool, force: bool) -> Path | None:
        """Get a file that the cache doesn't have, as far as the cache leaves the question open."""
        snapshot = snapshots[0] if snapshots else None
        if snapshot is not None:
            if snapshot.lacks(name):
                raise self.no_such_file(name, sorted(snapshot.listing or snapshot.files()))
            known = snapshot.listing is not None
            if not required and not known and (self.offline or snapshot.has_kind_of(name)):
                return None
            if self.offline and snapshot.interrupted(name):
                raise TornFileError(
                    f"The download of {name} of {self.repo_id} was begun and not finished, and {self.offline}. "
                    f"Finish it where there is a network: enfold download {self.repo_id}"
                )
        if self.offline and force:
            raise OfflineError(f"force_download=True asks the hub for {name} of {self.repo_id}, and {self.offline}.")
        if self.offline:
            raise remote.offline(f"{name} of {self.repo_id} (revision {self.revision!r})", self.offline)
        listing = snapshot.listing if snapshot is not None else None
        if snapshot is None or listing is None:
            try:
                snapshot, listing = self.ask(snapshot.commit if snapshot is not None else None)
            except OfflineError:
                if required or snapshot is None:
                    raise
                get_logger(__name__).info("%s may have %s: no network to ask, taken as no", self.repo_id, name)
                return None
            if name not in listing:
                # Nothing of this commit may be here yet; the folder says that it was asked for.
                snapshot.folder.mkdir(parents=True, exist_ok=True)
                snapshot.write_ref(self.revision)
                raise self.no_such_file(name, sorted(listing))
        path = remote.fetch_file(
            snapshot, name, revision=self.revision, token=self.token, entry=listing.get(name), force=force
        )
        snapshot.write_ref(self.revision)
        return path

    def no_such_file(self, name: str, names: list[str]) -> EntryNotFoundError:
        near = difflib.get_close_matches(name, names, n=1)
        return EntryNotFoundError(
            f"{self.repo_id} has no file {name!r} at revision {self.revision!r}"
            + (f"; did you mean {near[0]!r}? " if near else ". ")
            + f"It has: {_some(names)}. If it was added since, refresh: enfold download --refresh {self.repo_id}"
        )


def _inside(subfolder: str, filename: str) -> str:
    path = safe_relative_path(filename)
    return str(safe_relative_path(subfolder) / path) if subfolder else str(path)


def _file_of_folder(folder: Path, name: str, *, required: bool) -> Path | None:
    path = folder / name
    if path.is_file():
        check_whole(path)
        return path
    if path.is_symlink():
        raise TornFileError(f"{path} is a link to {os.readlink(path)}, where there is nothing. Put the file there.")
    if not required:
        return None
    names = sorted(entry.name for entry in folder.iterdir())
    raise EntryNotFoundError(f"The folder {folder} has no file {name!r}. It holds: {_some(names)}.")


def _all_present(
    snapshot: CachedSnapshot, patterns: list[str] | None, exclude: Sequence[str], *, offline: bool
) -> list[str]:
    """The files that were asked for if every one of them is in the cache, else none."""
    if snapshot.listing is None:
        # Without a listing nobody can tell what is missing; offline, what there is must do.
        return _chosen(snapshot.files(), patterns, exclude) if offline else []
    wanted = _chosen(snapshot.listing, patterns, exclude)
    return wanted if all(snapshot.file(name) is not None for name in wanted) else []


def _copy(folder: Path, names: Sequence[str], target: Path) -> Path:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    return target


def _chosen(names: Iterable[str], patterns: list[str] | None, exclude: Sequence[str]) -> list[str]:
    return [
        name
        for name in names
        if (patterns is None or any(fnmatch(name, _whole(pattern)) for pattern in patterns))
        and not any(fnmatch(name, _whole(pattern)) for pattern in exclude)
    ]


def _whole(pattern: str) -> str:
    return f"{pattern}*" if pattern.endswith("/") else pattern


def _prune_hidden(folders: list[str]) -> None:
    # .git and the client's .cache are not files of the model.
    folders[:] = sorted(folder for folder in folders if folder not in (".git", ".cache"))


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(str(PurePosixPath(name)) for name in names[:limit])
    return (shown or "nothing") + (f" and {len(names) - limit} more" if len(names) > limit else "")
