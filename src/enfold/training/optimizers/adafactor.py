"""Adafactor: second moments as the product of a row and a column (Shazeer & Stern 2018, algorithms 4 to 6)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from enfold.base.errors import ArgumentError


class Adafactor(Optimizer):
    """Memory for a matrix [n, m] is n + m numbers instead of n·m.

    Args:
        params: parameters or groups of them.
        lr: the rate; None: min(1e-2, 1/√t), relative to the weights' size where `scale_parameter`.
        eps: (added to squared gradients, the least size of weights that scales the rate).
        clip_threshold: updates are scaled down to this root mean square.
        decay_rate: β₂ of step t is 1 − t**decay_rate.
        beta1: of the first moment; None keeps none.
        scale_parameter: multiply the rate by the root mean square of the weights.
        relative_step: lr must be None, and follows the step.
        warmup_init: start at 1e-6·t.
    """

    def __init__(
        self,
        params: Any,
        lr: float | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ):
        if lr is not None and relative_step:
            raise ArgumentError(f"Adafactor got lr={lr} and relative_step=True: pass lr=None, or relative_step=False")
        if lr is None and not relative_step:
            raise ArgumentError("Adafactor got neither lr nor relative_step=True")
        if warmup_init and not relative_step:
            raise ArgumentError("warmup_init=True needs relative_step=True")
        super().__init__(
            params,
            {
                "lr": lr,
                "eps": eps,
                "clip_threshold": clip_threshold,
                "decay_rate": decay_rate,
                "beta1": beta1,
                "weight_decay": weight_decay,
                "scale_parameter": scale_parameter,
                "relative_step": relative_step,
                "warmup_init": warmup_init,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Move the weights."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad.float()  # type: ignore[union-attr]
        state = self.state[parameter]
        factored = gradient.ndim >= 2
        if not state:
            state["step"] = 0
            if factored:
                state["exp_avg_sq_row"] = gradient.new_zeros(gradient.shape[:-1])
                state["exp_avg_sq_col"] = gradient.new_zeros(gradient.shape[:-2] + gradient.shape[-1:])
            else:
                state["exp_avg_sq"] = torch.zeros_like(gradient)
            if group["beta1"] is not None:
                state["exp_avg"] = torch.zeros_like(gradient)
        state["step"] += 1
        weights = parameter.float()
        lr = self._rate(group, state["step"], _root_mean_square(weights))
        beta2 = 1.0 - math.pow(state["step"], group["decay_rate"])
        squares = gradient.square().add_(group["eps"][0])
        if factored:
            rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
            rows.lerp_(squares.mean(-1), 1 - beta2)
            columns.lerp_(squares.mean(-2), 1 - beta2)
            scale = (rows / rows.mean(-1, keepdim=True)).rsqrt_()[..., None] * columns.rsqrt()[..., None, :]
        else:
            scale = state["exp_avg_sq"].lerp_(squares, 1 - beta2).rsqrt()
        update = scale.mul_(gradient)
        update.div_((_root_mean_square(update) / group["clip_threshold"]).clamp_(min=1.0)).mul_(lr)
        if group["beta1"] is not None:
            update = state["exp_avg"].lerp_(update, 1 - group["beta1"])
        if group["weight_decay"]:
            weights = weights - group["weight_decay"] * lr * weights
        parameter.copy_(weights - update)

    @staticmethod
    def _rate(group: dict[str, Any], step: int, size: Tensor) -> Any:
        rate = group["lr"]
        if group["relative_step"]:
            rate = min(1e-6 * step if group["warmup_init"] else 1e-2, 1.0 / math.sqrt(step))
        return rate * size.clamp(min=group["eps"][1]) if group["scale_parameter"] else rate


def _root_mean_square(x: Tensor) -> Tensor:
    return x.norm() / math.sqrt(max(x.numel(), 1))
