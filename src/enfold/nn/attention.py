"""One question, several ways to answer it: `attend(q, keys, rule, where)`.

`rule` is static (what may see what, and the scale); `where` and `keys` are dynamic. Backends say what they refuse; the
first that accepts runs, and one that was asked for by name and refuses raises with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.cache import Packed, Spans, Stored
from enfold.nn.where import Where


class Bias(Protocol):
    """What is added to the scores of one sequence: [heads, queries, keys].

    Attributes:
        counts: what its distances count where padding stands between tokens.
    """

    counts: ClassVar[Literal["columns", "tokens"]]

    def __call__(self, new: int, every: int) -> Tensor:
        """Of the last `new` of `every` neighbouring tokens over all of them."""
        ...

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Of tokens at any positions."""
        ...

    def along(self, distances: Tensor) -> Tensor | None:
        """Of keys at these distances from their query, those before it negative: [heads, distances].

        None where distance is not all that counts.
        """
        ...


@dataclass(frozen=True)
class Rule:
    """Static part of attention: what sees what, the factor on q·k, the cap of scores, dropout while training."""

    causal: bool
    scale: float
    dropout: float = 0.0
    window: int | None = None
    softcap: float | None = None

    def hides(self, new: int, every: int) -> bool:
        """Whether some of the last `new` of `every` tokens don't see some of them."""
        return (self.causal and new > 1) or (self.window is not None and every > self.window)


@dataclass
class Query:
    """One call: q [N, H, d] of the tokens at `where`, over `keys`."""

    q: Tensor
    keys: Packed | Spans | Stored
    rule: Rule
    where: Where
    bias: Bias | None = None
    contents: Callable[[int, int], Tensor] | None = None  # a run's own biases [G, H, Lq, Lk], of what its tokens hold
    probabilities: list[Tensor] | None = None  # filled with [G, H, Lq, Lk] per run when a caller wants to see them
    sinks: Tensor | None = None  # [H], a score for each head that takes part in the softmax and has no value

    @property
    def gaps(self) -> Tensor | None:
        """The columns that biases are taken between, where they don't follow each other."""
        by_column = self.contents is not None or (self.bias is not None and self.bias.counts == "columns")
        return self.where.columns if by_column else None

    def runs(self) -> list[tuple[int, int]]:
        """Ranges of neighbouring sequences with equal numbers of queries and of keys."""
        apart = self.gaps is not None  # then neighbours of equal length differ in their biases
        memo, key = self.where.memo, ("runs", self.keys.lengths, apart)
        if key not in memo:
            shapes = list(zip(self.where.lengths, self.keys.lengths, range(len(self.keys.lengths)), strict=True))
            shapes = shapes if apart else [(new, every, 0) for new, every, _ in shapes]
            edges = [0, *(i for i in range(1, len(shapes)) if shapes[i] != shapes[i - 1]), len(shapes)]
            memo[key] = [(a, b) for a, b in pairwise(edges) if a < b and shapes[a][0]]
        return memo[key]

    def heads_first(self, first: int, end: int) -> Tensor:
        """Queries of sequences `first…end`: [G, H, Lq, d]."""
        offsets, length = self.where.offsets, self.where.lengths[first]
        return self.q[offsets[first] : offsets[end]].view(end - first, length, *self.q.shape[1:]).transpose(1, 2)

    def added(self, first: int, end: int) -> Tensor | None:
        """What is added to the scores of a run, [G, H, Lq, Lk] or smaller, or None."""
        mask = self.mask(first)
        if self.contents is None:
            return mask
        return self.contents(first, end) if mask is None else self.contents(first, end) + mask

    def mask(self, first: int) -> Tensor | None:
        """What hides keys, and biases that depend on places alone: [H or 1, Lq, Lk], or None when there is neither."""
        new, every = self.where.lengths[first], self.keys.lengths[first]
        hidden = self.rule.hides(new, every)
        if not hidden and self.bias is None:
            return None
        gaps, memo = None if self.bias is None else self.gaps, self.where.memo
        key = ("mask", new, every, self.rule, self.bias, None if gaps is None else first)
        if key not in memo:
            added = torch.zeros(1, new, every, dtype=self.q.dtype, device=self.q.device)
            if hidden:
                added = added.masked_fill(~visible(self.rule, new, every, device=self.q.device), float("-inf"))
            if self.bias is not None:
                if gaps is None:
                    bias = self.bias(new, every)
                else:
                    places = gaps[self.where.offsets[first] : self.where.offsets[first + 1]]
                    bias = self.bias.between(places, places)
                added = added + bias.to(self.q)
            memo[key] = added
        return memo[key]


