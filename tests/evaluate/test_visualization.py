"""Plots: what is drawn is what was measured."""

import numpy as np
import pytest

from enfold.base.errors import ArgumentError
from enfold.evaluate import visualization


def test_radar(tmp_path):
    rows = [{"accuracy": 0.9, "latency": 2.0, "f1": 0.5}, {"accuracy": 0.8, "latency": 1.0, "f1": 0.5}]
    figure = visualization.radar_plot(rows, ["slow", "fast"], invert_range=["latency"])
    figure.savefig(tmp_path / "radar.png")
    assert (tmp_path / "radar.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    slow, fast = (line.get_ydata() for line in axes.lines)
    assert slow[0] > fast[0]  # the more accurate one lies further out
    assert slow[1] < fast[1]  # and so does the quicker one
    assert slow[2] == fast[2] == pytest.approx(0.5)
    for given, message in (
        ((rows, ["one"]), "2 results and 1 model_names"),
        (([{"a": 1}, {"b": 1}], ["x", "y"]), "different keys"),
        ((rows, ["x", "y"], ["speed"]), "invert_range has speed"),
    ):
        with pytest.raises(ArgumentError, match=message):
            visualization.radar_plot(*given)


def test_confusion():
    figure = visualization.confusion_plot(np.array([[5, 1], [2, 7]]), ["cat", "dog"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["5", "1", "2", "7"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
    with pytest.raises(ArgumentError, match="shape"):
        visualization.confusion_plot([[1, 2]])


def test_reliability():
    figure = visualization.reliability_plot([0.95, 0.95, 0.55], [True, False, True])
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [0.5, 1.0]
    assert "0.450" in figure.axes[0].get_title()


def test_bars():
    results = {
        "f1": {"score": 0.5, "confidence_interval": (0.25, 0.75), "standard_error": 0.1},
        "accuracy": 0.75,
        "matrix": np.eye(2),
    }
    axes = visualization.bar_plot(results).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.75]
    with pytest.raises(ArgumentError, match="no numbers"):
        visualization.bar_plot({"matrix": np.eye(2)})
