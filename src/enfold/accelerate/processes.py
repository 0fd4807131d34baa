"""Which process this is, among how many, and on which device."""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any

import torch
from torch import distributed

from enfold.base.errors import ArgumentError


class PartialState:
    """The process group and the device; every instance in a process shares them.

    Started by torchrun (or anything that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT), it joins the
    group of processes; alone, it is the main process of one.

    Args:
        cpu: stay on the CPU.
        backend: "nccl" or "gloo"; chosen by the device when None.
        timeout: how long a process waits for the others.
    """

    _shared: dict[str, Any] = {}

    def __init__(self, cpu: bool = False, *, backend: str | None = None, timeout: float = 1800.0):
        self.__dict__ = self._shared
        if self._shared:
            if cpu and self.device.type != "cpu":
                raise ArgumentError(
                    f"cpu=True, but this process already uses {self.device}: say so where the first Accelerator, "
                    "Trainer or PartialState is made"
                )
            return
        world = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_process_index = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = self._choose_device(cpu)
        self._started = False
        if world > 1 and not distributed.is_initialized():
            # On accelerators numbers on the CPU are exchanged, too: torch then takes a backend for each.
            chosen = backend or ("gloo" if self.device.type == "cpu" else None)
            distributed.init_process_group(chosen, timeout=timedelta(seconds=timeout))
            self._started = True
            # A group that is still there when the interpreter ends takes the process down with it now and then.
            atexit.register(_leave)
        grouped = distributed.is_initialized()
        self.num_processes = distributed.get_world_size() if grouped else 1
        self.process_index = distributed.get_rank() if grouped else 0
        self.backend = distributed.get_backend() if grouped else None
        self.share_data(self.process_index, self.num_processes)

    def _choose_device(self, cpu: bool) -> torch.device:
        if cpu or os.environ.get("ENFOLD_USE_CPU") == "1" or not torch.accelerator.is_available():
            return torch.device("cpu")
        kind = torch.accelerator.current_accelerator()
        assert kind is not None
        device = torch.device(kind.type, self.local_process_index)
        torch.accelerator.set_device_index(self.local_process_index)
        return device

    def share_data(self, index: int, count: int, group: distributed.ProcessGroup | None = None) -> None:
        """Say which share of the data this process reads, of how many; `group` holds one reader of each share.

        Processes that hold one model together read the same share. By default each has its own.
        """
        self.data_index, self.data_count, self.data_group = index, count, group

    @property
    def is_main_process(self) -> bool:
        """Rank 0."""
        return self.process_index == 0

    @property
    def is_local_main_process(self) -> bool:
        """The first process of this machine."""
        return self.local_process_index == 0

    @property
    def is_last_process(self) -> bool:
        """The highest rank."""
        return self.process_index == self.num_processes - 1

    @property
    def use_distributed(self) -> bool:
        """Whether there are other processes."""
        return self.num_processes > 1

    def wait_for_everyone(self) -> None:
        """Return when every process has come here."""
        if self.use_distributed:
            distributed.barrier()

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Rank 0 runs the block, then the others do: it fills the cache that they read."""
        with self._first(self.is_main_process):
            yield

    @contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """The same for each machine's first process."""
        with self._first(self.is_local_main_process):
            yield

    @contextmanager
    def _first(self, now: bool) -> Iterator[None]:
        if not now:
            self.wait_for_everyone()
        try:
            yield
        finally:
            if now:
                self.wait_for_everyone()

    @contextmanager
    def split_between_processes(self, inputs: Any, apply_padding: bool = False) -> Iterator[Any]:
        """This process's share of a list, a tensor, or a dictionary of them; shares differ by at most one row.

        Args:
            apply_padding: repeat the last row until all shares are as long as the longest, for `gather`.
        """
        yield self._share(inputs, apply_padding)

    def _share(self, inputs: Any, pad: bool) -> Any:
        if isinstance(inputs, dict):
            lengths = {len(value) for value in inputs.values()}
            if len(lengths) > 1:
                raise ArgumentError(f"the entries to split differ in length: {sorted(lengths)}")
            return {name: self._share(value, pad) for name, value in inputs.items()}
        share: Any = share_of(inputs, self.process_index, self.num_processes)
        longest = -(-len(inputs) // self.num_processes)
        if not pad or len(share) == longest:
            return share
        last = share[-1:] if len(share) else inputs[-1:]
        if isinstance(share, torch.Tensor):
            return torch.cat([share, last])
        return [*share, *last] if not isinstance(share, tuple) else (*share, *last)

    def on_main_process(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that only rank 0 runs; elsewhere it returns None."""
        return _only_where(lambda: self.is_main_process, function)

    def on_local_main_process(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same for each machine's first process."""
        return _only_where(lambda: self.is_local_main_process, function)

    def on_last_process(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same for the highest rank."""
        return _only_where(lambda: self.is_last_process, function)

    def on_process(self, function: Callable[..., Any], process_index: int) -> Callable[..., Any]:
        """The same for one rank."""
        return _only_where(lambda: self.process_index == process_index, function)

    def print(self, *args: Any, **options: Any) -> None:
        """`print`, once a machine."""
        if self.is_local_main_process:
            print(*args, **options)

    def destroy_process_group(self) -> None:
        """Leave the group that this object joined."""
        if self._started:
            _leave()
        self._shared.clear()

    def __repr__(self) -> str:
        return f"PartialState(process {self.process_index} of {self.num_processes}, {self.device})"


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _only_where(here: Callable[[], bool], function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def maybe(*args: Any, **options: Any) -> Any:
        return function(*args, **options) if here() else None

    return maybe


def share_of(items: Sequence[Any], index: int, count: int) -> Sequence[Any]:
    """Part `index` of `count` parts of `items`, whose lengths differ by at most one."""
    size, longer = divmod(len(items), count)
    start = index * size + min(index, longer)
    return items[start : start + size + (index < longer)]