def visible(rule: Rule, new: int, every: int, *, device: torch.device | str | None = None) -> Tensor:
    """[new, every] bool: which keys each of the last `new` of `every` tokens sees."""
    back = torch.arange(every - new, every, device=device)[:, None] - torch.arange(every, device=device)
    seen = back >= 0 if rule.causal else torch.ones_like(back, dtype=torch.bool)
    return seen if rule.window is None else seen & (back.abs() < rule.window)


class Backend(Protocol):
    """A way to compute attention."""

    def refuses(self, query: Query) -> str | None:
        """Why this call can't run here, or None."""
        ...

    def __call__(self, query: Query) -> Tensor:
        """[N, H, d]."""
        ...


class Plain:
    """Scores, softmax, weighted sum: the definition (Vaswani et al. 2017, eq. 1), and it shows its weights."""

    def refuses(self, query: Query) -> str | None:
        return None

    def __call__(self, query: Query) -> Tensor:
        return _by_runs(query, self._run)

    def _run(self, query: Query, first: int, end: int) -> Tensor:
        q = query.heads_first(first, end)
        k, v = query.keys.run(first, end)
        repeat = q.shape[1] // k.shape[1]
        if repeat > 1:
            k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        scores = (q @ k.transpose(-1, -2)) * query.rule.scale
        if query.rule.softcap is not None:
            scores = query.rule.softcap * torch.tanh(scores / query.rule.softcap)
        added = query.added(first, end)
        if added is not None:
            scores = scores + added
        if query.sinks is not None:
            scores = torch.cat([scores, query.sinks.view(-1, 1, 1).expand(*scores.shape[:3], 1)], dim=-1)
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
        if query.sinks is not None:
            weights = weights[..., :-1]
        if query.probabilities is not None:
            query.probabilities.append(weights)
        if query.rule.dropout:
            weights = F.dropout(weights, query.rule.dropout)
        return weights @ v


class Sdpa:
    """torch's scaled_dot_product_attention, one call for neighbouring sequences of equal length."""

    def refuses(self, query: Query) -> str | None:
        if query.rule.softcap is not None:
            return "it has no cap for scores"
        if query.sinks is not None and query.contents is not None:
            return "it has no sinks beside biases of contents"
        return "it does not show attention weights" if query.probabilities is not None else None

    def __call__(self, query: Query) -> Tensor:
        return _by_runs(query, self._run)

    def _run(self, query: Query, first: int, end: int) -> Tensor:
        q = query.heads_first(first, end)
        k, v = query.keys.run(first, end)
        window = query.rule.window
        alone = query.bias is None and query.contents is None
        top_left = alone and q.shape[2] == k.shape[2] and (window is None or k.shape[2] <= window)
        if query.sinks is not None:  # a key of zeros, whose score is the mask's, with a value of zeros
            mask = query.mask(first)
            mask = q.new_zeros(1, q.shape[2], k.shape[2]) if mask is None else mask
            mask = mask.expand(q.shape[1], -1, -1)
            mask = torch.cat([mask, query.sinks.view(-1, 1, 1).expand(-1, q.shape[2], 1)], dim=-1)
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            return F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                dropout_p=query.rule.dropout,
                scale=query.rule.scale,
                enable_gqa=q.shape[1] != k.shape[1],
            )
        causal = query.rule.causal and top_left and q.shape[2] > 1
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if top_left else query.added(first, end),
            dropout_p=query.rule.dropout,
            is_causal=causal,
            scale=query.rule.scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )


