"""Plots of results, as Matplotlib figures: `figure.savefig("scores.png")`. No window is opened."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA

_RINGS = 4


def _figure(purpose: str, **options: Any) -> Any:
    return require("matplotlib.figure", extra=EXTRA, purpose=purpose).Figure(layout="constrained", **options)


def radar_plot(
    data: Sequence[Mapping[str, float]],
    model_names: Sequence[str],
    invert_range: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    fig: Any = None,
) -> Any:
    """Several models' scores on one axis each, around a circle.

    Args:
        data: each model's results, with the same keys.
        model_names: what the models are called.
        invert_range: keys of which less is better, such as a latency: their axes run inwards.
        config: `rad_ln_args`, `outer_ring`, … of the reference library aren't known; `marker`, `markersize`, `fill`
            (opacity) and `legend_loc` are.
        fig: a figure to draw into.

    Raises:
        ArgumentError: as many names as results are needed, and results of the same keys.
    """
    if not data or len(data) != len(model_names):
        raise ArgumentError(
            f"got {len(data)} results and {len(model_names)} model_names; expected as many, and one or more"
        )
    keys = list(data[0])
    if any(list(row) != keys for row in data[1:]):
        raise ArgumentError(f"the results have different keys; expected {', '.join(keys)} in each")
    if strange := sorted(set(invert_range) - set(keys)):
        raise ArgumentError(f"invert_range has {', '.join(strange)}; the results have {', '.join(keys)}")
    style = {"marker": "o", "markersize": 4, "fill": 0.1, "legend_loc": "upper right"} | dict(config or {})
    if strange := sorted(style.keys() - {"marker", "markersize", "fill", "legend_loc"}):
        raise ArgumentError(f"config has {', '.join(strange)}; known are marker, markersize, fill and legend_loc")
    fig = _figure("radar_plot", figsize=(7, 6)) if fig is None else fig
    axes = fig.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(keys), endpoint=False)
    values = np.array([[float(row[key]) for key in keys] for row in data])
    low, high = values.min(axis=0), values.max(axis=0)
    margin = np.where(high > low, (high - low) * 0.25, np.maximum(np.abs(high) * 0.25, 0.25))
    low, high = low - margin, high + margin
    inward = np.array([key in invert_range for key in keys])
    inner, outer = np.where(inward, high, low), np.where(inward, low, high)
    for name, row in zip(model_names, values, strict=True):
        radius = (row - inner) / (outer - inner)
        around = np.append(angles, angles[:1])
        axes.plot(
            around, np.append(radius, radius[:1]), label=name, marker=style["marker"], markersize=style["markersize"]
        )
        axes.fill(around, np.append(radius, radius[:1]), alpha=style["fill"])
    axes.set_xticks(angles, [textwrap.fill(key.replace("_", " "), 16) for key in keys])
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    for ring in np.linspace(1 / _RINGS, 1, _RINGS):
        for angle, start, end in zip(angles, inner, outer, strict=True):
            axes.text(angle, ring, f"{start + ring * (end - start):.3g}", fontsize=7, color="gray", ha="center")
    axes.legend(loc=style["legend_loc"], bbox_to_anchor=(1.3, 1.1))
    return fig


def confusion_plot(matrix: Any, labels: Sequence[Any] | None = None) -> Any:
    """A confusion matrix [C, C]: the true class downwards, the predicted one to the right."""
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ArgumentError(f"the matrix has the shape {counts.shape}; expected a square one")
    named = [str(label) for label in (range(len(counts)) if labels is None else labels)]
    if len(named) != len(counts):
        raise ArgumentError(f"got {len(named)} labels for {len(counts)} classes")
    size = min(4 + 0.4 * len(counts), 20)
    fig = _figure("confusion_plot", figsize=(size + 1, size))
    axes = fig.add_subplot()
    shown = axes.imshow(counts, cmap="Blues")
    fig.colorbar(shown, shrink=0.8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(counts)), named, rotation=45 if max(map(len, named)) > 3 else 0, ha="right")
    axes.set_yticks(range(len(counts)), named)
    if len(counts) <= 20:
        middle = (counts.max() + counts.min()) / 2
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > middle else "black"
            axes.text(column, row, f"{count:.3g}", ha="center", va="center", color=color)
    return fig


def reliability_plot(confidence: Sequence[float], right: Sequence[bool], n_bins: int = 10) -> Any:
    """How often a model is right, by how sure it was; on the diagonal it is as right as it is sure.

    Args:
        confidence: how sure the model was of each answer, between 0 and 1.
        right: whether the answer was right.
    """
    from enfold.evaluate.metrics.classification import calibration

    found = calibration(list(confidence), [int(one) for one in right], n_bins=n_bins)
    fig = _figure("reliability_plot", figsize=(5, 5))
    axes = fig.add_subplot()
    edges = np.linspace(0, 1, n_bins + 1)
    there = found["count"] > 0
    axes.bar(edges[:-1][there], found["accuracy"][there], width=1 / n_bins, align="edge", edgecolor="white")
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"expected calibration error {found['expected_calibration_error']:.3f}")
    return fig


def bar_plot(results: Mapping[str, Any]) -> Any:
    """Scores as bars, with their confidence intervals where they have some.

    Args:
        results: name → number, or → `{"score", "confidence_interval", …}`; anything else is left out.

    Raises:
        ArgumentError: no numbers at all.
    """
    bars = []
    for name, value in results.items():
        if isinstance(value, Mapping) and "score" in value:
            score = float(value["score"])
            low, high = value.get("confidence_interval", (score, score))
            bars.append((name, score, max(score - low, 0), max(high - score, 0)))
        elif isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            bars.append((name, float(value), 0.0, 0.0))
    if not bars:
        raise ArgumentError(f"there are no numbers among {', '.join(results) or 'no results'} to draw")
    names, scores, below, above = zip(*bars, strict=True)
    fig = _figure("bar_plot", figsize=(6, 1 + 0.4 * len(bars)))
    axes = fig.add_subplot()
    spread = [below, above] if any(below) or any(above) else None
    shown = axes.barh(names, scores, xerr=spread, capsize=3)
    axes.bar_label(shown, fmt="%.4g", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    return fig
