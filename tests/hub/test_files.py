"""`resolve_file`, `list_files` and `resolve_snapshot` against a little hub on loopback."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from enfold.base import errors
from enfold.hub import list_files, resolve_file, resolve_snapshot

FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": bytes(range(256)) * 40,
    "vocab.txt": b"[PAD]\n[UNK]\n",
    "onnx/model.onnx": b"onnx" * 1000,
    "empty.txt": b"",
}


@pytest.fixture
def repo(hub):
    return hub.add("org/bert", FILES)


def test_download_then_no_request_at_all(hub, repo, cache):
    path = resolve_file("org/bert", "config.json")
    assert path.read_bytes() == FILES["config.json"]
    assert path == cache / "models--org--bert" / "snapshots" / repo.refs["main"] / "config.json"
    assert resolve_file("org/bert", "model.safetensors").read_bytes() == FILES["model.safetensors"]
    seen = len(hub.requests)
    assert resolve_file("org/bert", "config.json") == path
    assert resolve_file("org/bert", "config.json", revision=repo.refs["main"]) == path
    assert resolve_file("org/bert", "generation_config.json", required=False) is None
    assert list_files("org/bert") == sorted(FILES)
    assert len(hub.requests) == seen
    hub.stop()
    assert resolve_file("org/bert", "config.json") == path


def test_the_cache_is_the_official_clients(hub, repo, cache):
    path = resolve_file("org/bert", "model.safetensors")
    client = huggingface_hub.hf_hub_download("org/bert", "model.safetensors", cache_dir=cache, local_files_only=True)
    assert client == str(path)
    assert huggingface_hub.try_to_load_from_cache("org/bert", "model.safetensors", cache_dir=cache) == str(path)
    assert [str(r.repo_id) for r in huggingface_hub.scan_cache_dir(cache).repos] == ["org/bert"]
    theirs = huggingface_hub.hf_hub_download("org/bert", "vocab.txt", cache_dir=cache)
    seen = len(hub.requests)
    assert str(resolve_file("org/bert", "vocab.txt")) == theirs
    assert len(hub.requests) == seen


def test_what_the_client_cached_costs_no_request(hub, repo, cache):
    huggingface_hub.snapshot_download("org/bert", cache_dir=cache)
    shutil.rmtree(cache / "models--org--bert" / "trees")  # as older clients leave it: no listing
    seen = len(hub.requests)
    assert resolve_file("org/bert", "config.json").is_file()
    assert resolve_file("org/bert", "generation_config.json", required=False) is None
    assert resolve_file("org/bert", "tokenizer.json", required=False) is None
    assert resolve_file("org/bert", "model.safetensors.index.json", required=False) is None
    assert list_files("org/bert") == sorted(FILES)
    assert len(hub.requests) == seen


def test_a_part_of_the_model_that_was_never_fetched_is_asked_for(hub, repo, cache):
    huggingface_hub.hf_hub_download("org/bert", "model.safetensors", cache_dir=cache)
    assert resolve_file("org/bert", "vocab.txt", required=False).read_bytes() == FILES["vocab.txt"]


def test_a_known_absence_costs_no_request(hub, repo, cache):
    with pytest.raises(huggingface_hub.errors.EntryNotFoundError):
        huggingface_hub.hf_hub_download("org/bert", "tokenizer.json", cache_dir=cache)
    seen = len(hub.requests)
    (cache / "models--org--bert" / "snapshots" / repo.refs["main"]).mkdir(parents=True)
    assert resolve_file("org/bert", "tokenizer.json", required=False) is None
    assert len(hub.requests) == seen


def test_a_branch_stays_until_it_is_refreshed(hub, repo):
    first = resolve_file("org/bert", "config.json")
    repo.push(FILES | {"config.json": b'{"model_type": "roberta"}', "new.json": b"{}"})
    assert resolve_file("org/bert", "config.json") == first
    with pytest.raises(errors.EntryNotFoundError, match="--refresh"):
        resolve_file("org/bert", "new.json")
    fresh = resolve_file("org/bert", "config.json", force_download=True)
    assert fresh.read_bytes() == b'{"model_type": "roberta"}'
    assert resolve_file("org/bert", "config.json") == fresh
    assert resolve_file("org/bert", "new.json").read_bytes() == b"{}"
    assert first.read_bytes() == FILES["config.json"]


def test_files_fetched_later_come_from_the_same_commit(hub, repo):
    commit = repo.refs["main"]
    resolve_file("org/bert", "config.json")
    repo.push(FILES | {"vocab.txt": b"other"})
    path = resolve_file("org/bert", "vocab.txt")
    assert path.read_bytes() == FILES["vocab.txt"]
    assert commit in str(path)


def test_subfolder(hub, repo, tmp_path):
    assert resolve_file("org/bert", "model.onnx", subfolder="onnx").read_bytes() == FILES["onnx/model.onnx"]
    assert list_files("org/bert", subfolder="onnx") == ["model.onnx"]
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"local")
    assert resolve_file(tmp_path, "model.onnx", subfolder="onnx").read_bytes() == b"local"
    assert list_files(tmp_path, subfolder="onnx/") == ["model.onnx"]


def test_a_folder_wins(hub, repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "bert").mkdir(parents=True)
    (tmp_path / "org" / "bert" / "config.json").write_bytes(b"{}")
    assert resolve_file("org/bert", "config.json").read_bytes() == b"{}"
    assert resolve_file("org/bert", "vocab.txt", required=False) is None
    with pytest.raises(errors.EntryNotFoundError, match=r"vocab\.txt.*config\.json"):
        resolve_file("org/bert", "vocab.txt")
    assert list_files("org/bert") == ["config.json"]
    assert resolve_snapshot("org/bert") == Path("org/bert")
    assert hub.requests == []


def test_listing_of_a_repository_that_is_not_cached(hub, repo):
    assert list_files("org/bert") == sorted(FILES)
    assert [line.split()[0] for line in hub.requests] == ["GET"]


@pytest.mark.parametrize(("cached", "asked"), [("gpt2", "openai-community/gpt2"), ("google-t5/t5-small", "t5-small")])
def test_ids_older_than_namespaces(hub, cache, cached, asked):
    hub.add(cached, FILES)
    path = resolve_file(cached, "config.json")
    hub.stop()
    assert resolve_file(asked, "config.json") == path
    assert "model.safetensors" in list_files(asked)


def test_a_moved_repository_is_followed(hub, cache):
    hub.add("google-bert/bert-base-uncased", FILES)
    hub.moved["bert-base-uncased"] = "google-bert/bert-base-uncased"
    assert "config.json" in list_files("bert-base-uncased")


def test_offline_without_anything_cached(hub, repo, monkeypatch):
    with pytest.raises(errors.OfflineError, match="local_files_only"):
        resolve_file("org/bert", "config.json", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for call in (lambda: resolve_file("org/bert", "config.json", required=False), lambda: list_files("org/bert")):
        with pytest.raises(errors.OfflineError, match="HF_HUB_OFFLINE"):
            call()
    with pytest.raises(errors.OfflineError, match="HF_HUB_OFFLINE"):
        resolve_snapshot("org/bert")
    assert hub.requests == []


def test_offline_with_a_part_cached(hub, repo, monkeypatch):
    resolve_file("org/bert", "config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert list_files("org/bert") == ["config.json"]
    assert resolve_file("org/bert", "generation_config.json", required=False) is None
    with pytest.raises(errors.OfflineError, match=r"model\.safetensors of org/bert.*not in the cache"):
        resolve_file("org/bert", "model.safetensors", required=False)


def test_no_network_is_said_at_once(cache):
    began = time.monotonic()
    with pytest.raises(errors.OfflineError, match=r"could not be reached"):
        resolve_file("org/bert", "config.json")
    with pytest.raises(OSError):
        list_files("org/bert")
    assert time.monotonic() - began < 5


def test_no_such_repository(hub):
    with pytest.raises(errors.RepositoryNotFoundError, match=r"no repository org/nothing.*enfold login"):
        resolve_file("org/nothing", "config.json")
    with pytest.raises(errors.RepositoryNotFoundError):
        resolve_file("org/nothing", "config.json", token="hf_good", required=False)


def test_private_and_token(hub, cache, monkeypatch):
    hub.add("org/secret", FILES, private=True)
    with pytest.raises(errors.RepositoryNotFoundError, match="HF_TOKEN"):
        resolve_file("org/secret", "config.json")
    with pytest.raises(errors.HubError, match="refused your token"):
        resolve_file("org/secret", "config.json", token="hf_bad")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert resolve_file("org/secret", "config.json").is_file()
    with pytest.raises(errors.RepositoryNotFoundError):
        resolve_file("org/secret", "vocab.txt", token=False)


def test_gated(hub):
    hub.add("org/gated", FILES, gated=True)
    with pytest.raises(errors.GatedRepositoryError, match=r"org/gated is gated.*enfold login"):
        resolve_file("org/gated", "config.json")
    assert resolve_file("org/gated", "config.json", token="hf_good").is_file()


def test_no_such_revision(hub, repo):
    with pytest.raises(errors.RevisionNotFoundError, match="'v9'"):
        resolve_file("org/bert", "config.json", revision="v9")
    repo.refs["v1"] = repo.refs["main"]
    assert resolve_file("org/bert", "config.json", revision="v1").is_file()


def test_no_such_file_names_the_nearest(hub, repo):
    with pytest.raises(errors.EntryNotFoundError, match=r"did you mean 'model\.safetensors'"):
        resolve_file("org/bert", "modell.safetensors")
    assert resolve_file("org/bert", "tokenizer.json", required=False) is None


def test_cut_body_is_refused_and_not_kept(hub, repo, cache):
    repo.sent["model.safetensors"] = FILES["model.safetensors"][:500]
    with pytest.raises(errors.TornFileError, match="cut short"):
        resolve_file("org/bert", "model.safetensors")
    assert not list(cache.rglob("model.safetensors"))
    del repo.sent["model.safetensors"]
    assert resolve_file("org/bert", "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_altered_body_is_refused_and_not_kept(hub, repo, cache, name):
    repo.sent[name] = bytes(reversed(FILES[name]))
    with pytest.raises(errors.TornFileError, match="hash"):
        resolve_file("org/bert", name)
    assert not list(cache.rglob(name))
    del repo.sent[name]
    assert resolve_file("org/bert", name).read_bytes() == FILES[name]


def test_dropped_connection_is_resumed(hub, repo):
    repo.cut_once["model.safetensors"] = 4000
    assert resolve_file("org/bert", "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_large_files_on_another_host(hub, cache):
    """The hub redirects to a CDN; the token stays with the hub."""
    hub.add("org/large", FILES, private=True, on_cdn=True)
    path = resolve_file("org/large", "model.safetensors", token="hf_good")
    assert path.read_bytes() == FILES["model.safetensors"]
    assert any(line.startswith("GET /cdn/org/large/") for line in hub.requests)
    assert hub.tokens_at_cdn == []
    assert resolve_file("org/large", "config.json", token="hf_good").read_bytes() == FILES["config.json"]


def test_many_at_once(hub, repo):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: resolve_file("org/bert", "model.safetensors"), range(16)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == FILES["model.safetensors"]


def test_torn_blob_in_the_cache(hub, repo):
    path = resolve_file("org/bert", "model.safetensors")
    path.resolve().write_bytes(b"half")
    with pytest.raises(errors.TornFileError, match=r"4 bytes, expected 10240.*enfold download --force"):
        resolve_file("org/bert", "model.safetensors")
    with pytest.raises(errors.CheckpointError):
        resolve_file("org/bert", "model.safetensors", local_files_only=True)
    path = resolve_file("org/bert", "model.safetensors", force_download=True)
    assert path.read_bytes() == FILES["model.safetensors"]


def test_lost_blob_and_interrupted_download(hub, repo, cache):
    path = resolve_file("org/bert", "model.safetensors")
    blob = path.resolve()
    blob.rename(f"{blob}.0a1b2c3d.incomplete")
    with pytest.raises(errors.TornFileError, match="not finished"):
        resolve_file("org/bert", "model.safetensors", local_files_only=True)
    path.unlink()
    with pytest.raises(errors.TornFileError, match="not finished"):
        resolve_file("org/bert", "model.safetensors", local_files_only=True)
    assert resolve_file("org/bert", "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_an_empty_file_that_should_be_empty(hub, repo):
    assert resolve_file("org/bert", "empty.txt").read_bytes() == b""


def test_torn_files_of_a_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9999999\n"
    )
    with pytest.raises(errors.TornFileError, match="git lfs pull"):
        resolve_file(tmp_path, "model.safetensors")
    (tmp_path / "config.json").touch()
    with pytest.raises(errors.TornFileError, match="empty"):
        resolve_file(tmp_path, "config.json", required=False)
    (tmp_path / "vocab.txt").symlink_to("nowhere")
    with pytest.raises(errors.TornFileError, match="nowhere"):
        resolve_file(tmp_path, "vocab.txt")


def test_hidden_folders_are_not_files_of_a_model(tmp_path):
    for name in (".git/config", ".cache/huggingface/x", "config.json", "sub/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    assert list_files(tmp_path) == ["config.json", "sub/a.txt"]


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/passwd", "a\\..\\b.json", "C:x.json", "a/\0.json"])
def test_a_listing_with_an_evil_name(hub, cache, name):
    hub.add("org/evil", FILES, extra_names=(name,))
    for call in (lambda: list_files("org/evil"), lambda: resolve_file("org/evil", "config.json")):
        with pytest.raises(errors.UnsafePathError):
            call()
    with pytest.raises(errors.UnsafePathError):
        resolve_snapshot("org/evil")
    assert not list(cache.rglob("*.json"))
    with pytest.raises(errors.UnsafePathError):
        resolve_file("org/evil", name)


def test_a_link_that_leaves_the_cache(hub, repo, tmp_path):
    path = resolve_file("org/bert", "config.json")
    outside = tmp_path / "outside.json"
    outside.write_bytes(FILES["config.json"])
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(errors.UnsafePathError, match="outside"):
        resolve_file("org/bert", "config.json")


def test_a_cache_behind_a_link_of_the_users(hub, repo, cache, tmp_path):
    resolve_file("org/bert", "config.json")
    storage = cache / "models--org--bert"
    shutil.move(storage, tmp_path / "elsewhere")
    storage.symlink_to(tmp_path / "elsewhere")
    seen = len(hub.requests)
    assert resolve_file("org/bert", "config.json").read_bytes() == FILES["config.json"]
    assert len(hub.requests) == seen


def test_a_torn_ref(hub, repo, cache):
    resolve_file("org/bert", "config.json")
    ref = cache / "models--org--bert" / "refs" / "main"
    ref.write_text("../../../etc")
    with pytest.raises(errors.TornFileError, match="refs"):
        resolve_file("org/bert", "config.json")
    with pytest.raises(errors.UnsafePathError):
        resolve_file("org/bert", "config.json", revision="../main")


@pytest.mark.parametrize(
    "answer", [(200, b"<html>Please log in</html>"), (200, b"{}"), (502, b"bad gateway"), (418, b"teapot")]
)
def test_an_endpoint_that_is_no_hub(hub, answer):
    hub.answer_all = answer
    with pytest.raises(errors.HubError, match=hub.url):
        resolve_file("org/bert", "config.json")


def test_a_cache_that_can_not_be_written(hub, repo, cache, monkeypatch):
    cache.write_bytes(b"a file in its place")
    with pytest.raises(errors.HubError, match="HF_HUB_CACHE"):
        resolve_file("org/bert", "config.json")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("no such id", "neither a folder"),
        ("a/b/c", "neither a folder"),
        ("", "neither a folder"),
        ("org/--x", "neither a folder"),
        ("-x", "neither a folder"),
        ("org/" + "x" * 99, "96"),
        ("./nowhere", "no folder"),
        ("/nowhere/at/all", "no folder"),
        ("nowhere/", "no folder"),
        ("C:\\models\\bert", "no folder"),
        (Path("nowhere"), "no folder"),
        ("https://huggingface.co/org/name", "'org/name'"),
        (None, "NoneType"),
        (7, "int"),
        ("a\0b", "neither a folder"),
    ],
)
def test_neither_folder_nor_id(cache, given, says):
    for call in (lambda: resolve_file(given, "config.json"), lambda: list_files(given)):
        with pytest.raises(errors.RepositoryIdError, match=says) as caught:
            call()
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, ValueError)


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(errors.RepositoryIdError, match="is a file"):
        resolve_file(tmp_path / "model.gguf", "config.json")


def test_snapshot_by_patterns(hub, repo, cache, tmp_path):
    folder = resolve_snapshot("org/bert", include=["*.json", "onnx/"], exclude=["vocab*"])
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["config.json", "model.onnx"]
    seen = len(hub.requests)
    assert resolve_snapshot("org/bert", include=["*.json", "onnx/*"]) == folder
    assert len(hub.requests) == seen
    assert resolve_snapshot("org/bert", files=["vocab.txt"]) == folder
    assert (folder / "vocab.txt").read_bytes() == FILES["vocab.txt"]
    assert resolve_snapshot("org/bert") == folder
    assert list_files("org/bert", local_files_only=True) == sorted(FILES)
    seen = len(hub.requests)
    assert resolve_snapshot("org/bert") == folder
    assert len(hub.requests) == seen
    out = resolve_snapshot("org/bert", files=["config.json"], local_dir=tmp_path / "out")
    assert (out / "config.json").read_bytes() == FILES["config.json"]
    assert not (out / "vocab.txt").exists()


def test_snapshot_that_matches_nothing(hub, repo):
    with pytest.raises(errors.EntryNotFoundError, match=r"\*\.gguf"):
        resolve_snapshot("org/bert", include=["*.gguf"])
    with pytest.raises(errors.EntryNotFoundError, match=r"did you mean 'config\.json'"):
        resolve_snapshot("org/bert", files=["confg.json"])


def test_snapshot_is_completed_at_the_commit_it_was_begun_with(hub, repo):
    first = resolve_file("org/bert", "config.json").parent
    repo.push(FILES | {"config.json": b"{}", "vocab.txt": b"other"})
    assert resolve_snapshot("org/bert") == first
    assert (first / "vocab.txt").read_bytes() == FILES["vocab.txt"]
    assert resolve_file("org/bert", "config.json").parent == first


def test_snapshot_offline(hub, repo, tmp_path):
    with pytest.raises(errors.OfflineError):
        resolve_snapshot("org/bert", local_files_only=True)
    folder = resolve_file("org/bert", "config.json").parent
    assert resolve_snapshot("org/bert", files=["config.json"], local_files_only=True) == folder
    with pytest.raises(errors.OfflineError, match="The whole of org/bert"):
        resolve_snapshot("org/bert", local_files_only=True)
    with pytest.raises(errors.EntryNotFoundError):
        resolve_snapshot("org/bert", files=["other.json"], local_files_only=True)
    resolve_snapshot("org/bert")
    hub.stop()
    out = resolve_snapshot("org/bert", local_dir=tmp_path / "out")
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")} == FILES
    assert not any(path.is_symlink() for path in out.rglob("*"))
    with pytest.raises(errors.OfflineError, match="force_download"):
        resolve_file("org/bert", "config.json", force_download=True, local_files_only=True)


def test_snapshot_refreshed(hub, repo):
    first = resolve_snapshot("org/bert")
    repo.push(FILES | {"config.json": b"{}"})
    assert resolve_snapshot("org/bert") == first
    fresh = resolve_snapshot("org/bert", refresh=True)
    assert fresh != first
    assert (fresh / "config.json").read_bytes() == b"{}"
    assert resolve_file("org/bert", "config.json") == fresh / "config.json"


def test_snapshot_with_an_altered_file(hub, repo, cache):
    repo.sent["model.safetensors"] = bytes(reversed(FILES["model.safetensors"]))
    with pytest.raises(errors.TornFileError, match="hash"):
        resolve_snapshot("org/bert")
    assert not list(cache.rglob("model.safetensors"))


def test_snapshot_mends_a_torn_file_when_forced(hub, repo):
    folder = resolve_snapshot("org/bert")
    (folder / "model.safetensors").resolve().write_bytes(b"")
    with pytest.raises(errors.TornFileError):
        resolve_snapshot("org/bert")
    assert resolve_snapshot("org/bert", force_download=True) == folder
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_the_environment_is_the_clients(hub, repo, tmp_path):
    """A fresh process with HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE set as users set them."""
    code = (
        "import sys; from enfold.hub import resolve_file; assert 'huggingface_hub' not in sys.modules;"
        "print(resolve_file('org/bert', 'config.json'));"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}

    def run(**more):
        return subprocess.run([sys.executable, "-c", code], env=env | more, capture_output=True, text=True, timeout=60)

    offline = run(HF_HUB_OFFLINE="1")
    assert offline.returncode == 1
    assert "OfflineError" in offline.stderr
    first = run()
    assert first.stdout.startswith(str(tmp_path / "home" / "hub")), first.stderr
    seen = len(hub.requests)
    assert run(HF_HUB_OFFLINE="1").stdout == first.stdout
    assert run().stdout == first.stdout
    assert len(hub.requests) == seen
    moved = run(HF_HUB_CACHE=str(tmp_path / "other"))
    assert moved.stdout.startswith(str(tmp_path / "other")), moved.stderr
