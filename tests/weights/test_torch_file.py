"""Legacy pickles: read without running anything."""

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch

from enfold.base.errors import CheckpointError
from enfold.weights.files import open_checkpoint
from enfold.weights.torch_file import TorchCheckpoint

from .raw import bits

base = torch.arange(24.0)
TENSORS = OrderedDict(
    a=torch.randn(5, 7),
    half=torch.randn(3).bfloat16(),
    scalar=torch.tensor(3, dtype=torch.int64),
    none=torch.empty(0, 2),
    whole=base,
    view=base[8:16].view(2, 4),
    turned=base.view(4, 6).t(),
    parameter=torch.nn.Parameter(torch.ones(2)),
    flags=torch.tensor([True, False]),
)


@pytest.fixture(params=["zip", "old"])
def path(request, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


def test_reads_both_formats(path):
    with open_checkpoint(path.parent) as checkpoint:
        assert isinstance(checkpoint, TorchCheckpoint)
        assert checkpoint.names() == list(TENSORS)
        for name, tensor in TENSORS.items():
            assert bits(checkpoint.read(name)) == bits(tensor)
            assert not checkpoint.read(name).requires_grad
            out = torch.empty(tensor.shape, dtype=tensor.dtype)
            checkpoint.read_into(name, out)
            assert bits(out) == bits(tensor)
        half = torch.empty(7, 5, dtype=torch.bfloat16).t()
        checkpoint.read_into("a", half)
        assert torch.equal(half, TENSORS["a"].bfloat16())


def test_shared_tensors_stay_shared(path):
    checkpoint = open_checkpoint(path)
    whole, view = checkpoint.read("whole"), checkpoint.read("view")
    checkpoint.close()
    del checkpoint
    assert whole.untyped_storage().data_ptr() == view.untyped_storage().data_ptr()
    whole[8] = 99
    assert view[0, 0] == 99


def test_writing_changes_neither_the_file_nor_what_is_read_into(path):
    before = path.read_bytes()
    with open_checkpoint(path) as checkpoint:
        view = checkpoint.read("a")
        view.zero_()
        if checkpoint.is_mappable("a"):
            out = torch.empty(5, 7)
            checkpoint.read_into("a", out)
            assert torch.equal(out, TENSORS["a"])
        assert view.sum() == 0
    assert path.read_bytes() == before


def test_large_tensors_cross_pieces(tmp_path):
    tensor = torch.randn(301, 1009)
    torch.save({"w": tensor, "t": tensor.t()}, tmp_path / "pytorch_model.bin")
    with open_checkpoint(tmp_path) as checkpoint:
        for name, wanted in (("w", tensor), ("t", tensor.t())):
            for dtype in (torch.float32, torch.float16):
                out = torch.empty(wanted.shape, dtype=dtype)
                checkpoint.read_into(name, out)
                assert torch.equal(out, wanted.to(dtype))


def test_sharded(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    weight_map = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.names() == ["a", "b"]
        assert checkpoint.read("b").shape == (3,)


class Hostile:
    def __init__(self, mark, call=os.system):
        self.mark, self.call = mark, call

    def __reduce__(self):
        return self.call, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_is_run(tmp_path, zipped, protocol):
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "mark"
    content = {"a": torch.ones(2), "b": Hostile(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match="convert it to safetensors") as refused:
        open_checkpoint(path)
    assert "asks for posix.system" in str(refused.value)
    assert not mark.exists()
    assert torch.load(path, weights_only=False)["a"].sum() == 2  # the file would have done it
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Hostile("mark")), pickle.dumps({"a": 1}), b"", b"\x80", b"PK\x03\x04" + bytes(60), b"junk" * 99],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_torch_file(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        open_checkpoint(path)
    assert os.listdir(tmp_path) == ["pytorch_model.bin"]


def test_a_torn_file(path):
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            open_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict': dict"),
        ({"a": torch.ones(1), "epoch": 3}, "'epoch': int"),
        ({0: torch.ones(1)}, "0: Tensor"),
        ([torch.ones(1)], "a list"),
        (torch.ones(1), "a Tensor"),
        ({"a": torch.ones(2, 2).to_sparse()}, "sparse"),
    ],
)
def test_no_flat_state_dict(tmp_path, content, cause):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=cause):
        open_checkpoint(tmp_path)


def test_a_compressed_archive_is_refused(tmp_path):
    """A map would show its compressed bytes as weights."""
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    with pytest.raises(CheckpointError, match="compressed"):
        open_checkpoint(path)


def test_a_tensor_larger_than_its_storage(tmp_path):
    """The pickle of a zip file claims more numbers than the file holds."""
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            claim = data.replace(b"M" + struct.pack("<H", 1000), b"J" + struct.pack("<i", 2**31 - 1))
            archive.writestr(name, claim)
    with pytest.raises(CheckpointError):
        open_checkpoint(path).read("a").sum()
