"""Lion: the sign of a momentum (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from enfold.base.errors import ArgumentError


class Lion(Optimizer):
    """w ← w − lr·(sign(β₁m + (1−β₁)g) + λw);  m ← β₂m + (1−β₂)g.

    Args:
        params: parameters or groups of them.
        lr: three to ten times smaller than AdamW's.
        betas: (β₁, β₂).
        weight_decay: λ; three to ten times larger than AdamW's.
    """

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ):
        if not all(0 <= beta < 1 for beta in betas):
            raise ArgumentError(f"betas={betas}; expected two numbers from 0 to below 1")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Move the weights."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            for p in moved:
                self.state[p].setdefault("exp_avg", torch.zeros_like(p))
            gradients = [p.grad for p in moved if p.grad is not None]
            momenta = [self.state[p]["exp_avg"] for p in moved]
            before, after = group["betas"]
            for p, gradient, momentum in zip(moved, gradients, momenta, strict=True):
                sign = momentum.mul(before).add_(gradient, alpha=1 - before).sign_()
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(sign, alpha=-group["lr"])
                momentum.lerp_(gradient, 1 - after)
        return loss
