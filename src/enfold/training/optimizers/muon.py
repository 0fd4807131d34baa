"""Muon for matrices, AdamW for the rest (Jordan et al. 2024; scaled to AdamW's updates as in Liu et al. 2025)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim import Muon as MatrixMuon


class Muon(torch.optim.Optimizer):
    """One optimiser over both: hidden matrices go to `torch.optim.Muon`, all else to AdamW.

    Args:
        params: parameters or groups of them. A group with `"matrices": True` goes to Muon.
        lr: of both: Muon's updates are scaled to the size of AdamW's (`match_rms_adamw`).
        momentum, ns_steps: Muon's.
        betas, eps: AdamW's.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        defaults = {"lr": lr, "weight_decay": weight_decay, "matrices": False}
        super().__init__(params, defaults)
        matrices = [group for group in self.param_groups if group["matrices"]]
        others = [group for group in self.param_groups if not group["matrices"]]
        # The groups are this optimiser's own, so a schedule that sets their rates is seen by the parts.
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            muon = MatrixMuon(matrices, lr=lr, momentum=momentum, ns_steps=ns_steps, adjust_lr_fn="match_rms_adamw")
            self._parts.append(muon)
        if others:
            self._parts.append(AdamW(others, lr=lr, betas=betas, eps=eps))
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Move the weights."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict(state_dict)
        matrices = [group for group in self.param_groups if group["matrices"]]
        others = [group for group in self.param_groups if not group["matrices"]]
        for part, groups in zip(self._parts, [g for g in (matrices, others) if g], strict=True):
            part.param_groups, part.state = groups, self.state


def is_hidden_matrix(name: str, parameter: Tensor, owner: nn.Module) -> bool:
    """Whether Muon applies: a matrix between hidden states; not an embedding, a head or a vector."""
    return parameter.ndim == 2 and not isinstance(owner, nn.Embedding) and "embed" not in name and "head" not in name
