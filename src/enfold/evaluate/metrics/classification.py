"""Labels against labels, and scores against labels. The arithmetic is scikit-learn's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.checks import check_lengths, choose, number, sklearn_metrics

AVERAGES = ("binary", "micro", "macro", "weighted", "samples", None)


def accuracy(
    predictions: Any, references: Any, *, normalize: bool = True, sample_weight: Sequence[float] | None = None
) -> dict[str, float]:
    """The fraction of predictions that equal their reference: `{"accuracy"}`.

    Args:
        predictions, references: labels [N], or indicators of several labels [N, C], where a whole row must agree.
        normalize: False gives the number of them, or the sum of their weights.
        sample_weight: a weight for each row.
    """
    count = check_lengths(predictions=predictions, references=references)
    right = np.asarray(predictions) == np.asarray(references)
    if not isinstance(right, np.ndarray) or len(right) != count:
        raise ArgumentError("predictions and references are of different kinds or shapes; expected labels of one kind")
    if right.ndim > 1:
        right = right.reshape(count, -1).all(axis=1)
    weights = None
    if sample_weight is not None:
        check_lengths(predictions=predictions, sample_weight=sample_weight)
        weights = np.asarray(sample_weight)
    if normalize:
        return {"accuracy": float(np.average(right, weights=weights))}
    return {"accuracy": float(right.sum() if weights is None else right @ weights)}


def f1(
    predictions: Any,
    references: Any,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Sequence[float] | None = None,
    zero_division: Any = "warn",
) -> dict[str, Any]:
    """The harmonic mean of precision and recall: `{"f1"}`, an array [C] with `average=None`.

    Args:
        predictions, references: labels [N], or indicators of several labels [N, C].
        labels: those that are averaged, and their order; by default all that occur, sorted.
        pos_label: the class that counts with `average="binary"`.
        average: "binary", "micro" (counts of all classes together), "macro" (the mean over classes), "weighted" (by how
            often each occurs), "samples" (the mean over rows, for several labels), or None for each class.
        sample_weight: a weight for each row.
        zero_division: the value where nothing was predicted or nothing is there: 0, 1, nan, or "warn" for 0 and a
            warning.
    """
    options = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return _scored("f1", "f1_score", predictions, references, sample_weight, options)


def precision(
    predictions: Any,
    references: Any,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Sequence[float] | None = None,
    zero_division: Any = "warn",
) -> dict[str, Any]:
    """Of what was predicted to be of a class, the fraction that is: `{"precision"}`. Arguments as of `f1`."""
    options = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return _scored("precision", "precision_score", predictions, references, sample_weight, options)


def recall(
    predictions: Any,
    references: Any,
    *,
    labels: Sequence[Any] | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Sequence[float] | None = None,
    zero_division: Any = "warn",
) -> dict[str, Any]:
    """Of what is of a class, the fraction that was predicted to be: `{"recall"}`. Arguments as of `f1`."""
    options = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return _scored("recall", "recall_score", predictions, references, sample_weight, options)


def _scored(
    name: str,
    function: str,
    predictions: Any,
    references: Any,
    sample_weight: Sequence[float] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    check_lengths(predictions=predictions, references=references)
    choose("average", options["average"], AVERAGES)
    if options["average"] != "binary":
        options = {key: value for key, value in options.items() if key != "pos_label"}
    score = getattr(sklearn_metrics(name), function)(references, predictions, sample_weight=sample_weight, **options)
    return {name: number(np.asarray(score))}


def matthews_correlation(
    predictions: Any, references: Any, *, sample_weight: Sequence[float] | None = None, average: str | None = None
) -> dict[str, Any]:
    """The correlation of predicted and true classes, from -1 to 1: `{"matthews_correlation"}`.

    Args:
        predictions, references: labels [N], or indicators of several labels [N, C], which give one value a column.
        sample_weight: a weight for each row.
        average: of several columns: "macro" for their mean, None for each.
    """
    check_lengths(predictions=predictions, references=references)
    choose("average", average, ("macro", None))
    correlate = sklearn_metrics("matthews_correlation").matthews_corrcoef
    ours, truth = np.asarray(predictions), np.asarray(references)
    if truth.ndim == 1:
        if average is not None:
            raise ArgumentError("average is for indicators of several labels [N, C]; these are labels [N]")
        return {"matthews_correlation": float(correlate(truth, ours, sample_weight=sample_weight))}
    if truth.shape != ours.shape:
        raise ArgumentError(f"predictions have the shape {ours.shape}, references {truth.shape}: they must agree")
    columns = [float(correlate(truth[:, i], ours[:, i], sample_weight=sample_weight)) for i in range(truth.shape[1])]
    return {"matthews_correlation": float(np.mean(columns)) if average else columns}


def confusion_matrix(
    predictions: Any,
    references: Any,
    *,
    labels: Sequence[Any] | None = None,
    sample_weight: Sequence[float] | None = None,
    normalize: str | None = None,
) -> dict[str, np.ndarray]:
    """How often each class (row) was taken for each other (column): `{"confusion_matrix"}`, an array [C, C].

    Args:
        labels: the classes and their order; by default all that occur, sorted.
        sample_weight: a weight for each row.
        normalize: "true" divides by the sum of a row, "pred" of a column, "all" of everything.
    """
    check_lengths(predictions=predictions, references=references)
    choose("normalize", normalize, ("true", "pred", "all", None))
    count = sklearn_metrics("confusion_matrix").confusion_matrix
    matrix = count(references, predictions, labels=labels, sample_weight=sample_weight, normalize=normalize)
    return {"confusion_matrix": matrix}


def roc_auc(
    prediction_scores: Any,
    references: Any,
    *,
    average: str | None = "macro",
    sample_weight: Sequence[float] | None = None,
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """The probability that something of the class is scored above something that isn't: `{"roc_auc"}`.

    Args:
        prediction_scores: of the positive class [N], of each class [N, C] (their sum is 1), or of each label [N, C].
        references: labels [N], or indicators of several labels [N, C].
        average: over classes or labels, as of `f1`; None for each.
        sample_weight: a weight for each row.
        max_fpr: only the part of the curve up to this rate of false alarms, rescaled (McClish).
        multi_class: how more than two classes are compared: "ovr" (each with the rest) or "ovo" (in pairs).
        labels: the classes in the order of the columns.
    """
    check_lengths(prediction_scores=prediction_scores, references=references)
    choose("multi_class", multi_class, ("raise", "ovr", "ovo"))
    area = sklearn_metrics("roc_auc").roc_auc_score(
        references,
        prediction_scores,
        average=average,
        sample_weight=sample_weight,
        max_fpr=max_fpr,
        multi_class=multi_class,
        labels=labels,
    )
    return {"roc_auc": number(np.asarray(area))}


def pr_auc(
    prediction_scores: Any,
    references: Any,
    *,
    average: str | None = "macro",
    pos_label: Any = 1,
    sample_weight: Sequence[float] | None = None,
) -> dict[str, Any]:
    """The mean precision over all recalls (average precision): `{"pr_auc"}`. Arguments as of `roc_auc`."""
    check_lengths(prediction_scores=prediction_scores, references=references)
    area = sklearn_metrics("pr_auc").average_precision_score(
        references, prediction_scores, average=average, pos_label=pos_label, sample_weight=sample_weight
    )
    return {"pr_auc": number(np.asarray(area))}


def brier_score(
    predictions: Any, references: Any, *, sample_weight: Sequence[float] | None = None, pos_label: Any = 1
) -> dict[str, float]:
    """The mean squared distance of a probability [N] from what happened (0 or 1): `{"brier_score"}`.

    Args:
        pos_label: the label that the probability is of.
    """
    check_lengths(predictions=predictions, references=references)
    loss = sklearn_metrics("brier_score").brier_score_loss
    return {"brier_score": float(loss(references, predictions, sample_weight=sample_weight, pos_label=pos_label))}


def calibration(predictions: Any, references: Any, *, n_bins: int = 10) -> dict[str, Any]:
    """How far confidence is from accuracy (Guo et al. 2017, equation 3), and the bins behind a reliability diagram.

    Args:
        predictions: probabilities: of the positive class [N], or of each class [N, C].
        references: class numbers [N].
        n_bins: bins of equal width between 0 and 1.

    Returns:
        `{"expected_calibration_error", "confidence", "accuracy", "count"}`; the last three are arrays [n_bins], nan
        where a bin is empty.
    """
    check_lengths(predictions=predictions, references=references)
    if n_bins < 1:
        raise ArgumentError(f"n_bins is {n_bins}; expected 1 or more")
    given, truth = np.asarray(predictions, float), np.asarray(references)
    if given.size and (given.min() < 0 or given.max() > 1):
        raise ArgumentError("predictions must be probabilities between 0 and 1: apply a softmax to logits first")
    sure, right = (given, truth == 1) if given.ndim == 1 else (given.max(axis=1), given.argmax(axis=1) == truth)
    # A bin holds its upper end: 1.0 belongs to the last one.
    bins = np.clip(np.ceil(sure * n_bins).astype(int) - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bins, weights=sure, minlength=n_bins) / count
        correct = np.bincount(bins, weights=right, minlength=n_bins) / count
    gap = np.nansum(np.abs(confidence - correct) * count) / len(sure)
    return {
        "expected_calibration_error": float(gap),
        "confidence": confidence,
        "accuracy": correct,
        "count": count,
    }
