"""A torch `DataLoader` that says where it is, for every worker, and goes on from there.

What workers have read ahead and nobody has taken yet is not part of its state: each batch brings the state of its
worker after that batch. It needs nothing but torch; `torchdata`'s loader works with an `IterableDataset` as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, default_collate, default_convert, get_worker_info
from torch.utils.data._utils.pin_memory import pin_memory

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.iterable import IterableDataset


class StatefulDataLoader(DataLoader):
    """A `DataLoader` over an `IterableDataset`, with `state_dict` and `load_state_dict`.

        loader = StatefulDataLoader(dataset, batch_size=32, num_workers=4)
        for batch in loader:
            ...
            state = loader.state_dict()        # after this batch, whatever the workers have read ahead

    The arguments are those of `torch.utils.data.DataLoader`. A state is loaded into a loader of as many workers; the
    size of batches may be another.
    """

    def __init__(self, dataset: IterableDataset, *args: Any, **kwargs: Any):
        if not isinstance(dataset, IterableDataset):
            raise ArgumentError(
                f"StatefulDataLoader is for an IterableDataset, not {type(dataset).__name__}; a Dataset is made one "
                "by to_iterable_dataset()"
            )
        super().__init__(dataset, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        self._rows = dataset
        given = kwargs.get("collate_fn", args[6] if len(args) > 6 else None)
        whole = default_convert if self.batch_size is None else default_collate
        self.collate_fn = _Stamping(whole if given is None else given, dataset)
        # The state of each worker (of the process itself where there is none), and whose batch is next.
        self._states: list[dict[str, Any] | None] = self._fresh()
        self._next = 0

    def _fresh(self) -> list[dict[str, Any] | None]:
        return [None] * max(self.num_workers, 1)

    def state_dict(self) -> dict[str, Any]:
        """Where it is after the batch it gave last, as JSON values."""
        return {"workers": copy.deepcopy(self._states), "next": self._next, "epoch": self._rows.epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The next iteration goes on from there, in the state's epoch; those after it begin at the beginning."""
        if not {"workers", "next", "epoch"} <= state_dict.keys():
            raise ArgumentError("this is no state of a StatefulDataLoader: it lacks 'workers', 'next' or 'epoch'")
        states = list(state_dict["workers"])
        if len(states) != len(self._fresh()):
            raise DatasetError(f"this state is of {len(states)} workers; load it with num_workers={len(states)}")
        self._rows.set_epoch(state_dict["epoch"])
        self._states, self._next = copy.deepcopy(states), state_dict["next"]
        # Persistent workers would not hear of it.
        self._iterator = None
        # torch asks process 0 first: it takes the part of the worker whose turn it is.
        self._rows._resume(self._states, self._next)

    def __iter__(self) -> Iterator[Any]:
        # Where an iteration was left, nothing is resumed, unless a state was loaded.
        if not self._rows._resumes:
            self._states, self._next = self._fresh(), 0
        batches = super().__iter__()
        if self.num_workers:
            # The workers have their copies of the dataset now.
            self._rows._resume(None, 0)
        return self._taken(batches)

    def _taken(self, batches: Iterator[Any]) -> Iterator[Any]:
        for stamped in batches:
            self._states[stamped.worker] = stamped.state
            self._next = (stamped.worker + 1) % len(self._states)
            yield stamped.batch
        self._states, self._next = self._fresh(), 0


class _Stamping:
    """Makes a batch of rows, in the worker that read them, and adds where the worker is."""

    def __init__(self, collate: Callable[[Any], Any], dataset: IterableDataset):
        self.collate, self.dataset = collate, dataset

    def __call__(self, rows: Any) -> _Stamped:
        info = get_worker_info()
        dataset: Any = self.dataset if info is None else info.dataset
        state = dataset.state_dict()
        return _Stamped(self.collate(rows), state["worker"][0], state)


class _Stamped:
    """A batch, and the state of the worker it is from, after it."""

    def __init__(self, batch: Any, worker: int, state: dict[str, Any]):
        self.batch, self.worker, self.state = batch, worker, state

    def pin_memory(self, device: Any = None) -> _Stamped:
        """What torch calls where `pin_memory=True`."""
        return _Stamped(pin_memory(self.batch, device), self.worker, self.state)
