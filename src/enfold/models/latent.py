"""Multi-head latent attention (DeepSeek-AI 2024, §2.1): keys and values are linear maps of one small latent.

    x ── kv_down ──┬── norm ── c [N, r] ── kv_up ── k_plain, v of every head
                   └── rope ── k_turned [N, R], shared by all heads

The cache keeps c and k_turned only. Where a step brings one token, `kv_up` is applied to the query and to the answer
instead of to every remembered token: (W_k c)·q = c·(W_kᵀ q), and Σ p (W_v c) = W_v Σ p c.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from enfold.models.config import PreTrainedConfig
from enfold.models.positions import rope, yarn_magnitude
from enfold.nn import spec
from enfold.nn.attention import Query
from enfold.nn.cache import Stored
from enfold.nn.linear import Group, Linear, untouched
from enfold.nn.modules import Attention, Context, norm
from enfold.nn.rope import rotate
from enfold.nn.split import Plan, blocks

NAMES = """
    stack.layers.{i}.attn.op.q         layers.{i}.self_attn.q_proj
    stack.layers.{i}.attn.op.q_down    layers.{i}.self_attn.q_a_proj
    stack.layers.{i}.attn.op.q_norm    layers.{i}.self_attn.q_a_layernorm
    stack.layers.{i}.attn.op.q_up      layers.{i}.self_attn.q_b_proj
    stack.layers.{i}.attn.op.kv_down   layers.{i}.self_attn.kv_a_proj_with_mqa
    stack.layers.{i}.attn.op.kv_norm   layers.{i}.self_attn.kv_a_layernorm
    stack.layers.{i}.attn.op.kv_up     layers.{i}.self_attn.kv_b_proj
    stack.layers.{i}.attn.op.o         layers.{i}.self_attn.o_proj