class Native:
    """The CPU kernels: one query a sequence over a ragged cache, or packed sequences attending to themselves."""

    def refuses(self, query: Query) -> str | None:
        if query.probabilities is not None:
            return "it does not show attention weights"
        if query.q.device.type != "cpu" or kernels.available() is None or query.q.dtype not in _NATIVE_DTYPES:
            return f"it serves fp32, bf16 and fp16 on CPUs that it knows, not {query.q.dtype} on {query.q.device}"
        if torch.is_grad_enabled() and query.q.requires_grad:
            return "it has no gradient"
        if query.rule.dropout:
            return "it has no dropout"
        if query.keys.keys.shape[-1] != query.keys.values.shape[-1]:
            return "its values are as wide as its keys"
        if isinstance(query.keys, Stored) and query.where.decoding:
            return None
        if query.contents is not None or query.gaps is not None:
            return "for more than one token a sequence it serves biases that depend on distance alone"
        if isinstance(query.keys, Stored):
            return None if query.rule.causal else "over a cache it serves one token a sequence, or a decoder's own past"
        if query.keys.offsets is not query.where.offsets:
            return "without a cache it serves self-attention"
        return None

    def __call__(self, query: Query) -> Tensor:
        keys, memo, scale, rule = query.keys, query.where.memo, query.rule.scale, query.rule
        key = ("lengths", keys.lengths)
        if key not in memo:
            memo[key] = torch.tensor(keys.lengths)
        sinks = None if query.sinks is None else query.sinks.float()
        stored = isinstance(keys, Stored)
        if not (stored and query.where.decoding):
            return kernels.attend_packed(
                query.q,
                keys.keys,
                keys.values,
                memo.setdefault("offsets", torch.tensor(query.where.offsets)),
                scale,
                bias=None if query.bias is None else self._packed_bias(query),
                causal=rule.causal,
                window=rule.window,
                softcap=rule.softcap,
                sinks=sinks,
                lengths=memo[key] if stored else None,
            )
        bias = None if query.bias is None else decode_bias(query.bias, keys.lengths, memo)
        starts = None
        if rule.window is not None and max(keys.lengths, default=0) > rule.window:
            starts = memo.setdefault(("starts", keys.lengths, rule.window), (memo[key] - rule.window).clamp(min=0))
        return kernels.attend_decode(
            query.q,
            keys.keys,
            keys.values,
            memo[key],
            scale,
            bias=bias,
            starts=starts,
            softcap=rule.softcap,
            sinks=sinks,
        )

    def _packed_bias(self, query: Query) -> Tensor:
        """[H, 2 · longest − 1] fp32, by distance, or [H, longest, longest]."""
        memo, key, longest = query.where.memo, ("packed bias", query.bias), max((1, *query.keys.lengths))
        assert query.bias is not None
        if key not in memo:
            along = query.bias.along(torch.arange(1 - longest, longest))
            memo[key] = query.bias(longest, longest).float() if along is None else along.float().contiguous()
        return memo[key]


def decode_bias(bias: Bias, lengths: tuple[int, ...], memo: dict) -> Tensor:
    """What each sequence's newest token adds to its scores, fp32 [B, H, longest], or [H, longest] for all sequences."""
    key = ("decode bias", lengths, bias)
    if key not in memo:
        of = {length: bias(1, length)[:, 0].float() for length in {*lengths}}
        rows = [F.pad(of[length], (0, max(lengths) - length)) for length in lengths]
        memo[key] = torch.stack(rows) if len(of) > 1 else rows[0].contiguous()
    return memo[key]


_NATIVE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BACKENDS: dict[str, Backend] = {"native": Native(), "sdpa": Sdpa(), "plain": Plain()}
# What users of the reference library write.
ALIASES = {"eager": "plain"}


def backend_name(asked: str | None) -> str | None:
    """The backend that `attn_implementation=asked` names.

    Raises:
        ArgumentError: there is none of that name.
    """
    name = ALIASES.get(asked, asked) if asked else None
    if name is not None and name not in BACKENDS:
        raise ArgumentError(f"attn_implementation={asked!r} is unknown; known are {', '.join([*BACKENDS, *ALIASES])}")
    return name


def attend(query: Query, backend: str | None = None) -> Tensor:
    """Softmax attention of packed queries: [N, H, d].

    Args:
        backend: a name of `BACKENDS`, or None for the first that accepts.

    Raises:
        ArgumentError: the backend that was asked for refuses; the message says why and which would accept.
    """
    if backend is not None:
        reason = BACKENDS[backend].refuses(query)
        if reason is None:
            return BACKENDS[backend](query)
        accepting = [name for name, other in BACKENDS.items() if other.refuses(query) is None]
        raise ArgumentError(f"attention backend {backend!r} refuses: {reason}. Accepting: {', '.join(accepting)}.")
    for candidate in BACKENDS.values():
        if candidate.refuses(query) is None:
            return candidate(query)
    raise AssertionError("the plain backend accepts everything")


def _by_runs(query: Query, one: Callable[[Query, int, int], Tensor]) -> Tensor:
    """Concatenate the answers of all runs: each [G, H, Lq, d] → [G·Lq, H, d]."""
    q = query.q
    parts = []
    for first, end in query.runs():
        part = one(query, first, end)
        parts.append(part.transpose(1, 2).reshape(-1, q.shape[1], part.shape[-1]))
    if not parts:
        return q.new_zeros(q.shape)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
