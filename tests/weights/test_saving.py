"""Saving: what others load, shards, and an older save that survives every failure."""

import errno
import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from enfold.base.errors import ArgumentError, CheckpointError
from enfold.weights.files import open_checkpoint, save_tensors
from enfold.weights.safetensors_file import DTYPES

from .raw import bits
from .test_safetensors import random_tensor


def test_every_dtype_loads_bit_equal_in_the_package(tmp_path):
    tensors = {name: random_tensor(dtype, (3, 5)) for name, dtype in DTYPES.items()}
    tensors |= {"scalar": torch.tensor(1.5), "none": torch.empty(0, 3), "ünïcode.名": torch.ones(1)}
    (path,) = save_tensors(tensors, tmp_path, metadata={"format": "pt", "note": "ü"})
    with safe_open(path, "pt") as theirs, open_checkpoint(tmp_path) as ours:
        assert theirs.metadata() == ours.metadata == {"format": "pt", "note": "ü"}
        for name, tensor in tensors.items():
            assert bits(theirs.get_tensor(name)) == bits(ours.read(name)) == bits(tensor)
            assert ours.is_mappable(name)


def test_any_strides(tmp_path):
    whole = torch.randn(64, 48, 32)
    tensors = {
        "turned": torch.randn(701, 301).t(),
        "permuted": torch.randn(40, 50, 30).permute(2, 0, 1),
        "expanded": torch.randn(1, 9).expand(7, 9),
        "part": whole[3:9, ::2, 1:17:3],
        "one": torch.empty(1, 5).t().contiguous()[::2],
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "imaginary": torch.randn(3, dtype=torch.complex64).conj().imag,
        "f4": random_tensor(torch.float4_e2m1fn_x2, (6, 4)).t(),
    }
    (path,) = save_tensors(tensors.items(), tmp_path)
    loaded = load_file(path)
    for name, tensor in tensors.items():
        if name == "f4":
            assert torch.equal(loaded[name].view(torch.uint8), tensor.view(torch.uint8))
        else:
            assert torch.equal(loaded[name], tensor.detach())


def test_shards_and_index_as_transformers_reads_them(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    config.save_pretrained(tmp_path)
    written = save_tensors(model.state_dict(), tmp_path, max_shard_size="20KB")
    names = [path.name for path in written]
    count = len(names) - 1
    assert count >= 3
    assert names[0] == f"model-00001-of-{count:05d}.safetensors"
    assert names[-1] == "model.safetensors.index.json"
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "config.json"])
    index = json.loads(written[-1].read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in model.state_dict().values())
    assert all(path.stat().st_size <= 20_000 + 4096 for path in written[:-1])
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    # and theirs by us
    model.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    with open_checkpoint(tmp_path / "theirs") as theirs:
        for name, tensor in model.state_dict().items():
            assert torch.equal(theirs.read(name), tensor)


@pytest.mark.parametrize(
    ("limit", "shards"),
    [("1KB", 4), ("1kb", 4), (1000, 4), ("1 KiB", 4), ("1.5KB", 2), ("2KiB", 2), ("1GB", 1), (1, 4)],
)
def test_shard_sizes(tmp_path, limit, shards):
    tensors = {str(i): torch.zeros(175) for i in range(4)}  # 700 bytes each
    assert len(save_tensors(tensors, tmp_path, max_shard_size=limit)) == shards + (shards > 1)


@pytest.mark.parametrize("limit", ["", "GB", "-1GB", "5 apples", "5PB", 0, -3, "0GB"])
def test_no_size(tmp_path, limit):
    with pytest.raises(ArgumentError, match="max_shard_size"):
        save_tensors({"a": torch.zeros(1)}, tmp_path, max_shard_size=limit)


