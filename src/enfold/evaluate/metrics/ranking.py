"""Rankings: how early in each list of candidates the relevant ones stand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.checks import check_lengths

Lists = Sequence[Sequence[float]]


def ndcg(predictions: Lists, references: Lists, *, k: int | None = None, ignore_ties: bool = False) -> dict[str, float]:
    """The discounted gain of a ranking beside that of the best one (Järvelin and Kekäläinen 2002): `{"ndcg"}`.

    Args:
        predictions: a score for each candidate, for each query; queries may differ in length.
        references: how relevant each candidate is, 0 or more, as many.
        k: only the first so many count.
        ignore_ties: candidates of one score keep their order; otherwise the mean over their orders is taken.

    Queries without a relevant candidate count 0.
    """

    def one(scores: np.ndarray, gains: np.ndarray) -> float:
        discount = 1 / np.log2(np.arange(len(gains)) + 2)
        if k is not None:
            discount[k:] = 0
        best = float(np.sort(gains)[::-1] @ discount)
        order = np.argsort(-scores, kind="stable")
        ranked = gains[order]
        if not ignore_ties:
            _, group = np.unique(-scores[order], return_inverse=True)
            ranked = (np.bincount(group, weights=ranked) / np.bincount(group))[group]
        return float(ranked @ discount) / best if best > 0 else 0.0

    return {"ndcg": _mean(one, predictions, references, k)}


def mrr(predictions: Lists, references: Lists, *, k: int | None = None) -> dict[str, float]:
    """The mean of 1 / the place of the first relevant candidate, 0 where there is none: `{"mrr"}`.

    Arguments as of `ndcg`.
    """

    def one(scores: np.ndarray, gains: np.ndarray) -> float:
        hits = _hits(scores, gains, k)
        return 1 / (int(hits.argmax()) + 1) if hits.any() else 0.0

    return {"mrr": _mean(one, predictions, references, k)}


def mean_average_rank_precision(predictions: Lists, references: Lists, *, k: int | None = None) -> dict[str, float]:
    """The precision at each relevant candidate's place, averaged over those, then over queries: `{"map"}`.

    Arguments as of `ndcg`; with `k`, the mean is over at most `k` relevant candidates.
    """

    def one(scores: np.ndarray, gains: np.ndarray) -> float:
        hits = _hits(scores, gains, k)
        relevant = min(int((gains > 0).sum()), len(hits))
        at_each = np.cumsum(hits) / (np.arange(len(hits)) + 1)
        return float(at_each[hits].sum()) / relevant if relevant else 0.0

    return {"map": _mean(one, predictions, references, k)}


def recall_at_k(predictions: Lists, references: Lists, *, k: int) -> dict[str, float]:
    """The fraction of relevant candidates among the first `k`: `{"recall_at_k"}`. Arguments as of `ndcg`."""

    def one(scores: np.ndarray, gains: np.ndarray) -> float:
        relevant = int((gains > 0).sum())
        return int(_hits(scores, gains, k).sum()) / relevant if relevant else 0.0

    return {"recall_at_k": _mean(one, predictions, references, k)}


def precision_at_k(predictions: Lists, references: Lists, *, k: int) -> dict[str, float]:
    """The fraction of the first `k` that are relevant: `{"precision_at_k"}`. Arguments as of `ndcg`."""
    return {
        "precision_at_k": _mean(
            lambda scores, gains: int(_hits(scores, gains, k).sum()) / k, predictions, references, k
        )
    }


def _hits(scores: np.ndarray, gains: np.ndarray, k: int | None) -> np.ndarray:
    """Which places of the ranking hold a relevant candidate, [min(k, N)]."""
    return gains[np.argsort(-scores, kind="stable")][:k] > 0


def _mean(
    one: Callable[[np.ndarray, np.ndarray], float], predictions: Lists, references: Lists, k: int | None
) -> float:
    check_lengths(predictions=predictions, references=references)
    if k is not None and k < 1:
        raise ArgumentError(f"k is {k}; expected 1 or more")
    total = 0.0
    for row, (scores, gains) in enumerate(zip(predictions, references, strict=True)):
        left, right = _numbers(scores, row, "predictions"), _numbers(gains, row, "references")
        if len(left) != len(right) or not len(left):
            raise ArgumentError(
                f"query {row} has {len(left)} scores and {len(right)} references: one for each candidate"
            )
        if right.min() < 0:
            raise ArgumentError(f"query {row} has a negative relevance; expected 0 or more")
        total += one(left, right)
    return total / len(predictions)


def _numbers(values: Any, row: int, name: str) -> np.ndarray:
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        found = np.zeros((0, 0))
    if found.ndim != 1 or np.isnan(found).any():
        raise ArgumentError(f"query {row} of {name} is {values!r:.60}; expected a list of numbers")
    return found
