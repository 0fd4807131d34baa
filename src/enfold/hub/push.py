"""Files on disk → a repository on a hub: a folder at once, or a change that depends on what is there."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import enfold
from enfold.base.errors import ArgumentError, HubError
from enfold.hub import remote

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload with enfold",
    revision: str | None = None,
    create_pr: bool = False,
    path_in_repo: str | None = None,
    ignore_patterns: list[str] | None = None,
) -> str:
    """Upload every file of a folder in one commit; the repository is created if it doesn't exist.

    Args:
        repo_id: `"org/name"`, or `"name"` for the account that the token belongs to.
        private: for a repository that is created here; the account's default if None.
        revision: branch to commit to, created from `main` if it doesn't exist.
        create_pr: open a pull request against `main` instead of committing to a branch.
        path_in_repo: the folder of the repository that the files go to.
        ignore_patterns: shell patterns of paths that stay here; `*` stands for slashes too.

    Returns:
        the address of the commit, or of the pull request.

    Raises:
        ArgumentError: there is no such folder, or it is empty.
        HubError and its kin: what the hub said.
    """
    path = Path(folder).expanduser()
    if not path.is_dir() or not any(path.iterdir()):
        raise ArgumentError(f"There is nothing to upload in {str(path)!r}: expected a folder with files in it.")
    if create_pr and revision is not None:
        raise ArgumentError(
            f"create_pr=True opens a pull request against main, revision={revision!r} names a branch: pass one of them."
        )
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="enfold", library_version=enfold.__version__)
    with remote.clear_errors(repo_id, revision):
        whole_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and revision != "main" and not revision.startswith("refs/"):
            api.create_branch(whole_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=whole_id,
            folder_path=path,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            path_in_repo=path_in_repo,
            ignore_patterns=ignore_patterns,
        )
    return str(commit.pr_url or commit.commit_url)


def open_repository(repo_id: str, *, private: bool | None = None, token: str | bool | None = None) -> str:
    """The whole id of a repository, which is created if it doesn't exist.

    Raises:
        HubError and its kin: what the hub said.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="enfold", library_version=enfold.__version__)
    with remote.clear_errors(repo_id, None):
        return api.create_repo(repo_id, private=private, exist_ok=True).repo_id


FILES_PER_COMMIT = 50
TRIES = 5


@dataclass(frozen=True)
class State:
    """What a branch holds: its commit, and the bytes of each file."""

    repo_id: str
    repo_type: str
    commit: str
    sizes: Mapping[str, int]
    token: str | bool | None

    def read(self, name: str) -> str | None:
        """The text of a file; None if there is none."""
        if name not in self.sizes:
            return None
        from huggingface_hub import hf_hub_download

        with remote.clear_errors(self.repo_id, self.commit, name):
            path = hf_hub_download(self.repo_id, name, repo_type=self.repo_type, revision=self.commit, token=self.token)
        return Path(path).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """What a commit does: name → bytes to write, and names to delete."""

    written: Mapping[str, bytes]
    deleted: Iterable[str] = ()


def push_change(
    repo_id: str,
    files: Mapping[str, Path],
    change: Callable[[State], Change],
    *,
    repo_type: str = "dataset",
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload with enfold",
    commit_description: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> "CommitInfo":
    """Upload files, and with them a change that is worked out from the state of the branch.

    When somebody else commits in between, the change is worked out again; nothing of theirs is lost.

    Args:
        repo_id: `"org/name"`, or `"name"` for the account that the token belongs to; created if it doesn't exist.
        files: name in the repository → file on disk; more than 50 go in several commits, the change with the last.
        change: what else to write and delete, given what is there.
        private: for a repository that is created here; the account's default if None.
        revision: branch to commit to, created from `main` if it doesn't exist.
        create_pr: open a pull request instead.

    Raises:
        HubError and its kin: what the hub said.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    api = HfApi(token=token, library_name="enfold", library_version=enfold.__version__)
    with remote.clear_errors(repo_id, revision):
        try:
            whole_id = api.repo_info(repo_id, repo_type=repo_type).id
        except RepositoryNotFoundError:
            whole_id = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True).repo_id
        if revision is not None and revision != "main" and not revision.startswith("refs/"):
            api.create_branch(whole_id, branch=revision, repo_type=repo_type, exist_ok=True)
        options = {"repo_type": repo_type, "commit_description": commit_description}
        additions = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        parts = [additions[at : at + FILES_PER_COMMIT] for at in range(0, len(additions), FILES_PER_COMMIT)]
        for number, part in enumerate(parts[:-1]):
            message = f"{commit_message} (part {number:05d}-of-{len(parts):05d})"
            done = api.create_commit(
                whole_id, part, commit_message=message, revision=revision, create_pr=create_pr, **options
            )
            if create_pr:
                revision, create_pr = done.pr_revision, False
        for attempt in range(TRIES):
            state = _state(api, whole_id, repo_type, revision, token)
            wanted = change(state)
            last = [
                *(parts[-1] if parts else []),
                *(CommitOperationAdd(name, content) for name, content in wanted.written.items()),
                *(CommitOperationDelete(name) for name in wanted.deleted),
            ]
            try:
                return api.create_commit(
                    whole_id,
                    last,
                    commit_message=commit_message,
                    revision=revision,
                    create_pr=create_pr,
                    parent_commit=state.commit or None,
                    **options,
                )
            except HfHubHTTPError as error:
                if error.response.status_code not in (409, 412) or attempt == TRIES - 1:
                    raise
    raise HubError(f"{whole_id} was changed by others all the while: nothing was committed. Try again.")


def _state(api, repo_id: str, repo_type: str, revision: str | None, token: str | bool | None) -> State:
    info = api.repo_info(repo_id, repo_type=repo_type, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return State(repo_id, repo_type, info.sha or "", sizes, token)
