"""`enfold.hub` has the names of the official client, and pushes through it."""

import os
import subprocess
import sys

import huggingface_hub
import pytest

import enfold.hub
from enfold.base import errors
from enfold.hub import list_files, push_folder, resolve_file


def test_same_names_same_objects():
    for name in huggingface_hub.__all__:
        assert getattr(enfold.hub, name) is getattr(huggingface_hub, name), name
    assert set(huggingface_hub.__all__) <= set(dir(enfold.hub))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = enfold.hub.no_such_name


def test_import_is_lazy():
    code = (
        "import sys, enfold.hub, enfold.hub.files; print([m for m in ('huggingface_hub', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_login_whoami_logout(hub, tmp_path):
    code = (
        "from enfold.hub import get_token, login, logout, whoami\n"
        "login(token='hf_good'); assert get_token() == 'hf_good'; assert whoami()['name'] == 'ada'\n"
        "logout(); assert get_token() is None"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60, capture_output=True)


def test_push_and_read_back(hub, cache, tmp_path):
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_bytes(b'{"model_type": "bert"}')
    (folder / "sub" / "notes.txt").write_bytes(b"notes")
    address = push_folder(folder, "mine", private=True, token="hf_good")
    assert address.startswith(f"{hub.url}/ada/mine/commit/")
    assert hub.repos["ada/mine"].private
    assert list_files("ada/mine", token="hf_good") == ["config.json", "sub/notes.txt"]
    assert resolve_file("ada/mine", "sub/notes.txt", token="hf_good").read_bytes() == b"notes"


def test_push_to_a_branch_and_as_a_pull_request(hub, cache, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    hub.add("ada/mine", {"README.md": b"hello"})
    push_folder(folder, "ada/mine", token="hf_good", revision="next", commit_message="one")
    assert list_files("ada/mine", revision="next") == ["README.md", "a.txt"]
    assert list_files("ada/mine") == ["README.md"]
    assert push_folder(folder, "ada/mine", token="hf_good", create_pr=True).endswith("/discussions/1")
    assert list_files("ada/mine", revision="refs/pr/1") == ["README.md", "a.txt"]
    assert list_files("ada/mine") == ["README.md"]
    with pytest.raises(errors.ArgumentError, match="create_pr"):
        push_folder(folder, "ada/mine", token="hf_good", revision="next", create_pr=True)


def test_push_refused(hub, cache, tmp_path):
    with pytest.raises(errors.ArgumentError, match="nothing to upload"):
        push_folder(tmp_path / "nowhere", "ada/mine")
    (tmp_path / "a.txt").write_bytes(b"a")
    with pytest.raises(errors.HubError, match="token"):
        push_folder(tmp_path, "ada/mine", token="hf_bad")
    with pytest.raises(errors.RepositoryIdError):
        push_folder(tmp_path, "a/b/c", token="hf_good")


def test_push_without_network(cache, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a")
    with pytest.raises(errors.OfflineError, match="could not be reached"):
        push_folder(tmp_path, "ada/mine", token="hf_good")
