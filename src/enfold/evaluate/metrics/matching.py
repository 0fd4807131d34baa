"""Texts that must be equal, as they are or normalised, and SQuAD's two measures."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.metrics.checks import check_lengths, check_texts

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_DIGITS = str.maketrans("", "", string.digits)
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


def exact_match(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    regexes_to_ignore: Iterable[str] | None = None,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
) -> dict[str, float]:
    """The fraction of texts that equal their reference: `{"exact_match"}`.

    Args:
        regexes_to_ignore: what these match is removed first, one after the other.
        ignore_case, ignore_punctuation, ignore_numbers: what else doesn't count (ASCII punctuation and digits). Two
            texts of which nothing is left are equal only if they were so before.
    """
    check_lengths(predictions=predictions, references=references)
    check_texts(predictions=predictions, references=references)
    patterns = [re.compile(pattern) for pattern in regexes_to_ignore or ()]

    def kept(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("", text)
        text = text.lower() if ignore_case else text
        text = text.translate(_NO_PUNCTUATION) if ignore_punctuation else text
        return text.translate(_NO_DIGITS) if ignore_numbers else text

    right = 0
    for ours, truth in zip(predictions, references, strict=True):
        left = kept(ours)
        right += left == kept(truth) and (left != "" or ours == truth)
    return {"exact_match": right / len(predictions)}


def squad(predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """SQuAD 1.1's two measures in percent (Rajpurkar et al. 2016): `{"exact_match", "f1"}`.

    Args:
        predictions: `{"id", "prediction_text"}` each.
        references: `{"id", "answers": {"text": [...], "answer_start": [...]}}` each, or `answers` as a list of
            `{"text"}`. The best of a question's answers counts; a question without prediction counts 0.
    """
    given = _by_id(predictions, references, "prediction_text")
    exact = overlap = 0.0
    for reference in references:
        answers, text = _answers(reference), given.get(_id(reference))
        if not answers:
            raise ArgumentError(f"question {reference['id']!r} has no answer: squad_v2 takes such questions")
        if text is not None:
            exact += max(equal_words(text, answer) for answer in answers)
            overlap += max(shared_words(text, answer) for answer in answers)
    return {"exact_match": 100.0 * exact / len(references), "f1": 100.0 * overlap / len(references)}


def squad_v2(
    predictions: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    *,
    no_answer_threshold: float = 1.0,
) -> dict[str, float]:
    """SQuAD 2.0's measures in percent (Rajpurkar et al. 2018), where a question may have no answer.

    Args:
        predictions: `{"id", "prediction_text", "no_answer_probability"}` each.
        references: as of `squad`; no answers mean that there is none.
        no_answer_threshold: above this probability a question counts as answered with nothing.

    Returns:
        `{"exact", "f1", "total"}`, the same with `HasAns_` and `NoAns_` for the questions of either kind that there
        are, and `best_exact`, `best_f1` with the thresholds (`…_thresh`) that give them.
    """
    given = _by_id(predictions, references, "prediction_text", "no_answer_probability")
    doubts = {_id(p): float(p["no_answer_probability"]) for p in predictions}
    exact: dict[Any, float] = {}
    overlap: dict[Any, float] = {}
    answerable: dict[Any, bool] = {}
    for reference in references:
        key, said = _id(reference), _answers(reference)
        answerable[key] = bool(said)
        # Answers of which normalising leaves nothing don't count, and no answer is the empty one.
        answers = [answer for answer in said if normal(answer)] or [""]
        if key in given:
            exact[key] = max(equal_words(given[key], answer) for answer in answers)
            # Unlike in version 1.1, nothing is the right answer to nothing.
            both = normal(given[key]) in answers and not normal(given[key])
            overlap[key] = 1.0 if both else max(shared_words(given[key], answer) for answer in answers)

    def judged(scores: dict[Any, float]) -> dict[Any, float]:
        silent = {key for key, doubt in doubts.items() if doubt > no_answer_threshold}
        return {key: float(not answerable[key]) if key in silent else score for key, score in scores.items()}

    exact_now, overlap_now = judged(exact), judged(overlap)
    result = _percent(exact_now, overlap_now, list(exact_now), "")
    for prefix, kind in (("HasAns_", True), ("NoAns_", False)):
        keys = [key for key, can in answerable.items() if can is kind]
        if keys:
            result |= _percent(exact_now, overlap_now, [key for key in keys if key in exact], prefix)
    for name, scores in (("exact", exact), ("f1", overlap)):
        best, threshold = _best_threshold(given, scores, doubts, answerable)
        result |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return result


def _percent(exact: Mapping, overlap: Mapping, keys: list[Any], prefix: str) -> dict[str, float]:
    total = len(keys)
    if not total:
        raise ArgumentError("no question of the references has a prediction: the ids don't agree")
    return {
        f"{prefix}exact": 100.0 * sum(exact[key] for key in keys) / total,
        f"{prefix}f1": 100.0 * sum(overlap[key] for key in keys) / total,
        f"{prefix}total": total,
    }


def _best_threshold(given: Mapping, scores: Mapping, doubts: Mapping, answerable: Mapping) -> tuple[float, float]:
    """The best mean score over all thresholds, and the lowest threshold that reaches it."""
    score = best = float(sum(not can for can in answerable.values()))
    threshold = 0.0
    for key in sorted(doubts, key=lambda key: doubts[key]):
        if key not in scores:
            continue
        if answerable[key]:
            score += scores[key]
        elif given[key]:
            score -= 1  # an answer where none was to be given
        if score > best:
            best, threshold = score, doubts[key]
    return 100.0 * best / len(scores), threshold


def normal(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, words divided by one space: SQuAD's normal form."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def equal_words(ours: str, truth: str) -> float:
    """1.0 where two texts have the same normal form, else 0.0."""
    return float(normal(ours) == normal(truth))


def shared_words(ours: str, truth: str) -> float:
    """F1 of the words of two normal forms, 0.0 where they share none."""
    left, right = normal(ours).split(), normal(truth).split()
    common = sum((Counter(left) & Counter(right)).values())
    return 2 * common / (len(left) + len(right)) if common else 0.0


def _id(row: Mapping[str, Any]) -> Any:
    return row["id"]


def _by_id(predictions: Any, references: Any, *keys: str) -> dict[Any, str]:
    """The predicted text of each id.

    Raises:
        ArgumentError: different lengths, rows without the keys, an id twice.
    """
    check_lengths(predictions=predictions, references=references)
    for name, rows, wanted in (
        ("predictions", predictions, ("id", *keys)),
        ("references", references, ("id", "answers")),
    ):
        for row, item in enumerate(rows):
            if not isinstance(item, Mapping) or not set(wanted) <= item.keys():
                raise ArgumentError(
                    f"row {row} of {name} is {item!r:.80}; expected a dictionary with {', '.join(wanted)}"
                )
    found = {_id(item): item[keys[0]] for item in predictions}
    if len(found) < len(predictions):
        raise ArgumentError("an id occurs in predictions more than once")
    check_texts(prediction_text=list(found.values()))
    return found


def _answers(reference: Mapping[str, Any]) -> list[str]:
    answers = reference["answers"]
    if isinstance(answers, Mapping):
        texts = answers["text"]
        return [texts] if isinstance(texts, str) else list(texts)
    return [answer["text"] if isinstance(answer, Mapping) else answer for answer in answers]
