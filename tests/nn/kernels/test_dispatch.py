"""When the kernels run, and when torch does."""

import os
import subprocess
import sys

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.kernels import dispatch


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
