"""Mixtures of experts: each token is answered by a few of many MLPs (Shazeer et al. 2017).

x ── router ── weights, chosen ─┐
└── tokens sorted by expert ── experts ── weighted sum ──(+)──▶
└── shared MLP (× sigmoid gate) ────────────────────────┘
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from enfold.nn import kernels, kernels_plain, spec
from enfold.nn.linear import Linear
from enfold.nn.modules import ACTIVATIONS, MLP

if TYPE_CHECKING:
    from enfold.nn.modules import Context


class Experts(nn.Module):
    """Gated MLPs, their weights stacked: `gate_up` [E, 2, W, D], `down` [E, D, W].

    One product for each expert that has tokens: on CPUs the native kernel is up to twice as fast as torch's grouped
    product, and one token's step reads the weights of its own experts only.
    """

    def __init__(self, given: spec.MoE, width: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(given.experts, 2, given.width, width))
        self.down = nn.Parameter(torch.empty(given.experts, width, given.width))
        self.act = given.act

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """x [N, D], weights and expert numbers [N, K] → [N, D]."""
        tokens, each = chosen.shape
        if not tokens:
            return x
        order = chosen.flatten().argsort(stable=True)
        counts = chosen.flatten().bincount(minlength=len(self.down)).tolist()
        parts = x[order // each].split(counts)
        run = self.runner()
        answers = torch.cat([run(expert, part) for expert, part in enumerate(parts) if counts[expert]])
        answers = answers[order.argsort()].view(tokens, each, -1)
        return (answers * weights.unsqueeze(-1)).sum(1).to(x.dtype)

    def runner(self):
        """What answers for one expert: (number, its tokens [M, D]) → [M, D]."""
        gate_up, down = self.by_expert(self.gate_up.flatten(1, 2)), self.by_expert(self.down)
        fused = self.act in kernels_plain.ACTIVATIONS

        def run(expert: int, x: Tensor) -> Tensor:
            both = kernels.linear(x, gate_up[expert])
            if fused:
                return kernels.linear(kernels.gated(both, self.act), down[expert])
            gate, up = both.chunk(2, dim=-1)
            return kernels.linear(ACTIVATIONS[self.act](gate) * up, down[expert])

        return run

    @staticmethod
    def by_expert(stacked: Tensor):
        """Experts' weights by number; taken apart at once where gradients are put together again."""
        return stacked.unbind(0) if torch.is_grad_enabled() else stacked

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        parameter.normal_(0.0, std)


class MoE(nn.Module):
    """x [N, D] → [N, D]."""

    experts_class = Experts
    exact = ("router", "shared_gate")  # never rounded: they are small, and a step more or less chooses another expert

    def __init__(self, given: spec.MoE, width: int):
        super().__init__()
        self.spec = given
        self.router = Linear(width, given.experts, bias=False)
        self.experts = self.experts_class(given, width)
        self.shared = MLP(given.shared, width) if given.shared else None
        self.shared_gate = Linear(width, 1, bias=False) if given.shared_gate else None

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The router's scores [N, E], and of those chosen the weights and numbers [N, K]."""
        scores = self.router(x)
        weights, chosen = scores.softmax(-1, dtype=torch.float32).topk(self.spec.chosen)
        return scores, weights / weights.sum(-1, keepdim=True) if self.spec.normalised else weights, chosen

    def forward(self, x: Tensor, context: "Context", depth: int) -> Tensor:
        scores, weights, chosen = self.route(x)
        if context.trace.routers is not None:
            context.trace.routers.append(scores)
        y = self.experts(x, weights, chosen)
        if self.shared is None:
            return y
        common = self.shared(x, context, depth)
        return y + (common if self.shared_gate is None else self.shared_gate(x).sigmoid() * common)
