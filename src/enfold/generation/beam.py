"""Beam search: several hypotheses of each prompt side by side, drawn or searched, in one group or several.

Scores are sums of log-probabilities; finished hypotheses compare by score / length ** length_penalty.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig
from enfold.generation.loop import Job

WORST = -1.0e9  # of a hypothesis that is none


@dataclass
class Beamed:
    """What a beam search found, the best first.

    Attributes:
        new: [B·R, longest] new tokens, filled up behind each end.
        scores: [B·R].
        parents: [B·R, longest] int32: the beam that each token continued, of all B·K; -1 behind an end.
        lengths: new tokens of each.
    """

    new: Tensor
    scores: Tensor
    parents: Tensor
    lengths: list[int]


@dataclass
class Hypotheses:
    """Hypotheses [B, k] with their tokens and the beams they came through [B, k, n]."""

    scores: Tensor
    tokens: Tensor
    parents: Tensor

    def pick(self, index: Tensor) -> "Hypotheses":
        """[B, m] of them."""
        deep = index[..., None].expand(-1, -1, self.tokens.shape[2])
        return Hypotheses(self.scores.gather(1, index), self.tokens.gather(1, deep), self.parents.gather(1, deep))

    def joined(self, other: "Hypotheses") -> "Hypotheses":
        """Those of both, side by side."""
        return Hypotheses(
            torch.cat([self.scores, other.scores], 1),
            torch.cat([self.tokens, other.tokens], 1),
            torch.cat([self.parents, other.parents], 1),
        )

    def longer(self, tokens: Tensor | int, parents: Tensor | int) -> "Hypotheses":
        """One more token each [B, k]."""
        shape = (*self.scores.shape, 1)

        def column(value: Tensor | int, like: Tensor) -> Tensor:
            return value[..., None].to(like.dtype) if isinstance(value, Tensor) else like.new_full(shape, value)

        return Hypotheses(
            self.scores,
            torch.cat([self.tokens, column(tokens, self.tokens)], 2),
            torch.cat([self.parents, column(parents, self.parents)], 2),
        )


class Group:
    """The open and finished hypotheses of one group of beams.

    Args:
        prompts: B.
        size: k, beams of this group.
        first: the group's first beam among all K of a prompt.
    """

    def __init__(self, prompts: int, size: int, first: int, config: GenerationConfig, limit: int, device: torch.device):
        self.size, self.limit = size, limit
        self.penalty, self.stopping = config.length_penalty, config.early_stopping
        self.filler = fill_value(config)
        none = torch.empty(prompts, size, 0, dtype=torch.int64, device=device)
        scores = torch.full((prompts, size), WORST, device=device)
        self.done = Hypotheses(scores.clone(), none, none.int())
        scores[:, 0] = 0.0  # all are equal at first: the others must not say the same
        self.open = Hypotheses(scores, none, none.int())
        self.full = torch.zeros(prompts, size, dtype=torch.bool, device=device)  # which of `done` are hypotheses
        self.hopeful = torch.ones(prompts, 1, dtype=torch.bool, device=device)  # whether better ones may come
        self.offsets = first + config.num_beams * torch.arange(prompts, device=device)[:, None]
        # Enough that `size` go on if all others end.
        self.kept = max(2, 1 + len(config.ends)) * size

    def continuations(self, logs: Tensor, job: Job) -> tuple[Hypotheses, Tensor]:
        """The best (or drawn) continuations [B, kept], and the beam of the group that each continues.

        Args:
            logs: [B, k, V], processed log-probabilities.
        """
        total = (logs + self.open.scores[:, :, None]).flatten(1)
        kept = min(self.kept, total.shape[1])
        if job.config.do_sample:
            index = torch.multinomial(total.softmax(-1), kept, generator=job.generator)
            scores = total.gather(1, index)
        else:
            scores, index = total.topk(kept)
        beams, tokens = index // logs.shape[-1], index % logs.shape[-1]
        found = self.open.pick(beams).longer(tokens, beams + self.offsets)
        found.scores = scores
        return found, beams

    def settle(self, found: Hypotheses, beams: Tensor, ending: Tensor, last: bool) -> Tensor:
        """Go on with the best that don't end; keep those that do. Returns the beam that each continues [B, k].

        Args:
            ending: [B, kept] bool.
            last: whether all end here, since there is room or time for no more.
        """
        best = (found.scores + ending.float() * WORST).topk(self.size).indices
        length = found.tokens.shape[2]
        finished = Hypotheses(found.scores / length**self.penalty, found.tokens, found.parents)
        ended = ending | last
        ended[:, self.size :] = False  # what stands further down only serves to go on with
        closed = self.full.all(1, keepdim=True) & (self.stopping is True)
        finished.scores = finished.scores + (closed.float() + (~self.hopeful).float() + (~ended).float()) * WORST
        merged = self.done.longer(self.filler, -1).joined(finished)
        kept = merged.scores.topk(self.size).indices
        self.full = torch.cat([self.full, ended], 1).gather(1, kept)
        self.done = merged.pick(kept)
        open_scores = (found.scores + ending.float() * WORST).gather(1, best)
        self.open = found.pick(best)
        self.open.scores = open_scores
        farthest = self.limit if self.stopping == "never" and self.penalty > 0.0 else length
        hope = open_scores[:, :1] / farthest**self.penalty
        worst = torch.where(self.full, self.done.scores.amin(1, keepdim=True), WORST)
        self.hopeful = self.hopeful & (hope > worst).any(1, keepdim=True)
        return beams.gather(1, best)

    @property
    def over(self) -> bool:
        """Whether nothing better is looked for."""
        return not bool(self.hopeful.any()) or (self.stopping is True and bool(self.full.all()))


def fill_value(config: GenerationConfig) -> int:
    """What stands behind the end of a hypothesis: as in the reference library, a padding token 0 counts as none."""
    return config.pad_token_id or config.first_end or 0


def beam_search(job: Job) -> Beamed:
    """Search with `num_beams` hypotheses for each prompt.

    A group's scores are lowered for tokens that earlier groups chose at the same step (Vijayakumar et al. 2016, eq. 6,
    Hamming diversity).
    """
    config, limit = job.config, job.prompt.limit
    prompts, beams, count = len(job.prompt.counts), config.num_beams, config.num_beam_groups
    size, device = beams // count, job.prompt.columns.device
    groups = [Group(prompts, size, number * size, config, limit, device) for number in range(count)]
    ends = torch.tensor(sorted(config.ends), device=device)
    with torch.inference_mode():
        logits, begun = job.prefill(beams)
        order, text = Order(prompts, beams), begun
        shared = min(job.session.lengths)  # what all beams of a prompt have in common
        for new in range(limit):
            if new:
                tokens = torch.cat([group.open.tokens[:, :, -1] for group in groups], 1).flatten()
                logits = order.by_beam(job.session.feed(order.by_slot(tokens), (1,) * len(tokens)))
            if (job.steps or job.criteria or job.stops) and new:
                text = torch.cat([begun, _said(groups)], 1)
            logs = logits.float().log_softmax(-1)
            if job.steps:
                logs = job.steps(text, logs)
            every = logs.view(prompts, beams, -1)
            last = new == limit - 1 or job.late()
            chosen, penalised, stuck = [], [], True
            for number, group in enumerate(groups):
                part = every[:, number * size : (number + 1) * size]
                if number:
                    part = part - config.diversity_penalty * _counts(groups[:number], part.shape[-1])[:, None]
                penalised.append(part)
                found, continued = group.continuations(part, job)
                ending = torch.isin(found.tokens[:, :, -1], ends) if len(ends) else torch.zeros_like(found.scores) > 0
                if job.criteria or job.stops:
                    ending = ending | _stopping(job, begun, found, number * size)
                stuck = stuck and (last or bool(ending.all()))
                chosen.append(group.settle(found, continued, ending, last) + number * size)
            if job.trail is not None:
                job.trail.keep(logits, torch.cat(penalised, 1).flatten(0, 1), order.slots)
            parents = torch.cat(chosen, 1)
            if stuck or all(group.over for group in groups):
                break
            flat = (parents + beams * torch.arange(prompts, device=device)[:, None]).flatten().tolist()
            job.steps.select(flat)
            copies = order.move(flat)
            if copies is not None:
                job.session.reorder(copies, shared)
    return _best(groups, config)


class Order:
    """Which row of the session holds which beam: a beam that goes on stays where its memory is.

    Attributes:
        slots: the row of each beam, beams of a prompt behind each other.
    """

    def __init__(self, prompts: int, beams: int):
        self.beams = beams
        self.slots = list(range(prompts * beams))

    def by_slot(self, values: Tensor) -> Tensor:
        """[B·K] values of beams → of rows."""
        placed = torch.empty_like(values)
        placed[self.slots] = values
        return placed

    def by_beam(self, values: Tensor) -> Tensor:
        """[B·K, …] values of rows → of beams."""
        return values if self.slots == list(range(len(self.slots))) else values[self.slots]

    def move(self, parents: list[int]) -> list[int] | None:
        """Let each beam continue its parent: the first child takes over its row, others get copies in free rows.

        Returns:
            the row that each row becomes a copy of, or None when all stay what they are.
        """
        slots: list[int | None] = [None] * len(parents)
        taken: set[int] = set()
        for beam, parent in enumerate(parents):
            row = self.slots[parent]
            if row not in taken:
                slots[beam] = row
                taken.add(row)
        copies = list(range(len(parents)))
        free = iter(row for row in range(len(parents)) if row not in taken)
        for beam, parent in enumerate(parents):
            if slots[beam] is None:
                # Rows of one prompt lie together, and so do its free ones: the next free row is the prompt's own.
                slots[beam] = row = next(free)
                copies[row] = self.slots[parent]
        self.slots = [row for row in slots if row is not None]
        return None if copies == list(range(len(parents))) else copies


def _said(groups: list[Group]) -> Tensor:
    """[B·K, n] new tokens of all open hypotheses."""
    return torch.cat([group.open.tokens for group in groups], 1).flatten(0, 1)


def _counts(groups: list[Group], vocabulary: int) -> Tensor:
    """[B, V]: how many beams of these groups chose each token at this step."""
    chosen = torch.cat([group.open.tokens[:, :, -1] for group in groups], 1)
    counts = torch.zeros(len(chosen), vocabulary, device=chosen.device)
    return counts.scatter_add(1, chosen, torch.ones_like(chosen, dtype=counts.dtype))


def _stopping(job: Job, begun: Tensor, found: Hypotheses, first: int) -> Tensor:
    """[B, kept] bool: what criteria and stop strings say of continuations."""
    rows, kept = found.scores.shape
    new = found.tokens.flatten(0, 1)
    text = torch.cat([begun[:: job.config.num_beams].repeat_interleave(kept, 0), new], 1)
    stop = job.stopped(text, None, rows * kept)
    if job.stops is not None:
        stop = [a or job.stops.met(row) for a, row in zip(stop, new.tolist(), strict=True)]
    return torch.tensor(stop, device=text.device).view(rows, kept)


def _best(groups: list[Group], config: GenerationConfig) -> Beamed:
    done = groups[0].done
    for group in groups[1:]:
        done = done.joined(group.done)
    if len(groups) > 1:
        done = done.pick(done.scores.argsort(dim=1, descending=True, stable=True))
    wanted = config.num_return_sequences
    parents = done.parents[:, :wanted].flatten(0, 1)
    lengths = (parents >= 0).sum(1)
    longest = int(lengths.max())
    new, scores = done.tokens[:, :wanted].flatten(0, 1)[:, :longest], done.scores[:, :wanted].flatten()
    return Beamed(new.clone(), scores.clone(), parents[:, :longest].clone(), lengths.tolist())
