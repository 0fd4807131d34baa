"""The modules that the specs of the same name describe. All of them see packed tokens: x is [N, D].

Step:   x ──┬── pre ── op ── post ── dropout ──(+)── out ──▶
            └───────────────────────────────────┘
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from enfold.base.errors import ArgumentError, LengthError
from enfold.nn import kernels, spec
from enfold.nn.attention import Bias, Query, Rule, attend
from enfold.nn.cache import Cache, Packed, Spans, Stored
from enfold.nn.int8 import intact
from enfold.nn.kernels import plain
from enfold.nn.linear import Embedding, Group, Linear, untouched
from enfold.nn.relative import Alibi, Relative
from enfold.nn.rope import RopeTable, rotate
from enfold.nn.split import Cut, Plan, blocks
from enfold.nn.where import Packing, Where


def quick_gelu(x: Tensor) -> Tensor:
    """A sigmoid in place of the normal distribution (Hendrycks & Gimpel 2016, §2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "quick_gelu": quick_gelu,
}


@dataclass
class Source:
    """What cross-attention reads: the encoder's packed states [M, D] and their lengths."""

    states: Tensor
    where: Where


@dataclass
class Trace:
    """What a caller asked to see on the way.

    Attributes:
        hidden: states [N, D] before each layer and at the end.
        routers: scores [N, experts] of each mixture's router.
    """

    hidden: list[Tensor] | None = None
    attentions: list[Tensor] | None = None
    cross_attentions: list[Tensor] | None = None
    routers: list[Tensor] | None = None


