"""What attention remembers between calls. Caches live outside the modules and are keyed by depth.

storage of one depth   keys, values  [B, kv_heads, capacity, head_dim]
valid                  the first `lengths[b]` places of row b; rows may differ
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, LengthError
from enfold.nn.where import Where


@dataclass
class Packed:
    """Keys and values of packed tokens, not remembered: [M, kv_heads, head_dim] each."""

    keys: Tensor
    values: Tensor
    lengths: tuple[int, ...]
    offsets: tuple[int, ...]

    def run(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Sequences `first…end`, all of one length L: two [G, kv_heads, L, head_dim] views."""
        part = slice(self.offsets[first], self.offsets[end])
        rows = (end - first, self.lengths[first])
        return tuple(x[part].unflatten(0, rows).transpose(1, 2) for x in (self.keys, self.values))  # type: ignore[return-value]


@dataclass
class Spans:
    """Keys and values of packed texts [M, kv_heads, head_dim], of which each sequence of queries sees a part.

    Attributes:
        lengths, starts: of the parts.
    """

    keys: Tensor
    values: Tensor
    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    offsets: tuple[int, ...] = ()  # those of the queries are never its own

    def run(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Sequences `first…end`, all of one length L: two [G, kv_heads, L, head_dim] tensors."""
        length, starts = self.lengths[first], self.starts[first:end]
        parts = ([x[start : start + length] for start in starts] for x in (self.keys, self.values))
        keys, values = (torch.stack(every).transpose(1, 2) for every in parts)
        return keys, values


@dataclass
class Stored:
    """Keys and values in a cache's storage: [B, kv_heads, capacity, head_dim] each, `lengths[b]` of them valid."""

    keys: Tensor
    values: Tensor
    lengths: tuple[int, ...]

    def run(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Rows `first…end`, all of one length L: two [G, kv_heads, L, head_dim] views."""
        return self.keys[first:end, :, : self.lengths[first]], self.values[first:end, :, : self.lengths[first]]


class Cache:
    """Keys and values of every depth, in storage that grows as sequences do.

    Attributes:
        lengths: tokens remembered for each sequence; empty before the first call.
        columns: columns of the padded batch seen so far (what `get_seq_length` reports), the next default position.
        tokens: what each sequence says, where a caller noted it: whoever goes on can tell what is shared.
        program: a stack's step over this cache as one native call (see `program.py`), once one was made.
    """

    def __init__(self) -> None:
        self.tokens: list[list[int]] | None = None
        self.program: Any = None
        self.lengths: tuple[int, ...] = ()
        self.columns = 0
        self._own: dict[int, tuple[Tensor, ...]] = {}
        self._cross: dict[int, Stored] = {}
        self._states: dict[int, tuple[Tensor, ...]] = {}

    def capacity(self, needed: int, present: int) -> int:
        """Places to allocate when `needed` must fit and `present` are there: half as many again, in steps of 64."""
        return -(-max(needed, present + present // 2) // 64) * 64

    def places(self, depth: int, tokens: int) -> int:
        """Places that so many tokens of a sequence need at a depth."""
        return tokens

    def direct(self, depth: int, where: Where) -> bool:
        """Whether new tokens may be written straight into the storage, and be attended to there."""
        return True

    def slots(self, depth: int, where: Where) -> Tensor:
        """[N] int64: each new token's place in its row of the storage."""
        return where.slots

    def held(self, depth: int, stores: Sequence[Tensor], where: Where) -> Stored:
        """What new tokens see once they are written into the storage."""
        return Stored(stores[0], stores[1], lengths=where.after)

    def storage(self, depth: int, where: Where, kv_heads: int, head_dim: int, like: Tensor) -> tuple[Tensor, ...]:
        """The depth's storage with room for the new tokens of `where`: keys, values."""
        return self.stores(depth, where, kv_heads, ((head_dim, like.dtype),) * 2, like)

    def stores(
        self, depth: int, where: Where, kv_heads: int, kinds: Sequence[tuple[int, torch.dtype]], like: Tensor
    ) -> tuple[Tensor, ...]:
        """Tensors [B, kv_heads, capacity, width] of a depth, one for each (width, dtype), grown as needed."""
        needed = self.places(depth, max(where.after))
        held = self._own.get(depth)
        present = 0 if held is None else held[0].shape[2]
        if held is not None and present >= needed:
            return held
        capacity = self.places(depth, self.capacity(needed, present))
        shape = (len(where.lengths), kv_heads, capacity)
        fresh = tuple(_empty((*shape, width), like, dtype) for width, dtype in kinds)
        if held is not None:
            longest = max(self.lengths)
            for new, old in zip(fresh, held, strict=True):
                new[:, :, :longest] = old[:, :, :longest]
        self._own[depth] = fresh
        return fresh

    def write(self, depth: int, where: Where, keys: Tensor, values: Tensor) -> Stored:
        """Append packed keys and values [N, kv_heads, head_dim] and return all that the depth now holds."""
        stores = self.storage(depth, where, *keys.shape[1:], like=keys)
        for store, new in zip(stores, (keys, values), strict=True):
            self.put(store, new, where)
        return self.held(depth, stores, where)

    def write_one(self, depth: int, where: Where, vectors: Tensor) -> Tensor:
        """Append packed vectors [N, heads, width], of which keys and values are made; [B, heads, capacity, width]."""
        (store,) = self.stores(depth, where, vectors.shape[1], ((vectors.shape[2], vectors.dtype),), vectors)
        self.put(store, vectors, where)
        return store

    def put(self, store: Tensor, new: Tensor, where: Where) -> None:
        """Write packed [N, kv_heads, width] behind what each row holds."""
        past = self.lengths or (0,) * len(where.lengths)
        if where.decoding and len(where.runs) > 1:
            store[torch.arange(len(past)), :, list(past)] = new
            return
        for first, end in where.runs:
            length, start = where.lengths[first], past[first]
            part = new[where.offsets[first] : where.offsets[end]].view(end - first, length, *new.shape[1:])
            store[first:end, :, start : start + length] = part.transpose(1, 2)

    def advance(self, where: Where, columns: int) -> None:
        """Count the new tokens in, once every depth has written them."""
        self.lengths = where.after
        self.columns += columns

    def cross(self, depth: int) -> Stored | None:
        """Keys and values of the encoder's states, once written."""
        return self._cross.get(depth)

    def write_cross(self, depth: int, packed: Packed) -> Stored:
        """Keep the encoder's keys and values for the calls to come."""
        shape = (len(packed.lengths), packed.keys.shape[1], max(packed.lengths, default=0), packed.keys.shape[2])
        stored = Stored(_empty(shape, packed.keys).zero_(), _empty(shape, packed.keys).zero_(), packed.lengths)
        for row, length in enumerate(packed.lengths):
            part = slice(packed.offsets[row], packed.offsets[row + 1])
            stored.keys[row, :, :length] = packed.keys[part].transpose(0, 1)
            stored.values[row, :, :length] = packed.values[part].transpose(0, 1)
        self._cross[depth] = stored
        return stored

    def states(self, depth: int) -> tuple[Tensor, ...] | None:
        """What a recurrence remembers of each sequence, [B, …] each; None before the first call."""
        held = self._states.get(depth)
        if held is not None and not torch.is_inference_mode_enabled():
            held = tuple(state.clone() if state.is_inference() else state for state in held)
        return held

    def keep(self, depth: int, *states: Tensor) -> None:
        """Remember the states [B, …] after the tokens of this call, in place of those before."""
        self._states[depth] = states

    def select(self, rows: Sequence[int]) -> None:
        """Keep (or repeat, or reorder) these rows: what beams and finished sequences need."""
        rows = list(rows)
        longest = max((self.lengths[r] for r in rows), default=0)
        for depth, stores in self._own.items():
            self._own[depth] = tuple(_take(store, rows, longest) for store in stores)
        for depth, held in self._cross.items():
            self._cross[depth] = Stored(held.keys[rows], held.values[rows], tuple(held.lengths[r] for r in rows))
        self._take_states(rows)
        self.lengths = tuple(self.lengths[r] for r in rows)

    def reorder(self, rows: Sequence[int], since: int) -> None:
        """In place: row b becomes a copy of row `rows[b]`, which it equals in the first `since` places already.

        Rows that stay are not touched, nor is what a source gave: the beams of a prompt read the same one.
        """
        moved = [row for row, source in enumerate(rows) if source != row]
        sources = [rows[row] for row in moved]
        if moved:
            self._copy(moved, sources, since, max(self.lengths[row] for row in sources))
            self._take_states(rows)
            self.lengths = tuple(self.lengths[row] for row in rows)

    def _take_states(self, rows: Sequence[int]) -> None:
        for depth, states in self._states.items():
            self._states[depth] = tuple(state[list(rows)] for state in states)

    def _copy(self, moved: list[int], sources: list[int], since: int, until: int) -> None:
        for stores in self._own.values():
            for store in stores:
                store[moved, :, since:until] = store[sources, :, since:until]

    def crop_rows(self, lengths: Sequence[int]) -> None:
        """Forget what each row holds behind its first `lengths[b]` tokens."""
        self.check_crop(lengths)
        self.lengths = tuple(min(pair) for pair in zip(self.lengths, lengths, strict=True))

    def check_crop(self, lengths: Sequence[int]) -> None:
        """Whether the cache can go back so far.

        Raises:
            ArgumentError: it can't.
        """
        if self._states and any(kept < length for kept, length in zip(lengths, self.lengths, strict=True)):
            raise ArgumentError(
                "this model remembers a text in a state, and no token can be taken back from it: crop is for caches of "
                "keys and values. Feed the text anew, or keep a copy of the cache from before"
            )

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """`select` under the name that the reference library gives it."""
        self.select(beam_idx.tolist())

    def crop(self, max_length: int) -> None:
        """Forget all tokens from `max_length` on (a negative number: that many from the end)."""
        if max_length < 0:
            self.crop_rows([max(0, length + max_length) for length in self.lengths])
            self.columns = max(0, self.columns + max_length)
        else:
            self.crop_rows([max_length] * len(self.lengths))
            self.columns = min(self.columns, max_length)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns seen so far, padding included."""
        return self.columns

    def __len__(self) -> int:
        return len(self._own.keys() | self._states.keys())


class FixedCache(Cache):
    """A cache whose storage is allocated once, for `max_length` tokens a row; more is an error."""

    def __init__(self, max_length: int):
        super().__init__()
        if max_length < 1:
            raise ArgumentError(f"max_length is {max_length}; a cache holds at least one token")
        self.max_length = max_length

    def capacity(self, needed: int, present: int) -> int:
        if needed > self.max_length:
            raise LengthError(
                f"the cache holds {self.max_length} tokens a sequence and {needed} are needed: "
                "make it larger, or use the growing Cache()"
            )
        return self.max_length


def _empty(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Storage that may be written to after inference mode, too: a cache goes on where generation ended."""
    with torch.inference_mode(False):
        return torch.empty(shape, dtype=dtype or like.dtype, device=like.device)


def _take(store: Tensor, rows: list[int], longest: int) -> Tensor:
    taken = _empty((len(rows), *store.shape[1:]), store)
    taken[:, :, :longest] = store[rows, :, :longest]
    return taken
