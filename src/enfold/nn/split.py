"""How the weights of an op are split over the ranks of a group: plans as data, which each op declares.

x ── enters ──▶ columns ── heads, channels of one rank ── rows ──▶ sum over ranks
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cut:
    """A dimension of a weight, cut into what each rank keeps.

    Attributes:
        parts: of each of the matrices that lie behind each other there, the number of blocks that are never cut (a
            head, a channel), and the size of one. Where there are fewer blocks than ranks, neighbours keep the same.
        dim: the dimension.
    """

    parts: tuple[tuple[int, int], ...]
    dim: int = 0

    def fits(self, ranks: int) -> bool:
        """Whether every rank gets as much."""
        return all(count % ranks == 0 or ranks % count == 0 for count, _ in self.parts)

    def shared(self, ranks: int) -> bool:
        """Whether some block is kept by more than one rank."""
        return any(count % ranks for count, _ in self.parts)

    def ranges(self, rank: int, ranks: int) -> list[tuple[int, int]]:
        """Start and end of what a rank keeps of each part."""
        found, start = [], 0
        for count, size in self.parts:
            first, many = (rank * count // ranks, max(count // ranks, 1))
            found.append((start + first * size, start + (first + many) * size))
            start += count * size
        return found

    def take(self, tensor: Tensor, rank: int, ranks: int, *, dim: int | None = None) -> Tensor:
        """What a rank keeps of a whole weight; a view where that is one piece."""
        dim = self.dim if dim is None else dim
        pieces = [tensor.narrow(dim, start, end - start) for start, end in self.ranges(rank, ranks)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)

    def ordered(self, gathered: Tensor, ranks: int) -> Tensor:
        """The whole weight, of what the ranks keep, one behind the other."""
        if len(self.parts) == 1:
            return gathered
        every = [self.ranges(rank, ranks) for rank in range(ranks)]
        places = torch.cat([torch.arange(start, end) for ranges in every for start, end in ranges])
        return torch.empty_like(gathered).index_copy_(self.dim, places.to(gathered.device), gathered)


def blocks(count: int, size: int = 1, *, dim: int = 0) -> Cut:
    """A cut of a single matrix."""
    return Cut(((count, size),), dim)


@dataclass(frozen=True)
class Plan:
    """What each rank keeps of an op, so that the sum of the ranks' answers is the op's.

    Names are those of linear maps and other modules, or of weights, below the op. Weights that no name reaches stay
    whole on every rank.

    Attributes:
        columns: cut by what they give: a weight's and a bias's first dimension, or the cut's own.
        rows: linear maps cut by what they take; their answers are summed, then biased.
        within: those of `rows` whose sum the op works on.
        over_all: norms over a width that is cut.
        shares: biases inside the sum, of which each rank adds its share.
        summed: the op's answer is itself a rank's share of a sum, without a row to sum it.
        source: the op also reads the states that cross-attention reads.
        draws: dropout may draw inside.
        sizes: attributes as they are on one rank.
    """

    columns: Mapping[str, Cut] = field(default_factory=dict)
    rows: Mapping[str, Cut] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    over_all: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    summed: bool = False
    source: bool = False
    draws: bool = False
    sizes: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, ranks: int) -> bool:
        """Whether every rank gets as much of every weight."""
        return all(cut.fits(ranks) for cut in (*self.columns.values(), *self.rows.values()))


# From a weight as a module holds it to what its forward computes with.
View = Callable[[Tensor], Tensor]
_classes: dict[tuple[type, tuple[str, ...], Any], type] = {}


def give_views(module: nn.Module, views: Mapping[str, View], forward: Callable[..., Any] | None = None) -> None:
    """Let a module compute with views of its weights, under their names, and hold the weights themselves as before.

    Args:
        views: parameter → what `module.<parameter>` is from now on.
        forward: what calling the module runs, instead of its class's; `type(module).whole` is that class.
    """
    base = whole_class(module)
    key = (base, tuple(sorted(views)), forward)
    if key not in _classes:
        body: dict[str, Any] = {name: _viewed(name) for name in key[1]}
        body |= {"whole": base} | ({} if forward is None else {"forward": forward})
        _classes[key] = type(base.__name__, (base,), body)
    module.__class__ = _classes[key]
    module.__dict__["views"] = dict(views)


def whole_class(module: nn.Module) -> type:
    """The class of a module before `give_views`."""
    return getattr(type(module), "whole", type(module))


def _viewed(name: str) -> property:
    def get(module: nn.Module) -> Tensor | None:
        held = module._parameters[name]
        mesh: Any = getattr(held, "device_mesh", None)
        if held is None or (mesh is not None and mesh.ndim > 1):  # in further parts, of which nothing is computed
            return held
        return module.__dict__["views"][name](held)

    return property(get)
