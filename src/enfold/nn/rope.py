"""Rotary positions: tables of cosines and sines, and their application."""

import math

import torch
from torch import Tensor

from enfold.nn import spec


def frequencies(rope: spec.Rope, length: int = 0) -> Tensor:
    """[dim / 2] fp32 angular frequencies in radians a token (Su et al. 2021, eq. 15), scaled as `rope.scaling` says.

    Args:
        length: tokens of the longest text, which two of the scalings look at.
    """
    steps = torch.arange(0, rope.dim, 2, dtype=torch.int64).float() / rope.dim
    plain = 1.0 / rope.base**steps
    match rope.scaling:
        case None:
            return plain
        case spec.LinearScaling(factor):
            return plain / factor
        case spec.DynamicScaling(factor, original):
            stretch = factor * max(length, original) / original - (factor - 1)
            return 1.0 / (rope.base * stretch ** (rope.dim / (rope.dim - 2))) ** steps
        case spec.Llama3Scaling(factor, low, high, original):
            wavelength = 2 * math.pi / plain
            slow = torch.where(wavelength > original / low, plain / factor, plain)
            share = (original / wavelength - low) / (high - low)
            mixed = (1 - share) * slow / factor + share * slow
            between = (wavelength >= original / high) & (wavelength <= original / low)
            return torch.where(between, mixed, slow)
        case spec.YarnScaling(factor, original) as yarn:

            def dimension(rotations: float) -> float:  # that turns so often over the original length
                return rope.dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(rope.base))

            first, last = dimension(yarn.fast), dimension(yarn.slow)
            if yarn.whole:
                first, last = math.floor(first), math.ceil(last)
            first, last = max(first, 0), min(last, rope.dim - 1)
            ramp = (torch.arange(rope.dim // 2).float() - first) / (last - first if last != first else 0.001)
            share = ramp.clamp(0, 1)  # of the slow, divided frequency
            return plain / factor * share + plain * (1 - share)
        case spec.LongScaling(short, long, original):
            return plain / torch.tensor(long if length > original else short)
    raise AssertionError(rope.scaling)


class RopeTable:
    """Cosines and sines of every position so far asked for, [P, dim] each, grown by doubling."""

    def __init__(self, rope: spec.Rope):
        self.rope = rope
        self.held = (torch.empty(0, rope.dim), torch.empty(0, rope.dim))
        self.regime = 0  # length that the held frequencies belong to, as far as it matters

    def upto(self, end: int, *, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tables that cover positions below `end`: two [P ≥ end, dim] tensors."""
        held, regime = self.held, self._regime(end)  # one read: other threads may be growing it
        enough = held[0].shape[0] >= end and held[0].dtype == dtype and held[0].device == device
        if not enough or self.regime != regime:
            rows = max(512, 1 << (end - 1).bit_length())
            angles = torch.arange(rows).float()[:, None] * frequencies(self.rope, regime)[None, :]
            halves = self.rope.pairs == "halves"
            angles = torch.cat([angles, angles], dim=-1) if halves else angles.repeat_interleave(2, dim=-1)
            size = getattr(self.rope.scaling, "magnitude", 1.0)
            held = ((angles.cos() * size).to(device, dtype), (angles.sin() * size).to(device, dtype))
            self.held, self.regime = held, regime
        return held

    def _regime(self, end: int) -> int:
        match self.rope.scaling:
            case spec.DynamicScaling(original=original):
                return end if end > original else 0
            case spec.LongScaling(original=original):
                return original + 1 if end > original else 0
        return 0


def rotate(x: Tensor, cos: Tensor, sin: Tensor, pairs: spec.Pairs = "halves") -> Tensor:
    """Rotate the first `dim` dimensions of every head: x [N, H, d], cos and sin [N, 1, dim]."""
    dim = cos.shape[-1]
    turned, rest = (x, None) if dim == x.shape[-1] else (x[..., :dim], x[..., dim:])
    turned = turned * cos + quarter_turn(turned, pairs) * sin
    return turned if rest is None else torch.cat([turned, rest], dim=-1)


def quarter_turn(x: Tensor, pairs: spec.Pairs) -> Tensor:
    """Every pair (a, b) of the last dimension becomes (−b, a)."""
    if pairs == "halves":
        a, b = x.chunk(2, dim=-1)
        return torch.cat([-b, a], dim=-1)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([-b, a], dim=-1).flatten(-2)
