"""Speculative decoding: several tokens are guessed and checked in one pass (Leviathan et al. 2023).

Greedy answers are those of plain greedy search; drawn ones follow the same distribution as plain sampling. Rows of a
batch go forward at their own pace.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from enfold.generation.loop import Job
from enfold.generation.processors import LogitsProcessorList


@dataclass
class Guess:
    """Tokens that may follow one sequence, and the distributions [n, V] that they were drawn from, if they were."""

    tokens: list[int]
    drawn_from: Tensor | None = None


class Drafter(Protocol):
    """Guesses how sequences go on."""

    def propose(self, texts: list[list[int]], most: list[int]) -> list[Guess]:
        """At most `most[b]` tokens behind the tokens of each sequence that is still decoded."""
        ...

    def settle(self, proposed: int, accepted: int) -> None:
        """How many of one round's tokens were right."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Only these sequences go on."""
        ...


class PromptLookup:
    """What followed the end of the text when it occurred before.

    Args:
        count: tokens to guess.
        longest: the longest end that is looked up; shorter ones follow, down to one token.
    """

    def __init__(self, count: int, longest: int = 2):
        self.count, self.longest = count, longest

    def propose(self, texts: list[list[int]], most: list[int]) -> list[Guess]:
        return [Guess(self._after(text)[:limit]) for text, limit in zip(texts, most, strict=True)]

    def _after(self, text: list[int]) -> list[int]:
        tokens = torch.tensor(text)
        for size in range(min(self.longest, len(text) - 1), 0, -1):
            met = (tokens[:-1].unfold(0, size, 1) == tokens[-size:]).all(1).nonzero()
            if len(met):
                start = int(met[-1]) + size  # the latest occurrence
                return text[start : start + self.count]
        return []

    def settle(self, proposed: int, accepted: int) -> None:
        pass

    def select(self, rows: Sequence[int]) -> None:
        pass


def speculate(job: Job, drafter: Drafter) -> Iterator[list[int | None]]:
    """Yield tokens as `decode` does; a row without a token at a step has ended, or waits for slower ones."""
    session, config = job.session, job.config
    counts, copies = job.prompt.counts, config.num_return_sequences
    if job.prompt.limit == 0:
        return
    count = len(counts) * copies
    with torch.inference_mode():
        logits, begun = job.prefill(copies)
    if copies > 1:
        drafter.select([row for row in range(len(counts)) for _ in range(copies)])
    padding = [0] * count if job.prompt.padding is None else job.prompt.padding.repeat_interleave(copies).tolist()
    prompts = [row[pad:] for row, pad in zip(begun.tolist(), padding, strict=True)]
    lines = [Line(job, number, begun[number], prompts[number]) for number in range(count)]
    live = list(range(count))
    with torch.inference_mode():
        news = [lines[row].verify(logits[row : row + 1], Guess([])) for row in live]
    while True:
        yield from _in_step(count, dict(zip(live, news, strict=True)))
        for row in live:
            lines[row].stop(job)
        kept = [place for place, row in enumerate(live) if not lines[row].over]
        if not kept or job.late():
            return
        if len(kept) < len(live):
            with torch.inference_mode():
                session.select(kept)
            drafter.select(kept)
            live = [live[place] for place in kept]
        with torch.inference_mode():
            texts = [lines[row].text for row in live]
            guesses = drafter.propose(texts, [lines[row].room - 1 for row in live])
            fed = [[text[-1], *guess.tokens] for text, guess in zip(texts, guesses, strict=True)]
            tokens = torch.tensor([token for row in fed for token in row], device=job.prompt.columns.device)
            every = session.feed(tokens, tuple(map(len, fed)), every=True)
            parts = every.split(list(map(len, fed)))
            news = []
            for row, part, guess in zip(live, parts, guesses, strict=True):
                news.append(lines[row].verify(part, guess))
                drafter.settle(len(guess.tokens), len(news[-1]) - 1)
            # All but the newest token of each row are remembered.
            session.crop([len(lines[row].text) - 1 for row in live])


class Line:
    """One sequence and its steps, at its own pace.

    Attributes:
        text: prompt and answer, without padding.
        over: whether it has ended.
    """

    def __init__(self, job: Job, number: int, begun: Tensor, prompt: list[int]):
        self.job, self.begun, self.text, self.start = job, begun[None], list(prompt), len(prompt)
        self.over = False
        steps = LogitsProcessorList(copy.copy(step) for step in job.steps)
        steps.select([number])
        self.steps = steps

    @property
    def written(self) -> list[int]:
        return self.text[self.start :]

    @property
    def room(self) -> int:
        """How many tokens may still follow."""
        return self.job.prompt.limit - (len(self.text) - self.start)

    def verify(self, logits: Tensor, guess: Guess) -> list[int]:
        """Take over the guessed tokens that are right, and one more: the tokens that are new.

        Args:
            logits: [n + 1, V], behind the newest token and behind each guessed one.
        """
        new: list[int] = []
        plain = not self.steps and not self.job.config.do_sample and self.job.trail is None
        likeliest = logits.argmax(-1).tolist() if plain else None
        for place in range(len(logits)):
            if likeliest is not None:
                token = likeliest[place]
                right = place < len(guess.tokens) and guess.tokens[place] == token
                if self._take(token, new) or not right:
                    break
                continue
            scores = logits[place : place + 1].float()
            if self.steps:
                said = torch.tensor([self.written], dtype=torch.int64, device=logits.device)
                scores = self.steps(torch.cat([self.begun, said], 1), scores)
            if self.job.trail is not None:
                self.job.trail.keep(logits[place : place + 1], scores)
            wanted = guess.tokens[place] if place < len(guess.tokens) else None
            token, right = self._next(scores[0], wanted, guess.drawn_from, place)
            if self._take(token, new) or not right:
                break
        return new

    def _take(self, token: int, new: list[int]) -> bool:
        """Write a token down; whether the sequence ends with it."""
        new.append(token)
        self.text.append(token)
        self.over = self.job.ended(self.written) or self.room == 0
        return self.over

    def _next(self, scores: Tensor, guessed: int | None, drawn_from: Tensor | None, place: int) -> tuple[int, bool]:
        """The token that follows, and whether it is the guessed one (algorithm 1 of the paper)."""
        if not self.job.config.do_sample:
            token = int(scores.argmax())
            return token, token == guessed
        wanted, generator = scores.softmax(-1), self.job.generator
        if guessed is not None:
            # A guess that no chance chose counts as drawn from a distribution that knows nothing else.
            given = 1.0 if drawn_from is None else float(drawn_from[place, guessed])
            chance = torch.rand((), generator=generator, device=scores.device)
            if float(chance) * given < float(wanted[guessed]):
                return guessed, True
            if drawn_from is None:
                rest = wanted.clone()
                rest[guessed] = 0.0
            else:
                rest = (wanted - drawn_from[place, : len(wanted)]).clamp(min=0.0)
            wanted = rest if float(rest.sum()) > 0 else wanted
        return int(torch.multinomial(wanted, 1, generator=generator)), False

    def stop(self, job: Job) -> None:
        """Ask the caller's criteria."""
        if job.criteria and not self.over:
            said = torch.tensor([self.written], dtype=torch.int64, device=self.begun.device)
            self.over = job.stopped(torch.cat([self.begun, said], 1), None, 1)[0]


def _in_step(count: int, news: dict[int, list[int]]) -> Iterator[list[int | None]]:
    """New tokens of some rows, one each at a time."""
    for place in range(max(map(len, news.values()), default=0)):
        yield [news[row][place] if row in news and place < len(news[row]) else None for row in range(count)]
