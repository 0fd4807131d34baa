"""Reading one safetensors file, beside the safetensors package."""

import gc
import os
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from enfold.base.errors import ArgumentError, CheckpointError
from enfold.weights.files import open_checkpoint
from enfold.weights.safetensors_file import DTYPES, MAX_RANK, SafetensorsCheckpoint

from .raw import bits, entry, write_raw


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    count = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (count,), dtype=torch.uint8)
    return raw.view(dtype).view(shape)


@st.composite
def tensor_sets(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=12), min_size=0, max_size=6, unique=True))
    shape = st.lists(st.integers(0, 5), max_size=4)
    found = {}
    for name in names:
        if name == "__metadata__":
            continue
        dtype, dims = draw(st.sampled_from(list(DTYPES.values()))), tuple(draw(shape))
        if dtype == torch.float4_e2m1fn_x2 and not dims:
            dims = (3,)
        found[name] = random_tensor(dtype, dims)
    return found


@settings(max_examples=80, deadline=None)
@given(tensor_sets(), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_reads_what_the_package_writes(tmp_path_factory, tensors, notes):
    path = tmp_path_factory.mktemp("theirs") / "model.safetensors"
    save_file(tensors, path, metadata=notes or None)
    with SafetensorsCheckpoint(path) as checkpoint, safe_open(path, "pt") as theirs:
        assert sorted(checkpoint.names()) == sorted(tensors) == sorted(theirs.keys())
        assert checkpoint.metadata == notes
        for name, tensor in tensors.items():
            assert checkpoint.shape(name) == tuple(tensor.shape)
            assert checkpoint.dtype(name) == tensor.dtype
            assert bits(checkpoint.read(name)) == bits(tensor) == bits(theirs.get_tensor(name))
            out = torch.empty(tensor.shape, dtype=tensor.dtype)
            checkpoint.read_into(name, out)
            assert bits(out) == bits(tensor)


@pytest.fixture
def one(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.arange(12.0).view(3, 4), "scalar": torch.tensor(2.5), "none": torch.empty(2, 0)}, path)
    return path


def test_views_outlive_the_checkpoint(one):
    checkpoint = open_checkpoint(one)
    view, part = checkpoint.read("w"), checkpoint.read("w")[1]
    assert checkpoint.is_mappable("w")
    checkpoint.close()
    del checkpoint
    gc.collect()
    one.unlink()
    assert view.sum() == 66
    del view
    gc.collect()
    assert part.tolist() == [4, 5, 6, 7]


def test_writing_to_a_view_never_touches_the_file(one):
    before = one.read_bytes()
    checkpoint = open_checkpoint(one)
    view = checkpoint.read("w").requires_grad_(False)
    view.fill_(-1)
    assert one.read_bytes() == before
    out = torch.empty(3, 4)
    checkpoint.read_into("w", out)
    assert out.sum() == 66
    with open_checkpoint(one) as again:
        assert again.read("w").sum() == 66


def test_no_file_stays_open(one):
    def handles():
        return len(os.listdir("/proc/self/fd"))

    before = handles()
    for _ in range(20):
        checkpoint = open_checkpoint(one)
        checkpoint.read("w")
        out = torch.empty(3, 4)
        checkpoint.read_into("w", out)
        del checkpoint
    torn = write_raw(one.parent / "torn.safetensors", "{")
    for _ in range(20):
        with pytest.raises(CheckpointError):
            open_checkpoint(torn)
    gc.collect()
    assert handles() == before


def test_a_closed_checkpoint_says_so(one):
    with open_checkpoint(one) as checkpoint:
        pass
    for use in (checkpoint.read, lambda name: checkpoint.read_into(name, torch.empty(3, 4))):
        with pytest.raises(CheckpointError, match="closed"):
            use("w")


