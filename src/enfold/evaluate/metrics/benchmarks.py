"""GLUE and SuperGLUE: each of their tasks by its own measures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.checks import check_lengths, choose, sklearn_metrics
from enfold.evaluate.metrics.classification import accuracy, f1, matthews_correlation
from enfold.evaluate.metrics.matching import equal_words, shared_words
from enfold.evaluate.metrics.regression import pearsonr, spearmanr

GLUE = ("sst2", "mnli", "mnli_mismatched", "mnli_matched", "cola", "stsb", "mrpc", "qqp", "qnli", "rte", "wnli", "hans")
SUPER_GLUE = ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc", "wsc.fixed", "axb", "axg")


def glue(predictions: Any, references: Any, config_name: str) -> dict[str, float]:
    """The measures of a task of GLUE (Wang et al. 2019).

    Args:
        predictions, references: class numbers, or scores for stsb.
        config_name: the task: cola gives `{"matthews_correlation"}`, stsb `{"pearson", "spearmanr"}`, mrpc and qqp
            `{"accuracy", "f1"}`, every other `{"accuracy"}`.
    """
    choose("config_name", config_name, GLUE)
    if config_name == "cola":
        return matthews_correlation(predictions, references)
    if config_name == "stsb":
        return {"pearson": pearsonr(predictions, references)["pearsonr"]} | spearmanr(predictions, references)
    if config_name in ("mrpc", "qqp"):
        return accuracy(predictions, references) | f1(predictions, references)
    return accuracy(predictions, references)


def super_glue(predictions: Any, references: Any, config_name: str) -> dict[str, float]:
    """The measures of a task of SuperGLUE (Wang et al. 2019).

    Args:
        predictions: class numbers; for multirc `{"idx": {"paragraph", "question", …}, "prediction"}`, for record
            `{"idx": {"passage", "query"}, "prediction_text"}`.
        references: class numbers; for record `{"idx": {"passage", "query"}, "answers": [text, …]}`.
        config_name: the task: axb gives `{"matthews_correlation"}`, cb `{"accuracy", "f1"}` (macro), record
            `{"exact_match", "f1"}`, multirc `{"exact_match", "f1_m", "f1_a"}`, every other `{"accuracy"}`.
    """
    choose("config_name", config_name, SUPER_GLUE)
    if config_name == "axb":
        return matthews_correlation(predictions, references)
    if config_name == "cb":
        return accuracy(predictions, references) | f1(predictions, references, average="macro")
    if config_name == "record":
        return _record(predictions, references)
    if config_name == "multirc":
        return _multirc(predictions, references)
    return accuracy(predictions, references)


def _record(predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    count = check_lengths(predictions=predictions, references=references)
    given = {item["idx"]["query"]: item["prediction_text"] for item in predictions}
    exact = overlap = 0.0
    for reference in references:
        query = reference["idx"]["query"]
        if not reference["answers"]:
            raise ArgumentError(f"query {query} has no answer")
        if query in given:
            exact += max(equal_words(given[query], answer) for answer in reference["answers"])
            overlap += max(shared_words(given[query], answer) for answer in reference["answers"])
    return {"exact_match": exact / count, "f1": overlap / count}


def _multirc(predictions: Sequence[Mapping[str, Any]], references: Sequence[int]) -> dict[str, float]:
    check_lengths(predictions=predictions, references=references)
    questions = defaultdict(list)
    for item, truth in zip(predictions, references, strict=True):
        questions[item["idx"]["paragraph"], item["idx"]["question"]].append((item["prediction"], truth))
    score = sklearn_metrics("super_glue").f1_score
    macro = exact = 0.0
    for pairs in questions.values():
        ours, truth = zip(*pairs, strict=True)
        macro += score(truth, ours, average="macro")
        exact += ours == truth
    everything = score(list(references), [item["prediction"] for item in predictions])
    count = len(questions)
    return {"exact_match": exact / count, "f1_m": float(macro / count), "f1_a": float(everything)}
