"""Questions to a hub, asked by the official client; its errors become one clear error per cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import enfold
from enfold.base import errors
from enfold.base.logging import get_logger
from enfold.hub.cache import CachedSnapshot, Entry, matches
from enfold.hub.ids import RepoType
from enfold.hub.paths import safe_relative_path

Token = str | bool | None


def offline_reason(local_files_only: bool) -> str:
    """Why the network must not be used, `""` if it may be."""
    if local_files_only:
        return "local_files_only=True forbids the network"
    from huggingface_hub import constants

    return "HF_HUB_OFFLINE=1 forbids the network" if constants.HF_HUB_OFFLINE else ""


def fetch_listing(
    repo_id: str, revision: str, *, token: Token = None, repo_type: RepoType = "model"
) -> tuple[str, dict[str, Entry], bool]:
    """Ask the hub which commit `revision` is at and which files it has: one request.

    Returns:
        the commit; file name → entry; whether every entry has a size and a hash (so that it is worth keeping).
    """
    from huggingface_hub import HfApi, constants

    with clear_errors(repo_id, revision):
        info = HfApi(library_name="enfold", library_version=enfold.__version__).repo_info(
            repo_id,
            repo_type=repo_type,
            revision=revision,
            files_metadata=True,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            token=token,
        )
        siblings = getattr(info, "siblings", None)  # some kinds of repository have none
        if not info.sha or siblings is None:
            raise errors.HubError(f"{endpoint()} answered for {repo_id} without a commit or a list of files.")
        safe_relative_path(info.sha)
        listing, whole = {}, True
        for file in siblings:
            safe_relative_path(file.rfilename)
            sha256 = file.lfs.sha256 if file.lfs else None
            whole = whole and file.size is not None and bool(file.blob_id)
            listing[file.rfilename] = Entry(file.size if file.size is not None else -1, file.blob_id or "", sha256)
    return info.sha, listing, whole


def fetch_file(
    snapshot: CachedSnapshot, name: str, *, revision: str, token: Token, entry: Entry | None, force: bool
) -> Path:
    """Download one file of a commit into the cache and check its hash.

    Raises:
        TornFileError: what arrived is not what the hub announced; it is taken out of the cache again.
    """
    from huggingface_hub import hf_hub_download

    with clear_errors(snapshot.repo_id, revision, name):
        hf_hub_download(
            snapshot.repo_id,
            name,
            repo_type=snapshot.repo_type,
            revision=snapshot.commit,
            cache_dir=snapshot.cache_dir,
            token=token,
            force_download=force,
            library_name="enfold",
            library_version=enfold.__version__,
        )
    if entry is not None:
        check_arrived(snapshot, name, entry)
    found = snapshot.file(name)
    if found is None:
        raise errors.TornFileError(f"{name} of {snapshot.repo_id} was downloaded and is not in {snapshot.folder}.")
    return found


def check_arrived(snapshot: CachedSnapshot, name: str, entry: Entry) -> None:
    """Hash a file that was just downloaded; if it is not the one announced, remove it and raise TornFileError."""
    path = snapshot.folder / name
    if entry.size < 0 or matches(path, entry):
        return
    size = path.stat().st_size
    snapshot.remove(name)
    raise errors.TornFileError(
        f"{name} of {snapshot.repo_id} arrived altered or cut short: {size} bytes, and its hash is not the one the "
        f"hub announced ({entry.etag}, {entry.size} bytes). It was not kept. Try again; if it stays so, the server at "
        f"{endpoint()} or something on the way to it changes files."
    )


@contextmanager
def clear_errors(repo_id: str, revision: str | None = None, filename: str | None = None) -> Iterator[None]:
    """Turn what the official client raises into enfold's errors, the cause kept as `__cause__`."""
    try:
        yield
    except errors.EnfoldError:
        raise
    except Exception as error:
        clear = _translated(error, repo_id, revision, filename)
        if clear is None:
            raise
        get_logger(__name__).debug("the client said: %r", error)
        raise clear from error


