"""Labels of the words of sentences: entities by seqeval, parts of speech one by one."""

from collections.abc import Sequence
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, choose, sklearn_metrics

SCHEMES = ("IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU")
Labels = Sequence[Sequence[str]]


def seqeval(
    predictions: Labels,
    references: Labels,
    *,
    suffix: bool = False,
    scheme: str | None = None,
    mode: str | None = None,
    sample_weight: Sequence[float] | None = None,
    zero_division: Any = "warn",
) -> dict[str, Any]:
    """Precision, recall and F1 of entities, as conlleval counts them.

    Args:
        predictions, references: a list of labels such as "B-PER" for each sentence.
        suffix: the B or I stands behind the type: "PER-B".
        scheme: one of IOB1, IOB2, IOE1, IOE2, IOBES, BILOU, with `mode="strict"`.
        mode: "strict" counts only entities that the scheme allows; None reads labels as conlleval does.
        sample_weight: a weight for each entity, as seqeval takes them.
        zero_division: the value where a type was never predicted: 0, 1, or "warn" for 0 and a warning.

    Returns:
        for each type `{"precision", "recall", "f1", "number"}`, then `overall_precision`, `overall_recall`,
        `overall_f1` (all entities together) and `overall_accuracy` (of single labels).
    """
    _check_sentences(predictions, references)
    if scheme is not None:
        choose("scheme", scheme, SCHEMES)
        scheme = getattr(require("seqeval.scheme", extra=EXTRA, purpose="seqeval"), scheme)
    choose("mode", mode, ("strict", None))
    measures = require("seqeval.metrics", extra=EXTRA, purpose="seqeval")
    report = measures.classification_report(
        y_true=[list(sentence) for sentence in references],
        y_pred=[list(sentence) for sentence in predictions],
        suffix=suffix,
        output_dict=True,
        scheme=scheme,
        mode=mode,
        sample_weight=sample_weight,
        zero_division=zero_division,
    )
    overall = report.pop("micro avg")
    report.pop("macro avg")
    report.pop("weighted avg")
    scores: dict[str, Any] = {
        kind: {
            "precision": float(found["precision"]),
            "recall": float(found["recall"]),
            "f1": float(found["f1-score"]),
            "number": int(found["support"]),
        }
        for kind, found in report.items()
    }
    scores |= {f"overall_{name}": float(overall[name]) for name in ("precision", "recall")}
    scores["overall_f1"] = float(overall["f1-score"])
    scores["overall_accuracy"] = float(measures.accuracy_score(y_true=references, y_pred=predictions))
    return scores


def poseval(predictions: Labels, references: Labels, *, zero_division: Any = "warn") -> dict[str, Any]:
    """Precision, recall and F1 of every label by itself, for parts of speech.

    Args:
        predictions, references: a list of labels for each sentence.
        zero_division: as of `f1`.

    Returns:
        for each label `{"precision", "recall", "f1-score", "support"}`, then `accuracy`, `macro avg` and `weighted
        avg`.
    """
    _check_sentences(predictions, references)
    return sklearn_metrics("poseval").classification_report(
        y_true=[label for sentence in references for label in sentence],
        y_pred=[label for sentence in predictions for label in sentence],
        output_dict=True,
        zero_division=zero_division,
    )


def _check_sentences(predictions: Labels, references: Labels) -> None:
    check_lengths(predictions=predictions, references=references)
    for row, (ours, truth) in enumerate(zip(predictions, references, strict=True)):
        if isinstance(ours, str) or isinstance(truth, str):
            raise ArgumentError(f"row {row} is a text; expected the list of labels of a sentence")
        if len(ours) != len(truth):
            raise ArgumentError(f"row {row} has {len(ours)} predictions and {len(truth)} references: one for each word")
