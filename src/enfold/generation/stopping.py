"""Reasons to stop that look at text."""

from itertools import takewhile
from typing import Any, Self

from enfold.base.errors import ArgumentError


class StopStrings:
    """Whether a text has appeared among the newest tokens.

    Args:
        texts: the texts that end a sequence.
        tokenizer: anything with `decode(ids)`.
    """

    def __init__(self, texts: list[str], tokenizer: Any):
        self.texts = texts
        self.tokenizer = tokenizer
        # Every token writes at least a byte, and a character has at most four.
        self.window = 4 * max(map(len, texts)) + 8

    @classmethod
    def of(cls, given: str | list[str] | None, tokenizer: Any) -> Self | None:
        """None when nothing stops.

        Raises:
            ArgumentError: texts without a tokenizer, or an empty text.
        """
        if not given:
            return None
        texts = [given] if isinstance(given, str) else list(given)
        if tokenizer is None:
            raise ArgumentError(f"stop_strings={texts!r} needs tokenizer=, to read the text that is generated")
        if not all(texts):
            raise ArgumentError(f"stop_strings={texts!r} holds an empty text, which would stop before the first token")
        return cls(texts, tokenizer)

    def met(self, tokens: list[int]) -> bool:
        """Whether one of the texts ends within the last token."""
        recent = tokens[-self.window :]
        text = self.tokenizer.decode(recent)
        if not any(stop in text for stop in self.texts):
            return False
        before = self.tokenizer.decode(recent[:-1])
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, before, strict=False)))
        return any(text.find(stop, max(0, known - len(stop) + 1)) >= 0 for stop in self.texts)
