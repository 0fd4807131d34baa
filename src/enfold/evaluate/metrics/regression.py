"""Numbers against numbers. The arithmetic is scikit-learn's and SciPy's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, number, sklearn_metrics

Weights = Sequence[float] | None
MultiOutput = str | Sequence[float]


def mse(
    predictions: Any,
    references: Any,
    *,
    sample_weight: Weights = None,
    multioutput: MultiOutput = "uniform_average",
    squared: bool = True,
) -> dict[str, Any]:
    """The mean squared error: `{"mse"}`.

    Args:
        predictions, references: numbers [N], or several outputs [N, D].
        sample_weight: a weight for each row.
        multioutput: of several outputs: their mean ("uniform_average"), each ("raw_values"), or their weights.
        squared: False takes the root.
    """
    function = "mean_squared_error" if squared else "root_mean_squared_error"
    return _error("mse", function, predictions, references, sample_weight, multioutput)


def mae(
    predictions: Any, references: Any, *, sample_weight: Weights = None, multioutput: MultiOutput = "uniform_average"
) -> dict[str, Any]:
    """The mean absolute error: `{"mae"}`. Arguments as of `mse`."""
    return _error("mae", "mean_absolute_error", predictions, references, sample_weight, multioutput)


def mape(
    predictions: Any, references: Any, *, sample_weight: Weights = None, multioutput: MultiOutput = "uniform_average"
) -> dict[str, Any]:
    """The mean absolute error, each divided by its reference: `{"mape"}`, 1 for 100 %. Arguments as of `mse`."""
    return _error("mape", "mean_absolute_percentage_error", predictions, references, sample_weight, multioutput)


def _error(
    name: str, function: str, predictions: Any, references: Any, sample_weight: Weights, multioutput: MultiOutput
) -> dict[str, Any]:
    check_lengths(predictions=predictions, references=references)
    measure = getattr(sklearn_metrics(name), function)
    return {
        name: number(np.asarray(measure(references, predictions, sample_weight=sample_weight, multioutput=multioutput)))
    }


def smape(
    predictions: Any, references: Any, *, sample_weight: Weights = None, multioutput: MultiOutput = "uniform_average"
) -> dict[str, Any]:
    """The absolute error, divided by the mean of both absolute values, from 0 to 2: `{"smape"}`.

    Arguments as of `mse`.
    """
    check_lengths(predictions=predictions, references=references)
    ours, truth = np.asarray(predictions, float), np.asarray(references, float)
    if ours.shape != truth.shape:
        raise ArgumentError(f"predictions have the shape {ours.shape}, references {truth.shape}: they must agree")
    least = np.finfo(np.float64).eps
    relative = 2 * np.abs(ours - truth) / (np.maximum(np.abs(truth), least) + np.maximum(np.abs(ours), least))
    errors = np.average(relative, weights=sample_weight, axis=0)
    if isinstance(multioutput, str):
        if multioutput not in ("uniform_average", "raw_values"):
            raise ArgumentError(f"multioutput is {multioutput!r}; expected 'uniform_average', 'raw_values' or weights")
        return {"smape": number(errors) if multioutput == "raw_values" else float(np.average(errors))}
    return {"smape": float(np.average(errors, weights=multioutput))}


def mase(
    predictions: Any,
    references: Any,
    training: Any,
    *,
    periodicity: int = 1,
    sample_weight: Weights = None,
    multioutput: MultiOutput = "uniform_average",
) -> dict[str, Any]:
    """The mean absolute error beside that of repeating the last period (Hyndman and Koehler 2006): `{"mase"}`.

    Args:
        training: what was known before, [M] or [M, D].
        periodicity: after how many steps a season repeats.
    """
    check_lengths(predictions=predictions, references=references)
    before = np.asarray(training)
    if not 1 <= periodicity < len(before):
        raise ArgumentError(
            f"periodicity is {periodicity}; expected 1 or more and less than {len(before)}, the training rows"
        )
    measure = sklearn_metrics("mase").mean_absolute_error
    naive = measure(before[periodicity:], before[:-periodicity], multioutput=multioutput)
    error = measure(references, predictions, sample_weight=sample_weight, multioutput=multioutput)
    return {"mase": number(np.asarray(error / np.maximum(naive, np.finfo(np.float64).eps)))}


def r_squared(
    predictions: Any, references: Any, *, sample_weight: Weights = None, multioutput: MultiOutput = "uniform_average"
) -> dict[str, Any]:
    """The fraction of the references' variance that is explained, at most 1: `{"r_squared"}`. Arguments as of `mse`."""
    check_lengths(predictions=predictions, references=references)
    explained = sklearn_metrics("r_squared").r2_score
    score = explained(references, predictions, sample_weight=sample_weight, multioutput=multioutput)
    return {"r_squared": number(np.asarray(score))}


def pearsonr(predictions: Any, references: Any, *, return_pvalue: bool = False) -> dict[str, float]:
    """How far two variables lie on a line, from -1 to 1: `{"pearsonr"}`, and `"p-value"` if asked for."""
    found = _correlation("pearsonr", predictions, references)
    return {"pearsonr": float(found[0])} | ({"p-value": float(found[1])} if return_pvalue else {})


def spearmanr(predictions: Any, references: Any, *, return_pvalue: bool = False) -> dict[str, float]:
    """How far two variables rise together, from -1 to 1: `{"spearmanr"}`, and `"spearmanr_pvalue"` if asked for."""
    found = _correlation("spearmanr", predictions, references)
    return {"spearmanr": float(found[0])} | ({"spearmanr_pvalue": float(found[1])} if return_pvalue else {})


def _correlation(name: str, predictions: Any, references: Any) -> Any:
    if check_lengths(predictions=predictions, references=references) < 2:
        raise ArgumentError(f"{name} needs two rows or more")
    return getattr(require("scipy.stats", extra=EXTRA, purpose=name), name)(references, predictions)
