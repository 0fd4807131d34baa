"""Which part of a dataset a rank of several reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.datasets.dataset import Dataset
    from enfold.datasets.iterable import IterableDataset

    Either = TypeVar("Either", Dataset, IterableDataset)

Strategy = Literal["auto", "shards", "examples"]


@dataclass(frozen=True)
class Distributed:
    """One rank of several, and how rows are dealt out to them."""

    rank: int
    world_size: int
    strategy: Strategy = "auto"

    def by_shards(self, shards: int) -> bool:
        """Whether each rank reads whole shards, else every `world_size`-th row."""
        if self.strategy == "shards" and shards < self.world_size:
            raise ArgumentError(
                f"strategy='shards' needs a shard for each of {self.world_size} ranks, and there are {shards}. Use "
                "strategy='examples', or reshard()"
            )
        return self.strategy == "shards" or (self.strategy == "auto" and shards % self.world_size == 0)

    def shards(self, shards: int) -> int:
        """How many of so many shards this rank reads (where it reads rows of each: all)."""
        return len(range(self.rank, shards, self.world_size)) if self.by_shards(shards) else shards

    def within(self, outer: Distributed | None) -> Distributed:
        """This rank among those that one rank was split into."""
        if outer is None:
            return self
        return Distributed(outer.rank * self.world_size + self.rank, outer.world_size * self.world_size, self.strategy)


def split_dataset_by_node(dataset: Either, rank: int, world_size: int, strategy: Strategy = "auto") -> Either:
    """The part of `dataset` for one of several ranks; together they read every row once.

    Rows with numbers (`Dataset`) are split into runs of neighbours. Streamed rows: whole shards ("shards"), every
    `world_size`-th row ("examples"), or shards where they can be dealt out evenly, else rows ("auto").

    Args:
        dataset: a `Dataset` or an `IterableDataset`. Shuffle it with a seed: each rank must see the same order.
        rank: this rank, from 0.
        world_size: how many there are.
        strategy: "auto", "shards" or "examples"; of a `Dataset`, "auto".
    """
    from enfold.datasets.iterable import IterableDataset

    if not 0 <= rank < world_size:
        raise ArgumentError(f"rank={rank} is not one of {world_size} ranks: 0 to {world_size - 1}")
    if strategy not in get_args(Strategy):
        raise ArgumentError(f"strategy={strategy!r} is not one of {list(get_args(Strategy))}")
    anything: Any = dataset
    if isinstance(anything, IterableDataset):
        part = Distributed(rank, world_size, strategy).within(anything._distributed)
        # Too few shards are an error now, not when somebody iterates.
        part.by_shards(anything._node.num_shards)
        return anything._with(anything._node, _distributed=part)  # pyright: ignore[reportReturnType]
    if strategy != "auto":
        raise ArgumentError(f"strategy={strategy!r}: a Dataset is always split into runs of neighbours; leave 'auto'")
    return anything.shard(num_shards=world_size, index=rank, contiguous=True)
