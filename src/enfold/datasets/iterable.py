"""`IterableDataset`: rows that are read when somebody iterates, through steps that run as the rows go by."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.info import DatasetInfo, Described
from enfold.datasets.iterable_exports import Exports
from enfold.datasets.iterable_origins import Origins
from enfold.datasets.iterable_steps import Steps
from enfold.datasets.publish import Publishing
from enfold.datasets.sources import Source
from enfold.datasets.splits import NamedSplit
from enfold.datasets.streams.block import Block, Place, PlaceAfter, Reader, batches, count, cut
from enfold.datasets.streams.columns import Cast
from enfold.datasets.streams.node import FixedOrderError, Node, divided
from enfold.datasets.streams.order import Ranked, Take
from enfold.datasets.streams.read import Read
from enfold.datasets.streams.show import Format, View

if TYPE_CHECKING:
    from enfold.datasets.distributed import Distributed
    from enfold.datasets.features import Features

# Rows that are looked at to learn the features.
HEAD = 5


class IterableDataset(Origins, Steps, Exports, Publishing, Described):
    """Rows in the order they are read; a step is run when its rows are wanted.

        rows = load_dataset("json", data_files="*.jsonl", split="train", streaming=True)
        for row in rows.map(tokenize, batched=True).shuffle(seed=1).with_format("torch"): ...

    It is itself what a torch DataLoader takes: each worker reads its own part, whole shards while there are enough of
    them, else rows in turns.

    Args:
        source: where the rows are read (or a node of `enfold.datasets.streams`).
        info: what is known of them; `info.features` are what the rows become.
        split: the split's name.
        format: what rows are shown as.
        distributed: which rank's part this is.
    """

    def __init__(
        self,
        source: Source | Node,
        info: DatasetInfo | None = None,
        split: str | None = None,
        *,
        format: Format | None = None,
        distributed: Distributed | None = None,
    ):
        node = Read(source) if isinstance(source, Source) else source
        self._info = DatasetInfo() if info is None else info.copy()
        declared = self._info.features
        if declared is not None and node.features != declared:
            node = Cast(node, declared)
        self._info.features = node.features
        self._node = node
        self._split = split if split is None or isinstance(split, NamedSplit) else NamedSplit(split)
        self._format = Format() if format is None else format
        self._distributed = distributed
        self._threads = 0
        # An integer, or a shared tensor once a torch DataLoader has seen this: its workers must hear of new epochs.
        self._epoch: Any = 0
        # Where the next iteration begins, and where the latest one is: after that many rows of a block.
        self._start: dict[str, Any] | None = None
        self._at: tuple[PlaceAfter, int] | None = None
        # The worker that the latest iteration was for.
        self._role: tuple[int, int] = (0, 0)
        # Of the next iteration: the states of workers, and the one whose part the first worker takes.
        self._resumes: tuple[list[dict[str, Any] | None], int] | None = None

    @property
    def __class__(self):
        # torch's DataLoader asks `isinstance(dataset, torch.utils.data.IterableDataset)`, which ends up here: so torch
        # need not be imported for those who don't use it.
        _known_to_torch(self)
        return type(self)

    def __getstate__(self) -> dict[str, Any]:
        # Where an iteration is belongs to the process that iterates.
        return {**vars(self), "_at": None}

    def _with(self, node: Node, **changes: Any) -> Self:
        """The same dataset with another pipeline."""
        twin = copy.copy(self)
        twin._node, twin._info = node, copy.copy(self._info)
        twin._info.features = node.features
        twin._epoch, twin._start, twin._at, twin._resumes = 0, None, None, None
        for name, value in changes.items():
            setattr(twin, name, value)
        return twin

    # What it is

    @property
    def info(self) -> DatasetInfo:
        """What is known about it."""
        return self._info

    @property
    def split(self) -> NamedSplit | None:
        """The split's name."""
        return self._split

    @property
    def features(self) -> Features | None:
        """Column name → type; None while nobody knows (after `map` without `features=`)."""
        return self._node.features

    @property
    def column_names(self) -> list[str] | None:
        """The columns, None while nobody knows."""
        return None if self.features is None else list(self.features)

    @property
    def num_columns(self) -> int | None:
        """How many columns, None while nobody knows."""
        return None if self.features is None else len(self.features)

    @property
    def num_shards(self) -> int:
        """How many parts can be read on their own."""
        ranks = self._distributed
        shards = self._node.num_shards
        return shards if ranks is None else ranks.shards(shards)

    n_shards = num_shards

    @property
    def epoch(self) -> int:
        """The epoch that was set."""
        return int(self._epoch)

    def __repr__(self) -> str:
        names = "Unknown" if self.features is None else self.column_names
        return f"IterableDataset({{\n    features: {names},\n    num_shards: {self.num_shards}\n}})"

    # Reading

    def __iter__(self) -> Iterator[Any]:
        node, place = self._opened()
        view = View(self._format, node.features)
        if self._threads:
            yield from self._decoded_by_threads(node, place, view)
            return
        for block in node.open(place):
            after = block.place
            for taken, row in enumerate(view.rows(block.rows), 1):
                self._at = after, taken
                yield row

    def iter(self, batch_size: int, drop_last_batch: bool = False) -> Iterator[Any]:
        """The rows in batches: a dictionary of columns each, or what the format makes of it."""
        if batch_size < 1:
            raise ArgumentError(f"batch_size={batch_size}: a batch has at least one row")
        node, place = self._opened()
        view = View(self._format, node.features)
        reader = Reader(node, place)
        try:
            for rows, _, end in batches(reader, batch_size, view.decoder, drop_last=drop_last_batch):
                self._at = end
                yield view.batch(rows)
        finally:
            reader.close()

    def _decoded_by_threads(self, node: Node, place: Place, view: View) -> Iterator[Any]:
        """Rows decoded ahead by threads, in order."""
        running: deque[tuple[PlaceAfter, int, Future[Any]]] = deque()

        def next_row() -> Any:
            after, taken, future = running.popleft()
            row = future.result()
            self._at = after, taken
            return row

        with ThreadPoolExecutor(self._threads, "enfold-decode") as threads:
            try:
                for block in node.open(place):
                    for row in range(count(block.rows)):
                        part = cut(block.rows, row, row + 1)
                        running.append((block.place, row + 1, threads.submit(_only, view, part)))
                        if len(running) > self._threads:
                            yield next_row()
                while running:
                    yield next_row()
            finally:
                for _, _, future in running:
                    future.cancel()

    def _blocks(self) -> Iterator[Block]:
        """All rows of this rank and epoch, for exports; the state stays where it is."""
        return self._part((0, 0)).open(None)

    def _opened(self) -> tuple[Node, Place]:
        """What this process reads, and from where on."""
        start, self._start = self._start, None
        resumes, self._resumes = self._resumes, None
        role = _worker(0 if resumes is None else resumes[1])
        if resumes is not None:
            start = resumes[0][role[0]]
        place = None
        if start is not None:
            saved = tuple(start["worker"])
            if saved != role:
                raise DatasetError(
                    f"this state is of worker {saved[0]} of {saved[1]}, and was loaded in worker {role[0]} of "
                    f"{role[1]} (0 of 0: no worker). Resume with as many workers as there were, and with a loader "
                    "that keeps their states: enfold.datasets.StatefulDataLoader"
                )
            place = start["place"]
        self._role, self._at = role, ((lambda _: place), 0)
        return self._part(role), place

    def _resume(self, states: list[dict[str, Any] | None] | None, first: int) -> None:
        """In the next iteration, worker i goes on as worker `first + i` did, from its state (None: the beginning)."""
        self._resumes = None if states is None else (states, first)

    def _part(self, role: tuple[int, int]) -> Node:
        """What a worker of this rank reads in this epoch."""
        node, epoch, ranks = self._node, self.epoch, self._distributed
        if epoch:
            # Where rows are counted, the shards keep their order in every epoch.
            with contextlib.suppress(FixedOrderError):
                node = node.shuffled(np.random.default_rng(epoch))
            node = node.shifted(epoch)
        if ranks is not None:
            if ranks.by_shards(node.num_shards):
                node = node.shard(ranks.world_size, ranks.rank, contiguous=False)
            else:
                node = Ranked(node, ranks.world_size, ranks.rank)
        worker, workers = role
        return divided(node, workers, worker).shifted(worker, worker=True) if workers else node

    # Where it is

    def set_epoch(self, epoch: int) -> None:
        """Another order of shards and rows, the same for all who set it. A loaded state of another epoch is dropped."""
        if epoch != self.epoch:
            self._start = None
        if isinstance(self._epoch, int):
            self._epoch = epoch
        else:
            self._epoch.fill_(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the latest iteration is, as JSON values: what comes after the row it yielded last.

        Nothing is lost or repeated, not in shuffle buffers either. It grows with the steps of the pipeline, not with
        what buffers hold.
        """
        if self._start is not None:
            return copy.deepcopy(self._start)
        place = None if self._at is None else self._at[0](self._at[1])
        return {"epoch": self.epoch, "worker": list(self._role), "place": place}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next iteration goes on from there, in the state's epoch. Iterations after it begin at the beginning."""
        if not isinstance(state_dict, Mapping) or not {"epoch", "worker", "place"} <= state_dict.keys():
            raise ArgumentError("this is no state of an IterableDataset: it lacks 'epoch', 'worker' or 'place'")
        self.set_epoch(state_dict["epoch"])
        self._start = copy.deepcopy(dict(state_dict))

    # Columns

    def __getitem__(self, column_name: str) -> IterableColumn:
        if not isinstance(column_name, str):
            raise ArgumentError(
                f"rows that are streamed have no numbers: [{column_name!r}] must be the name of a column. For rows "
                "there are skip() and take()."
            )
        return IterableColumn(self, column_name)

    def _head(self, n: int = HEAD) -> Any:
        """The first rows, as columns of Python objects."""
        return next(self.take(n).with_format(None).iter(max(n, 1)), {})

    def _resolve_features(self) -> Self:
        """The same with its features known: declared, or learned from the first rows."""
        if self.features is not None:
            return self
        from enfold.datasets.features import Features

        view = View(Format("arrow"), None)
        reader = Reader(Take(self._node, HEAD), None)
        try:
            head = next(batches(reader, HEAD, view.decoder), None)
        finally:
            reader.close()
        if head is None:
            return self
        table, _ = view.table(head[0])
        return self._with(Cast(self._node, Features.from_arrow_schema(table.schema)))


class IterableColumn:
    """The values of one column, one after the other.

    Args:
        source: a dataset, or a column whose values are dictionaries.
        column_name: the column, or the key.
    """

    def __init__(self, source: IterableDataset | IterableColumn, column_name: str):
        self.source, self.column_name = source, column_name

    def __iter__(self) -> Iterator[Any]:
        source, name = self.source, self.column_name
        if isinstance(source, IterableDataset) and source.features is not None:
            source = source.select_columns([name])
        for row in source:
            yield row[name]

    def __getitem__(self, column_name: str) -> IterableColumn:
        return IterableColumn(self, column_name)


def _only(view: View, rows: Any) -> Any:
    return next(view.rows(rows))


def _worker(rotation: int) -> tuple[int, int]:
    """Which worker of how many of a torch DataLoader this process is: (0, 0) outside of one."""
    data = sys.modules.get("torch.utils.data")
    info = None if data is None else data.get_worker_info()
    return (0, 0) if info is None else ((info.id + rotation) % info.num_workers, info.num_workers)


def _known_to_torch(dataset: IterableDataset) -> None:
    """Register the class with torch, if that is loaded, and share the epoch with workers to come."""
    torch, data = sys.modules.get("torch"), sys.modules.get("torch.utils.data")
    if torch is None or data is None:
        return
    data.IterableDataset.register(IterableDataset)
    state = vars(dataset)
    if isinstance(state.get("_epoch"), int):
        state["_epoch"] = torch.tensor(state["_epoch"]).share_memory_()
