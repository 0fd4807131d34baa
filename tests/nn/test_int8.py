"""Linear maps of bytes: the kernel against whole-number arithmetic in float64, and the module around it."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.int8 import Int8Linear, pack, regroup
from enfold.nn.kernels import dispatch, plain
from enfold.nn.linear import Group, Linear
from tests.nn.kernels.exact import EPS

ACTIVATIONS = {None: lambda x: x, "silu": F.silu, "gelu": F.gelu, "relu": F.relu}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The definition: both sides rounded to 127 steps, per output and per 64 inputs of a row."""
    each = weight.float().abs().amax(1, keepdim=True) / 127
    steps = (weight.float() / each.where(each > 0, 1.0)).round().double()
    answer = torch.zeros(len(x), len(weight), dtype=torch.float64)
    for start in range(0, x.shape[1], 64):
        part = x[:, start : start + 64].float()
        top = part.abs().amax(1, keepdim=True)
        rounded = (part * torch.where(top > 0, torch.full_like(top, 127) / top, 0.0)).round().double()
        answer += (rounded @ steps[:, start : start + 64].T) * top.double() / 127
    answer = answer * each.T
    return answer if bias is None else answer + bias.double()


SHAPES = [(1, 1, 1), (1, 64, 64), (2, 31, 3), (5, 33, 63), (6, 32, 65), (7, 100, 130), (13, 65, 256), (70, 129, 200)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", EPS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_every_instruction_set_computes_the_definition(level, shape, dtype, activation):
    rows, outs, ins = shape
    x, weight, bias = (torch.randn(*s).to(dtype) for s in ((rows, ins), (outs, ins), (outs,)))
    weight[0] = 0
    x[-1] *= 0 if rows > 1 else 1
    for b in (None, bias):
        answer = kernels.linear_int8(x, *pack(weight), b, activation)
        assert answer.dtype is dtype
        wanted = exact(x, weight, b)
        if activation:
            wanted = ACTIVATIONS[activation](wanted.to(dtype).double())
        assert (answer.double() - wanted).abs().max() <= 2 * EPS[dtype] * wanted.abs().max().clamp(min=1e-30) + 1e-12


@torch.no_grad()
def test_a_row_does_not_depend_on_its_company(level):
    x, (packed, scale) = torch.randn(40, 130), pack(torch.randn(70, 130))
    whole = kernels.linear_int8(x, packed, scale)
    for count in (1, 2, 5, 6, 7, 13):
        assert torch.equal(kernels.linear_int8(x[:count], packed, scale), whole[:count])
    strided = torch.randn(40, 300)
    strided[:, 7:137] = x
    assert torch.equal(kernels.linear_int8(strided[:, 7:137], packed, scale), whole)
    assert torch.equal(kernels.linear_int8(x.view(4, 10, 130), packed, scale), whole.view(4, 10, 70))


@torch.no_grad()
def test_what_is_no_number_stays_none(level):
    x, (packed, scale) = torch.randn(4, 100), pack(torch.randn(40, 100))
    x[0, 3], x[1, 70], x[2] = float("nan"), float("inf"), 1e-43
    answer = kernels.linear_int8(x, packed, scale)
    assert answer[:2].isnan().all()
    assert not answer[2:].isnan().any()


@torch.no_grad()
def test_shapes_that_do_not_fit_are_refused():
    packed, scale = pack(torch.randn(40, 100))
    with pytest.raises(ArgumentError, match="doesn't fit"):
        kernels.linear_int8(torch.randn(2, 101), packed, scale)
    with pytest.raises(ArgumentError, match="doesn't fit"):
        kernels.linear_int8(torch.randn(2, 100), packed, scale[:3])
    with pytest.raises(ArgumentError, match="unknown activation"):
        kernels.linear_int8(torch.randn(2, 100), packed, scale, None, "swish")


# The module


def layer(inputs: int = 96, outputs: int = 70) -> tuple[Linear, Int8Linear]:
    linear = Linear(inputs, outputs)
    nn.init.normal_(linear.weight)
    nn.init.normal_(linear.bias)
    return linear, Int8Linear(linear)


@torch.no_grad()
def test_it_is_near_the_layer_that_it_was_made_from():
    linear, rounded = layer()
    x = torch.randn(11, 96)
    assert rounded.packed.numel() == 96 * 96  # outputs filled up to a multiple of 32
    assert (rounded.weight - linear.weight).abs().max() <= linear.weight.abs().max() / 127 / 2 * 1.001
    assert F.cosine_similarity(rounded(x), linear(x)).min() > 0.9995
    assert torch.equal(rounded.activated(x, "relu"), rounded(x).relu())


@torch.no_grad()
def test_torch_computes_the_same_where_the_kernels_are_off(monkeypatch):
    _, rounded = layer()
    x = torch.randn(11, 96)
    wanted = rounded(x)
    monkeypatch.setattr(dispatch, "_enabled", False)
    torch.testing.assert_close(rounded(x), wanted, rtol=1e-5, atol=1e-4)


def test_gradients_pass_through_to_the_input():
    _, rounded = layer()
    x = torch.randn(11, 96, requires_grad=True)
    rounded(x).sum().backward()
    torch.testing.assert_close(x.grad, rounded.weight.sum(0).expand(11, 96))


@torch.no_grad()
def test_another_dtype_leaves_the_bytes_what_they_are():
    _, rounded = layer()
    scale = rounded.scale.clone()
    rounded.bfloat16()
    assert rounded.bias.dtype is torch.bfloat16
    assert torch.equal(rounded.scale, scale)
    assert rounded(torch.randn(3, 96).bfloat16()).dtype is torch.bfloat16


class Siblings(nn.Module):
    def __init__(self, *widths: int):
        super().__init__()
        names = [f"part{i}" for i in range(len(widths))]
        for name, width in zip(names, widths, strict=True):
            setattr(self, name, Int8Linear(layer(48, width)[0]))
        self.groups = (Group(self, tuple(names)),)
        regroup(self)


@pytest.mark.parametrize("widths", [(64, 32, 32), (32, 70), (30, 64)])
@torch.no_grad()
def test_siblings_run_as_one_product_where_their_bytes_lie_together(widths):
    module, x = Siblings(*widths), torch.randn(5, 48)
    alone = [getattr(module, f"part{i}")(x) for i in range(len(widths))]
    for held in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        group = held.groups[0]
        assert (group.whole(x) is not None) == (not widths[0] % 32)
        for found, wanted in zip(group.parts(x), alone, strict=True):
            assert torch.equal(found, wanted)
    module.part0.register_forward_hook(lambda *_: torch.zeros(5, widths[0]))
    assert not module.groups[0].parts(x)[0].any()


def test_plain_and_native_agree_on_what_a_byte_means():
    weight = torch.randn(40, 10)
    packed, scale = pack(weight)
    steps, each = plain.unpack_int8(packed, scale, 10)
    assert steps.abs().max() == 127
    assert (steps * each - weight).abs().max() <= each.max() / 2 * 1.001
