"""A folder on disk → a repository on a hub."""

import os
from pathlib import Path

import enfold
from enfold.base.errors import ArgumentError
from enfold.hub import remote


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload with enfold",
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload every file of a folder in one commit; the repository is created if it doesn't exist.

    Args:
        repo_id: `"org/name"`, or `"name"` for the account that the token belongs to.
        private: for a repository that is created here; the account's default if None.
        revision: branch to commit to, created from `main` if it doesn't exist.
        create_pr: open a pull request against `main` instead of committing to a branch.

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
        )
    return str(commit.pr_url or commit.commit_url)
