"""Two models on the same data: is the difference more than chance?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, choose

Metric = Callable[..., Mapping[str, Any]]


def mcnemar(predictions1: Any, predictions2: Any, references: Any) -> dict[str, float]:
    """McNemar's test (1947) of two classifiers by the rows that only one of them gets right: `{"stat", "p"}`.

    Where there are none, `stat` is 0 and `p` is 1.
    """
    check_lengths(predictions1=predictions1, predictions2=predictions2, references=references)
    truth = np.asarray(references)
    first, second = np.asarray(predictions1) == truth, np.asarray(predictions2) == truth
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    statistic = (only_first - only_second) ** 2 / apart if apart else 0.0
    chi2 = require("scipy.stats", extra=EXTRA, purpose="mcnemar").chi2
    return {"stat": float(statistic), "p": float(chi2.sf(statistic, 1))}


def same_predictions(predictions1: Any, predictions2: Any, references: Any = None) -> dict[str, float]:
    """The fraction of rows on which two models agree: `{"exact_match"}`. References don't matter."""
    columns = {"predictions1": predictions1, "predictions2": predictions2}
    check_lengths(**columns, **({} if references is None else {"references": references}))
    return {"exact_match": float((np.asarray(predictions1) == np.asarray(predictions2)).mean())}


def wilcoxon(predictions1: Sequence[float], predictions2: Sequence[float]) -> dict[str, float]:
    """Wilcoxon's signed-rank test (1945) of the differences between two columns of numbers: `{"stat", "p"}`."""
    check_lengths(predictions1=predictions1, predictions2=predictions2)
    test = require("scipy.stats", extra=EXTRA, purpose="wilcoxon").wilcoxon
    found = test(np.asarray(predictions1, float) - np.asarray(predictions2, float))
    return {"stat": float(found.statistic), "p": float(found.pvalue)}


def confidence_interval(
    metric: Metric,
    *,
    key: str | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    method: str = "BCa",
    random_state: int | None = None,
    **columns: Any,
) -> dict[str, dict[str, Any]]:
    """Confidence intervals of every number that a metric gives, by resampling rows (Efron 1987).

    Args:
        metric: a function of columns that gives a dictionary, such as `metrics.f1`.
        key: only this one of its numbers.
        confidence_level: how often the interval shall hold the true value.
        n_resamples: how many times rows are drawn.
        method: "BCa", "percentile" or "basic".
        random_state: a seed, for the same interval each time.
        columns: what the metric is computed of, by the names of its arguments; rows belong together.

    Returns:
        for each number `{"score", "confidence_interval": (low, high), "standard_error"}`. Where every sample gives the
        same number, that is both ends.
    """
    count = check_lengths(**columns)
    choose("method", method, ("BCa", "percentile", "basic"))
    if not 0 < confidence_level < 1:
        raise ArgumentError(f"confidence_level is {confidence_level}; expected a number between 0 and 1, such as 0.95")
    if n_resamples < 1:
        raise ArgumentError(f"n_resamples is {n_resamples}; expected 1 or more")
    if count < 2:
        raise ArgumentError("a confidence interval needs two rows or more")
    scores = {name: value for name, value in metric(**columns).items() if is_number(value)}
    if key is not None and key not in scores:
        raise ArgumentError(f"the metric gives no number {key!r}; it gives {', '.join(scores) or 'none'}")
    names = list(scores) if key is None else [key]

    def resampled(rows: np.ndarray) -> list[float]:
        found = metric(**{name: _rows(column, rows) for name, column in columns.items()})
        return [float(found.get(name, np.nan)) for name in names]

    stats = require("scipy.stats", extra=EXTRA, purpose="confidence intervals")
    draw = np.random.RandomState(random_state)  # SciPy's `bootstrap` draws the same rows
    samples = np.array([resampled(draw.randint(0, count, count)) for _ in range(n_resamples)])
    left_out: np.ndarray | None = None
    if method == "BCa":
        left_out = np.array([resampled(np.delete(np.arange(count), row)) for row in range(count)])
    result = {}
    for place, name in enumerate(names):
        values, score = samples[:, place], float(scores[name])
        ends = _ends(values, score, None if left_out is None else left_out[:, place], confidence_level, method, stats)
        error = float(np.std(values, ddof=1)) if n_resamples > 1 else float("nan")
        result[name] = {"score": score, "confidence_interval": ends, "standard_error": error}
    return result


def _ends(
    samples: np.ndarray, score: float, left_out: np.ndarray | None, level: float, method: str, stats: Any
) -> tuple[float, float]:
    """The interval's ends: equations 14.9–14.15 of Efron and Tibshirani (1993) for BCa."""
    samples = samples[~np.isnan(samples)]
    if not samples.size:
        return float("nan"), float("nan")
    if np.ptp(samples) == 0:
        return float(samples[0]), float(samples[0])
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if left_out is not None:
        below = (np.sum(samples < score) + np.sum(samples <= score)) / (2 * len(samples))
        bias = stats.norm.ppf(below)
        pull = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
        spread = np.sum(pull**2) ** 1.5
        skew = np.sum(pull**3) / (6 * spread) if spread else 0.0
        at = bias + stats.norm.ppf(tails)
        tails = stats.norm.cdf(bias + at / (1 - skew * at))
        if np.isnan(tails).any():
            return float("nan"), float("nan")
    low, high = np.quantile(samples, tails)
    return (2 * score - float(high), 2 * score - float(low)) if method == "basic" else (float(low), float(high))


def paired_bootstrap(
    metric: Metric,
    predictions1: Any,
    predictions2: Any,
    references: Any,
    *,
    key: str | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    random_state: int | None = None,
) -> dict[str, Any]:
    """How often the better of two models stays ahead when rows are drawn anew (Koehn 2004).

    Args:
        metric: a function of `predictions` and `references` that gives a dictionary.
        key: which of its numbers; by default its first.
        n_resamples, confidence_level, random_state: as of `confidence_interval`.

    Returns:
        `{"score1", "score2", "difference", "confidence_interval", "p"}`: the first model's score less the second's, its
        interval, and the probability of so large a difference if there were none (two-sided).
    """
    count = check_lengths(predictions1=predictions1, predictions2=predictions2, references=references)

    def both(rows: np.ndarray | None) -> tuple[float, float]:
        truth = references if rows is None else _rows(references, rows)
        found = []
        for predictions in (predictions1, predictions2):
            ours = predictions if rows is None else _rows(predictions, rows)
            scores = metric(predictions=ours, references=truth)
            found.append(scores[key] if key is not None else next(iter(scores.values())))
        if not all(is_number(score) for score in found):
            raise ArgumentError(f"the metric's {key or 'first value'} is no number: name one with key=…")
        return float(found[0]), float(found[1])

    first, second = both(None)
    draw = np.random.RandomState(random_state)
    pairs = [both(draw.randint(0, count, count)) for _ in range(n_resamples)]
    gaps = np.array([one - other for one, other in pairs])
    difference = first - second
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    low, high = np.quantile(gaps, tails).tolist()
    # Shifted to no difference, how many samples lie as far out as what was seen?
    extreme = int(np.sum(np.abs(gaps - difference) >= abs(difference)))
    return {
        "score1": first,
        "score2": second,
        "difference": difference,
        "confidence_interval": (low, high),
        "p": (extreme + 1) / (n_resamples + 1),
    }


def is_number(value: Any) -> bool:
    """Whether a result is one number."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _rows(column: Any, rows: np.ndarray) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
