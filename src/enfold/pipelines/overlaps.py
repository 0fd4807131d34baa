"""Long texts read in windows that overlap, with the way back from tokens to characters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from enfold.pipelines.encoding import Row


@dataclass(slots=True)
class Window:
    """One row over a part of a text.

    Attributes:
        owner: the number of its text.
        offsets: characters of each token, [T] pairs.
        special: 1 where the tokenizer added the token.
        encoded, number: what the tokenizer gave, and this row's place in it.
    """

    row: Row
    owner: int
    offsets: list[tuple[int, int]]
    special: list[int]
    encoded: Any
    number: int

    def words(self) -> list[int | None]:
        """The word of each token, None for special ones."""
        return self.encoded.word_ids(self.number)

    def belongs(self, sequence: int) -> np.ndarray:
        """[T] bool: which tokens come from the first (0) or the second (1) text of a pair."""
        return np.array([part == sequence for part in self.encoded.sequence_ids(self.number)])

    def whole_words(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last token of the words that the tokens `start` to `end` are parts of."""
        words = self.words()
        if words[start] is None or words[end] is None:  # a tokenizer that knows no words
            return start, end
        parts = self.encoded.sequence_ids(self.number)
        while start and words[start - 1] == words[start] and parts[start - 1] == parts[start]:
            start -= 1
        while end + 1 < len(words) and words[end + 1] == words[end] and parts[end + 1] == parts[end]:
            end += 1
        return start, end


def read_in_windows(
    tokenizer: Any,
    texts: Sequence[Any],
    pairs: Sequence[str] | None = None,
    *,
    length: int | None,
    stride: int,
    cut: bool | str = True,
    options: Mapping[str, Any],
) -> Iterator[Window]:
    """Tokenise texts (or pairs) in one call.

    Args:
        length: tokens in a window, special ones included; None reads each text in one window.
        stride: tokens that neighbouring windows share.
        cut: which text of a pair is read in windows, as the tokenizer's `truncation` has it.
        options: further options of the tokenizer's call.
    """
    call: dict[str, Any] = dict(options)
    if length is not None:
        call |= {"truncation": cut, "max_length": length, "stride": stride, "return_overflowing_tokens": True}
    encoded = tokenizer(
        texts,
        pairs,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        **call,
    )
    owners = encoded.get("overflow_to_sample_mapping") or range(len(texts))
    types = encoded.get("token_type_ids") or [None] * len(encoded["input_ids"])
    for number, owner in enumerate(owners):
        row = Row(encoded["input_ids"][number], types[number])
        special = encoded["special_tokens_mask"][number]
        yield Window(row, owner, encoded["offset_mapping"][number], special, encoded, number)
