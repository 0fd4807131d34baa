"""The native kernels against float64 torch, at every instruction set that this processor runs."""

import ctypes
import functools
import mmap
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from enfold.base.errors import ArgumentError
from enfold.nn import _kernels, kernels
from enfold.nn.kernels import dispatch, plain

EPS = {torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}
DTYPES = list(EPS)


def levels():
    found = []
    for name in ("baseline", "avx2", "avx512", "avx512_bf16"):
        try:
            kernels.use(name)
        except ArgumentError:
            continue
        found.append(name)
    kernels.use(None)
    return found


@pytest.fixture(params=levels())
def level(request, monkeypatch):
    kernels.use(request.param)
    for dtype in DTYPES:  # every number of rows runs natively here, whatever is fastest
        monkeypatch.setitem(dispatch.ROWS, dtype, 1 << 60)
    yield request.param
    kernels.use(None)


@pytest.fixture(autouse=True)
def inference():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def native(monkeypatch):
    """Names of the kernels that ran, so that a test can't pass on the fallback by accident."""
    called = []
    for name in (
        "linear",
        "attend_decode",
        "attend_packed",
        "add",
        "rms_norm",
        "layer_norm",
        "gated",
        "rope_store",
        "selective_scan",
    ):
        monkeypatch.setattr(_kernels, name, functools.partial(watch, called, name, getattr(_kernels, name)))
    return called


def watch(called, name, kernel, *args):
    called.append(name)
    return kernel(*args)


