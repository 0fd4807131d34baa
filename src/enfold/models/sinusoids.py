"""Computed positions: sines in the first half of a vector, cosines in the second (Vaswani et al. 2017, §3.5)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from enfold.nn import spec
from enfold.nn.linear import Embedding
from enfold.nn.modules import Embed
from enfold.nn.where import Where


def open_waves(rows: int, width: int) -> Tensor:
    """[rows, width] fp32 of wavelengths 2π·10000^(2k/width): the last stays below 2π·10000, as in the paper."""
    steps = torch.arange(0, width, 2, dtype=torch.float64) / width
    angles = torch.arange(rows, dtype=torch.float64)[:, None] / 10000**steps
    return torch.cat([angles.sin(), angles.cos()[:, : width // 2]], dim=-1).float()


def closed_waves(rows: int, width: int) -> Tensor:
    """[rows, width] fp32 of wavelengths from 2π to 2π·10000, both included, as tensor2tensor and fairseq have them."""
    half = width // 2
    steps = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    angles = torch.arange(rows).float()[:, None] * steps[None, :]
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, width % 2))


class FrozenTable(Embedding):
    """Open waves as a table that checkpoints may hold, and that isn't trained."""

    def __init__(self, rows: int, width: int):
        super().__init__(rows, width)
        self.weight.requires_grad_(False)

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """What a fresh table holds; see `PreTrainedModel.initialise`."""
        parameter.copy_(open_waves(*parameter.shape))


@dataclass(frozen=True)
class TabledEmbed(spec.Embed):
    """Embeddings over a frozen table of positions."""

    def build(self, width: int) -> Any:
        embed = Embed(self, width)
        embed.positions = FrozenTable(self.positions, width)
        return embed


class EndlessTable(nn.Module):
    """Closed waves of as many rows as are asked for; row `zero` is all zeros."""

    def __init__(self, width: int, zero: int):
        super().__init__()
        self.width, self.zero = width, zero
        self.held = torch.empty(0, width)

    def forward(self, rows: Tensor, end: int, like: Tensor) -> Tensor:
        """Rows [N], all below `end` → [N, width]."""
        held = self.held  # one read: other threads may be growing it
        if held.shape[0] < end or held.dtype != like.dtype or held.device != like.device:
            held = closed_waves(max(512, 1 << (end - 1).bit_length()), self.width)
            held[self.zero] = 0
            self.held = held = held.to(like.device, like.dtype)
        return held[rows]


class EndlessEmbedding(Embed):
    """Embeddings with an endless table of positions."""

    def __init__(self, given: spec.Embed, width: int):
        super().__init__(given, width)
        self.positions = EndlessTable(width, given.offset - 1)  # type: ignore[assignment]

    def placed(self, x: Tensor, where: Where) -> Tensor:
        offset = self.spec.offset
        return x + self.positions(where.positions + offset, where.end + offset, x)


@dataclass(frozen=True)
class EndlessEmbed(spec.Embed):
    """Embeddings of any length; padding stands at position −1, whose vector is zero."""

    def build(self, width: int) -> Any:
        return EndlessEmbedding(self, width)
