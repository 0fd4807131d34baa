"""The rows of a run, in their order: which rows make batch number n of an epoch is a function of the seed alone.

So a run resumes at any batch without reading those before it, and the number of loader workers doesn't change what is
drawn: a batch is fetched and collated under a seed made of the run's seed, the epoch and its number.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from enfold.accelerate.processes import share_of
from enfold.accelerate.randomness import seeded
from enfold.base.errors import ArgumentError

Collate = Callable[[list[Any]], dict[str, Any]]
# Batches whose rows are sorted together by length.
SORTED_TOGETHER = 50


@dataclass(frozen=True)
class Order:
    """Which rows make which batch.

    Args:
        rows: how many rows there are.
        batch_size: rows of a batch of all processes together.
        strategy: "random", "sequential", or "group_by_length": rows of like length together, the longest first.
        seed: of the order.
        lengths: of the rows, for "group_by_length".
        drop_last: leave out the last batch if it isn't full.
    """

    rows: int
    batch_size: int
    strategy: str = "random"
    seed: int = 0
    lengths: Sequence[int] | None = None
    drop_last: bool = False

    def __len__(self) -> int:
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        size = self.batch_size
        if self.strategy == "sequential":
            order = list(range(self.rows))
        else:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            order = torch.randperm(self.rows, generator=generator).tolist()
            if self.strategy == "group_by_length":
                order = self._by_length(order)
        return [order[start : start + size] for start in range(0, len(self) * size, size)]

    def _by_length(self, order: list[int]) -> list[int]:
        if self.lengths is None:
            raise ArgumentError("train_sampling_strategy='group_by_length' needs the rows' lengths")
        lengths: Sequence[int] = self.lengths
        many = self.batch_size * SORTED_TOGETHER
        groups = [sorted(order[i : i + many], key=lambda row: -lengths[row]) for i in range(0, len(order), many)]
        # What doesn't fit into memory shows in the first batch, not after hours.
        longest = max(range(len(groups)), key=lambda number: lengths[groups[number][0]])
        groups[0], groups[longest] = groups[longest], groups[0]
        return [row for group in groups for row in group]


class Drawn:
    """The order that a loader's own sampler draws, of rows by number; each process takes a batch in turn.

    Args:
        loader: of one process.
        count: processes.
        seed: of the draws, which are anew each epoch.
    """

    def __init__(self, loader: DataLoader, count: int, seed: int):
        self.loader, self.count, self.seed = loader, count, seed
        self.batch_size = (loader.batch_size or 1) * count

    def __len__(self) -> int:
        return -(-len(self.loader) // self.count)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch: those that the processes take at the same time are one."""
        for sampler in (self.loader.sampler, self.loader.batch_sampler):
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)  # type: ignore[union-attr]
        with seeded(self.seed, epoch):
            each = [list(batch) for batch in self.loader.batch_sampler or ()]
        together = (each[start : start + self.count] for start in range(0, len(each), self.count))
        return [[row for batch in batches for row in batch] for batches in together]


class NumberedBatches(Dataset):
    """Batches by number, collated; the share of one process among several.

    A process whose share of a batch is empty gets its first row again, with `"is_filling": True` beside the batch.
    """

    def __init__(
        self,
        rows: Any,
        collate: Collate,
        batches: list[list[int]],
        seed: Sequence[int],
        *,
        index: int = 0,
        count: int = 1,
    ):
        self.rows, self.collate, self.batches, self.seed = rows, collate, batches, tuple(seed)
        self.index, self.count = index, count

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> "Batch":
        mine = list(share_of(self.batches[number], self.index, self.count))
        filling = not mine
        mine = mine or self.batches[number][:1]
        with seeded(*self.seed, number, self.index):
            return Batch(self.collate(fetched(self.rows, mine)), len(mine), filling)


@dataclass
class Batch:
    """What a model gets at once.

    Attributes:
        inputs: name → tensor.
        rows: how many rows it is made of.
        filling: whether it only keeps this process in step with the others, and doesn't count.
    """

    inputs: dict[str, Any]
    rows: int
    filling: bool = False

    def pin_memory(self) -> "Batch":
        """What the loader calls where batches go to a GPU."""
        pinned = {k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in self.inputs.items()}
        return Batch(pinned, self.rows, self.filling)


class Loaded:
    """What a loop of one's own reads: a data set's batches as dictionaries.

    Attributes:
        dataset: the rows.
    """

    def __init__(self, dataset: Any, batches: Callable[[], Iterable[Batch]], count: int | None):
        self.dataset, self.batches, self._count = dataset, batches, count

    @property
    def empty(self) -> bool:
        """Whether it is known that there are no batches."""
        return self._count == 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (batch.inputs for batch in self.batches() if not batch.filling)

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("a stream has no length")
        return self._count


def fetched(rows: Any, indices: list[int]) -> list[Any]:
    """Rows by number, all at once where the data set can."""
    if hasattr(rows, "__getitems__"):
        return rows.__getitems__(indices)
    return [rows[index] for index in indices]


def loader(
    batches: NumberedBatches, *, start: int = 0, workers: int = 0, pin: bool = False, prefetch: int | None = None
):
    """A torch DataLoader over the batches from number `start` on."""
    return DataLoader(
        batches,
        batch_size=None,
        generator=torch.Generator(),  # its own, so that making an iterator draws nothing from the run's
        sampler=range(start, len(batches)),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=prefetch if workers else None,
    )


def streamed(
    rows: Iterable[Any],
    collate: Collate,
    batch_size: int,
    seed: Sequence[int],
    *,
    index: int,
    count: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """Batches of a stream, cut into the processes' shares.

    Args:
        batch_size: rows of all processes together.
        skip: batches to leave out (their rows are read).
    """
    held: list[Any] = []
    number = 0

    def batch() -> Batch:
        mine = list(share_of(held, index, count))
        with seeded(*seed, number, index):
            return Batch(collate(mine or held[:1]), len(mine), not mine)

    for row in rows:
        held.append(row)
        if len(held) == batch_size:
            if number >= skip:
                yield batch()
            number += 1
            held = []
    if held and number >= skip:
        yield batch()


def drawn(
    batches: Iterable[dict[str, Any]], seed: Sequence[int], *, index: int, count: int, skip: int = 0
) -> Iterator[Batch]:
    """Batches of a loader of the user's own, which go to the processes in turn.

    Args:
        seed: under which the loader draws.
        skip: rounds of batches to leave out (they are read).
    """
    with seeded(*seed):
        iterator = iter(batches)
    for number in itertools.count():
        with seeded(*seed, number):
            together = list(itertools.islice(iterator, count))
        if not together:
            return
        if number >= skip:
            filling = index >= len(together)
            inputs = together[0 if filling else index]
            rows = next((len(value) for value in inputs.values() if isinstance(value, torch.Tensor) and value.ndim), 1)
            yield Batch(inputs, rows, filling)
