"""Attention, against float64."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.kernels import dispatch, plain
from tests.nn.kernels.exact import DTYPES, close


def exact_attention(q, k, v, lengths, scale, bias=None, starts=None, softcap=None):
    out = torch.zeros(q.shape, dtype=torch.float64)
    for b in range(q.shape[0]):
        first, last = 0 if starts is None else int(starts[b]), int(lengths[b])
        if last <= first:
            continue
        for h in range(q.shape[1]):
            g = h // (q.shape[1] // k.shape[1])
            scores = k[b, g, first:last].double() @ q[b, h].double() * scale
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            if bias is not None:
                scores = scores + (bias[b, h] if bias.dim() == 3 else bias[h])[first:last].double()
            out[b, h] = scores.softmax(0) @ v[b, g, first:last].double()
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"), [(9, 3, 64), (12, 12, 32), (4, 2, 80), (7, 1, 37), (2, 1, 256), (5, 5, 1)]
)
def test_attend_decode_equals_float64(level, native, dtype, heads, kv_heads, d):
    lengths = torch.tensor([1, 160, 0, 513, 7, 1030])
    B, capacity = len(lengths), 1100
    q = torch.randn(B, heads, d).to(dtype)
    k, v = torch.randn(B, kv_heads, capacity, d).to(dtype), torch.randn(B, kv_heads, capacity, d).to(dtype)
    for b, length in enumerate(lengths):  # memory behind the keys was never written
        k[b, :, length:] = float("nan")
        v[b, :, length:] = float("nan")
    ours = kernels.attend_decode(q, k, v, lengths, d**-0.5)
    assert native == ["attend_decode"]
    close(ours, exact_attention(q, k, v, lengths, d**-0.5), dtype, torch.tensor(1.0))


def test_attend_decode_with_bias_window_and_softcap(level, native):
    lengths, starts = torch.tensor([5, 900, 40]), torch.tensor([2, 300, 40])
    q, k, v = torch.randn(3, 4, 24), torch.randn(3, 2, 1000, 24), torch.randn(3, 2, 1000, 24)
    for bias in (torch.randn(4, 900), torch.randn(3, 4, 1000)):
        bias[..., ::7] = float("-inf")
        ours = kernels.attend_decode(q, k, v, lengths, 0.3, bias=bias, starts=starts, softcap=5.0)
        exact = exact_attention(q, k, v, lengths, 0.3, bias, starts, 5.0)
        close(ours, exact, torch.float32, torch.tensor(2.0))
    assert native == ["attend_decode"] * 2


def test_attend_decode_with_sinks(level, native):
    """A sink is a key whose score is given and whose value is zero, whatever the number of runs of keys."""
    for keys, sinks in ((9, torch.randn(6)), (1300, torch.full((6,), 7.0)), (1300, torch.full((6,), 300.0))):
        q, k, v = torch.randn(2, 6, 32), torch.randn(2, 3, keys, 32), torch.randn(2, 3, keys, 32)
        lengths = torch.tensor([keys, keys // 2])
        scores = torch.einsum("bhd,bhkd->bhk", q, k.repeat_interleave(2, 1)) * 0.3
        seen = torch.arange(keys) < lengths[:, None]
        scores = scores.masked_fill(~seen[:, None], float("-inf")).double()
        weights = torch.cat([scores, sinks.double().view(-1, 1).expand(2, 6, 1)], -1).softmax(-1)[..., :-1]
        exact = torch.einsum("bhk,bhkd->bhd", weights, v.repeat_interleave(2, 1).double())
        ours = kernels.attend_decode(q, k, v, lengths, 0.3, sinks=sinks)
        assert (ours - exact).abs().max() <= 1e-5 * exact.abs().max() + 1e-12
    assert native == ["attend_decode"] * 3


def test_attend_decode_reads_strided_queries_and_caches(level, native):
    fused = torch.randn(2, (6 + 4) * 16)
    q = fused[:, : 6 * 16].view(2, 6, 16)
    storage = torch.randn(2, 50, 2, 2, 16)  # [B, capacity, k or v, Hkv, d]
    k, v = storage[:, :, 0].transpose(1, 2), storage[:, :, 1].transpose(1, 2)
    lengths = torch.tensor([50, 9])
    ours = kernels.attend_decode(q, k, v, lengths, 0.25)
    assert native == ["attend_decode"]
    close(ours, exact_attention(q, k, v, lengths, 0.25), torch.float32, torch.tensor(1.0))


def test_a_score_that_is_not_finite_behaves_as_in_softmax(level):
    q, k, v = torch.ones(4, 1, 8), torch.randn(4, 1, 6, 8), torch.randn(4, 1, 6, 8)
    k[0, 0, 2] = float("nan")
    k[1, 0, 3] = -float("inf")
    k[2, 0, 1] = float("inf")
    k[3] = -float("inf")
    ours = kernels.attend_decode(q, k, v, torch.tensor([6, 6, 6, 6]), 1.0)
    assert ours[0].isnan().all()
    kept = [0, 1, 2, 4, 5]
    expected = (k[1, 0, kept].double().sum(1).softmax(0) @ v[1, 0, kept].double())[None]
    close(ours[1], expected, torch.float32, torch.tensor(1.0))
    assert ours[2].isnan().all()
    assert (ours[3] == 0).all()


def test_attend_decode_refuses_lengths_beyond_the_cache(level):
    q, k = torch.randn(2, 2, 8), torch.randn(2, 2, 10, 8)
    for lengths in ([3, 11], [-1, 2]):
        with pytest.raises(ArgumentError, match="10 keys"):
            kernels.attend_decode(q, k, k, torch.tensor(lengths), 1.0)
    with pytest.raises(ArgumentError, match="7 keys"):
        kernels.attend_decode(q, k, k, torch.tensor([3, 8]), 1.0, bias=torch.zeros(2, 7))
    with pytest.raises(ArgumentError, match="fit"):
        kernels.attend_decode(q, k[:1], k[:1], torch.tensor([3, 8]), 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(12, 12, 32), (6, 2, 64), (3, 1, 37), (2, 2, 80), (1, 1, 256)])
def test_attend_packed_equals_float64(level, native, dtype, heads, kv_heads, d):
    lengths = [5, 1, 0, 64, 70, 3, 131, 16]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    N = int(offsets[-1])
    fused = torch.randn(N, heads + 2 * kv_heads, d).to(dtype)
    q, k, v = fused.split([heads, kv_heads, kv_heads], 1)
    bias, by_place = torch.randn(heads, 279), torch.randn(heads, 1, 150).expand(-1, 140, -1)
    for given, causal in [(None, False), (None, True), (bias, False), (bias, True), (by_place, True)]:
        native.clear()
        ours = kernels.attend_packed(q, k, v, offsets, d**-0.5, bias=given, causal=causal)
        assert native == ["attend_packed"]
        wide = None if given is None else given.double()
        exact = plain.attend_packed(q.double(), k.double(), v.double(), offsets, d**-0.5, wide, causal)
        close(ours, exact, dtype, torch.tensor(1.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(4, 4, 32), (6, 2, 37)])
@pytest.mark.parametrize("window", [1, 2, 7, 33, 64, 500])
def test_windows_caps_and_sinks_of_packed_attention(level, native, dtype, heads, kv_heads, d, window):
    lengths = [5, 1, 0, 64, 70, 3, 131, 16]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    q, k, v = torch.randn(int(offsets[-1]), heads + 2 * kv_heads, d).to(dtype).split([heads, kv_heads, kv_heads], 1)
    bias, sinks = torch.randn(heads, 261), torch.randn(heads)
    for causal in (False, True):
        for extra in ({}, {"bias": bias}, {"softcap": 3.0, "sinks": sinks}):
            ours = kernels.attend_packed(q, k, v, offsets, d**-0.5, causal=causal, window=window, **extra)
            assert native.pop() == "attend_packed"
            wide = {name: value.double() if isinstance(value, torch.Tensor) else value for name, value in extra.items()}
            given = {"bias": None} | wide | {"causal": causal, "window": window}
            exact = plain.attend_packed(q.double(), k.double(), v.double(), offsets, d**-0.5, **given)
            close(ours, exact, dtype, torch.tensor(1.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 1, 6, 40])
def test_packed_attention_over_a_cache(level, native, dtype, window):
    new, every = [3, 1, 0, 40, 7], [9, 1, 4, 40, 70]
    offsets, lengths = torch.tensor([0, *new]).cumsum(0), torch.tensor(every)
    q = torch.randn(int(offsets[-1]), 6, 32).to(dtype)
    k, v = torch.full((2, 5, 2, 80, 32), float("nan")).to(dtype).unbind(0)
    for b, length in enumerate(every):
        k[b, :, :length], v[b, :, :length] = torch.randn(2, 2, length, 32).to(dtype)
    ours = kernels.attend_packed(q, k, v, offsets, 0.2, causal=True, window=window, lengths=lengths)
    assert native == ["attend_packed"]
    exact = plain.attend_packed(q.double(), k.double(), v.double(), offsets, 0.2, None, True, window, lengths=lengths)
    close(ours, exact, dtype, torch.tensor(1.0))
    for wrong in ([2, 1, 4, 40, 70], [9, 1, 4, 40, 81]):
        with pytest.raises(ArgumentError, match="between the sequence's rows and 80"):
            kernels.attend_packed(q, k, v, offsets, 0.2, causal=True, lengths=torch.tensor(wrong))
    with pytest.raises(ArgumentError, match="window=0"):
        kernels.attend_packed(q, k, v, offsets, 0.2, causal=True, window=0, lengths=lengths)


def test_sequences_in_one_packing_do_not_touch(level):
    q, k, v = torch.randn(3, 40, 4, 16).unbind(0)
    offsets = torch.tensor([0, 7, 19, 40])
    whole = kernels.attend_packed(q, k, v, offsets, 0.25)
    k[7:19], v[7:19] = float("nan"), float("inf")
    spoiled = kernels.attend_packed(q, k, v, offsets, 0.25)
    assert spoiled[7:19].isnan().all()
    assert torch.equal(spoiled[:7], whole[:7])
    assert torch.equal(spoiled[19:], whole[19:])
    alone = kernels.attend_packed(q[19:], k[19:], v[19:], torch.tensor([0, 21]), 0.25)
    assert torch.equal(alone, whole[19:])


def test_attend_packed_refuses_offsets_that_are_no_cut(level, monkeypatch):
    q = torch.randn(6, 2, 8)
    for _ in range(2):
        for offsets in ([0, 7], [1, 6], [0, 4, 3, 6], [0, 5]):
            with pytest.raises(ArgumentError, match="offsets"):
                kernels.attend_packed(q, q, q, torch.tensor(offsets), 1.0)
        with pytest.raises(ArgumentError, match="at most 5"):
            kernels.attend_packed(q, q, q, torch.tensor([0, 6]), 1.0, bias=torch.zeros(2, 9))
        monkeypatch.setattr(dispatch, "_enabled", False)
    with pytest.raises(ArgumentError, match="fit"):
        kernels.attend_packed(q, q[:5], q[:5], torch.tensor([0, 6]), 1.0)
    with pytest.raises(ArgumentError, match="fit"):
        kernels.attend_packed(q, q, q, torch.tensor([0, 6]), 1.0, bias=torch.zeros(2, 12))


def test_biases_by_distance_are_those_between_places():
    q, offsets = torch.randn(11, 2, 8), torch.tensor([0, 4, 11])
    bias = torch.randn(2, 13)  # the middle is distance 0
    ours = kernels.attend_packed(q, q, q, offsets, 0.3, bias=bias)
    for first, end in ((0, 4), (4, 11)):
        one = q[first:end].transpose(0, 1)
        places = torch.arange(end - first)
        added = bias[:, 6 + places - places[:, None]]  # key minus query
        exact = (one @ one.mT * 0.3 + added).softmax(-1) @ one
        torch.testing.assert_close(ours[first:end], exact.transpose(0, 1))
