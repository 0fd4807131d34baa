"""Products with a weight, against float64."""

import pytest
import torch
import torch.nn.functional as F

from enfold.nn import kernels
from enfold.nn.kernels import plain
from tests.nn.kernels.exact import DTYPES, close


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
