"""What decoding needs of a model: feed tokens, get the next scores, keep some rows."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Session(Protocol):
    """Sequences being decoded, with their memory.

    Attributes:
        lengths: tokens fed so far, for each sequence.
    """

    @property
    def lengths(self) -> tuple[int, ...]: ...

    def feed(self, tokens: Tensor, counts: tuple[int, ...]) -> Tensor:
        """Feed packed tokens [N], `counts[b]` of them to sequence b; scores of each one's next token [B, V]."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep, repeat or reorder the sequences."""
        ...
