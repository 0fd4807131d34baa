"""Where each token sits: the core's only notion of a batch.

    padded  [B, T]      a b c . .        packed  [N]      a b c d e f g h
                        d e . . .                positions 0 1 2 0 1 0 1 2
                        f g h . .                lengths   3     2   3

A padded batch with a mask is packed on entry and unpacked on exit, so no matrix product is spent on padding.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError


@dataclass
class Where:
    """The places of N packed tokens.

    Attributes:
        lengths: new tokens of each sequence, in the order of packing; they sum to N.
        positions: [N] int64, the position that embeddings, rotary angles and relative biases see.
        end: one more than the largest position; read off `positions` unless the caller knows it.
        past: tokens of each sequence that a cache already holds, counted like `lengths`.
        columns: [N] int64, each token's column, where padding stands between the tokens of some sequence: what looks
            at distances counts it.
        share: where several processes share the texts, what this one has of them (`enfold.accelerate`).
        memo: values computed once per forward pass and shared by all layers (rotary tables, biases).
    """

    lengths: tuple[int, ...]
    positions: Tensor
    end: int = -1
    past: tuple[int, ...] | None = None
    columns: Tensor | None = None
    memo: dict = field(default_factory=dict, repr=False)
    share: Any = None

    def __post_init__(self) -> None:
        if self.end < 0:
            self.end = int(self.positions.max()) + 1 if self.positions.numel() else 0

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Start of each sequence among the packed tokens, and N at the end."""
        return (0, *accumulate(self.lengths))

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Neighbouring sequences of equal new length and equal past, as half-open ranges: one attention call each."""
        past = self.past or (0,) * len(self.lengths)
        shapes = list(zip(self.lengths, past, strict=True))
        edges = [0, *(i for i in range(1, len(shapes)) if shapes[i] != shapes[i - 1]), len(shapes)]
        return [(a, b) for a, b in pairwise(edges) if a < b]

    @property
    def decoding(self) -> bool:
        """Whether every sequence brings exactly one new token."""
        return len(self.lengths) == self.positions.shape[0] and all(n == 1 for n in self.lengths)

    @cached_property
    def after(self) -> tuple[int, ...]:
        """Tokens of each sequence once the new ones are in."""
        return self.lengths if self.past is None else tuple(a + b for a, b in zip(self.past, self.lengths, strict=True))

    @cached_property
    def slots(self) -> Tensor:
        """[N] int64: each token's place in its sequence, where a cache keeps it."""
        past = self.past or (0,) * len(self.lengths)
        if self.decoding:
            return torch.tensor(past, device=self.positions.device)
        parts = [torch.arange(start, start + new) for start, new in zip(past, self.lengths, strict=True)]
        return torch.cat(parts).to(self.positions.device)

    @cached_property
    def sequences(self) -> Tensor | None:
        """[N] int64: each token's sequence; None while decoding, where token m belongs to sequence m."""
        if self.decoding:
            return None
        rows = torch.arange(len(self.lengths))
        return rows.repeat_interleave(torch.tensor(self.lengths)).to(self.positions.device)

    @property
    def last(self) -> Tensor:
        """[B] int64: the packed index of each sequence's last new token."""
        return torch.tensor(self.offsets[1:], device=self.positions.device) - 1