def close(ours, exact, dtype, scale=None):
    """Within rounding of the exact value; `scale` is what was added up on the way."""
    scale = exact.abs() if scale is None else scale
    error = (ours.double() - exact).abs()
    assert (error <= EPS[dtype] * (scale + exact.abs()) + 1e-7).all(), (error / (scale + 1e-30)).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_equals_float64(level, native, dtype):
    for M, K, N in [
        *((M, 67, 13) for M in range(41)),
        (1, 1, 1),
        (3, 576, 64),
        (5, 31, 9),
        (16, 33, 4),
        (2, 5, 1),
        (70, 16, 130),
        (9, 0, 3),
        (2, 4100, 37),
        (1, 576, 3000),
    ]:
        x, weight = torch.randn(M, K).to(dtype), torch.randn(N, K).to(dtype)
        bias = torch.randn(N).to(dtype) if M % 2 else None
        native.clear()
        ours = kernels.linear(x, weight, bias)
        assert native == ["linear"]
        assert ours.shape == (M, N)
        assert ours.dtype == dtype
        exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
        close(ours, exact, dtype, 0.2 * x.double().abs() @ weight.double().abs().T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
def test_linear_with_activation_rounds_as_two_operations(level, native, dtype, activation):
    x, weight, bias = torch.randn(7, 40).to(dtype), torch.randn(21, 40).to(dtype), torch.randn(21).to(dtype)
    ours = kernels.linear(x, weight, bias, activation)
    assert native == ["linear"]
    close(ours, plain.activate(kernels.linear(x, weight, bias).double(), activation), dtype, torch.tensor(1.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_depend_on_the_others(level, dtype):
    x, weight = torch.randn(300, 1100).to(dtype), torch.randn(30, 1100).to(dtype)
    whole = kernels.linear(x, weight)
    for M in (1, 2, 3, 5, 8, 17, 130):
        assert torch.equal(kernels.linear(x[:M], weight), whole[:M])


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_takes_strided_rows_and_unaligned_weights(level, native, dtype):
    wide = torch.randn(6, 100).to(dtype)
    memory = torch.randn(21 * 64 + 3).to(dtype)
    weight = memory[3:].view(21, 64)
    assert weight.data_ptr() % 16
    ours = kernels.linear(wide[:, 5:69], weight)
    assert native == ["linear"]
    exact = wide[:, 5:69].double() @ weight.double().T
    close(ours, exact, dtype, wide[:, 5:69].double().abs() @ weight.double().abs().T)


def test_nan_and_infinity_reach_the_outputs_they_touch_and_no_others(level):
    for dtype in DTYPES:
        x, weight = torch.randn(3, 35).to(dtype), torch.randn(6, 35).to(dtype)
        x[1, 34], weight[4, 2] = float("nan"), float("inf")
        ours = kernels.linear(x, weight)
        expected = x.double() @ weight.double().T
        assert torch.equal(ours.isnan(), expected.isnan())
        assert torch.equal(ours.isinf(), expected.isinf())


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_to_nearest_even(level, dtype):
    # One product is exact in fp32, so only the last rounding remains, subnormals and overflow included.
    bits = torch.arange(0, 1 << 16, 7, dtype=torch.int32).to(torch.int16)
    values = bits.view(torch.bfloat16 if dtype == torch.bfloat16 else torch.float16).to(dtype)
    ours = kernels.linear(values[:, None], torch.tensor([[1.0]]).to(dtype), torch.tensor([0.0]).to(dtype))[:, 0]
    if level == "avx512_bf16" and dtype == torch.bfloat16:  # these instructions read subnormals as zero
        values = torch.where(values.abs() < torch.finfo(dtype).tiny, 0.0 * values, values)
    assert torch.equal(ours.nan_to_num(7.0), values.nan_to_num(7.0))
    one = torch.ones(1, dtype=dtype)
    sums = torch.rand(2000, 2).to(dtype) @ torch.zeros(2, 1).to(dtype) + torch.rand(2000, 1).to(dtype)
    doubled = torch.cat([sums, sums / 300], 1)
    expected = (doubled.float().sum(1, keepdim=True)).to(dtype)
    assert torch.equal(kernels.linear(doubled, torch.ones(1, 2).to(dtype), 0 * one), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_thread_counts_agree(level, threads):
    x, weight = torch.randn(12, 700), torch.randn(900, 700)
    q, k, v = torch.randn(3, 6, 64), torch.randn(3, 2, 1500, 64), torch.randn(3, 2, 1500, 64)
    lengths = torch.tensor([1500, 3, 700])
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            results.append((kernels.linear(x, weight), kernels.attend_decode(q, k, v, lengths, 0.125)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


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


@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("states", [1, 5, 16])
def test_selective_scan_equals_float64(level, native, channels, states):
    lengths = [3, 0, 1, 40]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    step, u = torch.rand(44, channels), torch.randn(44, channels)
    into, out_of = torch.randn(44, 2 * states + 3).split([states, states + 3], 1)
    out_of = out_of[:, 3:]
    decay, state = -4 * torch.rand(channels, states), torch.randn(4, channels, states)
    before = state.clone()
    found = kernels.selective_scan(step, u, into, out_of, decay, offsets, state)
    assert found is not None
    assert native == ["selective_scan"]
    assert torch.equal(state, before)
    for b in range(4):
        h = state[b].double()
        for t in range(int(offsets[b]), int(offsets[b + 1])):
            x = (step[t] * u[t]).double()[:, None] * into[t].double()
            h = (step[t].double()[:, None] * decay.double()).exp() * h + x
            assert (found[0][t] - h @ out_of[t].double()).abs().max() <= 2e-5
        assert (found[1][b] - h).abs().max() <= 1e-5


def test_selective_scan_refuses_what_does_not_fit(level, monkeypatch):
    x, a, h = torch.rand(5, 3), torch.rand(5, 2), torch.zeros(2, 3, 2)
    for offsets in ([0, 2, 6], [1, 2, 5], [0, 3, 2], [0, 2, 4]):
        with pytest.raises(ArgumentError, match="offsets"):
            kernels.selective_scan(x, x, a, a, -h[0], torch.tensor(offsets), h)
    with pytest.raises(ArgumentError, match="don't fit"):
        kernels.selective_scan(x, x, a, a[:, :1], -h[0], torch.tensor([0, 2, 5]), h)
    given = (x, x, a, a, -h[0], torch.tensor([0, 2, 5]), h)
    assert kernels.selective_scan(*(t.double() if t.is_floating_point() else t for t in given)) is None
    with torch.enable_grad():
        assert kernels.selective_scan(x.requires_grad_(), *given[1:]) is None
    monkeypatch.setattr(dispatch, "_enabled", False)
    assert kernels.selective_scan(*given) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("D", [1, 37, 576, 1000])
def test_norms_equal_float64(level, native, dtype, D):
    x, residual = torch.randn(5, D).to(dtype), torch.randn(5, D).to(dtype)
    weight, bias = torch.randn(D).to(dtype), torch.randn(D).to(dtype)
    wide = x.double()
    unit = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)
    close(kernels.rms_norm(x, weight, 1e-5), unit * weight.double(), dtype, (2 * unit * weight.double()).abs())
    for added in (None, residual):
        given = x.clone(), residual.clone()
        ours = kernels.layer_norm(x, weight, bias, 1e-5, added)
        assert torch.equal(x, given[0])
        assert torch.equal(residual, given[1])
        summed = (x if added is None else x + residual).double()
        exact = F.layer_norm(summed, (D,), weight.double(), bias.double(), 1e-5)
        close(ours, exact, dtype, (weight.double() * 3).abs() + bias.double().abs())
    assert native == ["rms_norm", "layer_norm", "layer_norm"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_sums_equal_torch(level, native, dtype):
    x, y = torch.randn(57, 1001).to(dtype), torch.randn(57, 1001).to(dtype)
    assert torch.equal(kernels.add(x, y), x + y)
    assert torch.equal(kernels.add(x.t(), y.t()), x.t() + y.t())
    assert torch.equal(kernels.add(x, y[:1]), x + y[:1])
    assert native == ["add"]


def test_rms_norm_rounds_as_llama_does(level):
    x, weight = torch.randn(200, 576).bfloat16(), torch.randn(576).bfloat16()
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
    expected = weight * wide.to(torch.bfloat16)
    ours = kernels.rms_norm(x, weight, 1e-5)
    # The mean's last bit depends on the order of its sum, so a value on the edge may fall to the other side.
    assert (ours != expected).float().mean() < 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
def test_gated_equals_float64(level, native, dtype, activation):
    x = (torch.randn(5, 2 * 61) * 4).to(dtype)
    x[0, :8] = torch.tensor([0.0, -0.0, 90.0, -90.0, 1000.0, -1000.0, float("inf"), float("nan")]).to(dtype)
    x[0, 61:69] = 1
    ours = kernels.gated(x, activation)
    assert native == ["gated"]
    gate, up = x.double().chunk(2, -1)
    exact = plain.activate(gate, activation) * up
    assert torch.equal(ours.isnan(), exact.isnan())
    finite = exact.isfinite()
    assert torch.equal(ours[~finite & ~exact.isnan()].double(), exact[~finite & ~exact.isnan()])
    close(ours[finite], exact[finite], dtype, ((gate.abs() + 1) * up.abs())[finite])
    if activation == "silu":
        assert torch.equal(kernels.swiglu(x).nan_to_num(), ours.nan_to_num())


def test_swiglu_rounds_as_torch_does(level):
    x = torch.randn(64, 1024).bfloat16()
    gate, up = x.chunk(2, -1)
    assert ((F.silu(gate) * up) != kernels.swiglu(x)).float().mean() < 2e-3


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


def small_model(x, weight, norm):
    q, k = x.view(3, 2, 8), torch.ones(3, 1, 4, 8)
    y = kernels.linear(kernels.rms_norm(x, norm, 1e-5), weight, None, "gelu")
    return kernels.gated(y, "silu"), kernels.attend_decode(q, k, k, torch.tensor([1, 2, 4]), 1.0)


def test_torch_computes_what_the_kernels_may_not_touch(native):
    x, weight, norm = torch.randn(3, 16), torch.randn(16, 16), torch.ones(16)
    expected = small_model(x, weight, norm)
    assert set(native) == {"rms_norm", "linear", "gated", "attend_decode"}
    native.clear()

    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        small_model(leaf, weight, norm)[0].sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0
    native.clear()

    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.linear(x, weight).dtype == torch.bfloat16
    batched = torch.vmap(lambda row: kernels.linear(row[None], weight)[0])(x)
    torch.testing.assert_close(batched, x @ weight.T)
    _, tangent = torch.func.jvp(lambda t: kernels.linear(t, weight), (x,), (x,))
    torch.testing.assert_close(tangent, x @ weight.T)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        tangent = torch.autograd.forward_ad.unpack_dual(kernels.linear(dual, weight)).tangent
        torch.testing.assert_close(tangent, x @ weight.T)
    meta = kernels.linear(x.to("meta"), weight.to("meta"))
    assert meta.device.type == "meta"
    with torch._subclasses.FakeTensorMode() as mode:
        assert kernels.linear(mode.from_tensor(x), mode.from_tensor(weight)).shape == (3, 16)
    assert native == []

    assert kernels.linear(x[None], weight).shape == (1, 3, 16)
    torch.testing.assert_close(kernels.linear(x.t().contiguous().t(), weight), x @ weight.T)
    torch.testing.assert_close(kernels.linear(x.double(), weight.double()), x.double() @ weight.double().T)
    assert native == []
    with pytest.raises(RuntimeError):
        kernels.linear(x, weight[:, :5])
    for ours, wanted in zip(small_model(x, weight, norm), expected, strict=True):
        assert torch.equal(ours, wanted)


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(16, 16))
        self.norm = torch.nn.Parameter(torch.ones(16))

    def forward(self, x):
        return small_model(x, self.weight, self.norm)


def test_export_and_tracing_see_torch_operations(native):
    x, model = torch.randn(3, 16), Small()
    expected = model(x)
    native.clear()
    exported = torch.export.export(model, (x,), strict=False)
    for ours, wanted in zip(exported.module()(x), expected, strict=True):
        torch.testing.assert_close(ours, wanted)
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda t: kernels.linear(t, t))(x)
    assert "mm" in traced.code or "linear" in traced.code
    assert native == []


def test_fallbacks_equal_the_kernels(monkeypatch):
    lengths, starts = torch.tensor([3, 0, 12]), torch.tensor([1, 0, 4])
    q, k, v = torch.randn(3, 4, 8), torch.randn(3, 2, 12, 8), torch.randn(3, 2, 12, 8)
    v[0, :, 3:] = float("nan")
    x, w, b = torch.randn(5, 24), torch.randn(24), torch.randn(24)
    calls = [
        lambda: kernels.attend_decode(q, k, v, lengths, 0.3, bias=torch.ones(4, 12), starts=starts, softcap=3.0),
        lambda: kernels.rms_norm(x, w, 1e-6),
        lambda: kernels.layer_norm(x, w, b, 1e-6, x),
        lambda: kernels.gated(x, "gelu_tanh"),
        lambda: kernels.linear(x, x, b[:5], "silu"),
    ]
    native = [call() for call in calls]
    monkeypatch.setattr(dispatch, "_enabled", False)
    for ours, call in zip(native, calls, strict=True):
        torch.testing.assert_close(ours, call())
    assert kernels.available() is None


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ArgumentError, match="swish"):
        kernels.linear(torch.ones(1, 2), torch.ones(2, 2), None, "swish")
    with pytest.raises(ArgumentError, match="even"):
        kernels.swiglu(torch.ones(1, 3))
    with pytest.raises(ArgumentError, match=r"avx1024.*baseline"):
        kernels.use("avx1024")


def test_environment_chooses_the_instruction_set_and_turns_kernels_off():
    code = "from enfold.nn import kernels; print(kernels.available())"
    for variable, value, expected in [("ENFOLD_CPU", "baseline", "baseline"), ("ENFOLD_KERNELS", "0", "None")]:
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | {variable: value}, capture_output=True)
        assert done.stdout.decode().strip() == expected, done.stderr.decode()


def test_dynamo_captures_torch_operations_without_a_break(native):
    x, model = torch.randn(3, 16), Small()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for ours, wanted in zip(compiled(x), model(x), strict=True):
        torch.testing.assert_close(ours, wanted)
    assert native.count("linear") == 1  # by the model itself
