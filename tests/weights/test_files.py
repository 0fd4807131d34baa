"""Which files a checkpoint is made of, shards, and what is said when something is missing."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from enfold.base.errors import ArgumentError, CheckpointError, UnsafePathError
from enfold.weights.files import checkpoint_files, index_shards, open_checkpoint, save_tensors
from enfold.weights.safetensors_file import SafetensorsCheckpoint
from enfold.weights.sharding import ShardedCheckpoint

TENSORS = {f"layers.{i}.weight": torch.full((4, 5), float(i)) for i in range(6)}


@pytest.fixture
def sharded(tmp_path):
    save_tensors(TENSORS, tmp_path, max_shard_size=160)
    return tmp_path


def edit_index(folder, change):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin", "a.gguf"], {}, ["model.safetensors"]),
        (["pytorch_model.bin", "model.safetensors.index.json"], {}, ["model.safetensors.index.json"]),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"], {}, ["pytorch_model.bin.index.json"]),
        (["model.safetensors", "model.fp16.safetensors"], {"variant": "fp16"}, ["model.fp16.safetensors"]),
        (["model.safetensors.index.fp16.json"], {"variant": "fp16"}, ["model.safetensors.index.fp16.json"]),
        (["pytorch_model.fp16.bin", "model.safetensors"], {"variant": "fp16"}, ["pytorch_model.fp16.bin"]),
        (["model.safetensors"], {"variant": "fp16"}, []),
        (["a.gguf", "config.json"], {}, ["a.gguf"]),
        (["a.gguf", "b.gguf"], {"gguf_file": "b.gguf"}, ["b.gguf"]),
        (["model.safetensors", "a.gguf"], {"gguf_file": "a.gguf"}, ["a.gguf"]),
        (["a.gguf", "b.gguf", "model.safetensors"], {}, ["model.safetensors"]),
        (["onnx/model.safetensors", "sub/a.gguf", "tf_model.h5"], {}, []),
        ([], {}, []),
    ],
)
def test_checkpoint_files(names, options, expected):
    assert checkpoint_files(names, **options) == expected


def test_checkpoint_files_refuses_a_guess():
    with pytest.raises(CheckpointError, match=r"gguf_file= one of a\.gguf, b\.gguf"):
        checkpoint_files(["b.gguf", "a.gguf"])
    with pytest.raises(CheckpointError, match=r"no 'c\.gguf'.*a\.gguf"):
        checkpoint_files(["a.gguf"], gguf_file="c.gguf")
    with pytest.raises(ArgumentError, match="two checkpoints"):
        checkpoint_files(["a.gguf"], gguf_file="a.gguf", variant="fp16")
    for variant in ("", "../x", "a/b"):
        with pytest.raises(ArgumentError, match="variant"):
            checkpoint_files(["model.safetensors"], variant=variant)


def test_a_folder_a_file_an_index_and_lists(sharded):
    index = sharded / "model.safetensors.index.json"
    shards = [sharded / name for name in index_shards(index)]
    assert len(shards) == 3
    for source in (sharded, str(sharded), index, [index, *shards], shards, [index]):
        with open_checkpoint(source) as checkpoint:
            assert isinstance(checkpoint, ShardedCheckpoint)
            assert checkpoint.names() == list(TENSORS)
            assert len(checkpoint) == 6
            for name, tensor in TENSORS.items():
                out = torch.empty(4, 5)
                checkpoint.read_into(name, out)
                assert torch.equal(out, tensor)
                assert torch.equal(checkpoint.read(name), tensor)
                assert (checkpoint.shape(name), checkpoint.dtype(name)) == ((4, 5), torch.float32)
                assert checkpoint.is_mappable(name)
                assert not checkpoint.is_quantized(name)
            assert "layers.9.weight" not in checkpoint
            with pytest.raises(CheckpointError, match="no tensor"):
                checkpoint.read("layers.9.weight")
    with open_checkpoint(shards[0]) as one:
        assert isinstance(one, SafetensorsCheckpoint)


def test_variants_in_a_folder(tmp_path):
    save_tensors({"w": torch.zeros(2)}, tmp_path)
    save_tensors(
        {"w": torch.ones(2), "v": torch.ones(2)}, tmp_path, filename="model.fp16.safetensors", max_shard_size=8
    )
    assert (tmp_path / "model.safetensors.index.fp16.json").exists()
    with open_checkpoint(tmp_path) as plain, open_checkpoint(tmp_path, variant="fp16") as half:
        assert plain.read("w").sum() == 0
        assert half.read("w").sum() == 2
    with pytest.raises(CheckpointError, match=r"model\.bf16\.safetensors.*It has model\.safetensors: leave out"):
        open_checkpoint(tmp_path, variant="bf16")


def test_no_weights_names_what_was_looked_for_and_what_is_there(tmp_path):
    for name in ("config.json", "vocab.txt", "tf_model.h5"):
        (tmp_path / name).touch()
    (tmp_path / "onnx").mkdir()
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(tmp_path)
    message = str(refused.value)
    for part in (
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "*.gguf",
        "vocab.txt",
        "onnx/",
        "tf_model.h5 can",
    ):
        assert part in message
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no known format"):
        open_checkpoint(tmp_path / "tf_model.h5")
    with pytest.raises(ArgumentError, match="one checkpoint"):
        open_checkpoint([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds nothing"):
        open_checkpoint(tmp_path / "empty")


def test_a_missing_shard_is_named(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lists 3 shards, of which model-00002-of-00003\.safetensors is missing"):
        open_checkpoint(sharded)


def test_a_tensor_that_its_shard_lacks(sharded):
    def move(index):
        index["weight_map"]["layers.0.weight"] = "model-00003-of-00003.safetensors"

    edit_index(sharded, move)
    with pytest.raises(CheckpointError, match=r"'layers\.0\.weight' is in model-00003"):
        open_checkpoint(sharded)


def test_a_tensor_that_the_index_leaves_out_is_kept(sharded):
    edit_index(sharded, lambda index: index["weight_map"].pop("layers.1.weight"))
    with open_checkpoint(sharded) as checkpoint:
        assert sorted(checkpoint.names()) == sorted(TENSORS)
        assert checkpoint.read("layers.1.weight")[0, 0] == 1


def test_a_tensor_in_two_shards(sharded):
    save_file({"layers.0.weight": torch.zeros(1), "x": torch.zeros(1)}, sharded / "model-00003-of-00003.safetensors")
    edit_index(sharded, lambda index: [index["weight_map"].pop(f"layers.{i}.weight") for i in (4, 5)])
    edit_index(sharded, lambda index: index["weight_map"].update(x="model-00003-of-00003.safetensors"))
    with open_checkpoint(sharded) as checkpoint:  # the index says which one counts
        assert checkpoint.shape("layers.0.weight") == (4, 5)
    edit_index(sharded, lambda index: index["weight_map"].pop("layers.0.weight"))
    with pytest.raises(CheckpointError, match=r"both model-00001.* and model-00003.* hold 'layers\.0\.weight'"):
        open_checkpoint(sharded)
    with pytest.raises(CheckpointError, match="no index says"):
        open_checkpoint(sorted(sharded.glob("*.safetensors")))


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd", "a/../../b.safetensors", "C:\\x", ""])
def test_an_index_may_not_point_out_of_its_folder(sharded, name):
    edit_index(sharded, lambda index: index["weight_map"].update({"layers.0.weight": name}))
    with pytest.raises(UnsafePathError):
        open_checkpoint(sharded)
    with pytest.raises(UnsafePathError):
        index_shards(sharded / "model.safetensors.index.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"weight_map": []}',
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": 1}}',
        b"\xff\xfe",
        b'{"a":' * 100_000,
    ],
)
def test_a_torn_index(tmp_path, content):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="index"):
        open_checkpoint(tmp_path)
    os.truncate(path, 1 << 30)  # sparse
    with pytest.raises(CheckpointError, match="far too large"):
        open_checkpoint(tmp_path)


def test_a_torn_shard_closes_the_others(sharded):
    (sharded / "model-00003-of-00003.safetensors").write_bytes(b"torn")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CheckpointError, match="model-00003"):
        open_checkpoint(sharded)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_layout_of_a_hub_cache(sharded):
    """Snapshots are links to blobs whose names say nothing."""
    snapshot, blobs = sharded / "snapshots" / "abc", sharded / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(sharded.glob("model*"))):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    with open_checkpoint(snapshot) as checkpoint:
        assert checkpoint.read("layers.5.weight")[0, 0] == 5
