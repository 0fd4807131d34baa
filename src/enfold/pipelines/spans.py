"""From start and end scores of tokens to answers of text."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Span(NamedTuple):
    """Tokens `start` to `end`, both included, and their probability."""

    score: float
    start: int
    end: int


def best_spans(
    logits: np.ndarray, allowed: np.ndarray, *, nothing: int | None, count: int, longest: int
) -> tuple[list[Span], float]:
    """The most probable spans, best first, and the probability that there is none (0 where nothing stands for it).

    Start and end are taken to be independent: P(span) = P(start) · P(end).

    Args:
        logits: start and end scores [2, T].
        allowed: [T] bool, the tokens that an answer may have.
        nothing: the token that is pointed to when there is no answer; it takes its share of the probability.
        longest: tokens of a span, at most.
    """
    possible = allowed.copy()
    if nothing is not None:
        possible[nothing] = True
    if not possible.any():
        return [], 0.0
    raised = np.exp(logits - logits[:, possible].max(axis=1, keepdims=True), where=possible, out=np.zeros_like(logits))
    start, end = raised / raised.sum(axis=1, keepdims=True)
    none = 0.0 if nothing is None else float(start[nothing] * end[nothing])
    start, end = start * allowed, end * allowed
    if nothing is not None:
        start[nothing] = end[nothing] = 0.0
    size = len(start)
    # [length − 1, T]: the spans of one length in a row, by their start.
    products = np.zeros((min(longest, size), size), dtype=start.dtype)
    for extra in range(len(products)):
        products[extra, : size - extra] = start[: size - extra] * end[extra:]
    flat = products.ravel()
    chosen = np.argpartition(-flat, count)[:count] if count < len(flat) else np.arange(len(flat))
    found = []
    for place in chosen[flat[chosen] > 0]:
        extra, first = divmod(int(place), size)
        found.append(Span(float(flat[place]), first, first + extra))
    return sorted(found, key=lambda span: (-span.score, span.start, span.end)), none


def merge_answers(context: str, found: Iterable[tuple[float, int, int]]) -> list[dict[str, Any]]:
    """(score, start, end) of characters → answers; those of the same words are one, whose score is their sum."""
    answers: dict[str, dict[str, Any]] = {}
    for score, start, end in found:
        text = context[start:end]
        if (known := answers.get(text.lower())) is not None:
            known["score"] += score
        else:
            answers[text.lower()] = {"score": score, "start": start, "end": end, "answer": text}
    return list(answers.values())
