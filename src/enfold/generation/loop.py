"""The decoding loop: one token for every live sequence at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig
from enfold.generation.processors import LogitsProcessorList
from enfold.generation.session import Prompt, Session
from enfold.generation.stopping import StopStrings

# (tokens so far [B, T], scores of the last step or None) → one bool, or one a row
Criterion = Callable[[Tensor, Any], bool | Tensor]


@dataclass
class Trail:
    """What a caller asked to keep of every step.

    Attributes:
        scores, logits: [B, V] after and before processing.
        orders: the session's row of each sequence.
    """

    scores: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    orders: list[list[int]] = field(default_factory=list)

    def keep(self, logits: Tensor, scores: Tensor, order: list[int] | None = None) -> None:
        """Remember one step."""
        self.logits.append(logits.float())
        self.scores.append(scores)
        self.orders.append(list(range(len(logits))) if order is None else order)


@dataclass
class Job:
    """One call of `generate`: what is decoded, and how.

    Attributes:
        steps: from logits to what is drawn from.
        criteria: further reasons to stop.
        tokenizer: anything with `decode(ids)`, for `config.stop_strings`.
        watched: whether a caller's own code or cache knows the rows, which then stay where they are.
        trail: filled with the scores of each step.
        drafter: guesses ahead (see `speculative.py`).
    """

    session: Session
    prompt: Prompt
    config: GenerationConfig
    steps: LogitsProcessorList = field(default_factory=LogitsProcessorList)
    criteria: Sequence[Criterion] = ()
    tokenizer: Any = None
    watched: bool = False
    trail: Trail | None = None
    drafter: Any = None

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.ends = self.config.ends
        self.stops = StopStrings.of(self.config.stop_strings, self.tokenizer)
        self.generator = None
        if self.config.seed is not None:
            self.generator = torch.Generator(self.prompt.columns.device).manual_seed(self.config.seed)

    def prefill(self, copies: int) -> tuple[Tensor, Tensor]:
        """Feed each prompt once and repeat its row: scores [B·copies, V] of the first step, and the text [B·copies, T].

        The memory of a prompt is thereby computed once, whatever the number of samples or beams.
        """
        logits = self._read_prompt()
        if copies == 1:
            return logits, self.prompt.text
        rows = [row for row in range(len(self.prompt.counts)) for _ in range(copies)]
        self.session.select(rows)
        self.steps.select(rows)
        return logits[rows], self.prompt.text[rows]

    def _read_prompt(self) -> Tensor:
        """Scores [B, V] behind each prompt, fed whole or in parts of `prefill_chunk_size` tokens."""
        prompt, size = self.prompt, self.config.prefill_chunk_size
        longest = max(prompt.counts)
        if size is None or longest <= size:
            return self.session.feed(prompt.tokens, prompt.counts)
        logits, rows = prompt.tokens, prompt.tokens.split(list(prompt.counts))
        for left in range(-(-longest // size) - 1, -1, -1):  # all prompts end in the last part
            part = [row[max(0, len(row) - (left + 1) * size) : max(0, len(row) - left * size)] for row in rows]
            logits = self.session.feed(torch.cat(part), tuple(map(len, part)))
        return logits

    def late(self) -> bool:
        """Whether `max_time` has passed."""
        return self.config.max_time is not None and time.monotonic() - self.started > self.config.max_time

    def ended(self, written: list[int]) -> bool:
        """Whether a sequence ends with its newest token."""
        return written[-1] in self.ends or (self.stops is not None and self.stops.met(written))

    def stopped(self, text: Tensor, scores: Any, rows: int) -> list[bool]:
        """What the criteria say of each row."""
        stop = [False] * rows
        for criterion in self.criteria:
            said = criterion(text, scores)
            if isinstance(said, Tensor) and said.ndim:
                stop = [a or bool(b) for a, b in zip(stop, said.tolist(), strict=True)]
            elif said:
                stop = [True] * rows
        return stop

    def draw(self, scores: Tensor) -> Tensor:
        """Next tokens [B] of scores [B, V]."""
        if not self.config.do_sample:
            return scores.argmax(-1)
        return torch.multinomial(scores.softmax(-1), 1, generator=self.generator).squeeze(1)


def decode(job: Job) -> Iterator[list[int | None]]:
    """Yield one token a sequence and step; None for a sequence that has ended.

    Greedy decoding drops ended sequences from the computation once half of them have ended; sampling keeps them, so
    that a seed gives the same draws as in the reference library.
    """
    session, config, steps, trail = job.session, job.config, job.steps, job.trail
    device = job.prompt.columns.device
    looking = bool(steps or job.criteria)
    with torch.inference_mode():
        logits, text = job.prefill(config.num_return_sequences)
    rows = list(range(len(logits)))  # the sequences still computed
    tokens = job.prompt.tokens
    live = [True] * len(rows)
    written: list[list[int]] = [[] for _ in rows]
    for new in range(job.prompt.limit):
        with torch.inference_mode():
            if new:
                logits = session.feed(tokens, (1,) * len(rows))
            scores = logits.float() if steps or config.do_sample or trail is not None else logits
            if steps:
                scores = steps(text[rows], scores)
            if trail is not None:
                trail.keep(logits, scores)
            tokens = job.draw(scores)
            drawn = tokens.tolist()
        answer: list[int | None] = [None] * len(live)
        for row, token in zip(rows, drawn, strict=True):
            if live[row]:
                answer[row] = token
                written[row].append(token)
                live[row] = not job.ended(written[row])
        if looking:
            shown = torch.tensor([[config.filler if token is None else token] for token in answer], device=device)
            text = torch.cat([text, shown], dim=1)
        yield answer
        if job.criteria:
            stop = job.stopped(text, None if trail is None else scores, len(live))
            live = [a and not b for a, b in zip(live, stop, strict=True)]
        if not any(live) or job.late():
            return
        kept = [i for i, row in enumerate(rows) if live[row]]
        if None in answer:
            fed = [config.filler if answer[row] is None else answer[row] for row in rows]
            tokens = torch.tensor(fed, device=device)
        if not config.do_sample and trail is None and not job.watched and 2 * len(kept) <= len(rows):
            with torch.inference_mode():
                session.select(kept)
                steps.select(kept)
                tokens = tokens[kept]
            rows = [rows[i] for i in kept]


def pad_after_end(written: list[list[int]], config: GenerationConfig) -> Tensor:
    """New tokens of every sequence as [B, longest], filled up behind each end."""
    longest = max(map(len, written), default=0)
    rows = [row + [config.filler] * (longest - len(row)) for row in written]
    return torch.tensor(rows, dtype=torch.int64).view(len(written), longest)
