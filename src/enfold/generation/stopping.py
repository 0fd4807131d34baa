"""Reasons to stop."""

import time
from itertools import takewhile
from typing import Any, Self

import torch
from torch import Tensor

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


class StoppingCriteria:
    """A reason to stop. Subclass it, or pass any callable (ids, scores) → bool or [B] bool."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor | bool:
        """Whether each sequence [B, T] ends here."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class StoppingCriteriaList(list):
    """Reasons to stop; one is enough."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        stop = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for criterion in self:
            said = criterion(input_ids, scores, **kwargs)
            stop = stop | (said.to(stop.device) if isinstance(said, Tensor) else bool(said))
        return stop


def _all(input_ids: Tensor, stop: bool) -> Tensor:
    return torch.full((len(input_ids),), stop, device=input_ids.device)


class MaxLengthCriteria(StoppingCriteria):
    """That many columns, the prompt's included."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None):
        self.max_length = max_length

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return _all(input_ids, input_ids.shape[1] >= self.max_length)


class MaxTimeCriteria(StoppingCriteria):
    """That many seconds since it was made, or since `initial_timestamp`."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None):
        self.max_time = max_time
        self.started = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return _all(input_ids, time.time() - self.started > self.max_time)


class EosTokenCriteria(StoppingCriteria):
    """One of these tokens was the last."""

    def __init__(self, eos_token_id: int | list[int] | Tensor):
        self.ends = torch.as_tensor(eos_token_id).reshape(-1)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.isin(input_ids[:, -1], self.ends.to(input_ids.device))


class StopStringCriteria(StoppingCriteria):
    """A text has appeared with the last token."""

    def __init__(self, tokenizer: Any, stop_strings: str | list[str]):
        found = StopStrings.of(stop_strings, tokenizer)
        if found is None:
            raise ArgumentError("stop_strings is empty; expected a text or several")
        self.strings = found

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.tensor([self.strings.met(row) for row in input_ids.tolist()], device=input_ids.device)
