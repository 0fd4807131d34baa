"""Context parallelism: each process runs a model over its share of every text.

A text of a causal model is cut into twice as many pieces as there are processes; each takes one from either end, so
that all see about as many keys.

    text     a b c d e f g h        process 0   a b . . . . g h
                                    process 1   . . c d e f . .

Keys and values of all pieces are gathered, with gradients; queries, and all that costs memory, stay in pieces. Behind
the last layer the states are gathered too, so that heads and losses are those of a whole text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from enfold.accelerate.collectives import drawing_apart, join, same_generators, spread
from enfold.base.errors import ArgumentError
from enfold.nn.cache import Spans
from enfold.nn.modules import Attention, Stack
from enfold.nn.where import Where


class Sharing:
    """How a stack's texts are shared among the processes of a group."""

    def __init__(self, group: ProcessGroup, rank: int, ranks: int):
        self.group, self.rank, self.ranks = group, rank, ranks

    def share(self, where: Where) -> "Share":
        """This process's part of a batch."""
        return Share(self, where)


@dataclass
class Share:
    """Which tokens of a packed batch this process runs over.

    Attributes:
        whole: where all tokens sit.
    """

    sharing: Sharing
    whole: Where

    def pieces(self, rank: int) -> list[tuple[int, int, int]]:
        """Start and end in the batch of each piece that a process has, and where its text starts."""
        parts, found = 2 * self.sharing.ranks, []
        for first, end in pairwise(self.whole.offsets):
            for piece in (rank, parts - 1 - rank):
                a, b = (first + (end - first) * edge // parts for edge in (piece, piece + 1))
                if a < b:
                    found.append((a, b, first))
        return found

    @cached_property
    def mine(self) -> list[tuple[int, int, int]]:
        """Pieces of this process."""
        return self.pieces(self.sharing.rank)

    @cached_property
    def places(self) -> list[Tensor]:
        """Of each process, its tokens' places in the batch: [n] int64."""
        return [_places(self.pieces(rank)) for rank in range(self.sharing.ranks)]

    @cached_property
    def order(self) -> Tensor:
        """[N] int64: for each token of the batch, its place among what the processes hold side by side."""
        return torch.cat(self.places).argsort().to(self.whole.positions.device)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each process."""
        return tuple(map(len, self.places))

    def where(self) -> Where:
        """Where this process's tokens sit; each piece counts as a sequence of its own."""
        lengths = tuple(end - start for start, end, _ in self.mine)
        positions = self.take(self.whole.positions)
        return replace(self.whole, lengths=lengths, positions=positions, end=self.whole.end, memo={}, share=self)

    def take(self, packed: Tensor) -> Tensor:
        """This process's tokens [n, …] of all [N, …]."""
        return packed.index_select(0, self.places[self.sharing.rank].to(packed.device))

    def keys(self, keys: Tensor, values: Tensor) -> Spans:
        """What this process's tokens see, of everybody's keys and values."""
        width = keys.shape[-1]
        both = spread(torch.cat([keys, values], dim=-1), self.sharing.group, self.sizes).index_select(0, self.order)
        starts = tuple(first for _, _, first in self.mine)
        lengths = tuple(end - first for _, end, first in self.mine)
        return Spans(both[..., :width], both[..., width:], lengths, starts)

    def gathered(self, states: Tensor) -> Tensor:
        """States [N, D] of all tokens.

        Everybody computes one loss of them, and gradients are averaged afterwards: so a state's counts as often as
        there are processes.
        """
        group, ranks = self.sharing.group, self.sharing.ranks
        return join(states, group, self.sizes, dim=0, factor=float(ranks)).index_select(0, self.order)

    def drawing(self, *, training: bool) -> Any:
        """Where dropout differs from process to process."""
        return drawing_apart(self.sharing.rank, enabled=training)


def _places(pieces: Sequence[tuple[int, int, int]]) -> Tensor:
    return torch.cat([torch.arange(0), *(torch.arange(start, end) for start, end, _ in pieces)])


def context_parallel(model: nn.Module, mesh: DeviceMesh) -> None:
    """Let the processes of a mesh's one dimension share the texts of a causal model, in place.

    Raises:
        ArgumentError: a model whose tokens see later ones or a source, that remembers a state, or leaves out layers.
    """
    if mesh.ndim != 1:
        raise ArgumentError(f"context_parallel takes a mesh of one dimension, such as mesh['cp']; got {mesh}")
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    ops = [layer.attn.op for stack in stacks for layer in stack.layers]  # type: ignore[union-attr]
    if len(stacks) != 1 or not all(isinstance(op, Attention) and op.spec.causal for op in ops):
        raise ArgumentError(
            f"cp_size is for causal models of one stack of attention: texts of a {type(model).__name__} can't be cut"
        )
    if stacks[0].spec.layer_drop:
        raise ArgumentError(
            "layerdrop leaves out other layers on other processes, which wait for each other: set it to 0"
        )
    same_generators(mesh.get_group())
    stacks[0].sharing = Sharing(mesh.get_group(), mesh.get_local_rank(), mesh.size())
