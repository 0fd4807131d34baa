"""Sequences being decoded by a stack: the `Session` that generation knows (see `generation/session.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.checks import CACHES
from enfold.generation.config import GenerationConfig
from enfold.nn.cache import Cache, FixedCache
from enfold.nn.caches import OffloadedCache, QuantizedCache, RingCache
from enfold.nn.modules import Context, Source, Stack, Trace
from enfold.nn.where import Packing, Where


@dataclass
class Traces:
    """States and attention weights of every step of one call, where a caller asked for them.

    Attributes:
        packing: of the prompts.
        hidden, attentions: what to keep.
        copies: sequences of each prompt.
        orders: for each step behind the first, the row of the session that each sequence was in.
    """

    packing: Packing
    hidden: bool
    attentions: bool
    copies: int = 1
    steps: list[Trace] = field(default_factory=list)
    orders: list[list[int]] = field(default_factory=list)

    def begin(self, crossed: bool) -> Trace:
        """What the next step is traced into."""
        step = Trace(
            hidden=[] if self.hidden else None,
            attentions=[] if self.attentions else None,
            cross_attentions=[] if self.attentions and crossed else None,
        )
        self.steps.append(step)
        return step

    def hidden_states(self) -> tuple[tuple[Tensor, ...], ...] | None:
        """For each step and layer [B, T, D], then [B, 1, D]."""
        if not self.hidden:
            return None
        first, *rest = self.steps
        return (
            tuple(self._repeat(self.packing.unpack(x)) for x in first.hidden or ()),
            *(tuple(x[order, None] for x in step.hidden or ()) for step, order in zip(rest, self.orders, strict=True)),
        )

    def weights(self) -> tuple[tuple[Tensor, ...], ...] | None:
        """For each step and layer [B, heads, T, T], then [B, heads, 1, T + 1], …: by columns of the padded batch."""
        if not self.attentions:
            return None
        first, *rest = self.steps
        begun = (self.packing.spread(self.packing.spread(x, 2), 3) for x in first.attentions or ())
        return (
            tuple(map(self._repeat, begun)),
            *(
                tuple(self._by_column(x[order], new) for x in step.attentions or ())
                for new, (step, order) in enumerate(zip(rest, self.orders, strict=True), start=1)
            ),
        )

    def cross_weights(self, source: Packing) -> tuple[tuple[Tensor, ...], ...] | None:
        """For each step and layer [B, heads, T, S]."""
        if not self.attentions:
            return None
        first, *rest = self.steps
        wide = source if self.copies == 1 else _repeated(source, self.copies)
        begun = (source.spread(self.packing.spread(x, 2), 3) for x in first.cross_attentions or ())
        return (
            tuple(map(self._repeat, begun)),
            *(
                tuple(wide.spread(x[order], 3) for x in step.cross_attentions or ())
                for step, order in zip(rest, self.orders, strict=True)
            ),
        )

    def _repeat(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.copies, 0)

    def _by_column(self, weights: Tensor, new: int) -> Tensor:
        """[B, heads, 1, longest + new] with each row's tokens from the left → by column."""
        columns = self.packing.shape[1]
        placed = weights.new_zeros(*weights.shape[:3], columns + new)
        for row, own in enumerate(weights):
            prompt = row // self.copies
            length = self.packing.lengths[prompt]
            placed[row, :, :, self._columns(prompt)] = own[:, :, :length]
            placed[row, :, :, columns:] = own[:, :, length : length + new]
        return placed

    def _columns(self, prompt: int) -> Tensor:
        """Columns of a prompt's tokens."""
        if self.packing.index is None:
            return torch.arange(self.packing.shape[1])
        start = sum(self.packing.lengths[:prompt])
        return self.packing.index[start : start + self.packing.lengths[prompt]] % self.packing.shape[1]


def _repeated(packing: Packing, copies: int) -> Packing:
    rows, columns = packing.shape
    mask = packing.unpack(torch.ones(sum(packing.lengths))).repeat_interleave(copies, 0)
    return Packing.of((rows * copies, columns), mask)