"""


@dataclass(frozen=True)
class LatentAttention(spec.Attention, spec.Op):
    """Attention whose heads have `head_dim` dimensions in queries and keys, the last `rope.dim` of them rotated.

    Attributes:
        value_dim: dimensions of a head's values.
        rank: of the latent r.
        query_rank: of the queries' own latent; None maps x to queries directly.
    """

    value_dim: int = 0
    rank: int = 0
    query_rank: int | None = None

    def build(self, width: int) -> "Latent":
        return Latent(self, width)


class Latent(Attention):
    """x [N, D] → [N, D]."""

    spec: LatentAttention

    def project(self, given: LatentAttention, width: int) -> None:
        assert given.rope is not None
        eps = spec.Norm(1e-6, "rms")
        self.turned = given.rope.dim
        self.plain = given.head_dim - self.turned
        queries = given.heads * given.head_dim
        if given.query_rank is None:
            self.q = Linear(width, queries, bias=False)
        else:
            self.q_down = Linear(width, given.query_rank, bias=given.bias)
            self.q_norm = norm(eps, given.query_rank)
            self.q_up = Linear(given.query_rank, queries, bias=False)
        self.kv_down = Linear(width, given.rank + self.turned, bias=given.bias)
        self.kv_norm = norm(eps, given.rank)
        self.kv_up = Linear(given.rank, given.heads * (self.plain + given.value_dim), bias=False)
        self.widths = (given.heads * given.value_dim,)
        self.o = Linear(self.widths[0], width, bias=given.out_bias)

    def _groups(self) -> tuple[Group, ...]:
        if self.spec.query_rank is not None:
            return (Group(self, ("q_down", "kv_down")),)
        return () if self.spec.bias else (Group(self, ("q", "kv_down")),)

    def plan(self, ranks: int) -> Plan | None:
        """Heads by rank; every rank holds the latents, and keeps them in its cache."""
        given = self.spec
        if given.heads % ranks:
            return None
        queries = "q" if given.query_rank is None else "q_up"
        mine = replace(given, heads=given.heads // ranks, kv_heads=given.heads // ranks)
        return Plan(
            columns={
                queries: blocks(given.heads, given.head_dim),
                "kv_up": blocks(given.heads, self.plain + given.value_dim),
            },
            rows={"o": blocks(given.heads, given.value_dim, dim=1)},
            draws=given.dropout > 0,
            sizes={"spec": mine, "widths": (mine.heads * given.value_dim,)},
        )

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        q, latents = self.queries_and_latents(x, context)  # [N, H, d], [N, r + R]
        where, cache, seen = context.where, context.cache, context.trace.attentions
        if cache is not None:
            fresh = not cache.lengths  # the first call attends to what it brings, and keeps its gradient
            kept = (latents.detach() if fresh else latents).unsqueeze(1)
            store = cache.write_one(depth, where, kept)  # [B, 1, capacity, r + R]
        if cache is None or fresh:
            return self.answer(q, context.packed(*self.expanded(latents)), context, seen)
        if where.decoding and seen is None and not torch.is_grad_enabled() and untouched(self.kv_up):
            return self.o(self.absorbed(q, store, context).flatten(1))
        longest = max(where.after)
        held = store[:, 0, :longest].flatten(0, 1)
        beyond = torch.arange(longest, device=x.device) >= torch.tensor(where.after, device=x.device)[:, None]
        k, v = self.expanded(held.masked_fill(beyond.flatten()[:, None], 0))  # never written: could be anything
        rows = (len(where.lengths), longest)
        keys = Stored(*(part.unflatten(0, rows).transpose(1, 2) for part in (k, v)), lengths=where.after)
        return self.answer(q, keys, context, seen)

    def queries_and_latents(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Queries [N, H, d], and latents after their norm beside the rotated key [N, r + R]."""
        given = self.spec
        assert given.rope is not None
        names = ("q",) if given.query_rank is None else ("q_down",)
        parts = self.groups[0].parts(x) if self.groups else [getattr(self, name)(x) for name in (*names, "kv_down")]
        q, down = parts
        if given.query_rank is not None:
            q = self.q_up(self.q_norm(q.contiguous()))  # type: ignore[misc]
        q = q.unflatten(-1, (given.heads, given.head_dim))
        cos, sin = context.rope(given.rope, x)
        latent, key = down.split([given.rank, self.turned], dim=-1)
        key = rotate(key.unsqueeze(1), cos, sin, given.rope.pairs).squeeze(1)
        q_plain, q_turned = q.split([self.plain, self.turned], dim=-1)
        q = torch.cat([q_plain, rotate(q_turned, cos, sin, given.rope.pairs)], dim=-1)
        return q, torch.cat([self.kv_norm(latent.contiguous()), key], dim=-1)  # type: ignore[misc]

    def expanded(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Keys [M, H, d] and values [M, H, v] of latents [M, r + R]."""
        latent, key = latents.split([self.spec.rank, self.turned], dim=-1)
        both = self.kv_up(latent.contiguous()).unflatten(-1, (self.spec.heads, self.plain + self.spec.value_dim))
        k, v = both.split([self.plain, self.spec.value_dim], dim=-1)
        return torch.cat([k, key.unsqueeze(1).expand(-1, self.spec.heads, -1)], dim=-1), v

    def absorbed(self, q: Tensor, store: Tensor, context: Context) -> Tensor:
        """Answers [B, H, v] of one query a sequence [B, H, d] over the latents themselves."""
        weight = self.kv_up.weight.view(self.spec.heads, self.plain + self.spec.value_dim, self.spec.rank)
        to_key, to_value = weight.split([self.plain, self.spec.value_dim], dim=1)  # [H, plain, r], [H, v, r]
        plain, turned = q.split([self.plain, self.turned], dim=-1)
        q = torch.cat([(plain.transpose(0, 1) @ to_key).transpose(0, 1), turned], dim=-1)  # [B, H, r + R]
        held = Stored(store, store[..., : self.spec.rank], lengths=context.where.after)
        mixed = []
        for first, end in Query(q, held, self.rules[False], context.where).runs():
            keys, values = (part[:, 0] for part in held.run(first, end))  # [G, L, r + R], [G, L, r]
            scores = q[first:end] @ keys.transpose(1, 2) * self.rules[False].scale
            mixed.append(scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ values)
        return (torch.cat(mixed).transpose(0, 1) @ to_value.transpose(1, 2)).transpose(0, 1)


def latent_attention(config: PreTrainedConfig, pairs: spec.Pairs) -> LatentAttention:
    """The attention that a DeepSeek configuration describes."""
    turned, head_dim = config.qk_rope_head_dim, config.qk_nope_head_dim + config.qk_rope_head_dim
    entries = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    scale, longer = head_dim**-0.5, entries.get("mscale_all_dim")
    if longer and entries.get("rope_type", entries.get("type", "default")) != "default":
        scale *= yarn_magnitude(float(entries["factor"]), float(longer)) ** 2
    return LatentAttention(
        heads=config.num_attention_heads,
        head_dim=head_dim,
        kv_heads=config.num_attention_heads,
        bias=bool(config.attention_bias),
        out_bias=bool(config.attention_bias),
        causal=True,
        rope=replace(rope(config, turned), pairs=pairs),
        scale=scale,
        dropout=config.attention_dropout or 0.0,
        value_dim=config.v_head_dim,
        rank=config.kv_lora_rank,
        query_rank=config.q_lora_rank,
    )
