"""Data loaders for several processes: each reads its own batches, all in one order."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler

from enfold.accelerate.operations import broadcast_object_list, send_to_device
from enfold.accelerate.processes import PartialState
from enfold.accelerate.randomness import random_states, restore_random_states
from enfold.base.errors import ArgumentError


class BatchShare:
    """This process's batches out of a sampler's.

    Batches b₀ b₁ b₂ … go to the processes in turn, or, where `split`, each batch is cut into as many parts. With
    `even`, the rows of the first batches are repeated until each process has as many batches, all of them full.
    """

    def __init__(self, sampler: Any, count: int, index: int, *, split: bool = False, even: bool = True):
        self.sampler, self.count, self.index, self.split, self.even = sampler, count, index, split, even
        self.batch_size = getattr(sampler, "batch_size", None)
        self.drop_last = getattr(sampler, "drop_last", False)
        if split and self.batch_size is not None and self.batch_size % count:
            raise ArgumentError(
                f"split_batches=True: the batch size {self.batch_size} must be a multiple of the {count} processes"
            )

    def __len__(self) -> int:
        batches = len(self.sampler)
        if self.split:
            return batches
        full, rest = divmod(batches, self.count)
        if self.drop_last or not rest:
            return full
        return full + 1 if self.even or self.index < rest else full

    def __iter__(self) -> Iterator[list[int]]:
        return self._parts() if self.split else self._turns()

    def _parts(self) -> Iterator[list[int]]:
        first: list[int] = []
        for batch in self.sampler:
            first = first or list(batch)
            size = (self.batch_size or len(batch)) // self.count
            if len(batch) < size * self.count and self.even:
                batch = [*batch, *_repeated(first, size * self.count - len(batch))]
            part = batch[self.index * size : (self.index + 1) * size]
            if part:
                yield part

    def _turns(self) -> Iterator[list[int]]:
        start: list[int] = []
        round_: list[list[int]] = []
        wanted = 0
        for batch in self.sampler:
            batch = list(batch)
            wanted = wanted or (self.batch_size or len(batch))
            if len(start) < wanted * self.count:
                start += batch
            round_.append(batch)
            if len(round_) == self.count and len(batch) == wanted:
                yield round_[self.index]
                round_ = []
        if not round_ or self.drop_last:
            return
        if self.even:
            filling = iter(_repeated(start, wanted * self.count))
            round_ = [[*batch, *(next(filling) for _ in range(wanted - len(batch)))] for batch in round_]
            while len(round_) < self.count:
                round_.append([next(filling) for _ in range(wanted)])
        if self.index < len(round_):
            yield round_[self.index]


def _repeated(items: list[int], count: int) -> list[int]:
    return (items * (count // max(len(items), 1) + 1))[:count]


class RowShare(IterableDataset):
    """This process's rows of a stream: of each global batch its part; the last one is filled up with its first rows."""

    def __init__(self, dataset: Any, batch_size: int, count: int, index: int, *, drop_last: bool = False):
        self.dataset, self.batch_size, self.count, self.index = dataset, batch_size, count, index
        self.drop_last = drop_last

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        whole, mine = (
            self.batch_size * self.count,
            slice(self.index * self.batch_size, (self.index + 1) * self.batch_size),
        )
        held: list[Any] = []
        first: list[Any] = []
        for row in self.dataset:
            held.append(row)
            if len(held) == whole:
                first = first or held
                yield from held[mine]
                held = []
        if held and not self.drop_last:
            source = first or held
            held = [*held, *(source * (whole // len(source) + 1))[: whole - len(held)]]
            yield from held[mine]


class PreparedLoader:
    """A loader whose batches are on the device, and which knows when it gives the last one.

    Its state (`state_dict`) says how many batches of the epoch it has given, and how its order was drawn, so that the
    rest of the epoch can be read elsewhere: what collating draws is drawn alike too, where no workers read.

    Attributes:
        end_of_dataloader: whether the batch given last was the last.
        remainder: then, how many rows of all processes' last batches are real; None: all.
        goes_on: whether after `load_state_dict` the next epoch is the rest of the one that was under way.
    """

    def __init__(
        self,
        loader: DataLoader,
        device: torch.device | None,
        total_rows: int | None,
        whole_batch: int | None,
        goes_on: bool = False,
    ):
        self.loader, self.device, self.goes_on = loader, device, goes_on
        self.end_of_dataloader = False
        self.remainder: int | None = None
        self._real = total_rows % whole_batch if total_rows and whole_batch else 0
        self.epoch = 0
        self.given = 0
        self._drawn: dict[str, Any] | None = None  # generators before the epoch, and before the batch read ahead
        self._loaded: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch's order comes next."""
        self.epoch = epoch
        for part in (self.loader.batch_sampler, self.loader.sampler, self.loader.dataset):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)  # type: ignore[union-attr]

    def state_dict(self) -> dict[str, Any]:
        """Where in its data it stands."""
        if self.end_of_dataloader or not self.given:
            return {"epoch": self.epoch, "given": 0, "drawn": None}
        return {"epoch": self.epoch, "given": self.given, "drawn": self._drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand there at the next epoch."""
        self.set_epoch(state_dict["epoch"])
        self._loaded = state_dict if state_dict["given"] else None

    def __iter__(self) -> Iterator[Any]:
        start = self._loaded["given"] if self._loaded is not None and self.goes_on else 0
        return self.batches_from(start)

    def batches_from(self, start: int) -> Iterator[Any]:
        """The epoch's batches from number `start` on."""
        self.end_of_dataloader, self.remainder, self.given = False, None, start
        loaded, self._loaded = self._loaded, None
        generators = _generators(self.loader)
        if loaded is None:
            before = {"random": random_states(), "own": [g.get_state() for g in generators]}
            ahead = None
        else:
            before = loaded["drawn"]["before"]
            ahead = loaded["drawn"]["ahead"] if loaded["given"] == start else None
        now = random_states()
        if loaded is not None:
            restore_random_states(before["random"])
            for generator, state in zip(generators, before["own"], strict=True):
                generator.set_state(state)
        _same_order(self.loader)
        batches = iter(_skipping(self.loader, start, lambda: ahead is not None and restore_random_states(ahead)))
        following = next(batches, _NOTHING)
        if loaded is not None:
            restore_random_states(now)
        while following is not _NOTHING:
            batch = following
            # One batch ahead, so that the last one is known before it is given.
            self._drawn = {"before": before, "ahead": random_states()}
            following = next(batches, _NOTHING)
            self.given += 1
            self.end_of_dataloader = following is _NOTHING
            if self.end_of_dataloader:
                self.remainder = self._real or None
            yield batch if self.device is None else send_to_device(batch, self.device, non_blocking=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["loader"], name)


class RestOfLoader:
    """A prepared loader's batches from number `start` on; what they are told of, that loader knows."""

    def __init__(self, whole: PreparedLoader, start: int):
        self.whole, self.start = whole, start

    def __len__(self) -> int:
        return max(len(self.whole) - self.start, 0)

    def __iter__(self) -> Iterator[Any]:
        return self.whole.batches_from(self.start)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["whole"], name)


class Skipping:
    """What a sampler or a stream gives behind its first `start` items; `then` is called before the first of these."""

    def __init__(self, items: Any, start: int, then: Callable[[], Any] | None = None):
        self.items, self.start, self.then = items, start, then
        for name in ("batch_size", "drop_last"):
            if hasattr(items, name):
                setattr(self, name, getattr(items, name))

    def __len__(self) -> int:
        return max(len(self.items) - self.start, 0)

    def __iter__(self) -> Iterator[Any]:
        items = iter(self.items)
        for _ in range(self.start):
            if next(items, _NOTHING) is _NOTHING:
                return
        if self.then is not None:
            self.then()
        yield from items


def _skipping(loader: Any, start: int, then: Callable[[], Any] | None = None) -> Any:
    """A loader without its first batches, which are not read where a sampler names the rows."""
    if not start:
        return loader
    sampler = loader.batch_sampler
    if sampler is None or isinstance(loader.dataset, IterableDataset):
        return Skipping(loader, start, then)
    return DataLoader(
        loader.dataset, batch_sampler=Skipping(sampler, start, then), generator=loader.generator, **_options(loader)
    )


def _options(loader: DataLoader) -> dict[str, Any]:
    names = (
        "num_workers",
        "collate_fn",
        "pin_memory",
        "timeout",
        "worker_init_fn",
        "multiprocessing_context",
        "prefetch_factor",
        "persistent_workers",
    )
    return {name: getattr(loader, name) for name in names}


def _generators(loader: DataLoader) -> list[torch.Generator]:
    """The loader's own generators."""
    sampler = _innermost(loader)
    # What several processes agree on is drawn anew for each epoch.
    held = [loader.generator]
    if not PartialState().use_distributed:
        held.append(getattr(sampler, "generator", None))
    return [generator for generator in dict.fromkeys(held) if isinstance(generator, torch.Generator)]


def _innermost(loader: DataLoader) -> Any:
    """The sampler of rows, below those of batches."""
    sampler: Any = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    while isinstance(sampler, BatchSampler | BatchShare):
        sampler = sampler.sampler
    return sampler


_NOTHING = object()


def _same_order(loader: DataLoader) -> None:
    """One seed for every process, so that all draw the same order before they take their shares of it."""
    sampler = _innermost(loader)
    if not isinstance(sampler, RandomSampler) or not PartialState().use_distributed:
        return
    seed = broadcast_object_list([int(torch.empty((), dtype=torch.int64).random_().item())])[0]
    sampler.generator = torch.Generator().manual_seed(seed)


def prepare_data_loader(
    loader: DataLoader,
    *,
    device: torch.device | None,
    split_batches: bool = False,
    even_batches: bool = True,
    goes_on: bool = False,
) -> PreparedLoader:
    """The loader with this process's share of the data, on `device`."""
    if isinstance(loader, PreparedLoader):
        return loader
    state = PartialState()
    count, index = state.data_count, state.data_index
    total = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None  # type: ignore[arg-type]
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    whole = size if split_batches or size is None else size * count
    if count == 1:
        return PreparedLoader(loader, device, None, None, goes_on)
    options = _options(loader)
    if isinstance(loader.dataset, IterableDataset) or total is None:
        if size is None:
            raise ArgumentError("a loader over a stream needs a batch_size to be shared among processes")
        mine = size // count if split_batches else size
        shared = RowShare(loader.dataset, mine, count, index, drop_last=loader.drop_last)
        return PreparedLoader(DataLoader(shared, batch_size=mine, **options), device, None, None, goes_on)
    sampler = BatchShare(loader.batch_sampler, count, index, split=split_batches, even=even_batches)
    dropped = loader.drop_last or not even_batches
    made = DataLoader(loader.dataset, batch_sampler=sampler, **options)  # type: ignore[arg-type]
    return PreparedLoader(made, device, None if dropped else total, whole, goes_on)


def skip_first_batches(dataloader: Any, num_batches: int = 0) -> Any:
    """A loader of the batches from number `num_batches` on; rows before them are not read, but for a stream's."""
    if num_batches < 0:
        raise ArgumentError(f"num_batches={num_batches}; expected 0 or more")
    if isinstance(dataloader, RestOfLoader):
        return RestOfLoader(dataloader.whole, dataloader.start + num_batches)
    if isinstance(dataloader, PreparedLoader):
        return RestOfLoader(dataloader, num_batches)
    return _skipping(dataloader, num_batches)
