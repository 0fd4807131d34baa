"""The decoding loop: one token for every live sequence at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig
from enfold.generation.scores import processors
from enfold.generation.session import Session
from enfold.generation.stopping import StopStrings

# (tokens so far [B, T], scores of the last step or None) → one bool, or one a row
Criterion = Callable[[Tensor, Tensor | None], bool | Tensor]


@dataclass
class Prompt:
    """Packed prompts.

    Attributes:
        tokens: [N].
        counts: how many of them belong to each sequence.
        columns: [B, T], padded as the caller gave them.
        seen: [B, T], the same with a token of the row in place of padding, for what looks at tokens that occurred.
        limit: how many tokens may follow.
    """

    tokens: Tensor
    counts: tuple[int, ...]
    columns: Tensor
    seen: Tensor
    limit: int


@dataclass
class Trail:
    """What a caller asked to keep of every step: scores [B, V] after and before processing."""

    scores: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)


def decode(
    session: Session,
    prompt: Prompt,
    config: GenerationConfig,
    *,
    tokenizer: object = None,
    criteria: Sequence[Criterion] = (),
    trail: Trail | None = None,
) -> Iterator[list[int | None]]:
    """Yield one token a sequence and step; None for a sequence that has ended.

    Greedy decoding drops ended sequences from the computation once half of them have ended; sampling keeps them, so
    that a seed gives the same draws as in the reference library.

    Args:
        tokenizer: anything with `decode(ids)`, for `config.stop_strings`.
        criteria: further reasons to stop.
        trail: filled with the scores of each step.
    """
    columns, seen = prompt.columns, prompt.seen
    device = columns.device
    steps = processors(config, columns.shape[1])
    ends, stop_strings = config.ends, StopStrings.of(config.stop_strings, tokenizer)
    generator = None
    if config.seed is not None:
        generator = torch.Generator(device).manual_seed(config.seed)
    started = time.monotonic()
    rows = list(range(len(prompt.counts)))  # the sequences still computed
    live = [True] * len(rows)
    written: list[list[int]] = [[] for _ in rows]
    tokens, counts = prompt.tokens, prompt.counts
    for new in range(prompt.limit):
        with torch.inference_mode():
            logits = session.feed(tokens, counts)
            scores = logits.float() if steps or config.do_sample or trail is not None else logits
            for step in steps:
                scores = step(seen[rows], scores, new)
            if trail is not None:
                trail.logits.append(logits.float())
                trail.scores.append(scores)
            if config.do_sample:
                tokens = torch.multinomial(scores.softmax(-1), 1, generator=generator).squeeze(1)
            else:
                tokens = scores.argmax(-1)
            drawn = tokens.tolist()
        answer: list[int | None] = [None] * len(live)
        for row, token in zip(rows, drawn, strict=True):
            if live[row]:
                answer[row] = token
                written[row].append(token)
                live[row] = token not in ends and not (stop_strings and stop_strings.met(written[row]))
        if steps or criteria:
            shown = torch.tensor([[config.filler if token is None else token] for token in answer], device=device)
            columns, seen = torch.cat([columns, shown], dim=1), torch.cat([seen, shown], dim=1)
        yield answer
        for criterion in criteria:
            stop = criterion(columns, None if trail is None else scores)
            for row in range(len(live)):
                live[row] &= not (bool(stop[row]) if isinstance(stop, Tensor) and stop.ndim else bool(stop))
        if not any(live) or (config.max_time is not None and time.monotonic() - started > config.max_time):
            return
        kept = [i for i, row in enumerate(rows) if live[row]]
        if not config.do_sample and trail is None and 2 * len(kept) <= len(rows):
            with torch.inference_mode():
                session.select(kept)
                tokens = tokens[kept]
            rows = [rows[i] for i in kept]
        counts = (1,) * len(rows)


def pad_after_end(written: list[list[int]], config: GenerationConfig) -> Tensor:
    """New tokens of every sequence as [B, longest], filled up behind each end."""
    longest = max(map(len, written), default=0)
    rows = [row + [config.filler] * (longest - len(row)) for row in written]
    return torch.tensor(rows, dtype=torch.int64).view(len(written), longest)
