"""What decoding needs of a model: feed tokens, get scores, keep or reorder rows, forget tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Session(Protocol):
    """Sequences being decoded, with their memory.

    Attributes:
        lengths: tokens fed so far, for each sequence.
    """

    @property
    def lengths(self) -> tuple[int, ...]: ...

    def feed(self, tokens: Tensor, counts: tuple[int, ...], *, every: bool = False) -> Tensor:
        """Feed packed tokens [N], `counts[b]` of them to sequence b; scores of each one's next token [B, V].

        In place of tokens, their vectors [N, D] may be fed.

        Args:
            every: scores behind every token that was fed instead, [N, V].
        """
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep, repeat or reorder the sequences."""
        ...

    def reorder(self, rows: Sequence[int], since: int) -> None:
        """As many sequences in another order, each equal to the one it replaces in its first `since` tokens."""
        ...

    def crop(self, lengths: Sequence[int]) -> None:
        """Forget each sequence's tokens behind its first `lengths[b]`."""
        ...

    def states(self) -> Tensor:
        """[N, D]: the last hidden state of each token of the latest `feed`."""
        ...


@dataclass
class Prompt:
    """Packed prompts.

    Attributes:
        tokens: [N], or vectors [N, D].
        counts: how many of them belong to each sequence.
        columns: [B, T], padded as the caller gave them; T is 0 where vectors came without tokens.
        text: [B, T], the same with all padding on the left.
        padding: [B], leading columns of `text` that are padding; None where none is.
        limit: how many tokens may follow.
        source: [B, S], what an encoder read; None of a decoder.
        unseen: columns of vectors that came without tokens.
    """

    tokens: Tensor
    counts: tuple[int, ...]
    columns: Tensor
    text: Tensor
    padding: Tensor | None
    limit: int
    source: Tensor | None = None
    unseen: int = 0

    @property
    def pads(self) -> list[int]:
        """Leading columns of each row of `text` that are padding."""
        return [0] * len(self.text) if self.padding is None else self.padding.tolist()