@dataclass
class Context:
    """One forward pass: where the tokens sit, what is remembered, what is traced."""

    where: Where
    cache: Cache | None = None
    source: Source | None = None
    backend: str | None = None
    trace: Trace = field(default_factory=Trace)
    rope_tables: dict[spec.Rope, RopeTable] = field(default_factory=dict)
    relative: Relative | Alibi | None = None

    def rope(self, rope: spec.Rope, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines at the tokens' positions: [N, 1, dim] each."""
        memo, key = self.where.memo, ("rope", rope)
        if key not in memo:
            cos, sin = self.tables(rope, like)
            positions = self.where.positions
            memo[key] = (cos[positions].unsqueeze(1), sin[positions].unsqueeze(1))
        return memo[key]

    def packed(self, keys: Tensor, values: Tensor) -> Packed | Spans:
        """Keys and values [N, kv_heads, head_dim] that the tokens bring, as the tokens see them."""
        if self.where.share is not None:
            return self.where.share.keys(keys, values)
        return Packed(keys, values, self.where.lengths, self.where.offsets)

    def tables(self, rope: spec.Rope, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of all positions that occur: [P, dim] each."""
        table = self.rope_tables.setdefault(rope, RopeTable(rope))
        return table.upto(self.where.end, dtype=like.dtype, device=like.device)


class RMSNorm(nn.Module):
    """`weight · x / rms(x)`, statistics in fp32 (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return kernels.rms_norm(x, self.weight, self.eps)


class RMSNormFromOne(RMSNorm):
    """`(1 + weight) · x / rms(x)`, all of it in fp32 (Gemma)."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.rms_norm(x.float(), 1.0 + self.weight.float(), self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """torch's layer norm without its initialisation: x [N, D], or the sum of x and a residual, → [N, D]."""

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        return kernels.layer_norm(input, self.weight, self.bias, self.eps, residual)

    def reset_parameters(self) -> None:
        """Nothing: see `Linear.reset_parameters`."""


def norm(given: spec.Norm | None, width: int) -> nn.Module | None:
    """The module of a norm's spec."""
    if given is None:
        return None
    if given.kind == "layer":
        return LayerNorm(width, eps=given.eps, bias=given.bias)
    return (RMSNorm if given.kind == "rms" else RMSNormFromOne)(width, given.eps)


class Attention(nn.Module):
    """Self-attention: x [N, D] → [N, D]."""

    sinks: Tensor | None

    def __init__(self, given: spec.Attention, width: int):
        super().__init__()
        self.spec = given
        self.project(given, width)
        self.register_parameter("sinks", None)
        self.groups = self._groups()
        scale = given.head_dim**-0.5 if given.scale is None else given.scale
        self.rules = {
            training: Rule(given.causal, scale, given.dropout if training else 0.0, given.window, given.softcap)
            for training in (False, True)
        }

    def project(self, given: Any, width: int) -> None:
        """Make the maps into heads and out of them."""
        self.widths: tuple[int, ...] = (given.heads * given.head_dim, *(given.kv_heads * given.head_dim,) * 2)
        if given.together:
            self.qkv = Linear(width, sum(self.widths), bias=given.bias)
        else:
            self.q, self.k, self.v = (Linear(width, out, bias=given.bias) for out in self.widths)
        self.o = Linear(self.widths[0], width, bias=given.out_bias)
        over = (given.head_dim,) * 2 if given.qk_norm_over == "head" else self.widths[:2]
        self.q_norm, self.k_norm = (norm(given.qk_norm, size) for size in over)

    def _groups(self) -> tuple[Group, ...]:
        return () if self.spec.together else (Group(self, ("q", "k", "v")),)

    def plan(self, ranks: int) -> Plan | None:
        """Heads by rank; keys and values that are fewer than ranks are repeated."""
        given = self.spec
        heads, kv_heads = (given.heads, given.head_dim), (given.kv_heads, given.head_dim)
        inner = given.qk_norm is not None and given.qk_norm_over == "all"
        if given.heads % ranks or (inner and given.kv_heads % ranks):
            return None
        columns = {"qkv": Cut((heads, kv_heads, kv_heads))}
        if not given.together:
            columns = {"q": Cut((heads,)), "k": Cut((kv_heads,)), "v": Cut((kv_heads,))}
        if inner:
            columns |= {"q_norm": Cut((heads,)), "k_norm": Cut((kv_heads,))}
        mine = replace(given, heads=given.heads // ranks, kv_heads=max(given.kv_heads // ranks, 1))
        return Plan(
            columns=columns,
            rows={"o": Cut((heads,), dim=1)},
            over_all=("q_norm", "k_norm") if inner else (),
            draws=given.dropout > 0,
            sizes={"spec": mine, "widths": tuple(mine.head_dim * n for n in (mine.heads, *(mine.kv_heads,) * 2))},
        )

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        cache = context.cache
        if cache is not None and not torch.is_grad_enabled() and cache.direct(depth, context.where):
            whole = self.qkv(x) if self.spec.together else self.groups[0].whole(x)  # [N, (H + 2·Hkv)·d]
            if whole is not None:
                if self.q_norm is not None:
                    whole = torch.cat([*self.normed(*whole.split(self.widths, dim=-1))], dim=-1)
                q, keys = self.remember(whole, cache, context, depth)
                return self.answer(q, keys, context, context.trace.attentions)
        parts = self.qkv(x).split(self.widths, dim=-1) if self.spec.together else self.groups[0].parts(x)
        q, k, v = map(self.by_head, self.normed(*parts))  # [N, H, d], [N, Hkv, d] twice
        if self.spec.rope is not None:
            cos, sin = context.rope(self.spec.rope, x)
            q, k = (rotate(x, cos, sin, self.spec.rope.pairs) for x in (q, k))
        keys = context.packed(k, v)
        if cache is not None:
            fresh = not cache.lengths  # the first call attends to what it brings, and keeps its gradient
            stored = cache.write(depth, context.where, *((k.detach(), v.detach()) if fresh else (k, v)))
            keys = keys if fresh else stored
        return self.answer(q, keys, context, context.trace.attentions)

    def normed(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [N, H·d] and keys [N, Hkv·d] after their norms."""
        if self.q_norm is None or self.k_norm is None:
            return q, k, v
        if self.spec.qk_norm_over == "all":
            return self.q_norm(q.contiguous()), self.k_norm(k.contiguous()), v
        d = self.spec.head_dim
        return self.q_norm(q.reshape(-1, d)).view(q.shape), self.k_norm(k.reshape(-1, d)).view(k.shape), v

    def by_head(self, x: Tensor) -> Tensor:
        """[N, H·d] → [N, H, d], of no tokens too."""
        return x.unflatten(-1, (x.shape[-1] // self.spec.head_dim, self.spec.head_dim))

    def remember(self, qkv: Tensor, cache: Cache, context: Context, depth: int) -> tuple[Tensor, Stored]:
        """Rotate q and k of [N, (H + 2·Hkv)·d], write k and v into the cache; q [N, H, d] and what it sees."""
        where = context.where
        stores = cache.storage(depth, where, self.spec.kv_heads, self.spec.head_dim, like=qkv)
        rope = self.spec.rope
        cos, sin = (None, None) if rope is None else context.tables(rope, qkv)
        q = kernels.rope_store(
            qkv,
            cos,
            sin,
            stores[0],
            stores[1],
            cache.slots(depth, where),
            positions=None if rope is None else where.positions,
            sequences=where.sequences,
            pairs="halves" if rope is None else rope.pairs,
        )
        return q, cache.held(depth, stores, where)

    def bias(self, context: Context) -> Bias | None:
        """What is added to the scores."""
        return context.relative if self.spec.biased else None

    def answer(
        self,
        q: Tensor,
        keys,
        context: Context,
        seen: list[Tensor] | None,
        contents: Callable[[int, int], Tensor] | None = None,
    ) -> Tensor:
        """Attend and project back: q [N, H, d] → [N, D]; see `Query` for `contents`."""
        probabilities: list[Tensor] | None = None if seen is None else []
        query = Query(
            q,
            keys,
            self.rules[self.training],
            context.where,
            bias=self.bias(context),
            contents=contents,
            probabilities=probabilities,
            sinks=self.sinks,
        )
        mixed = attend(query, "plain" if seen is not None else context.backend)
        if seen is not None:
            assert probabilities is not None
            seen.append(_pad_probabilities(probabilities, query.runs(), context.where.lengths))
        return self.o(mixed.reshape(-1, self.widths[0]))


class CrossAttention(Attention):
    """Attention over the encoder's states, whose keys and values are computed once per source."""

    def _groups(self) -> tuple[Group, ...]:
        return (Group(self, ("k", "v")),)

    def plan(self, ranks: int) -> Plan | None:
        found = super().plan(ranks)
        return found and replace(found, source=True)

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        q = self.by_head(self.q(x))
        keys = None if context.cache is None else context.cache.cross(depth)
        if keys is None:
            assert context.source is not None
            source = context.source.where
            parts = self.groups[0].parts(context.source.states)
            k, v = map(self.by_head, parts)
            keys = Packed(k, v, source.lengths, source.offsets)
            if context.cache is not None:
                context.cache.write_cross(depth, Packed(k.detach(), v.detach(), source.lengths, source.offsets))
        return self.answer(q, keys, context, context.trace.cross_attentions)


class MLP(nn.Module):
    """x [N, D] → [N, D]."""

    def __init__(self, given: spec.MLP, width: int):
        super().__init__()
        self.act = ACTIVATIONS[given.act]
        self.gated, self.dropout = given.gated, given.dropout
        self.fused = given.act if given.act in plain.ACTIVATIONS else None
        self.together = given.together
        if given.together:
            self.gate_up = Linear(width, 2 * given.width, bias=given.bias)
        else:
            if given.gated:
                self.gate = Linear(width, given.width, bias=given.bias)
            self.up = Linear(width, given.width, bias=given.bias)
        self.down = Linear(given.width, width, bias=given.bias)
        apart = given.gated and not given.together
        self.groups: tuple[Group, ...] = (Group(self, ("gate", "up")),) if apart else ()
        self.width = given.width

    def plan(self, ranks: int) -> Plan | None:
        """Channels by rank."""
        if self.width % ranks:
            return None
        channels = (self.width, 1)
        names = ("gate", "up") if self.gated else ("up",)
        columns = {"gate_up": Cut((channels, channels))}
        if not self.together:
            columns = {name: Cut((channels,)) for name in names}
        return Plan(columns=columns, rows={"down": blocks(self.width, dim=1)}, draws=self.dropout > 0)

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        if self.gated:
            both = self.gate_up(x) if self.together else self.groups[0].whole(x) if self.fused else None
            if both is not None and self.fused:
                x = kernels.gated(both, self.fused)
            else:
                gate, up = self.groups[0].parts(x) if both is None else both.chunk(2, dim=-1)
                x = self.act(gate) * up
        elif self.fused and (untouched(self.up) or intact(self.up)):
            x = self.up.activated(x, self.fused)
        else:
            x = self.act(self.up(x))
        return self.down(F.dropout(x, self.dropout, self.training) if self.training else x)


class Step(nn.Module):
    """One residual step: `x → out(x + scale · dropout(post(op(pre(x)))))`."""

    def __init__(self, given: spec.Step, width: int, attention: type[Attention] = Attention):
        super().__init__()
        self.pre, self.post, self.out = norm(given.pre, width), norm(given.post, width), norm(given.out, width)
        if isinstance(given.op, spec.Op):
            self.op = given.op.build(width)
        else:
            self.op = attention(given.op, width) if isinstance(given.op, spec.Attention) else MLP(given.op, width)
        self.dropout, self.scale = given.dropout, given.scale

    def change(self, x: Tensor, context: Context, depth: int) -> Tensor:
        """What the step adds, of an input that is normed already."""
        y = self.op(x, context, depth)
        if self.post is not None:
            y = self.post(y)
        if self.training:
            y = F.dropout(y, self.dropout)
        return y if self.scale == 1.0 else y * self.scale

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        y = self.change(x if self.pre is None else self.pre(x), context, depth)
        if type(self.out) is LayerNorm:
            return self.out(y, x)
        x = kernels.add(x, y)
        return x if self.out is None else self.out(x)


class Layer(nn.Module):
    """Attention, cross-attention where there is a source, MLP."""

    def __init__(self, given: spec.Layer, width: int):
        super().__init__()
        self.attn = Step(given.attn, width)
        self.cross = Step(given.cross, width, CrossAttention) if given.cross else None
        self.mlp = Step(given.mlp, width) if given.mlp else None
        self.beside = given.mlp is not None and given.mlp.beside

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        if self.mlp is not None and self.beside:
            first = x if self.attn.pre is None else self.attn.pre(x)
            second = first if self.mlp.pre is None else self.mlp.pre(x)
            return x + self.attn.change(first, context, depth) + self.mlp.change(second, context, depth)
        x = self.attn(x, context, depth)
        if self.cross is not None and self._has_source(context, depth):
            x = self.cross(x, context, depth)
        return x if self.mlp is None else self.mlp(x, context, depth)

    @staticmethod
    def _has_source(context: Context, depth: int) -> bool:
        if context.source is not None:
            return True
        return context.cache is not None and context.cache.cross(depth) is not None


class Embed(nn.Module):
    """Token ids [N] (or vectors [N, D]), positions and types → [N, D]."""

    def __init__(self, given: spec.Embed, width: int):
        super().__init__()
        self.spec = given
        self.widen = Linear(given.width, width) if given.width else None
        width = given.width or width
        self.tokens = Embedding(given.vocab, width, given.token_scale)
        if given.padding_id is not None and 0 <= given.padding_id < given.vocab:
            self.tokens.padding_idx = given.padding_id  # its row gets no gradient
        self.positions = Embedding(given.offset + given.positions, width) if given.positions else None
        self.types = Embedding(given.types, width) if given.types else None
        self.norm = norm(given.norm, width)

    def forward(self, ids: Tensor | None, where: Where, *, vectors: Tensor | None = None, types: Tensor | None = None):
        x = self.tokens(ids) if vectors is None else vectors
        if self.spec.scale != 1.0:
            x = x * self.spec.scale
        if self.types is not None:
            x = x + (self.types.weight[0] if types is None else self.types(types))
        elif types is not None and bool(types.any()):
            raise ArgumentError("token_type_ids holds types other than 0, and this model knows no types: leave it out")
        return self.finish(self.placed(x, where))

    def placed(self, x: Tensor, where: Where) -> Tensor:
        """Tokens [N, D] with their positions added."""
        if self.positions is None:
            return x
        if where.end > self.spec.positions:
            raise LengthError(
                f"the input reaches position {where.end - 1}, and the model knows the {self.spec.positions} "
                f"positions 0…{self.spec.positions - 1}: shorten the text, or call the tokenizer (or the pipeline) "
                f"with truncation=True, max_length={self.spec.positions}"
            )
        return x + self.positions(where.positions + self.spec.offset if self.spec.offset else where.positions)

    def finish(self, x: Tensor) -> Tensor:
        """Norm, dropout, and the width of the stream: sums [N, E] → [N, D]."""
        if self.norm is not None:
            x = self.norm(x)
        if self.training:
            x = F.dropout(x, self.spec.dropout)
        return x if self.widen is None else self.widen(x)


class Stack(nn.Module):
    """Layers over a residual stream, with the norm after them."""

    def __init__(self, given: spec.Stack):
        super().__init__()
        self.spec = given
        self.embed = given.embed.build(given.width) if given.embed else None
        self.layers = nn.ModuleList(Layer(layer, given.width) for layer in given.layers)
        self.relative = None
        if given.relative is not None:
            self.relative = (Alibi if isinstance(given.relative, spec.Alibi) else Relative)(given.relative)  # type: ignore[arg-type]
        self.norm = norm(given.norm, given.width)
        self.checkpointing = False
        self.span: range | None = None  # the depths that run, where others run elsewhere
        self.sharing: Any = None  # how several processes share texts (`enfold.accelerate`)
        self._ropes: dict[spec.Rope, RopeTable] = {}

    @property
    def biased(self) -> bool:
        """Whether the scores of some layer depend on distances between columns."""
        if self.relative is not None:
            return self.relative.counts == "columns"
        return any(getattr(layer.attn.op, "biased", False) for layer in self.spec.layers)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Embedded tokens [N, D] → states [N, D]."""
        context.rope_tables, context.relative = self._ropes, self.relative
        hidden = context.trace.hidden
        if context.cache is not None:
            from enfold.nn.program import step

            done = step(self, x, context)
            if done is not None:
                return self.finish(done, None)
        for depth, index in enumerate(self.spec.depths):
            if self.span is not None and depth not in self.span:
                continue
            if hidden is not None:
                hidden.append(x)
            if self.training and self.spec.layer_drop and float(torch.rand(())) < self.spec.layer_drop:
                continue
            layer = self.layers[index]
            if self.checkpointing and self.training and torch.is_grad_enabled() and context.cache is None:
                x = checkpoint(_afresh, layer, x, context, depth, use_reentrant=False)  # type: ignore[assignment]
            else:
                x = layer(x, context, depth)
        if self.span is not None and self.span.stop < len(self.spec.depths):
            return x
        return self.finish(x, hidden)

    def finish(self, x: Tensor, hidden: list[Tensor] | None) -> Tensor:
        """After the last layer: norm and dropout."""
        if self.norm is not None:
            x = self.norm(x)
        if self.training and self.spec.norm_dropout:
            x = F.dropout(x, self.spec.norm_dropout)
        if hidden is not None:
            hidden.append(x)
        return x


def _afresh(layer: nn.Module, x: Tensor, context: Context, depth: int) -> Tensor:
    """A layer without the memo of the others: what its second run computes must be what its first run did."""
    return layer(x, replace(context, where=replace(context.where, memo={})), depth)


def groups(module: nn.Module) -> list[Group]:
    """Every group of sibling linears below `module`."""
    held = (getattr(child, "groups", ()) for child in module.modules())
    return [group for some in held if isinstance(some, tuple) for group in some]  # a convolution's are a number


def join_groups(module: nn.Module) -> None:
    """Lay out every group of sibling linears below `module` for one product each."""
    for group in groups(module):
        if not group.joined():
            group.join()


def _pad_probabilities(parts: list[Tensor], runs: list[tuple[int, int]], lengths: tuple[int, ...]) -> Tensor:
    """Weights per run, [G, H, Lq, Lk] each → [B, H, longest Lq, longest Lk], zeros elsewhere."""
    heads, new, every = parts[0].shape[1], max(p.shape[2] for p in parts), max(p.shape[3] for p in parts)
    whole = parts[0].new_zeros(len(lengths), heads, new, every)
    for part, (first, end) in zip(parts, runs, strict=True):
        whole[first:end, :, : part.shape[2], : part.shape[3]] = part
    return whole


__all__ = ["Context", "Packing", "Source", "Stack", "Trace", "groups", "join_groups"]