@pytest.mark.parametrize("stored", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_read_into_converts_between_floats(tmp_path, stored, wanted):
    # Larger than one piece, so that the cut between pieces is crossed; odd sizes, so that it falls inside a row.
    tensor = torch.randn(37, 2003).to(stored)
    save_file({"w": tensor}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        out = torch.empty(tensor.shape, dtype=wanted)
        checkpoint.read_into("w", out)
        assert bits(out) == bits(tensor.to(wanted))


@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(70_001,), (3, 70_001), (701, 211), (2, 3, 5, 7), (1, 1), (0, 4), ()])
def test_read_into_any_strides(tmp_path, shape, wanted):
    tensor = torch.randn(shape)
    save_file({"w": tensor}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        reverse = list(range(len(shape)))[::-1]
        transposed = torch.empty(shape[::-1], dtype=wanted).permute(reverse)
        gappy = torch.zeros(*shape, 2, dtype=wanted)[..., 1]
        parameter = torch.nn.Parameter(torch.empty(shape, dtype=wanted))
        for out in (transposed, gappy, parameter):
            checkpoint.read_into("w", out)
            assert torch.equal(out.detach(), tensor.to(wanted))


@pytest.mark.parametrize("stored", [torch.float8_e8m0fnu, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz])
def test_scales_and_foreign_eighths_widen(tmp_path, stored):
    tensor = random_tensor(stored, (40, 7))
    save_file({"w": tensor}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        out = torch.empty(40, 7)
        checkpoint.read_into("w", out)
    assert bits(out) == bits(tensor.float())


def test_read_into_refuses_what_would_lose_the_kind(tmp_path):
    kinds = {"f": torch.float32, "i": torch.int64, "c": torch.complex64, "b": torch.bool, "u": torch.uint8}
    save_file({name: torch.ones(4, dtype=dtype) for name, dtype in kinds.items()}, tmp_path / "a.safetensors")
    with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
        for name, wanted in [
            ("f", torch.int64),
            ("f", torch.complex64),
            ("i", torch.float32),
            ("i", torch.int32),
            ("c", torch.float32),
            ("b", torch.float32),
            ("f", torch.bool),
        ]:
            with pytest.raises(ArgumentError, match="can't hold"):
                checkpoint.read_into(name, torch.zeros(4, dtype=wanted))
        with pytest.raises(ArgumentError, match=r"\(4,\).*\(2, 2\)"):
            checkpoint.read_into("f", torch.zeros(2, 2))
        with pytest.raises(ArgumentError, match="meta"):
            checkpoint.read_into("f", torch.zeros(4, device="meta"))
        wide = torch.zeros(4, dtype=torch.int64)
        checkpoint.read_into("u", wide)
        assert wide.tolist() == [1] * 4


def test_an_unknown_name_gets_the_nearest(one):
    with open_checkpoint(one) as checkpoint, pytest.raises(CheckpointError, match="did you mean 'scalar'"):
        checkpoint.read("scaler")


def test_an_unaligned_tensor_is_copied(tmp_path):
    header = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += " " * (-(len(header) + 8) % 4 + 1)
    path = write_raw(tmp_path / "a.safetensors", header, torch.tensor([1.5, -2.0]).numpy().tobytes())
    with open_checkpoint(path) as checkpoint:
        assert not checkpoint.is_mappable("a")
        assert checkpoint.read("a").tolist() == [1.5, -2.0]


def test_a_file_cut_after_opening(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(100_000)}, path)
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 4096)
        with pytest.raises(CheckpointError, match="cut short"):
            checkpoint.read_into("w", torch.empty(100_000))


def test_opening_takes_about_a_millisecond(tmp_path):
    names = [f"model.layers.{i}.part{j}.weight" for i in range(30) for j in range(9)]
    save_file({name: torch.zeros(8, 8) for name in names}, tmp_path / "a.safetensors")
    times = []
    for _ in range(20):
        start = time.perf_counter()
        open_checkpoint(tmp_path / "a.safetensors").close()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01


