"""Biases by distance: learned ones over buckets (T5: Raffel et al. 2020, §2.1), and straight lines (ALiBi)."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from enfold.nn import spec
from enfold.nn.linear import Embedding
from enfold.nn.split import Plan, blocks


def buckets(distance: Tensor, relative: spec.Relative) -> Tensor:
    """Bucket of each key-minus-query distance: exact up to half the buckets, then logarithmic up to max_distance."""
    count, base = relative.buckets, torch.zeros_like(distance)
    if relative.bidirectional:
        count //= 2
        base = (distance > 0).long() * count
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = count // 2
    far = torch.log(distance.float() / exact) / math.log(relative.max_distance / exact) * (count - exact)
    far = (exact + far.long()).clamp(max=count - 1)
    return base + torch.where(distance < exact, distance, far)


class Relative(nn.Module):
    """One table of biases [buckets, heads], shared by every layer of its stack."""

    counts: ClassVar[Literal["columns", "tokens"]] = "columns"

    def __init__(self, relative: spec.Relative):
        super().__init__()
        self.spec = relative
        self.table = Embedding(relative.buckets, relative.heads)

    def plan(self, ranks: int) -> Plan | None:
        """Heads by rank."""
        heads = self.spec.heads
        return None if heads % ranks else Plan(columns={"table": blocks(heads, dim=1)})

    def forward(self, new: int, every: int) -> Tensor:
        """Biases of the last `new` of `every` tokens over all of them: [heads, new, every]."""
        places = torch.arange(every, device=self.table.weight.device)
        return self.between(places[every - new :], places)

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Biases of tokens at positions `queries` [Lq] over those at `keys` [Lk]: [heads, Lq, Lk]."""
        return self.table(buckets(keys[None, :] - queries[:, None], self.spec)).permute(2, 0, 1)

    def along(self, distances: Tensor) -> Tensor:
        """Biases of keys at these distances from their query, those before it negative: [heads, distances]."""
        return self.table(buckets(distances, self.spec)).T


def slopes(heads: int) -> Tensor:
    """[heads] fp32: 2^(−8/n), 2^(−16/n), … for n heads; beyond a power of two, every other one of twice as many heads.

    Source: Press et al. 2022, §3, and the authors' code for other numbers of heads.
    """
    whole = 1 << (heads.bit_length() - 1)
    powers = torch.arange(1, whole + 1) * (-8.0 / whole)
    between = (2 * torch.arange(heads - whole) + 1) * (-4.0 / whole)
    return torch.cat([powers, between]).double().exp2().float()


class Alibi(nn.Module):
    """Biases that fall with the number of tokens between a query and a key, whatever padding stands there too."""

    counts: ClassVar[Literal["columns", "tokens"]] = "tokens"

    def __init__(self, given: spec.Alibi):
        super().__init__()
        with torch.device("cpu"):  # known, not loaded: real in a model that is only planned, too
            self.slopes = slopes(given.heads)

    def plan(self, ranks: int) -> Plan | None:
        """Heads by rank."""
        heads = len(self.slopes)
        return None if heads % ranks else Plan(columns={"slopes": blocks(heads)})

    def forward(self, new: int, every: int) -> Tensor:
        """Biases of the last `new` of `every` tokens over all of them: [heads, new, every]."""
        places = torch.arange(every)
        return self.between(places[every - new :], places)

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Biases of the tokens counted `queries` [Lq] over those counted `keys` [Lk]: [heads, Lq, Lk]."""
        return -self.slopes[:, None, None] * (keys[None, :] - queries[:, None]).abs()

    def along(self, distances: Tensor) -> Tensor | None:
        """Biases of keys at these distances from their query: [heads, distances]; None where places count."""
        return -self.slopes[:, None] * distances.abs()
