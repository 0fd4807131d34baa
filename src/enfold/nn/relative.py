"""Learned biases over bucketed distances (T5: Raffel et al. 2020, §2.1)."""

import math

import torch
from torch import Tensor, nn

from enfold.nn import spec
from enfold.nn.linear import Embedding


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

    def __init__(self, relative: spec.Relative):
        super().__init__()
        self.spec = relative
        self.table = Embedding(relative.buckets, relative.heads)

    def forward(self, new: int, every: int) -> Tensor:
        """Biases of the last `new` of `every` tokens over all of them: [heads, new, every]."""
        places = torch.arange(every, device=self.table.weight.device)
        return self.between(places[every - new :], places)

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Biases of tokens at positions `queries` [Lq] over those at `keys` [Lk]: [heads, Lq, Lk]."""
        return self.table(buckets(keys[None, :] - queries[:, None], self.spec)).permute(2, 0, 1)
