"""Matches of texts, SQuAD, GLUE, rankings, maps, measurements and comparisons: known values and definitions."""

import random

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from enfold.base.errors import ArgumentError
from enfold.evaluate import metrics

FEW = settings(max_examples=40, deadline=None)


def test_exact_match():
    ours, truth = ["cat?", "theater", "yelling", "agent"], ["the cat", "theater", "YELLING", "agent007"]
    kept = {"ignore_case": True, "ignore_punctuation": True}
    assert metrics.exact_match(ours, truth) == {"exact_match": 0.25}
    assert metrics.exact_match(ours, truth, regexes_to_ignore=["the ", "yell"], **kept) == {"exact_match": 0.5}
    patterns = ["the ", "yell", "YELL"]
    assert metrics.exact_match(ours, truth, regexes_to_ignore=patterns, **kept) == {"exact_match": 0.75}
    assert metrics.exact_match(ours, truth, regexes_to_ignore=patterns, ignore_numbers=True, **kept) == {
        "exact_match": 1
    }
    # Of "1" and "2" nothing is left, and they weren't equal.
    assert metrics.exact_match(["1", "3"], ["2", "3"], ignore_numbers=True) == {"exact_match": 0.5}


def asked(answers, **predictions):
    """Predictions (a text, or a text and its doubt) and references by their ids."""
    references = [
        {"id": key, "answers": {"text": texts, "answer_start": [0] * len(texts)}} for key, texts in answers.items()
    ]
    rows = []
    for key, said in predictions.items():
        text, doubt = said if isinstance(said, tuple) else (said, 0.0)
        rows.append({"id": key, "prediction_text": text, "no_answer_probability": doubt})
    return rows, references


def test_squad():
    rows, references = asked(
        {"a": ["The Eiffel Tower", "Eiffel"], "b": ["in 1976"], "c": ["red"]}, a="eiffel tower!", b="1976", c="blue"
    )
    found = metrics.squad(rows, references)
    assert found["exact_match"] == pytest.approx(100 / 3)
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert metrics.squad(rows[::-1], references) == found  # ids count, not the order
    with pytest.raises(ArgumentError, match="row 0 of predictions"):
        metrics.squad([{"id": "a"}], references[:1])
    with pytest.raises(ArgumentError, match="more than once"):
        metrics.squad([rows[0]] * 3, references)
    with pytest.raises(ArgumentError, match="squad_v2"):
        metrics.squad(*asked({"a": []}, a="x"))


def test_squad_v2():
    rows, references = asked(
        {"a": ["red"], "b": [], "c": [], "d": ["blue sky"]}, a=("red", 0.1), b=("", 0.9), c=("x", 0.6), d=("sky", 0.3)
    )
    found = metrics.squad_v2(rows, references)
    assert (found["exact"], found["f1"], found["total"]) == (50.0, pytest.approx(100 * (1 + 1 + 2 / 3) / 4), 4)
    assert (found["HasAns_exact"], found["HasAns_total"], found["NoAns_exact"]) == (50.0, 2, 50.0)
    # Answering only where the doubt is at most 0.1 (or 0.3) gets a, b and c (and some of d) right.
    assert (found["best_exact"], found["best_exact_thresh"]) == (75.0, 0.1)
    assert (found["best_f1"], found["best_f1_thresh"]) == (pytest.approx(100 * (3 + 2 / 3) / 4), 0.3)
    strict = metrics.squad_v2(rows, references, no_answer_threshold=0.5)
    assert strict["exact"] == 75.0
    only = metrics.squad_v2(*asked({"a": ["1976"]}, a=("1976", 0.0)))
    assert "NoAns_total" not in only
    assert (only["best_f1"], only["best_f1_thresh"]) == (100.0, 0.0)


def test_glue():
    ours, truth = [0, 1, 1, 0, 1], [0, 1, 0, 0, 1]
    assert metrics.glue(ours, truth, "sst2") == {"accuracy": 0.8}
    assert metrics.glue(ours, truth, "mrpc") == {"accuracy": 0.8, "f1": pytest.approx(0.8)}
    assert metrics.glue(ours, truth, "cola") == {"matthews_correlation": sk.matthews_corrcoef(truth, ours)}
    assert metrics.glue([0.0, 1, 2], [0.0, 2, 3], "stsb")["spearmanr"] == pytest.approx(1)
    assert set(metrics.glue([0.0, 1, 2], [0.0, 2, 3], "stsb")) == {"pearson", "spearmanr"}
    with pytest.raises(ArgumentError, match="'sst2'"):
        metrics.glue(ours, truth, "sst")


