"""Mixtures of experts: each token is answered by a few of many MLPs (Shazeer et al. 2017).

x ── router ── weights, chosen ─┐
└── tokens sorted by expert ── experts ── weighted sum ──(+)──▶
└── shared MLP (× sigmoid gate) ────────────────────────┘
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from enfold.nn import kernels, spec
from enfold.nn.int8 import pack
from enfold.nn.kernels import plain
from enfold.nn.linear import Linear
from enfold.nn.modules import ACTIVATIONS, MLP
from enfold.nn.split import Plan, blocks

if TYPE_CHECKING:
    from enfold.nn.modules import Context


Run = Callable[[int, Tensor], Tensor]


class Experts(nn.Module):
    """Gated MLPs, their weights stacked: `gate_up` [E, 2, W, D], `down` [E, D, W].

    Attributes:
        stacked: the weights that `round` may turn into bytes.
        rounded: those that it has turned, and the shape of what each stands for.

    One product for each expert that has tokens: on CPUs the native kernel is up to twice as fast as torch's grouped
    product, and one token's step reads the weights of its own experts only.
    """

    stacked = ("gate_up", "down")

    def __init__(self, given: spec.MoE, width: int):
        super().__init__()
        self.rounded: dict[str, torch.Size] = {}
        self.gate_up = nn.Parameter(torch.empty(given.experts, 2, given.width, width))
        self.down = nn.Parameter(torch.empty(given.experts, width, given.width))
        self.act = given.act

    def plan(self, ranks: int) -> Plan | None:
        """Channels of every expert by rank; the router stays outside, and whole."""
        width = self.down.shape[-1]
        if width % ranks:
            return None
        return Plan(columns={"gate_up": blocks(width, dim=2), "down": blocks(width, dim=2)}, summed=True)

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

    def runner(self) -> Run:
        """What answers for one expert: (number, its tokens [M, D]) → [M, D]."""
        gate_up, down = self.product("gate_up"), self.product("down")
        fused = self.act in plain.ACTIVATIONS

        def run(expert: int, x: Tensor) -> Tensor:
            both = gate_up(expert, x)
            if fused:
                return down(expert, kernels.gated(both, self.act))
            gate, up = both.chunk(2, dim=-1)
            return down(expert, ACTIVATIONS[self.act](gate) * up)

        return run

    def product(self, name: str, bias: str | None = None) -> Run:
        """Rows by one expert's part of the weight `name`: (number, [M, in]) → [M, out]."""
        biases = [None] * len(self.down) if bias is None else self.by_expert(getattr(self, bias))
        weight = getattr(self, name)
        if weight.dtype is torch.uint8:
            scale = getattr(self, f"{name}_scale")
            return lambda expert, x: kernels.linear_int8(x, weight[expert], scale[expert], biases[expert])
        parts = self.by_expert(weight if weight.dim() == 3 else weight.flatten(1, 2))
        return lambda expert, x: kernels.linear(x, parts[expert], biases[expert])

    @staticmethod
    def by_expert(stacked: Tensor) -> Sequence[Tensor]:
        """Experts' weights by number; taken apart at once where gradients are put together again."""
        return stacked.unbind(0) if torch.is_grad_enabled() else stacked  # type: ignore[return-value]

    def round(self, name: str, scale: Tensor | None = None) -> None:
        """Put bytes in the place of the weight `name` (see `enfold.nn.int8`); with a scale, it holds whole steps."""
        weight = getattr(self, name)
        scales = [None] * len(weight) if scale is None else scale.flatten(1)
        packed, scales = zip(*map(pack, weight.view(len(weight), -1, weight.shape[-1]), scales), strict=True)
        delattr(self, name)
        self.register_buffer(name, torch.stack(packed))
        self.register_buffer(f"{name}_scale", torch.stack(scales))
        self.rounded[name] = weight.shape

    def steps(self, name: str) -> tuple[Tensor, Tensor]:
        """A weight that is bytes: int8 […, out, in], and what a step is worth […, out, 1]."""
        shape, parts = self.rounded[name], zip(getattr(self, name), getattr(self, f"{name}_scale"), strict=True)
        steps, each = zip(*(plain.unpack_int8(*part, shape[-1]) for part in parts), strict=True)
        return torch.stack([part.to(torch.int8) for part in steps]).view(shape), torch.stack(each).view(*shape[:-1], 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = {name: getattr(self, f"{name}_scale") for name in self.rounded}
        super()._apply(fn, recurse)
        for name, scale in exact.items():  # whatever dtype the rest of the model gets
            setattr(self, f"{name}_scale", scale.to(getattr(self, name).device))
        return self

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
