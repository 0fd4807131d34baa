"""A node of a pipeline: rows in, rows out; it can be cut into parts and started again at any row."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from enfold.base.errors import DatasetError
from enfold.datasets.streams.block import Block, Place

if TYPE_CHECKING:
    from enfold.datasets.features import Features


class Whole:
    """A node whose rows are counted: each worker reads all of them, in the same order, and keeps its part."""

    def shifted(self, value: int, worker: bool = False) -> Node:
        """See `Node.shifted`."""
        return self if worker else super().shifted(value, worker)  # pyright: ignore[reportAttributeAccessIssue, reportReturnType]


class FixedOrderError(Exception):
    """The shards stay in their order: somebody counts rows (`take`, `skip`)."""


class Node(ABC):
    """What a step of a pipeline can do. Nodes never change: what differs is a new node.

    `inputs` are the nodes it reads; `features` what its columns are, None while nobody knows.
    """

    inputs: tuple[Node, ...] = ()
    features: Features | None = None

    @abstractmethod
    def open(self, place: Place) -> Generator[Block, None, None]:
        """Read from `place` on (None: the beginning)."""

    @property
    def num_shards(self) -> int:
        """How many parts `shard` can cut without reading a row."""
        return self.inputs[0].num_shards

    @property
    def arrow(self) -> bool:
        """Whether the reference would pass tables here, which decides the order of `shuffle` there, and so here."""
        return all(node.arrow for node in self.inputs)

    @property
    def sequential(self) -> bool:
        """Whether the shards, one after the other, give the same rows as the whole."""
        return False

    def over(self, inputs: Sequence[Node]) -> Self:
        """The same step over other inputs."""
        twin = copy.copy(self)
        twin.inputs = tuple(inputs)
        return twin

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        """Part `index` of `number` (at most `num_shards`); contiguous: the parts in their order give the whole."""
        return self.over([node.shard(number, index, contiguous) for node in self.inputs])

    def stripe(self, step: int, offset: int) -> Node:
        """Every `step`-th row from `offset` on, dropped as early as that is the same: no row is lost or read twice."""
        return self.over([node.stripe(step, offset) for node in self.inputs])

    def shuffled(self, rng: np.random.Generator) -> Node:
        """The shards in another order; FixedOrderError where they can't be."""
        return self.over([node.shuffled(rng) for node in self.inputs])

    def resharded(self) -> Node:
        """More and smaller shards, where the format allows."""
        return self.over([node.resharded() for node in self.inputs])

    def shifted(self, value: int, worker: bool = False) -> Node:
        """With the seeds of another epoch or worker; what every worker reads whole is the same for all of them."""
        return self.over([node.shifted(value, worker) for node in self.inputs])

    def expect(self, place: Mapping[str, Any], *names: str) -> list[Any]:
        """The entries of a place, or DatasetError: it was saved by another pipeline."""
        if place.get("at") != type(self).__name__ or any(name not in place for name in names):
            raise DatasetError(
                f"this state was saved by another pipeline: it has {place.get('at')!r} where this one has "
                f"{type(self).__name__!r}. Load it into a dataset built by the same steps."
            )
        return [place[name] for name in names]


def divided(node: Node, parts: int, index: int) -> Node:
    """What worker `index` of `parts` reads: whole shards while there are enough, else rows of one in turns."""
    shards = max(node.num_shards, 1)
    if shards >= parts:
        return node if parts == 1 else node.shard(parts, index, contiguous=False)
    mine = index % shards
    sharers = len(range(mine, parts, shards))
    part = node if shards == 1 else node.shard(shards, mine, contiguous=False)
    return part if sharers == 1 else part.stripe(sharers, index // shards)


def share(number: int, index: int, shards: int, contiguous: bool) -> range:
    """Which of `shards` part `index` of `number` has; the first parts have one more where they can't be equal."""
    if not contiguous:
        return range(index, shards, number)
    size, longer = divmod(shards, number)
    start = index * size + min(index, longer)
    return range(start, start + size + (index < longer))


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of a generator, as JSON values."""
    return _plain(rng.bit_generator.state)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def shifted_rng(rng: np.random.Generator, value: int) -> np.random.Generator:
    """A generator for epoch or worker `value`, as the reference derives it."""
    seed = int(copy.deepcopy(rng).integers(0, 1 << 63)) - value
    # Seeds are not negative; the reference fails where the draw is smaller than the epoch (1 in 10^18).
    return np.random.default_rng(abs(seed))