def test_super_glue():
    assert metrics.super_glue([0, 1, 2], [0, 1, 1], "cb") == {
        "accuracy": pytest.approx(2 / 3),
        "f1": pytest.approx(sk.f1_score([0, 1, 1], [0, 1, 2], average="macro")),
    }
    assert metrics.super_glue([0, 1], [0, 1], "copa") == {"accuracy": 1.0}
    assert metrics.super_glue([0, 1], [0, 1], "axb") == {"matthews_correlation": 1.0}
    ours = [{"idx": {"passage": 0, "query": i}, "prediction_text": text} for i, text in enumerate(["answer", "no"])]
    truth = [{"idx": {"passage": 0, "query": i}, "answers": ["the answer", "another"]} for i in range(2)]
    assert metrics.super_glue(ours, truth, "record") == {"exact_match": 0.5, "f1": 0.5}
    ours = [
        {"idx": {"answer": a, "paragraph": 0, "question": q}, "prediction": p}
        for a, q, p in [(0, 0, 1), (1, 0, 0), (0, 1, 1)]
    ]
    found = metrics.super_glue(ours, [1, 0, 0], "multirc")
    assert found == {"exact_match": 0.5, "f1_m": pytest.approx((1 + 0) / 2), "f1_a": pytest.approx(2 / 3)}


@FEW
@given(
    st.integers(2, 8).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=n, max_size=n)
    )
)
def test_gain_of_rankings(pairs):
    gains, scores = map(list, zip(*pairs, strict=True))
    for k in (None, 3):
        for ties in (False, True):
            found = metrics.ndcg([scores], [gains], k=k, ignore_ties=ties)["ndcg"]
            # Where scores are equal, scikit-learn turns the order around instead of keeping it.
            order = scores if not ties else [score - place * 1e-6 for place, score in enumerate(scores)]
            assert found == pytest.approx(sk.ndcg_score([gains], [order], k=k, ignore_ties=ties), abs=1e-9)
    distinct = [score - place * 1e-6 for place, score in enumerate(scores)]
    relevant = [gain > 0 for gain in gains]
    if any(relevant):
        expected = sk.average_precision_score(relevant, distinct)
        assert metrics.mean_average_rank_precision([distinct], [gains])["map"] == pytest.approx(expected)


def test_ranks_by_hand():
    scores, gains = [[0.9, 0.5, 0.1], [0.2, 0.8]], [[0, 1, 1], [0, 0]]
    assert metrics.mrr(scores, gains) == {"mrr": 0.25}
    assert metrics.mrr(scores, gains, k=1) == {"mrr": 0.0}
    assert metrics.mean_average_rank_precision(scores, gains)["map"] == pytest.approx((1 / 2 + 2 / 3) / 2 / 2)
    assert metrics.recall_at_k(scores, gains, k=2) == {"recall_at_k": 0.25}
    assert metrics.precision_at_k(scores, gains, k=2) == {"precision_at_k": 0.25}
    with pytest.raises(ArgumentError, match="query 1 has 1 scores and 2 references"):
        metrics.ndcg([[1, 2], [1]], [[0, 1], [0, 1]])
    with pytest.raises(ArgumentError, match="negative"):
        metrics.mrr([[1.0]], [[-1]])
    with pytest.raises(ArgumentError, match="k is 0"):
        metrics.mrr([[1.0]], [[1]], k=0)


def test_mean_iou():
    ours = [[[1, 2], [3, 4], [5, 255]], [[2, 7], [9, 2], [3, 6]], [[2, 2, 3], [8, 2, 4], [3, 255, 2]]]
    truth = [[[0, 3], [5, 4], [6, 255]], [[1, 7], [9, 2], [3, 6]], [[1, 2, 2], [8, 2, 1], [3, 255, 1]]]
    found = metrics.mean_iou(ours, truth, num_labels=10, ignore_index=255)
    assert found["mean_iou"] == pytest.approx(0.4775)
    assert found["mean_accuracy"] == pytest.approx(0.5916666666666666)
    assert found["overall_accuracy"] == pytest.approx(0.5263157894736842)
    np.testing.assert_allclose(found["per_category_iou"], [0, 0, 0.375, 0.4, 0.5, 0, 0.5, 1, 1, 1])
    np.testing.assert_allclose(found["per_category_accuracy"], [0, 0, 0.75, 2 / 3, 1, 0, 0.5, 1, 1, 1])
    reduced = metrics.mean_iou([[[0, 1]]], [[[1, 0]]], num_labels=3, ignore_index=255, reduce_labels=True, nan_to_num=0)
    assert reduced["mean_iou"] == 1.0  # the second pixel is background
    assert reduced["per_category_iou"].tolist() == [1, 0, 0]
    swapped = metrics.mean_iou([[[0, 1]]], [[[1, 0]]], num_labels=2, ignore_index=255, label_map={0: 1, 1: 0})
    assert swapped["mean_iou"] == 1.0
    with pytest.raises(ArgumentError, match="row 0: the prediction has the shape"):
        metrics.mean_iou([[[0, 1]]], [[[0], [1]]], num_labels=2, ignore_index=255)


