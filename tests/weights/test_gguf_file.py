"""The GGUF container: what the package's writer writes, and what nobody should."""

import os
import struct
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enfold.base.errors import ArgumentError, CheckpointError, MissingDependencyError
from enfold.weights.files import open_checkpoint
from enfold.weights.gguf_blocks import BLOCKS
from enfold.weights.gguf_file import PIECE_VALUES, GGUFCheckpoint

from .ggufs import (
    ARRAY,
    BOOL,
    F32,
    Q4_0,
    STRING,
    UINT32,
    by_hand,
    expanded,
    note,
    random_blocks,
    tensor,
    text,
    write_gguf,
)

PLAIN = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I8": np.int8, "I32": np.int32, "I64": np.int64}


def test_every_type(tmp_path):
    tensors, wanted = {}, {}
    for kind, item in PLAIN.items():
        array = (np.random.default_rng(1).standard_normal((3, 5)) * 9).astype(item)
        tensors[kind], wanted[kind] = (array, kind), torch.from_numpy(array)
    brain = torch.randn(3, 6).bfloat16()
    tensors["BF16"] = (brain.view(torch.uint8).numpy(), "BF16")
    wanted["BF16"] = brain
    for kind in BLOCKS:
        packed = random_blocks(kind, 3, 512)
        tensors[kind], wanted[kind] = (packed, kind), torch.from_numpy(expanded(packed, kind))
    path = write_gguf(tmp_path / "a.gguf", tensors)
    with GGUFCheckpoint(path) as checkpoint:
        assert checkpoint.names() == list(tensors)
        for name, value in wanted.items():
            quantized = name in BLOCKS
            assert checkpoint.shape(name) == tuple(value.shape)
            assert checkpoint.dtype(name) == value.dtype
            assert checkpoint.type_name(name) == name
            assert checkpoint.is_quantized(name) == quantized
            assert checkpoint.is_mappable(name) != quantized
            assert torch.equal(checkpoint.read(name), value)
            if value.is_floating_point():
                for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
                    turned = torch.empty(value.shape[::-1], dtype=dtype).t()
                    for out in (torch.empty(value.shape, dtype=dtype), turned):
                        checkpoint.read_into(name, out)
                        assert torch.equal(out, value.to(dtype))
        with pytest.raises(ArgumentError, match="can't hold"):
            checkpoint.read_into("Q4_1", torch.empty(3, 512, dtype=torch.int32))
        with pytest.raises(ArgumentError, match="shape"):
            checkpoint.read_into("Q4_1", torch.empty(512, 3))
        with pytest.raises(CheckpointError, match="no tensor"):
            checkpoint.read("Q4_9")


@pytest.mark.parametrize("kind", ["Q4_1", "Q6_K"])
@pytest.mark.parametrize("shape", [(1100, 768), (1, PIECE_VALUES * 4 + 256), (3, PIECE_VALUES + 512), (2, 5, 4, 256)])
def test_large_tensors_in_pieces_and_threads(tmp_path, kind, shape):
    rows = int(np.prod(shape[:-1]))
    packed = random_blocks(kind, rows, shape[-1])
    value = torch.from_numpy(expanded(packed, kind)).view(shape)
    path = write_gguf(tmp_path / "a.gguf", {"w": (packed.reshape(*shape[:-1], -1), kind)})
    with GGUFCheckpoint(path) as checkpoint:
        assert torch.equal(checkpoint.read("w"), value)
        for dtype in (torch.float32, torch.bfloat16):
            out = torch.zeros(*shape, 2, dtype=dtype)[..., 0]
            checkpoint.read_into("w", out)
            assert torch.equal(out, value.to(dtype))


