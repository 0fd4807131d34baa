"""Gradients averaged over groups of processes, for models whose weights are in parts: each part with its like."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup
from torch.distributed.tensor import DTensor


class Averaging:
    """Averages each gradient of a model as soon as the backward pass has it, and waits at its end.

    Attributes:
        exchanging: whether the backward pass under way does; else gradients add up here.
    """

    def __init__(self, model: nn.Module, group: ProcessGroup):
        self.group, self.count, self.exchanging = group, distributed.get_world_size(group), True
        self._under_way: list[tuple[Any, Tensor]] = []
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._send)
        model.__dict__["averaging"] = self

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Where gradients stay with this process."""
        self.exchanging = False
        try:
            yield
        finally:
            self.exchanging = True

    def _send(self, parameter: Tensor) -> None:
        if not self.exchanging or parameter.grad is None:
            return
        if not self._under_way:
            torch.autograd.Variable._execution_engine.queue_callback(self._wait)  # type: ignore[attr-defined]
        gradient = parameter.grad
        part = gradient._local_tensor if isinstance(gradient, DTensor) else gradient
        self._under_way.append((distributed.all_reduce(part, group=self.group, async_op=True), part))

    def _wait(self) -> None:
        for work, part in self._under_way:
            work.wait()
            part.div_(self.count)
        self._under_way.clear()
