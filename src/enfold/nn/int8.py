"""Linear maps whose weights are bytes: a quarter of fp32's memory traffic, and products of whole numbers.

Each output of a weight has a scale (its largest weight is 127 steps), and so have each 64 activations of a row, found
as the row comes by (Jacob et al. 2018, eq. 1). One scale a row would drown most activations: a few channels are a
thousand times as large as the rest (Dettmers et al. 2022, §4).
"""

from collections.abc import Callable
from typing import Self, TypeGuard

import torch
from torch import Tensor, nn

from enfold.nn import kernels
from enfold.nn.kernels import plain
from enfold.nn.linear import Group, unhooked


def pack(weight: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A weight [N, K] as bytes in the order that `kernels.linear_int8` reads, and what a step is worth in each row.

    Args:
        scale: [N] or [N, 1] of a weight that holds whole steps already.

    Returns:
        uint8 [⌈N/32⌉, ⌈K/4⌉, 32, 4], each a whole number in ±127 plus 128; fp32 [N].
    """
    N, K = weight.shape
    wide = weight.detach().float()
    if scale is None:
        scale = wide.abs().amax(1) / 127 if K else wide.new_zeros(N)
        wide = (wide / torch.where(scale == 0, 1.0, scale)[:, None]).round_()
    scale = scale.reshape(N).float()
    steps = wide.add(128)
    blocks, groups = -(-N // 32), -(-K // 4)
    whole = torch.full((blocks * 32, groups * 4), 128, dtype=torch.uint8, device=weight.device)
    whole[:N, :K] = steps.to(torch.uint8)
    return whole.view(blocks, 32, groups, 4).transpose(1, 2).contiguous(), scale


class Int8Linear(nn.Module):
    """`y = x Wᵀ + b` over packed rows [N, in] → [N, out], W in bytes. Made from a `Linear`; not trained itself.

    Gradients pass through to x, as if x had not been rounded.
    """

    packed: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, scale: Tensor | None = None):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.rounded = {"weight": linear.weight.shape}  # what the bytes stand for
        packed, scale = pack(linear.weight, scale)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:
        """What the bytes stand for: fp32 [out, in], computed."""
        steps, each = plain.unpack_int8(self.packed, self.scale, self.in_features)
        return steps * each

    def steps(self, name: str) -> tuple[Tensor, Tensor]:
        """int8 [out, in], and what a step is worth [out, 1]."""
        steps, each = plain.unpack_int8(self.packed, self.scale, self.in_features)
        return steps.to(torch.int8), each

    def forward(self, input: Tensor) -> Tensor:
        return kernels.linear_int8(input, self.packed, self.scale, self.bias)

    def activated(self, input: Tensor, activation: str) -> Tensor:
        """The product, and an activation of it in the same pass."""
        return kernels.linear_int8(input, self.packed, self.scale, self.bias, activation)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = self.scale
        super()._apply(fn, recurse)
        self.scale = exact.to(self.packed.device)  # whatever dtype the rest of the model gets
        return self

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def intact(module: nn.Module | None) -> TypeGuard[Int8Linear]:
    """Whether a module computes what its bytes say: no other class, hook or patched method."""
    return type(module) is Int8Linear and unhooked(module)


class Int8Group(Group):
    """Siblings of bytes in one storage. All but the last must have a multiple of 32 outputs, or they run one by one."""

    scale: Tensor | None = None

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"scale": None}

    def join(self) -> None:
        members = [m for m in self.members() if intact(m)]
        self.weight = self.scale = self.bias = None
        self.widths = tuple(m.out_features for m in members)
        if len(members) < len(self.names) or any(width % 32 for width in self.widths[:-1]):
            return
        biases = [m.bias for m in members if m.bias is not None]
        if len({m.packed.device for m in members}) > 1 or len(biases) not in (0, len(members)):
            return
        self.weight = torch.cat([member.packed for member in members])
        self.scale = torch.cat([member.scale for member in members])
        self.bias = torch.cat([bias.detach() for bias in biases]) if biases else None
        block = row = 0
        for member in members:
            blocks, rows = len(member.packed), member.out_features
            member.packed = self.weight[block : block + blocks]
            member.scale = self.scale[row : row + rows]
            if self.bias is not None:
                member.bias.data = self.bias[row : row + rows]
            block, row = block + blocks, row + rows
        self.starts = tuple(map(_starts, members))

    def joined(self) -> bool:
        if self.weight is None:
            return False
        return all(intact(m) and _starts(m) == start for m, start in zip(self.members(), self.starts, strict=True))

    def product(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        assert self.scale is not None
        return kernels.linear_int8(x, self.weight, self.scale, self.bias)


def _starts(module: Int8Linear) -> tuple[int, int]:
    return module.packed.data_ptr(), 0 if module.bias is None else module.bias.data_ptr()


def quantise(owner: nn.Module, name: str, scale: Tensor | None = None) -> None:
    """Put an `Int8Linear` in the place of `owner`'s linear map `name`; with a scale, its weight holds whole steps."""
    setattr(owner, name, Int8Linear(getattr(owner, name), scale))


def regroup(model: nn.Module) -> None:
    """Let siblings that were all quantised run as one product again."""
    for module in model.modules():
        given = getattr(module, "groups", ())
        if any(intact(member) for group in given for member in group.members()):
            rounded = [Int8Group(module, group.names) for group in given]
            for group in rounded:
                group.join()
            module.__dict__["groups"] = tuple(rounded)
