"""Recurrences over packed sequences: a causal convolution, and linear recurrences in chunks.

    tokens   a b c d e f g | h i j        two sequences
    chunks   a b c / d e f / g . . | h i j    rows of one tensor, places behind an end change nothing

Within all chunks at once each place takes one step; then the state is carried from chunk to chunk. So a text of T
tokens takes about 2·√T steps, each over many tokens, and no sequence sees another.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.nn import kernels
from enfold.nn.where import Where


@dataclass
class Chunks:
    """How packed tokens lie in rows of `size` places.

    Attributes:
        tokens: [M, size] int64, each place's packed token; N behind the end of a sequence.
        order: for each k, the sequences that have a k-th chunk, and its row.
        places: [N] int64, each token's place in the flattened rows.
    """

    size: int
    tokens: Tensor
    order: list[tuple[Tensor, Tensor]]
    places: Tensor

    @classmethod
    def of(cls, where: Where, size: int | None = None) -> "Chunks":
        """Chunks of `size` places, by default about the root of the longest sequence's length."""
        memo, key = where.memo, ("chunks", size)
        if key not in memo:
            longest = max(where.lengths, default=1)
            chosen = size or max(1, math.isqrt(longest))
            counts = [-(-length // chosen) for length in where.lengths]
            firsts = [sum(counts[:b]) for b in range(len(counts))]
            total = sum(where.lengths)
            device = where.positions.device
            shifts = [first * chosen - start for first, start in zip(firsts, where.offsets[:-1], strict=True)]
            places = torch.arange(total) + torch.tensor(shifts).repeat_interleave(torch.tensor(where.lengths))
            tokens = torch.full((sum(counts) * chosen,), total)
            tokens[places] = torch.arange(total)
            order = []
            for k in range(max(counts, default=0)):
                pairs = [(b, firsts[b] + k) for b, count in enumerate(counts) if count > k]
                sequences, rows = torch.tensor(pairs, device=device).unbind(1)
                order.append((sequences, rows))
            memo[key] = cls(chosen, tokens.view(-1, chosen).to(device), order, places.to(device))
        return memo[key]

    def rows(self, packed: Tensor) -> Tensor:
        """[N, …] → [M, size, …], zeros behind the ends."""
        return torch.cat([packed, packed.new_zeros(1, *packed.shape[1:])])[self.tokens]

    def pack(self, rows: Tensor) -> Tensor:
        """[M, size, …] → [N, …]."""
        return rows.flatten(0, 1)[self.places]

    def carry(self, updates: Tensor, decays: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state before each chunk [M, …] and after each sequence [B, …]: `s → decay · s + update` by chunks."""
        before: list[Tensor] = []
        rows: list[Tensor] = []
        if not self.order:
            return state[:0], state
        for sequences, chunks in self.order:
            held = state[sequences]
            before.append(held)
            rows.append(chunks)
            state = state.index_copy(0, sequences, decays[chunks] * held + updates[chunks])
        return torch.cat(before)[torch.cat(rows).argsort()], state


def scan(log_decay: Tensor, update: Tensor, where: Where, state: Tensor) -> tuple[Tensor, Tensor]:
    """`h ← exp(log_decay) · h + update`, element by element, along each sequence.

    Args:
        log_decay, update: [N, …] fp32, decays of at most one.
        state: [B, …] before the first token.

    Returns:
        h of every token [N, …], and after each sequence's last one [B, …].
    """
    chunks = Chunks.of(where)
    decays, steps = chunks.rows(log_decay), chunks.rows(update)
    local = [steps[:, 0]]
    for place in range(1, chunks.size):
        local.append(decays[:, place].exp() * local[-1] + steps[:, place])
    within = torch.stack(local, dim=1)
    since = decays.cumsum(1).exp()  # decay from a chunk's beginning up to each place
    before, last = chunks.carry(within[:, -1], since[:, -1], state)
    return chunks.pack(within + since * before.unsqueeze(1)), last


def selective_scan(
    step: Tensor, u: Tensor, into: Tensor, out_of: Tensor, decay: Tensor, where: Where, state: Tensor
) -> tuple[Tensor, Tensor]:
    """`h ← exp(step · decay) · h + step · u · into`, `y = Σ h · out_of` (Gu & Dao 2023, alg. 2).

    Args:
        step, u: [N, C] fp32.
        into, out_of: [N, S] fp32.
        decay: [C, S] fp32, at most 0.
        state: h before the first token, [B, C, S].

    Returns:
        y [N, C], and h after each sequence's last token.
    """
    if step.device.type == "cpu":
        offsets = where.memo.setdefault("offsets", torch.tensor(where.offsets))
        found = kernels.selective_scan(step, u, into, out_of, decay, offsets, state)
        if found is not None:
            return found
    log_decay = step.unsqueeze(-1) * decay  # [N, C, S]
    update = (step * u).unsqueeze(-1) * into.unsqueeze(1)
    if where.decoding:
        states = state = log_decay.exp() * state + update
    else:
        states, state = scan(log_decay, update, where, state)
    return (states @ out_of.unsqueeze(-1)).squeeze(-1), state


class Convolution(nn.Module):
    """The weights of a convolution of each channel: [C, 1, K] and [C]."""

    def __init__(self, channels: int, kernel: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        if name == "bias":
            parameter.zero_()
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, where: Where, past: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Causal convolution of each channel along each sequence.

    Args:
        x: [N, C].
        weight: [C, K], the last column meets the token itself.
        past: [B, K − 1, C], what came before; None for nothing.

    Returns:
        [N, C], and the last K − 1 inputs of each sequence [B, K − 1, C].
    """
    count, (channels, width) = len(where.lengths), weight.shape
    past = x.new_zeros(count, width - 1, channels) if past is None else past.to(x.dtype)
    if not len(x):
        return x, past
    if where.decoding:
        seen = torch.cat([past, x.unsqueeze(1)], dim=1)  # [B, K, C]
        mixed = (seen * weight.T).sum(1)
        return mixed if bias is None else mixed + bias, seen[:, 1:]
    memo, key = where.memo, ("behind", width)
    if key not in memo:  # every sequence with its past before it
        sequence = torch.arange(count).repeat_interleave(torch.tensor(where.lengths))
        places = torch.arange(len(x)) + (sequence + 1) * (width - 1)
        ends = torch.tensor(where.offsets[1:]) + (torch.arange(count) + 1) * (width - 1)
        starts = torch.tensor(where.offsets[:-1]) + torch.arange(count) * (width - 1)
        steps = torch.arange(width - 1)
        memo[key] = tuple(
            index.to(x.device)
            for index in (places, (starts[:, None] + steps).flatten(), (ends[:, None] - (width - 1) + steps).flatten())
        )
    places, befores, lasts = memo[key]
    whole = x.new_zeros(len(x) + count * (width - 1), channels)
    whole = whole.index_copy(0, befores, past.flatten(0, 1)).index_copy(0, places, x)
    mixed = F.conv1d(whole.T.unsqueeze(0), weight.unsqueeze(1), bias, groups=channels)[0].T
    return mixed[places - (width - 1)], whole[lasts].view(count, width - 1, channels)