def test_views_outlive_the_checkpoint_and_never_touch_the_file(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", {"w": (np.arange(6, dtype=np.float32).reshape(2, 3), "F32")})
    before = path.read_bytes()
    checkpoint = GGUFCheckpoint(path)
    view = checkpoint.read("w")
    checkpoint.close()
    view += 1
    assert view.sum() == 21
    assert path.read_bytes() == before
    with pytest.raises(CheckpointError, match="closed"):
        checkpoint.read_into("w", torch.empty(2, 3))


def test_fields(tmp_path):
    given = {
        "llama.context_length": 64,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "{{ messages }} ü",
        "tokenizer.ggml.tokens": ["a", "Ġthe", "", "名"] * 50,
        "tokenizer.ggml.scores": [0.5, -1.0],
        "tokenizer.ggml.token_type": [1, 3, -6],
        "flags": [True, False, True],
    }
    path = write_gguf(tmp_path / "a.gguf", {"w": (np.zeros(4, np.float32), "F32")}, given)
    with GGUFCheckpoint(path) as checkpoint:
        fields = checkpoint.fields
        assert fields.length("tokenizer.ggml.tokens") == 200
    assert dict(fields) == {"general.architecture": "llama", **given}
    for key, value in given.items():
        assert type(fields[key]) is type(value)
    assert type(fields["flags"][0]) is bool
    assert fields.length("tokenizer.ggml.tokens") == 200
    assert fields.get("nothing") is None
    assert checkpoint.metadata["tokenizer.chat_template"] == "{{ messages }} ü"


def test_a_large_vocabulary_opens_fast(tmp_path):
    tokens = [f"token{i}" for i in range(100_000)]
    path = write_gguf(tmp_path / "a.gguf", {"w": (np.zeros(4, np.float32), "F32")}, {"tokens": tokens})
    times = []
    for _ in range(3):
        start = time.perf_counter()
        with GGUFCheckpoint(path) as checkpoint:
            assert checkpoint.fields["tokens"] == tokens
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0  # the package alone takes several seconds


def test_a_type_that_can_not_be_expanded(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", {"odd": (np.zeros((2, 66), np.uint8), "IQ2_XXS")})
    with GGUFCheckpoint(path) as checkpoint:
        assert checkpoint.shape("odd") == (2, 256)
        for use in (checkpoint.read, lambda name: checkpoint.read_into(name, torch.empty(2, 256))):
            with pytest.raises(CheckpointError, match="'odd' is stored as IQ2_XXS"):
                use("odd")


HUGE = 2**60
DATA = bytes(256)
HOSTILE = {
    "tensor count": ({"tensors": [], "notes": [], "tensor_count": HUGE}, "claims more|whole GGUF"),
    "note count": ({"tensors": [], "notes": [], "kv_count": HUGE}, "claims more|whole GGUF"),
    "key length": ({"tensors": [], "notes": [struct.pack("<Q", 2**63) + b"abc"]}, "claims more"),
    "text length": ({"tensors": [], "notes": [note("a", STRING, struct.pack("<Q", 2**64 - 1))]}, "claims more"),
    "list of numbers": ({"tensors": [], "notes": [note("a", ARRAY, struct.pack("<IQ", UINT32, HUGE))]}, "claims more"),
    "list of texts": ({"tensors": [], "notes": [note("a", ARRAY, struct.pack("<IQ", STRING, HUGE))]}, "claims more"),
    "list of flags": ({"tensors": [], "notes": [note("a", ARRAY, struct.pack("<IQ", BOOL, HUGE))]}, "claims more"),
    "text in a list": (
        {"tensors": [], "notes": [note("a", ARRAY, struct.pack("<IQQ", STRING, 1, 2**63))]},
        "claims more|whole GGUF",
    ),
    "list of lists": ({"tensors": [], "notes": [note("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 50)]}, "list of ARRAY"),
    "unknown note type": ({"tensors": [], "notes": [note("a", 77, b"")]}, "77"),
    "key twice": ({"tensors": [], "notes": [note("a", UINT32, bytes(4))] * 2}, "Duplicate a"),
    "key not UTF-8": ({"tensors": [], "notes": [text(b"\xff") + struct.pack("<I", UINT32) + bytes(4)]}, "whole GGUF"),
    "alignment 0": ({"tensors": [], "notes": [note("general.alignment", UINT32, struct.pack("<I", 0))]}, "alignment"),
    "alignment 48": ({"tensors": [], "notes": [note("general.alignment", UINT32, struct.pack("<I", 48))]}, "alignment"),
    "version 1": ({"tensors": [], "notes": [], "version": 1}, "version 1"),
    "version 99": ({"tensors": [], "notes": [], "version": 99}, "version 99"),
    "rank": ({"notes": [], "tensors": [tensor("t", [1] * 5, F32, 0)]}, "at most 4"),
    "absurd rank": ({"notes": [], "tensors": [text("t") + struct.pack("<I", 2**32 - 1)]}, "claims more"),
    "product overflows": ({"notes": [], "tensors": [tensor("t", [2**33, 2**33], F32, 0)]}, "shape"),
    "product overflows to nothing": ({"notes": [], "tensors": [tensor("t", [2**32, 2**32], F32, 0)]}, "shape"),
    "empty with a huge side": ({"notes": [], "tensors": [tensor("t", [0, 2**63], F32, 0)]}, "shape"),
    "rows of broken blocks": ({"notes": [], "tensors": [tensor("t", [33, 2], Q4_0, 0)]}, "packs them by 32"),
    "past the end": ({"notes": [], "tensors": [tensor("t", [65], F32, 0)]}, "it is torn"),
    "offset past the end": ({"notes": [], "tensors": [tensor("t", [4], F32, 1 << 40)]}, "it is torn"),
    "offset that wraps": ({"notes": [], "tensors": [tensor("t", [4], F32, 2**64 - 32)]}, "it is torn"),
    "offset askew": ({"notes": [], "tensors": [tensor("t", [4], F32, 4)]}, "multiple of 32"),
    "overlap": (
        {"notes": [], "tensors": [tensor("a", [32], F32, 0), tensor("b", [4], F32, 96)]},
        "'a' and 'b' overlap",
    ),
    "tensor twice": ({"notes": [], "tensors": [tensor("a", [4], F32, 0), tensor("a", [4], F32, 32)]}, "twice"),
    "unknown type": ({"notes": [], "tensors": [tensor("a", [4], 9999, 0)]}, "9999"),
    "removed type": ({"notes": [], "tensors": [tensor("a", [4], 4, 0)]}, "type 4"),
    "name not UTF-8": (
        {"notes": [], "tensors": [text(b"\xff\xfe") + struct.pack("<IQIQ", 1, 4, F32, 0)]},
        "whole GGUF",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_containers_are_refused(tmp_path, case):
    parts, cause = HOSTILE[case]
    path = by_hand(tmp_path / "a.gguf", data=DATA, **parts)
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=cause) as refused:
        GGUFCheckpoint(path)
    assert str(path) in str(refused.value)
    assert time.perf_counter() - start < 2


def test_the_honest_file_by_hand_opens(tmp_path):
    tensors = [tensor("a", [8, 4], F32, 0), tensor("b", [4], F32, 128), tensor("none", [0], F32, 0)]
    data = np.arange(36, dtype=np.float32).tobytes()
    path = by_hand(tmp_path / "a.gguf", [note("k", STRING, text("v")), note("none", STRING, text(""))], tensors, data)
    with GGUFCheckpoint(path) as checkpoint:
        assert checkpoint.read("a").shape == (4, 8)
        assert checkpoint.read("b").tolist() == [32, 33, 34, 35]
        assert checkpoint.read("none").shape == (0,)
        assert dict(checkpoint.fields) == {"k": "v", "none": ""}


def test_text_that_is_not_utf8_in_a_list(tmp_path):
    value = struct.pack("<IQ", STRING, 1) + text(b"\xff")
    path = by_hand(tmp_path / "a.gguf", [note("tokens", ARRAY, value)], [])
    with GGUFCheckpoint(path) as checkpoint, pytest.raises(CheckpointError, match="tokens holds text"):
        checkpoint.fields["tokens"]


@pytest.mark.parametrize("content", [b"", b"GGU", b"GGUF", b"GGUF" + bytes(4), b"junkjunk" * 20, b"FUGG" + bytes(40)])
def test_no_gguf_file(tmp_path, content):
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.gguf"):
        open_checkpoint(tmp_path)


def test_big_endian_is_refused(tmp_path):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="big-endian"):
        GGUFCheckpoint(tmp_path / "a.gguf")


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    fields = {"llama.context_length": 64, "tokens": ["a", "bc", ""], "scores": [1.0, 2.0]}
    tensors = {"w": (random_blocks("Q4_1", 2, 64), "Q4_1"), "v": (np.ones(5, np.float32), "F32")}
    return write_gguf(tmp_path_factory.mktemp("honest") / "a.gguf", tensors, fields)


def use(path):
    with GGUFCheckpoint(path) as checkpoint:
        for name in checkpoint:
            checkpoint.read_into(name, torch.empty(checkpoint.shape(name), dtype=checkpoint.dtype(name)))
        return dict(checkpoint.fields)


def test_torn_anywhere(honest, tmp_path):
    whole = honest.read_bytes()
    path = tmp_path / "a.gguf"
    open_before = len(os.listdir("/proc/self/fd"))
    # The last tensor's padding belongs to nobody.
    for size in range(len(whole) - 32 - 20, -1, -5):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            use(path)
    # Hundreds of refusals, and hardly a file left open; other tests' files are theirs.
    assert len(os.listdir("/proc/self/fd")) < open_before + 20


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(honest, tmp_path_factory, data):
    damaged = bytearray(honest.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 8, 9, 127, 128, 255])))
    path = tmp_path_factory.mktemp("damaged") / "a.gguf"
    path.write_bytes(damaged)
    try:
        use(path)
    except CheckpointError:
        return


def test_without_the_package_the_extra_is_named(honest, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingDependencyError, match=r"enfold\[gguf\]"):
        open_checkpoint(honest)
