"""Labels and numbers: the same as scikit-learn and SciPy on drawn inputs, and what is refused."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from enfold.base.errors import ArgumentError
from enfold.evaluate import metrics

FEW = settings(max_examples=40, deadline=None)


@st.composite
def labelled(draw, classes=3, texts=False):
    count = draw(st.integers(1, 12))
    column = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    weights = draw(st.none() | st.lists(st.floats(0.25, 4), min_size=count, max_size=count))
    ours, truth = draw(column), draw(column)
    if texts and draw(st.booleans()):
        ours, truth = [f"c{label}" for label in ours], [f"c{label}" for label in truth]
    return ours, truth, weights


@FEW
@given(labelled(texts=True), st.booleans())
def test_accuracy(data, normalize):
    ours, truth, weights = data
    found = metrics.accuracy(ours, truth, normalize=normalize, sample_weight=weights)
    assert found == {
        "accuracy": pytest.approx(sk.accuracy_score(truth, ours, normalize=normalize, sample_weight=weights))
    }


def test_accuracy_of_several_labels_wants_whole_rows():
    assert metrics.accuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]]) == {"accuracy": 0.5}
    assert metrics.accuracy(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [1, 1]])) == {"accuracy": 1.0}


@FEW
@given(
    labelled(texts=True),
    st.sampled_from(["micro", "macro", "weighted", None]),
    st.sampled_from([0, 1]),
    st.sampled_from(["f1", "precision", "recall"]),
)
def test_averages(data, average, zero_division, name):
    ours, truth, weights = data
    options = {"average": average, "sample_weight": weights, "zero_division": zero_division}
    expected = getattr(sk, f"{name}_score")(truth, ours, **options)
    found = getattr(metrics, name)(ours, truth, **options)[name]
    np.testing.assert_allclose(found, np.asarray(expected).squeeze(), rtol=1e-12)
    assert isinstance(found, float) == (np.size(expected) == 1)


def test_documented_values_of_f1():
    assert metrics.f1([0, 0, 1, 1, 0], [0, 1, 0, 1, 0]) == {"f1": 0.5}
    assert metrics.f1([0, 0, 1, 1, 0], [0, 1, 0, 1, 0], pos_label=0)["f1"] == pytest.approx(2 / 3)
    many = [0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2]
    assert metrics.f1(*many, average=None)["f1"].tolist() == pytest.approx([0.8, 0, 0])
    assert metrics.f1(*many, average=None, labels=[2, 0])["f1"].tolist() == pytest.approx([0, 0.8])
    several = metrics.f1([[0, 1, 1], [1, 1, 0]], [[0, 1, 1], [0, 1, 0]], average="macro")
    assert several == {"f1": pytest.approx(2 / 3)}
    assert metrics.f1(["ham", "spam"], ["ham", "ham"], pos_label="ham")["f1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="average"):
        metrics.f1([0, 1, 2], [0, 1, 2])  # more than two classes


@FEW
@given(labelled(), st.sampled_from(["true", "pred", "all", None]))
def test_confusion_and_correlation(data, normalize):
    ours, truth, weights = data
    expected = sk.confusion_matrix(truth, ours, sample_weight=weights, normalize=normalize)
    found = metrics.confusion_matrix(ours, truth, sample_weight=weights, normalize=normalize)
    np.testing.assert_array_equal(found["confusion_matrix"], expected)
    correlation = metrics.matthews_correlation(ours, truth, sample_weight=weights)["matthews_correlation"]
    assert correlation == pytest.approx(sk.matthews_corrcoef(truth, ours, sample_weight=weights))


def test_matthews_of_columns():
    ours, truth = [[0, 1], [1, 0], [1, 1]], [[0, 1], [1, 1], [0, 1]]
    each = metrics.matthews_correlation(ours, truth)["matthews_correlation"]
    assert each == pytest.approx([0.5, 0.0])
    assert metrics.matthews_correlation(ours, truth, average="macro") == {"matthews_correlation": pytest.approx(0.25)}


def test_areas():
    truth, scores = [0, 0, 1, 1, 1, 0], [0.1, 0.6, 0.5, 0.9, 0.7, 0.3]
    assert metrics.roc_auc(scores, truth) == {"roc_auc": sk.roc_auc_score(truth, scores)}
    assert metrics.roc_auc(scores, truth, max_fpr=0.5) == {"roc_auc": sk.roc_auc_score(truth, scores, max_fpr=0.5)}
    assert metrics.pr_auc(scores, truth) == {"pr_auc": sk.average_precision_score(truth, scores)}
    three = np.random.default_rng(0).dirichlet([1, 1, 1], 6)
    classes = [0, 1, 2, 2, 1, 0]
    for way in ("ovr", "ovo"):
        expected = sk.roc_auc_score(classes, three, multi_class=way)
        assert metrics.roc_auc(three, classes, multi_class=way) == {"roc_auc": expected}
    each = metrics.roc_auc(three, classes, multi_class="ovr", average=None)["roc_auc"]
    np.testing.assert_array_equal(each, sk.roc_auc_score(classes, three, multi_class="ovr", average=None))
    assert metrics.brier_score([0.1, 0.9, 0.8, 0.3], [0, 0, 1, 1])["brier_score"] == pytest.approx(0.3375)
    named = metrics.brier_score([0.1, 0.9, 0.8, 0.3], ["spam", "ham", "ham", "spam"], pos_label="ham")
    assert named == {"brier_score": pytest.approx(0.0375)}


def test_calibration():
    found = metrics.calibration([0.95, 0.95, 0.15, 0.55], [1, 0, 0, 1], n_bins=10)
    # Three bins: confidence 0.95 and half right; 0.15 and none of the class; 0.55 and all of it.
    assert found["expected_calibration_error"] == pytest.approx((2 * 0.45 + 0.15 + 0.45) / 4)
    assert found["count"].tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    classes = metrics.calibration([[0.9, 0.1], [0.4, 0.6]], [0, 0], n_bins=5)
    assert classes["expected_calibration_error"] == pytest.approx((0.1 + 0.6) / 2)
    with pytest.raises(ArgumentError, match="softmax"):
        metrics.calibration([[3.0, -1.0]], [0])


@st.composite
def numbers(draw):
    count = draw(st.integers(2, 10))
    column = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=count, max_size=count)
    weights = draw(st.none() | st.lists(st.floats(0.5, 2), min_size=count, max_size=count))
    return draw(column), draw(column), weights


@FEW
@given(numbers())
def test_regression(data):
    ours, truth, weights = data
    for name, function in (
        ("mse", sk.mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("mape", sk.mean_absolute_percentage_error),
    ):
        expected = function(truth, ours, sample_weight=weights)
        assert getattr(metrics, name)(ours, truth, sample_weight=weights) == {name: expected}
    root = metrics.mse(ours, truth, squared=False)["mse"]
    assert root == pytest.approx(sk.mean_squared_error(truth, ours) ** 0.5)
    if len(set(truth)) > 1:
        residual = np.sum((np.array(ours) - truth) ** 2) / np.sum((np.array(truth) - np.mean(truth)) ** 2)
        assert metrics.r_squared(ours, truth)["r_squared"] == pytest.approx(1 - residual)
    if np.ptp(ours) > 1 and np.ptp(truth) > 1:
        pearson, spearman = scipy.stats.pearsonr(ours, truth), scipy.stats.spearmanr(ours, truth)
        assert metrics.pearsonr(ours, truth, return_pvalue=True) == pytest.approx(
            {"pearsonr": pearson.statistic, "p-value": pearson.pvalue}, nan_ok=True
        )
        assert metrics.spearmanr(ours, truth, return_pvalue=True) == pytest.approx(
            {"spearmanr": spearman.statistic, "spearmanr_pvalue": spearman.pvalue}, nan_ok=True
        )


def test_forecasts():
    ours, truth = [2.5, 0.0, 2, 8, 1.25], [3, -0.5, 2, 7, 2]
    assert metrics.mase(ours, truth, [5, 0.5, 4, 6, 3, 5, 2])["mase"] == pytest.approx(0.1833333333)
    assert metrics.smape([2.5, 0.0, 2, 8], [3, -0.5, 2, 7])["smape"] == pytest.approx(0.5787878787878785)
    both = [[0, 1], [-1, 2], [8, -5]], [[0.1, 2], [-1, 2], [8, -5]]
    assert metrics.smape(*both, multioutput="raw_values")["smape"].tolist() == pytest.approx([2 / 3, 2 / 9])
    assert metrics.mae(*both, multioutput=[0.25, 0.75])["mae"] == pytest.approx((0.1 * 0.25 + 0.75) / 3)
    with pytest.raises(ArgumentError, match="periodicity"):
        metrics.mase(ours, truth, [1, 2], periodicity=2)


@pytest.mark.parametrize("name", ["accuracy", "f1", "mse", "pearsonr", "confusion_matrix", "matthews_correlation"])
def test_lengths_and_emptiness_are_refused(name):
    metric = getattr(metrics, name)
    with pytest.raises(ArgumentError, match="2 predictions and 3 references"):
        metric([1, 0], [1, 0, 1])
    with pytest.raises(ArgumentError, match="empty"):
        metric([], [])
    with pytest.raises(ArgumentError, match="is a str"):
        metric("10", [1, 0])


def test_other_refusals():
    with pytest.raises(ArgumentError, match="average is 'mean'"):
        metrics.f1([0], [0], average="mean")
    with pytest.raises(ArgumentError, match="two rows"):
        metrics.pearsonr([1.0], [2.0])