def test_an_older_save_leaves_nothing_behind(tmp_path):
    (tmp_path / "config.json").touch()
    (tmp_path / "other-00001-of-00002.safetensors").touch()
    tensors = {str(i): torch.full((100,), float(i)) for i in range(6)}
    kept = {"config.json", "other-00001-of-00002.safetensors"}
    for limit in (400, 1200, 800, "1GB", 400, "1GB"):
        written = save_tensors(tensors, tmp_path, max_shard_size=limit)
        assert set(os.listdir(tmp_path)) == kept | {path.name for path in written}
        with open_checkpoint(tmp_path) as checkpoint:
            assert all(torch.equal(checkpoint.read(name), tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(("limit", "failing"), [("1GB", 1), (400, 1), (400, 2), (400, 4)])
def test_a_full_disk_leaves_the_older_save(tmp_path, monkeypatch, limit, failing):
    old = {str(i): torch.full((100,), float(i)) for i in range(3)}
    save_tensors(old, tmp_path, max_shard_size=limit)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) >= failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"could not be saved \(No space left"):
            save_tensors({str(i): torch.zeros(100) for i in range(3)}, tmp_path, max_shard_size=limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_really_full_disk(tmp_path):
    """A limit on the file size stands for the disk's end, in a process of its own."""
    import subprocess
    import sys

    save_tensors({"a": torch.ones(100)}, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    code = f"""
import resource, signal, torch
from enfold.base.errors import CheckpointError
from enfold.weights.files import save_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_tensors({{"a": torch.zeros(1_000_000)}}, {str(tmp_path)!r})
except CheckpointError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "could not be saved" in output
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_saving_over_the_files_that_the_tensors_come_from(tmp_path):
    tensors = {str(i): torch.randn(1000) for i in range(4)}
    save_tensors(tensors, tmp_path, max_shard_size=8000)
    with open_checkpoint(tmp_path) as checkpoint:
        views = {name: checkpoint.read(name) for name in checkpoint}
        save_tensors(views, tmp_path, max_shard_size=8000)
        save_tensors({name: view + 0 for name, view in views.items()}, tmp_path)
        assert all(torch.equal(views[name], tensor) for name, tensor in tensors.items())
    loaded = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_shared_memory_is_refused(tmp_path):
    base = torch.randn(8, 8)
    shared = [
        {"a": base, "b": base},
        {"a": base, "b": base.t()},
        {"a": base[:5], "b": base[4:]},
        {"a": base[:, :5], "b": base[:, 4:]},
        {"a": base, "b": base[3, 3]},
        {"a": base, "b": base.view(torch.uint8)[:, :3]},
        {"a": base[0], "c": torch.ones(2), "b": base[:, 0]},
    ]
    for tensors in shared:
        with pytest.raises(ArgumentError, match=r"'a' and 'b' share memory|'b' and 'a' share memory"):
            save_tensors(tensors, tmp_path)
    assert os.listdir(tmp_path) == []
    apart = [
        {"a": base[:4], "b": base[4:]},
        {"a": base[:, :4], "b": base[:, 4:]},
        {"a": base[::2], "b": base[1::2]},
        {"q": base[:, 0::3], "k": base[:, 1::3], "v": base[:, 2::3]},
        {"a": base[0:0], "b": base},
    ]
    for tensors in apart:
        (path,) = save_tensors(tensors, tmp_path)
        loaded = load_file(path)
        assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("tensors", "options", "cause"),
    [
        ({"a": torch.zeros(2, device="meta")}, {}, "meta"),
        ({"a": torch.zeros(2).to_sparse()}, {}, "sparse"),
        ({"a": [1.0]}, {}, "list"),
        ({"a": torch.zeros(2, dtype=torch.complex128)}, {}, "complex128"),
        ({"__metadata__": torch.zeros(2)}, {}, "__metadata__"),
        ([("a", torch.zeros(2)), ("a", torch.ones(2))], {}, "twice"),
        ({"a": torch.zeros(2)}, {"metadata": {"a": 1}}, "metadata"),
        ({"a": torch.zeros(2)}, {"filename": "../model.safetensors"}, "filename"),
        ({"a": torch.zeros(2)}, {"filename": "model.bin"}, "filename"),
    ],
)
def test_what_can_not_be_saved(tmp_path, tensors, options, cause):
    with pytest.raises(ArgumentError, match=cause):
        save_tensors(tensors, tmp_path, **options)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="could not be saved"):
        save_tensors({"a": torch.zeros(2)}, tmp_path / "file" / "folder")


def test_new_folders_permissions_and_nothing_to_save(tmp_path):
    (path,) = save_tensors({}, tmp_path / "a" / "b")
    assert load_file(path) == {}
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.names() == []
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_link_into_a_cache_is_replaced_not_followed(tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"precious")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(blob)
    save_tensors({"a": torch.ones(1)}, tmp_path / "snapshot")
    assert blob.read_bytes() == b"precious"
    assert not (tmp_path / "snapshot" / "model.safetensors").is_symlink()