@FEW
@given(st.lists(st.text(alphabet="ab cÉ1_.", max_size=12), min_size=1, max_size=5))
def test_words_are_counted_as_scikit_learn_does(texts):
    found = metrics.word_count(texts)
    try:
        matrix = CountVectorizer().fit_transform(texts)
    except ValueError:
        assert found == {"total_word_count": 0, "unique_words": 0}
        return
    assert found == {"total_word_count": matrix.sum(), "unique_words": matrix.shape[1]}


def test_measurements():
    assert metrics.word_length(["hello world", "a b c d"], tokenizer=str.split) == {"average_word_length": 3.0}
    assert metrics.word_count(["aa aa bb"], max_vocab=1) == {"total_word_count": 2, "unique_words": 1}
    lengths = metrics.text_lengths(["a", "bbb", "ccccc"])
    assert (lengths["mean"], lengths["min"], lengths["median"], lengths["max"], lengths["total"]) == (3, 1, 3, 5, 9)
    texts = ["hello sun", "hello moon", "hello sun", "hello sun "]
    assert metrics.text_duplicates(texts) == {"duplicate_fraction": 0.5}
    assert metrics.text_duplicates(texts, list_duplicates=True)["duplicates_list"] == {"hello sun": 2}
    found = metrics.label_distribution([1, 0, 1, 1, 0, 1, 0])
    assert found["label_distribution"] == {"labels": [1, 0], "fractions": [4 / 7, 3 / 7]}
    assert found["label_skew"] == pytest.approx(-0.2886751345948127)
    assert metrics.label_distribution(["b", "a", "b", "b"])["label_distribution"]["labels"] == ["b", "a"]


def test_tests_of_two_models():
    assert metrics.mcnemar([1, 1, 1], [1, 0, 1], [1, 0, 1]) == {"stat": 1.0, "p": pytest.approx(0.31731050786291115)}
    assert metrics.mcnemar([1, 0], [1, 0], [1, 1]) == {"stat": 0.0, "p": 1.0}
    assert metrics.wilcoxon([-7, 123.45, 43, 4.91, 5], [1337.12, -9.74, 1, 2, 3.21]) == {"stat": 5.0, "p": 0.625}
    assert metrics.same_predictions([1, 0, 1], [1, 1, 1]) == {"exact_match": pytest.approx(2 / 3)}


def labels(count=60, seed=5):
    draw = random.Random(seed)
    truth = [draw.randint(0, 1) for _ in range(count)]
    return [label if draw.random() < 0.8 else 1 - label for label in truth], truth


@pytest.mark.parametrize("method", ["BCa", "percentile", "basic"])
def test_intervals_are_scipys(method):
    ours, truth = labels()
    found = metrics.confidence_interval(
        metrics.f1, predictions=ours, references=truth, n_resamples=120, random_state=4, method=method
    )["f1"]
    expected = scipy.stats.bootstrap(
        (ours, truth),
        lambda a, b: sk.f1_score(b, a),
        paired=True,
        vectorized=False,
        n_resamples=120,
        random_state=4,
        method=method,
    )
    interval = expected.confidence_interval
    assert found["confidence_interval"] == pytest.approx((interval.low, interval.high))
    assert found["standard_error"] == pytest.approx(expected.standard_error)
    assert found["score"] == pytest.approx(sk.f1_score(truth, ours))


def test_intervals_that_have_no_width_and_wrong_arguments():
    sure = metrics.confidence_interval(metrics.accuracy, predictions=[1, 1], references=[1, 1], n_resamples=9)
    assert sure["accuracy"] == {"score": 1.0, "confidence_interval": (1.0, 1.0), "standard_error": 0.0}
    with pytest.raises(ArgumentError, match="confidence_level is 95"):
        metrics.confidence_interval(metrics.accuracy, predictions=[1, 1], references=[1, 1], confidence_level=95)
    with pytest.raises(ArgumentError, match="gives no number 'f1'"):
        metrics.confidence_interval(metrics.accuracy, predictions=[1, 1], references=[1, 1], key="f1")


def test_paired_bootstrap():
    good, truth = labels()
    bad = [1 - label if place % 2 else label for place, label in enumerate(truth)]
    found = metrics.paired_bootstrap(metrics.accuracy, good, bad, truth, n_resamples=400, random_state=0)
    low, high = found["confidence_interval"]
    assert low < found["difference"] < high
    assert found["p"] < 0.05
    same = metrics.paired_bootstrap(metrics.accuracy, good, good, truth, n_resamples=50, random_state=0)
    assert (same["difference"], same["p"]) == (0.0, 1.0)
