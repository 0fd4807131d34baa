"""Optimisers and schedulers that wait for the last batch of an accumulated step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

if TYPE_CHECKING:
    from enfold.accelerate.accelerator import Accelerator


class PreparedOptimizer(Optimizer):
    """An optimiser that moves only where the accelerator has gathered all gradients of a step."""

    def __init__(self, optimizer: Optimizer, accelerator: "Accelerator"):
        self.optimizer, self._accelerator = optimizer, accelerator
        self.step_was_skipped = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Move the weights, at the end of an accumulated step."""
        if not self._accelerator.sync_gradients:
            return None
        scaler = self._accelerator.scaler
        if not scaler.is_enabled():
            return self.optimizer.step(closure) if closure is not None else self.optimizer.step()
        before = scaler.get_scale()
        self._accelerator.unscale_gradients(self)
        scaler.step(self.optimizer)
        scaler.update()
        self.step_was_skipped = scaler.get_scale() < before
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, at the end of an accumulated step."""
        if self._accelerator.sync_gradients:
            self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.optimizer.add_param_group(param_group)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["optimizer"], name)

    def __repr__(self) -> str:
        return repr(self.optimizer)


class PreparedScheduler:
    """A scheduler that steps when the optimiser has stepped: as often as one process alone would have."""

    def __init__(self, scheduler: LRScheduler, accelerator: "Accelerator"):
        self.scheduler, self._accelerator = scheduler, accelerator

    def step(self, *args: Any) -> None:
        """The next rate."""
        accelerator = self._accelerator
        if not accelerator.step_scheduler_with_optimizer:
            self.scheduler.step(*args)
            return
        if not accelerator.sync_gradients or accelerator.optimizer_step_was_skipped:
            return
        for _ in range(1 if accelerator.split_batches else accelerator.data_processes):
            self.scheduler.step(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["scheduler"], name)