@dataclass(frozen=True)
class Packing:
    """The map between a padded [B, T] batch and its packed [N] tokens.

    Attributes:
        shape: (B, T).
        lengths: real tokens of each row.
        index: [N] flat indices into B·T, or None when nothing is padding (then packing is a reshape).
        told: whether a mask said so, or the lengths are only assumed.
    """

    shape: tuple[int, int]
    lengths: tuple[int, ...]
    index: Tensor | None
    told: bool = False

    @classmethod
    def of(cls, shape: tuple[int, int], mask: Tensor | None) -> "Packing":
        """From an attention mask [B, T] (nonzero = token), or None for no padding.

        Raises:
            ArgumentError: a mask of another shape.
        """
        rows, columns = shape
        if mask is None:
            return cls(shape, (columns,) * rows, None)
        if mask.ndim != 2 or tuple(mask.shape) != (rows, columns):
            raise ArgumentError(
                f"attention_mask has shape {tuple(mask.shape)}; expected {(rows, columns)}, one entry per token. "
                "Masks over pairs of tokens (3 or 4 dimensions) are not accepted."
            )
        kept = mask != 0
        if bool(kept.all()):
            return cls(shape, (columns,) * rows, None, told=True)
        return cls(shape, tuple(kept.sum(1).tolist()), kept.reshape(-1).nonzero().squeeze(1), told=True)

    @cached_property
    def gaps(self) -> bool:
        """Whether padding stands between the tokens of some row."""
        if self.index is None:
            return False
        rows = self.index // self.shape[1]
        return bool(((self.index.diff() != 1) & (rows.diff() == 0)).any())

    def sequences(self, ids: Tensor) -> tuple[int, ...]:
        """Lengths of the sequences that rows hold: one begins with each row, and where `ids` [B, T] changes."""
        numbers = self.pack(ids)
        first = torch.zeros_like(numbers, dtype=torch.bool)
        first[1:] = numbers.diff() != 0
        first[[start for start in accumulate(self.lengths[:-1], initial=0) if start < len(first)]] = True
        starts = first.nonzero().squeeze(1).tolist()
        return tuple(b - a for a, b in pairwise([*starts, len(first)]))

    def last_columns(self, count: int) -> tuple["Packing", Tensor]:
        """The packing of the last `count` columns alone, and the packed indices of the tokens that stand in them."""
        rows, columns = self.shape
        count = min(count, columns)
        index = torch.arange(rows * columns) if self.index is None else self.index
        kept = (index % columns >= columns - count).nonzero().squeeze(1)
        row, column = index[kept] // columns, index[kept] % columns
        lengths = tuple(torch.bincount(row, minlength=rows).tolist())
        inner = None if self.index is None else row * count + column - (columns - count)
        return Packing((rows, count), lengths, inner), kept

    def pack(self, padded: Tensor) -> Tensor:
        """[B, T, …] → [N, …].

        Raises:
            ArgumentError: a tensor of another batch.
        """
        if tuple(padded.shape[:2]) != self.shape:
            raise ArgumentError(
                f"a tensor of shape {tuple(padded.shape)} came with a batch of {self.shape[0]} rows and "
                f"{self.shape[1]} columns; expected {[*self.shape, *padded.shape[2:]]}"
            )
        flat = padded.reshape(self.shape[0] * self.shape[1], *padded.shape[2:])
        return flat if self.index is None else flat.index_select(0, self.index)

    def unpack(self, packed: Tensor) -> Tensor:
        """[N, …] → [B, T, …], zeros where there is padding."""
        rest = packed.shape[1:]
        if self.index is None:
            return packed.reshape(*self.shape, *rest)
        flat = packed.new_zeros(self.shape[0] * self.shape[1], *rest)
        return flat.index_copy(0, self.index, packed).reshape(*self.shape, *rest)

    def spread(self, aligned: Tensor, dim: int) -> Tensor:
        """[B, …] whose dimension `dim` lists each row's tokens from the left → listed by column, zeros at padding."""
        if self.index is None:
            return aligned
        aligned = aligned.movedim(dim, 1)
        whole = aligned.new_zeros(*self.shape, *aligned.shape[2:])
        rows, columns = self.index // self.shape[1], self.index % self.shape[1]
        starts = (0, *accumulate(self.lengths))[:-1]
        places = torch.arange(len(rows), device=rows.device) - torch.tensor(starts, device=rows.device)[rows]
        whole[rows, columns] = aligned[rows, places]
        return whole.movedim(1, dim)

    def columns(self, device: torch.device | str | None = None) -> Tensor:
        """[N] int64: the column of each packed token in its padded row, the default position."""
        rows, columns = self.shape
        every = torch.arange(columns, device=device).expand(rows, columns)
        return self.pack(every)