def make_cache(config: GenerationConfig, stack: Stack, tokens: int, device: torch.device) -> Cache:
    """The cache that the settings ask for.

    Args:
        tokens: prompt and answer at most, for a fixed one.
    """
    kind, options = CACHES[config.cache_implementation or "dynamic"], dict(config.cache_config or {})
    if kind == "quantized":
        options.pop("backend", None)  # which library the reference quantises with
        if unknown := options.keys() - {"nbits"}:
            raise ArgumentError(f"cache_config has {sorted(unknown)}; a quantized cache takes nbits")
        return QuantizedCache(**options)
    if options:
        raise ArgumentError(f"cache_config={options!r} is for cache_implementation='quantized'")
    if kind == "fixed":
        return FixedCache(config.max_cache_len or tokens)
    if kind == "ring":
        ops = [stack.spec.layers[index].attn.op for index in stack.spec.depths]
        # A relative bias is looked up by the order of places, which a ring doesn't keep.
        return RingCache([None if getattr(op, "biased", False) else getattr(op, "window", None) for op in ops])
    return OffloadedCache(device) if kind == "offloaded" else Cache()


class StackSession:
    """Sequences decoded by a stack, with a cache."""

    def __init__(self, model: Any, stack: Stack, source: Source | None = None, cache: Cache | None = None):
        self.model, self.stack, self.source = model, stack, source
        self.cache = cache if cache is not None else Cache()
        self.traces: Traces | None = None
        self.latest: Tensor | None = None
        assert stack.embed is not None
        self.embed = stack.embed

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.cache.lengths

    def feed(self, tokens: Tensor, counts: tuple[int, ...], *, every: bool = False) -> Tensor:
        past = self.cache.lengths or (0,) * len(counts)
        if len(tokens) == len(counts) == counts.count(1):
            positions = torch.tensor(past)
        else:
            positions = torch.cat([torch.arange(a, a + n) for a, n in zip(past, counts, strict=True)])
        end = max(a + n for a, n in zip(past, counts, strict=True))
        where = Where(counts, positions.to(tokens.device), end=end, past=self.cache.lengths or None)
        context = Context(where, cache=self.cache, source=self.source, backend=self.model.decoding_backend)
        if self.traces is not None:
            context.trace = self.traces.begin(self.source is not None)
        ids, vectors = (tokens, None) if tokens.ndim == 1 else (None, tokens)
        states = self.latest = self.stack(self.embed(ids, where, vectors=vectors), context)
        self.cache.advance(where, max(counts))
        return self.model.scores(states if every or where.decoding else states[where.last])

    def select(self, rows: Sequence[int]) -> None:
        self.cache.select(rows)

    def reorder(self, rows: Sequence[int], since: int) -> None:
        self.cache.reorder(rows, since)

    def crop(self, lengths: Sequence[int]) -> None:
        self.cache.crop_rows(lengths)

    def states(self) -> Tensor:
        assert self.latest is not None
        return self.latest


class UncachedSession:
    """The same without memory: every step recomputes all tokens. Slow, and the proof of the cache."""

    def __init__(self, model: Any, stack: Stack, source: Source | None = None):
        self.model, self.stack, self.source = model, stack, source
        self.held: list[Tensor] = []
        self.traces: Traces | None = None
        self.latest: Tensor | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(map(len, self.held))

    def feed(self, tokens: Tensor, counts: tuple[int, ...], *, every: bool = False) -> Tensor:
        if self.held and self.held[0].ndim > tokens.ndim:
            tokens = self.stack.get_submodule("embed.tokens")(tokens)
        parts = tokens.split(list(counts))
        self.held = [torch.cat(pair) for pair in zip(self.held, parts, strict=True)] if self.held else list(parts)
        inner = StackSession(self.model, self.stack, self.source)
        scores = inner.feed(torch.cat(self.held), self.lengths, every=every)
        ends = torch.tensor(self.lengths).cumsum(0).tolist()
        new = torch.cat([torch.arange(end - count, end) for end, count in zip(ends, counts, strict=True)])
        self.latest = inner.states()[new]
        return scores[new] if every else scores

    def select(self, rows: Sequence[int]) -> None:
        self.held = [self.held[row] for row in rows]
        self.source = self.source and take(self.source, rows)

    def reorder(self, rows: Sequence[int], since: int) -> None:
        self.held = [self.held[row] for row in rows]  # beams of one prompt read the same source

    def crop(self, lengths: Sequence[int]) -> None:
        self.held = [held[:length] for held, length in zip(self.held, lengths, strict=True)]

    def states(self) -> Tensor:
        assert self.latest is not None
        return self.latest


def take(source: Source, rows: Sequence[int]) -> Source:
    """These sequences of a source, in this order."""
    lengths = source.where.lengths
    states, positions = source.states.split(list(lengths)), source.where.positions.split(list(lengths))
    where = Where(tuple(lengths[row] for row in rows), torch.cat([positions[row] for row in rows]))
    return Source(torch.cat([states[row] for row in rows]), where)
