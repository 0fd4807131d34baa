"""Sums, norms and gates, against float64."""

import pytest
import torch
import torch.nn.functional as F

from enfold.nn import kernels
from enfold.nn.kernels import plain
from tests.nn.kernels.exact import DTYPES, close


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
