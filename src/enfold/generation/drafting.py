"""Drafts of a smaller model, of the same tokenizer or another."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig
from enfold.generation.session import Session
from enfold.generation.speculative import Guess
from enfold.generation.warpers import warpers


class Resumable:
    """A session that is told whole texts, and feeds what it hasn't seen of them.

    Args:
        begin: makes an empty session, of these rows (None: of all).
    """

    def __init__(self, begin: Callable[[list[int] | None], Session], device: torch.device):
        self.begin, self.device = begin, device
        self.rows: list[int] | None = None
        self.session: Session | None = None
        self.held: list[list[int]] = []

    def feed(self, texts: list[list[int]]) -> Tensor:
        """Scores [B, V] behind each text."""
        if self.session is None:
            self.session, self.held = self.begin(self.rows), [[] for _ in texts]
        shared = [min(_shared(held, text), len(text) - 1) for held, text in zip(self.held, texts, strict=True)]
        if any(self.held):
            self.session.crop(shared)
        else:
            shared = [0] * len(texts)
        new = [text[start:] for text, start in zip(texts, shared, strict=True)]
        self.held = [list(text) for text in texts]
        tokens = torch.tensor([token for row in new for token in row], device=self.device)
        return self.session.feed(tokens, tuple(map(len, new)))

    def select(self, rows: Sequence[int]) -> None:
        """Only these sequences go on, or several times."""
        if self.session is None:
            self.rows = list(rows) if self.rows is None else [self.rows[row] for row in rows]
        else:
            self.session.select(rows)
            self.held = [list(self.held[row]) for row in rows]


def _shared(a: list[int], b: list[int]) -> int:
    """How many tokens two texts have in common at their beginnings."""
    return next((i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))


class ModelDrafter:
    """A smaller model writes ahead.

    Args:
        memory: of the smaller model.
        config: the settings of the call: how many tokens, how that number changes, when a draft ends early.
        positions: that the smaller model knows.
    """

    def __init__(self, memory: Resumable, config: GenerationConfig, positions: int | None):
        self.memory, self.config, self.count = memory, config, config.num_assistant_tokens
        self.positions = positions
        self.generator: torch.Generator | None = None
        self.steps = warpers(config) if config.do_sample else []

    def propose(self, texts: list[list[int]], most: list[int]) -> list[Guess]:
        return self.draft(texts, most, [self.count] * len(texts))

    def draft(self, texts: list[list[int]], most: list[int], wanted: Sequence[int]) -> list[Guess]:
        """Tokens behind each text, at most both numbers of them."""
        limits = [min(pair) for pair in zip(most, wanted, strict=True)]
        if self.positions is not None and max(map(len, texts)) + max(limits) > self.positions:
            return [Guess([]) for _ in texts]  # it can't read so far
        guesses: list[list[int]] = [[] for _ in texts]
        given: list[list[Tensor]] = [[] for _ in texts]
        going = [limit > 0 for limit in limits]
        extended = [list(text) for text in texts]
        while any(going):
            scores = self.memory.feed(extended).float()
            none = torch.empty(0, device=scores.device)
            for step in self.steps:
                scores = step(none, scores)
            chances = scores.softmax(-1)
            if self.config.do_sample:
                tokens = torch.multinomial(chances, 1, generator=self.generator).squeeze(1).tolist()
            else:
                tokens = scores.argmax(-1).tolist()
            for row, token in enumerate(tokens):
                extended[row].append(token)
                if going[row]:
                    guesses[row].append(token)
                    if self.config.do_sample:
                        given[row].append(chances[row])
                    sure = float(chances[row, token]) >= self.config.assistant_confidence_threshold
                    ended = token in self.config.ends
                    going[row] = sure and not ended and len(guesses[row]) < limits[row]
        return [Guess(tokens, torch.stack(rows) if rows else None) for tokens, rows in zip(guesses, given, strict=True)]

    def settle(self, proposed: int, accepted: int) -> None:
        if self.config.num_assistant_tokens_schedule != "constant" and proposed:
            self.count = self.count + 2 if accepted >= proposed else max(1, self.count - 1)

    def select(self, rows: Sequence[int]) -> None:
        self.memory.select(rows)


class TextDrafter(ModelDrafter):
    """A smaller model of another tokenizer writes ahead; its text is read by ours.

    Its tokens count as guesses without a distribution: sampling stays exact, whatever they are.

    Args:
        ours, theirs: tokenizers of the model and of the smaller one.
    """

    def __init__(self, ours: Any, theirs: Any, *arguments: Any):
        super().__init__(*arguments)
        self.ours, self.theirs = ours, theirs

    def propose(self, texts: list[list[int]], most: list[int]) -> list[Guess]:
        read = [self.ours.decode(text, skip_special_tokens=True) for text in texts]
        begun = [self._ids(self.theirs, text) for text in read]
        if not all(begun):
            return [Guess([]) for _ in texts]
        drafts = self.draft(begun, [self.count] * len(texts), [self.count] * len(texts))
        guesses = []
        for text, before, ids, draft, limit in zip(texts, read, begun, drafts, most, strict=True):
            whole = self.theirs.decode([*ids, *draft.tokens], skip_special_tokens=True)
            held = self.theirs.decode(ids, skip_special_tokens=True)
            new = whole[len(held) :] if whole.startswith(held) else ""
            guesses.append(Guess(self._continued(text, before, new)[:limit]))
        return guesses

    def _continued(self, text: list[int], before: str, new: str) -> list[int]:
        """Our tokens of what follows."""
        if not new:
            return []
        known, every = self._ids(self.ours, before), self._ids(self.ours, before + new)
        if known == every[: len(known)] and text[len(text) - len(known) :] == known:
            return every[len(known) :]
        return self._ids(self.ours, new)

    @staticmethod
    def _ids(tokenizer: Any, text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
