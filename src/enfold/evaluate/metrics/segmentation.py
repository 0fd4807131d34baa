"""Maps of classes: how far predicted regions cover the true ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.checks import check_lengths


def mean_iou(
    predictions: Any,
    references: Any,
    *,
    num_labels: int,
    ignore_index: int,
    nan_to_num: float | None = None,
    label_map: Mapping[int, int] | None = None,
    reduce_labels: bool = False,
) -> dict[str, Any]:
    """The intersection of predicted and true regions over their union, for each class over all maps.

    Args:
        predictions, references: maps of class numbers [H, W], of any sizes.
        num_labels: how many classes there are.
        ignore_index: pixels of the references with this value don't count.
        nan_to_num: a number instead of nan, for classes that occur nowhere.
        label_map: other numbers for classes of the references, all replaced at once.
        reduce_labels: class 0 of the references is background that doesn't count (255), and the others move down by
            one.

    Returns:
        `{"mean_iou", "mean_accuracy", "overall_accuracy"}`, and arrays [num_labels] `"per_category_iou"` and
        `"per_category_accuracy"`.
    """
    check_lengths(predictions=predictions, references=references)
    if num_labels < 1:
        raise ArgumentError(f"num_labels is {num_labels}; expected the number of classes")
    both, ours_total, truth_total = np.zeros((3, num_labels))
    for row, (ours, truth) in enumerate(zip(predictions, references, strict=True)):
        ours, truth = np.array(ours), np.array(truth)
        if ours.shape != truth.shape:
            raise ArgumentError(f"row {row}: the prediction has the shape {ours.shape}, the reference {truth.shape}")
        truth = _renamed(truth.astype(np.int64), label_map, reduce_labels)
        seen = truth != ignore_index
        ours, truth = ours[seen], truth[seen]
        both += _counts(truth[ours == truth], num_labels)
        ours_total += _counts(ours, num_labels)
        truth_total += _counts(truth, num_labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, accuracy = both / (ours_total + truth_total - both), both / truth_total
        overall = both.sum() / truth_total.sum()
    result: dict[str, Any] = {
        "mean_iou": _mean(iou),
        "mean_accuracy": _mean(accuracy),
        "overall_accuracy": float(overall),
        "per_category_iou": iou,
        "per_category_accuracy": accuracy,
    }
    if nan_to_num is None:
        return result
    filled = {name: np.nan_to_num(value, nan=nan_to_num) for name, value in result.items()}
    return {name: value if value.ndim else float(value) for name, value in filled.items()}


def _renamed(truth: np.ndarray, label_map: Mapping[int, int] | None, reduce_labels: bool) -> np.ndarray:
    if label_map:
        before = truth.copy()
        for old, new in label_map.items():
            truth[before == old] = new
    if reduce_labels:
        truth = np.where((truth == 0) | (truth == 255), 255, truth - 1)
    return truth


def _counts(labels: np.ndarray, num_labels: int) -> np.ndarray:
    inside = labels[(labels >= 0) & (labels < num_labels)]
    return np.bincount(inside.astype(np.int64), minlength=num_labels)


def _mean(values: np.ndarray) -> float:
    """The mean of what is a number; nan where nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
