"""What is written into caches, and that nothing else is touched."""

import ctypes
import mmap
import sys

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.kernels import plain
from tests.nn.kernels.exact import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pairs", ["halves", "neighbours"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d", "R"), [(9, 3, 64, 64), (4, 1, 30, 20), (2, 2, 7, 0), (3, 1, 34, 34)]
)
def test_rope_store_equals_torch_bit_for_bit(level, native, dtype, heads, kv_heads, d, R, pairs):
    M, P, capacity, B = 5, 40, 12, 3
    qkv = torch.randn(M, (heads + 2 * kv_heads) * d).to(dtype)
    angles = torch.randn(P, R)  # of a pair's two elements each its own, so that none is taken for the other
    positions, slots = torch.tensor([0, 39, 7, 7, 3]), torch.tensor([11, 0, 4, 5, 6])
    sequences = torch.tensor([0, 2, 1, 1, 0])
    tables = [(angles.cos(), angles.sin()), (angles.cos().to(dtype), angles.sin().to(dtype))] if R else [(None, None)]
    for cos, sin in tables:
        for index in (positions, None):
            caches = [torch.randn(B, capacity, kv_heads, d).to(dtype).transpose(1, 2) for _ in "kv"]
            expected = [cache.clone() for cache in caches]
            native.clear()
            q = kernels.rope_store(qkv, cos, sin, *caches, slots, positions=index, sequences=sequences, pairs=pairs)
            assert native == ["rope_store"]
            q_expected = plain.rope_store(qkv, cos, sin, *expected, slots, index, sequences, pairs)
            assert torch.equal(q, q_expected)
            assert torch.equal(caches[0], expected[0])
            assert torch.equal(caches[1], expected[1])


def test_rope_store_checks_every_index_before_it_writes(level):
    qkv, cache = torch.randn(2, 3 * 8), torch.zeros(2, 1, 4, 8)
    table = torch.ones(6, 8)
    good = {"slots": torch.tensor([0, 3]), "positions": torch.tensor([0, 5]), "sequences": torch.tensor([1, 0])}
    for name, bad in [("slots", 4), ("slots", -1), ("positions", 6), ("sequences", 2)]:
        given = good | {name: torch.tensor([0, bad])}
        with pytest.raises(ArgumentError, match=name[:-1]):
            kernels.rope_store(qkv, table, table, cache, cache, **given)
    assert (cache == 0).all()
    with pytest.raises(ArgumentError, match="fit"):
        kernels.rope_store(qkv, table[:1], table[:1], cache, cache, good["slots"])


class Guarded:
    """Tensors that end exactly where readable memory ends: one element too far is a crash."""

    def __init__(self):
        self.kept = []

    def __call__(self, tensor):
        size, page = tensor.numel() * tensor.element_size(), mmap.PAGESIZE
        room = -(-size // page) * page
        area = mmap.mmap(-1, room + page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(address + room), ctypes.c_size_t(page), 0) == 0
        self.kept.append(area)
        placed = torch.frombuffer(area, dtype=torch.uint8, count=room)[room - size :].view(tensor.dtype)
        placed = placed.view(tensor.shape)
        return placed.copy_(tensor)


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_read_or_written_beyond_the_end(level, native, dtype):
    at_end = Guarded()
    for M, K, N in [(1, 37, 7), (5, 576, 9), (3, 5, 6)]:
        x, weight, bias = (at_end(torch.randn(size).to(dtype)) for size in ((M, K), (N, K), (N,)))
        kernels.linear(x, weight, bias)
        kernels.rms_norm(x, at_end(torch.randn(K).to(dtype)), 1e-5)
        kernels.layer_norm(
            x,
            at_end(torch.randn(K).to(dtype)),
            at_end(torch.randn(K).to(dtype)),
            1e-5,
            at_end(torch.randn(M, K).to(dtype)),
        )
        kernels.gated(at_end(torch.randn(M, 2 * K).to(dtype)), "gelu")
    kernels.add(*(at_end(torch.randn(33, 1001).to(dtype)) for _ in range(2)))
    for d in (5, 64, 33):
        k, v = at_end(torch.randn(1, 2, 9, d).to(dtype)), at_end(torch.randn(1, 2, 9, d).to(dtype))
        q = at_end(torch.randn(1, 4, d).to(dtype))
        kernels.attend_decode(q, k, v, torch.tensor([9]), 1.0, bias=at_end(torch.randn(4, 9)))
        rows = [at_end(torch.randn(7, heads, d).to(dtype)) for heads in (4, 2, 2)]
        kernels.attend_packed(*rows, torch.tensor([0, 7]), 1.0, bias=at_end(torch.randn(4, 13)))
        R = d // 2 * 2
        table = at_end(torch.randn(3, R).to(dtype))
        qkv = at_end(torch.randn(1, 8 * d).to(dtype))
        for pairs in ("halves", "neighbours"):
            kernels.rope_store(qkv, table, table, k, v, torch.tensor([8]), positions=torch.tensor([2]), pairs=pairs)
    every = {"linear", "add", "rms_norm", "layer_norm", "gated", "attend_decode", "attend_packed", "rope_store"}
    assert set(native) == every