def _translated(error: BaseException, repo_id: str, revision: str | None, filename: str | None) -> Exception | None:
    from huggingface_hub import errors as theirs

    where = endpoint()
    what = f"{filename} of {repo_id}" if filename else repo_id
    # The client's HTTP library has changed its name over the releases; its base error is HfHubHTTPError's first base.
    transport = theirs.HfHubHTTPError.__bases__[0]
    if isinstance(error, theirs.LocalEntryNotFoundError | theirs.LocalTokenNotFoundError):
        cause = error.__cause__ and _translated(error.__cause__, repo_id, revision, filename)
        if cause:
            return cause
        if isinstance(error, theirs.LocalTokenNotFoundError):
            return errors.HubError(f"{what} was asked for with your token, and none is stored: enfold login")
        return errors.OfflineError(f"{what} is not in the cache and could not be had from {where}: {_line(error)}")
    if isinstance(error, theirs.OfflineModeIsEnabled):
        return offline(what, "HF_HUB_OFFLINE=1 forbids the network")
    if isinstance(error, theirs.GatedRepoError):
        return errors.GatedRepositoryError(
            f"{repo_id} is gated: its owner grants access. Ask for it at {where}/{repo_id}, then log in with "
            "`enfold login` (or set HF_TOKEN, or pass token=)."
        )
    if isinstance(error, theirs.RepositoryNotFoundError):
        return _no_such_repository(repo_id, where)
    if isinstance(error, theirs.RevisionNotFoundError):
        return errors.RevisionNotFoundError(
            f"{repo_id} has no revision {revision!r}. Give a branch, a tag or a whole commit hash that "
            f"{where}/{repo_id} lists; the default is 'main'."
        )
    if isinstance(error, theirs.EntryNotFoundError):
        return errors.EntryNotFoundError(f"{repo_id} has no file {filename!r} at revision {revision!r}.")
    if isinstance(error, theirs.HFValidationError):
        return errors.RepositoryIdError(f"{repo_id!r} is not a repository id: {_line(error)}")
    if isinstance(error, theirs.HfHubHTTPError):
        return _from_status(error, what, repo_id, where)
    if isinstance(error, transport | ConnectionError | TimeoutError):
        return offline(what, f"{where} could not be reached ({_line(error) or type(error).__name__})")
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return errors.TornFileError(f"{what} was cut short on its way from {where}: {_line(error)} Try again.")
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
        return errors.HubError(
            f"{what} can't be stored: {_line(error)}. Give a folder that you may write to (cache_dir=, HF_HUB_CACHE)."
        )
    if isinstance(error, ValueError) and "filename" in str(error):
        return errors.UnsafePathError(f"Refused {filename!r} of {repo_id}: {_line(error)}")
    if isinstance(error, theirs.FileMetadataError | ValueError | TypeError | KeyError):
        return errors.HubError(
            f"{where} does not answer as a hub does, asked for {what}: {_line(error)}. Check HF_ENDPOINT."
        )
    return None


def _from_status(error, what: str, repo_id: str, where: str) -> Exception:
    status, said = error.response.status_code, _line(getattr(error, "server_message", None) or error)
    if status == 401:
        if "credentials" in (error.response.headers.get("X-Error-Message") or ""):
            return errors.HubError(f"{where} refused your token for {what}. Log in again: enfold login")
        return _no_such_repository(repo_id, where)
    if status == 403:
        return errors.GatedRepositoryError(f"{where} forbids {what}: {said}. Does your token have the rights for it?")
    if status == 404:
        return _no_such_repository(repo_id, where)
    if status == 429:
        return errors.HubError(f"{where} says that it is asked too often, for {what}: {said}. Wait, or log in.")
    return errors.HubError(f"{where} answered {status} for {what}: {said}. Try again later.")


def _no_such_repository(repo_id: str, where: str) -> Exception:
    return errors.RepositoryNotFoundError(
        f"There is no repository {repo_id} at {where}, and no folder of that name here. Check its spelling; if it is "
        "private, log in with `enfold login` (or set HF_TOKEN, or pass token=)."
    )


def offline(what: str, reason: str) -> errors.OfflineError:
    """The error for something that is not in the cache while the network can't be used."""
    return errors.OfflineError(
        f"{what} is not in the cache, and {reason}. Download it where there is a network (enfold download), or give a "
        "folder that holds it."
    )


def endpoint() -> str:
    """Address of the hub: `HF_ENDPOINT`, or the official one."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _line(error: object) -> str:
    # The client's messages run over several lines; the first that says something is enough.
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "").rstrip(".")