HOSTILE = {
    "begin past end": ({"a": entry(8, 4, [1])}, 8, "data_offsets"),
    "negative begin": ({"a": entry(-4, 0, [1])}, 8, "data_offsets"),
    "end past the file": ({"a": entry(0, 12, [3])}, 8, "data_offsets"),
    "end absurd": ({"a": entry(0, 2**64, [2**62])}, 8, "data_offsets"),
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12, "overlaps"),
    "same range twice": ({"a": entry(0, 8, [2]), "b": entry(0, 8, [2])}, 8, "overlaps"),
    "hole": ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, 12, "4 bytes unused"),
    "hole at the start": ({"a": entry(4, 8, [1])}, 8, "4 bytes unused"),
    "bytes left over": ({"a": entry(0, 4, [1])}, 8, "belong to no tensor"),
    "shape too small": ({"a": entry(0, 8, [1])}, 8, "takes 4"),
    "shape too large": ({"a": entry(0, 8, [3])}, 8, "takes 12"),
    "negative shape": ({"a": entry(0, 8, [-1, -2])}, 8, "shape"),
    "product overflows": ({"a": entry(0, 8, [2**32, 2**32, 2])}, 8, "more than any memory"),
    "product overflows to the right size": ({"a": entry(0, 8, [2**62 + 1, 2])}, 8, "more than any memory"),
    "dimension of 2^64": ({"a": entry(0, 8, [2**64])}, 8, "shape"),
    "empty with strides that overflow": ({"a": entry(0, 0, [2**62, 2**62, 0])}, 0, "more than any memory"),
    "absurd rank": ({"a": entry(0, 4, [1] * (MAX_RANK + 1))}, 4, "shape"),
    "fractional shape": ({"a": entry(0, 8, [2.0])}, 8, "shape"),
    "boolean shape": ({"a": entry(0, 4, [True])}, 4, "shape"),
    "shape no list": ({"a": entry(0, 8, "2")}, 8, "shape"),
    "text offsets": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": "08"}}, 8, "data_offsets"),
    "three offsets": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}, 8, "data_offsets"),
    "unknown dtype": ({"a": entry(0, 8, [2], "F33")}, 8, "'F33'"),
    "dtype without torch": ({"a": entry(0, 6, [8], "F6_E2M3")}, 6, "F6_E2M3"),
    "dtype no text": ({"a": entry(0, 8, [2], ["F32"])}, 8, "dtype"),
    "F4 odd": ({"a": entry(0, 1, [1], "F4")}, 1, "pairs"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8, "must have dtype"),
    "entry no object": ({"a": [0, 8]}, 8, "must have dtype"),
    "notes of numbers": ({"__metadata__": {"a": 1}}, 0, "text to text"),
    "notes no object": ({"__metadata__": []}, 0, "text to text"),
    "half a surrogate": ('{"\\ud800": {"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4, "surrogate"),
    "a tensor twice": ('{"a": {"dtype":"U8","shape":[0],"data_offsets":[0,0]}, "a": 1}', 0, "'a' twice"),
    "a key twice": ('{"a": {"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0, "'dtype' twice"),
    "notes twice": ('{"__metadata__": {}, "__metadata__": {}}', 0, "twice"),
    "not UTF-8": (b'{"\xff": 1}', 0, "UTF-8"),
    "not JSON": ('{"a": ', 0, "not JSON"),
    "no object": ("[1, 2, 3]", 0, "JSON object"),
    "space before": ("  {}", 0, "JSON object"),
    "text after": ("{} {}", 0, "not JSON"),
    "too deep": ('{"a":' * 100_000, 0, "not JSON"),
    "endless number": ('{"a":' + "1" * 10_000 + "}", 0, "not JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path, case):
    header, size, cause = HOSTILE[case]
    path = write_raw(tmp_path / "model.safetensors", header, bytes(size))
    with pytest.raises(CheckpointError, match=cause) as refused:
        SafetensorsCheckpoint(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 1200
    # Refused here alone: what the package takes the last of, ranks without limit, and a space that the format forbids.
    ours_alone = case in ("space before", "a tensor twice", "a key twice", "notes twice", "absurd rank")
    assert ours_alone or not package_reads(path)


def package_reads(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as theirs:
            for name in list(theirs.keys()):
                theirs.get_tensor(name)
    except (SafetensorError, RuntimeError, TypeError, UnicodeEncodeError):
        return False
    return True


@pytest.mark.parametrize(
    ("length", "cause"),
    [(2**63, "beyond"), (100 * 10**9, "beyond the file"), (100_000_001, "header of 100000001"), (3, "JSON object")],
)
def test_the_header_length_is_not_believed(tmp_path, length, cause):
    path = write_raw(tmp_path / "model.safetensors", "  {}" + " " * 100, length=length)
    with pytest.raises(CheckpointError, match=cause):
        SafetensorsCheckpoint(path)


def test_a_header_over_100_mb_is_refused_though_it_is_there(tmp_path):
    path = write_raw(tmp_path / "model.safetensors", "{}", length=100_000_001)
    os.truncate(path, 200_000_000)  # sparse
    with pytest.raises(CheckpointError, match="100 MB"):
        SafetensorsCheckpoint(path)


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0{", b"{}", bytes(8)])
def test_too_short(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="too short"):
        SafetensorsCheckpoint(tmp_path / "model.safetensors")


def test_a_git_lfs_pointer_is_named(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(pointer)
        with pytest.raises(CheckpointError, match="git lfs pull"):
            open_checkpoint(tmp_path / name)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="regular"):
        SafetensorsCheckpoint(tmp_path / "model.safetensors")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_package_refuses_is_refused(tmp_path_factory, data):
    """A damaged file is either refused, or read exactly as the package reads it."""
    good = save({"a": torch.arange(4.0), "b": torch.ones(2, 3, dtype=torch.int16), "c": torch.empty(0)}, {"k": "v"})
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'0123456789"{}[],:')))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    path.write_bytes(damaged)
    try:
        checkpoint = SafetensorsCheckpoint(path)
    except CheckpointError:
        return
    with checkpoint, safe_open(path, "pt") as theirs:
        assert sorted(checkpoint.names()) == sorted(theirs.keys())
        for name in checkpoint:
            assert bits(checkpoint.read(name)) == bits(theirs.get_tensor(name))
