"""Rotary positions: tables of cosines and sines, and their application."""

import math

import torch
from torch import Tensor

from enfold.base.errors import NotBuiltError
from enfold.nn.spec import Rope


def frequencies(rope: Rope) -> Tensor:
    """[dim / 2] fp32 angular frequencies in radians a token (Su et al. 2021, eq. 15), scaled as `rope.scaling` says."""
    steps = torch.arange(0, rope.dim, 2, dtype=torch.int64).float() / rope.dim
    plain = 1.0 / rope.base**steps
    match rope.scaling:
        case ("default",):
            return plain
        case ("linear", factor):  # position interpolation: Chen et al. 2023
            return plain / factor
        case ("llama3", factor, low, high, original):  # Llama 3.1 model card
            wavelength = 2 * math.pi / plain
            slow = torch.where(wavelength > original / low, plain / factor, plain)
            share = (original / wavelength - low) / (high - low)
            mixed = (1 - share) * slow / factor + share * slow
            between = (wavelength >= original / high) & (wavelength <= original / low)
            return torch.where(between, mixed, slow)
    raise NotBuiltError(
        f"RoPE scaling {rope.scaling[0]!r} is not built yet; built are default, linear and llama3. "
        "Load the model without rope_scaling if its short-context behaviour is enough."
    )


class RopeTable:
    """Cosines and sines of every position so far asked for, [P, dim] each, grown by doubling."""

    def __init__(self, rope: Rope):
        self.rope = rope
        self.held = (torch.empty(0, rope.dim), torch.empty(0, rope.dim))

    def upto(self, end: int, *, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tables that cover positions below `end`: two [P ≥ end, dim] tensors."""
        held = self.held  # one read: other threads may be growing it
        if held[0].shape[0] < end or held[0].dtype != dtype or held[0].device != device:
            rows = max(512, 1 << (end - 1).bit_length())
            angles = torch.arange(rows).float()[:, None] * frequencies(self.rope)[None, :]
            angles = torch.cat([angles, angles], dim=-1)
            self.held = held = (angles.cos().to(device, dtype), angles.sin().to(device, dtype))
        return held


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first `dim` dimensions of every head: x [N, H, d], cos and sin [N, 1, dim]."""
    dim = cos.shape[-1]
    turned, rest = (x, None) if dim == x.shape[-1] else (x[..., :dim], x[..., dim:])
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-second, first], dim=-1) * sin
    return turned if rest is None else torch.cat([turned, rest], dim=-1)
