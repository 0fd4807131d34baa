"""Contrastive search (Su et al. 2022): likely tokens whose state is unlike those of the context."""

from collections.abc import Iterator

import torch
from torch import Tensor

from enfold.generation.loop import Job


def contrastive_search(job: Job) -> Iterator[list[int | None]]:
    """Yield one token a sequence and step; None for a sequence that has ended.

    Of the `top_k` likeliest tokens v, the one with the highest (1 − α)·p(v) − α·max cos(h(v), h(context)) (eq. 5); each
    candidate is fed once, and the memory of the chosen one is kept.
    """
    config, session = job.config, job.session
    k, alpha = config.top_k, config.penalty_alpha
    assert alpha is not None
    device, rows = job.prompt.columns.device, len(job.prompt.counts)
    live, written = [True] * rows, [[] for _ in range(rows)]
    with torch.inference_mode():
        logits, text = job.prefill(1)
        context = [_unit(part) for part in session.states().split(list(job.prompt.counts))]
    for _ in range(job.prompt.limit):
        with torch.inference_mode():
            scores = job.steps(text, logits.float())
            if job.trail is not None:
                job.trail.keep(logits, scores)
            likely, candidates = scores.softmax(-1).topk(min(k, scores.shape[1]))  # [B, k]
            count = candidates.shape[1]
            session.select([row for row in range(rows) for _ in range(count)])
            following = session.feed(candidates.flatten(), (1,) * (rows * count))
            states = _unit(session.states()).view(rows, count, -1)
            alike = torch.stack([(new_ @ old.T).amax(-1) for new_, old in zip(states, context, strict=True)])
            worth = ((1 - alpha) * likely - alpha * alike).masked_fill(likely == 0, float("-inf"))
            best = worth.argmax(-1)  # [B]
            chosen = (best + count * torch.arange(rows, device=device)).tolist()
            session.select(chosen)
            logits = following[chosen]
            context = [
                torch.cat([old, states[row, choice, None]])
                for row, (old, choice) in enumerate(zip(context, best.tolist(), strict=True))
            ]
            drawn = candidates.gather(1, best[:, None]).squeeze(1).tolist()
        answer: list[int | None] = [None] * rows
        for row, token in enumerate(drawn):
            if live[row]:
                answer[row] = token
                written[row].append(token)
                live[row] = not job.ended(written[row])
        shown = [[config.filler if token is None else token] for token in answer]
        text = torch.cat([text, torch.tensor(shown, device=device)], dim=1)
        yield answer
        stop = job.stopped(text, None, rows)
        live = [a and not b for a, b in zip(live, stop, strict=True)]
        if not any(live) or job.late():
            return


def _unit(states: Tensor) -> Tensor:
    """Vectors of length 1."""
    return torch.nn.functional.normalize(states.float(), dim=-1)
