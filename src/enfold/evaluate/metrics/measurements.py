"""What a column of texts or labels is like, without any reference."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from enfold.base.lazy import require
from enfold.evaluate.metrics.alignment import treebank_words
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, check_texts

# As scikit-learn's CountVectorizer finds words: two characters or more.
_WORDS = re.compile(r"\b\w\w+\b")


def word_length(data: Sequence[str], *, tokenizer: Callable[[str], list[str]] | None = None) -> dict[str, float]:
    """The mean number of words in a text: `{"average_word_length"}`.

    Args:
        tokenizer: text → words; by default as of `meteor`.
    """
    count = check_lengths(data=data)
    check_texts(data=data)
    split = tokenizer or treebank_words()
    return {"average_word_length": sum(len(split(text)) for text in data) / count}


def word_count(data: Sequence[str], *, max_vocab: int | None = None) -> dict[str, int]:
    """Words of two or more characters, upper case aside: `{"total_word_count", "unique_words"}`.

    Args:
        max_vocab: only the most frequent so many words count.
    """
    check_lengths(data=data)
    check_texts(data=data)
    found = Counter(word for text in data for word in _WORDS.findall(text.lower()))
    kept = found if max_vocab is None else dict(found.most_common(max_vocab))
    return {"total_word_count": sum(kept.values()), "unique_words": len(kept)}


def text_lengths(data: Sequence[str], *, tokenizer: Callable[[str], list[str]] | None = None) -> dict[str, Any]:
    """The spread of lengths in characters or tokens: `{"mean", "std", "min", "p5", "median", "p95", "max", "total"}`.

    Args:
        tokenizer: text → tokens; None counts characters.
    """
    check_lengths(data=data)
    check_texts(data=data)
    lengths = np.array([len(text if tokenizer is None else tokenizer(text)) for text in data])
    low, middle, high = np.percentile(lengths, [5, 50, 95]).tolist()
    return {
        "mean": float(lengths.mean()),
        "std": float(lengths.std()),
        "min": int(lengths.min()),
        "p5": low,
        "median": middle,
        "p95": high,
        "max": int(lengths.max()),
        "total": int(lengths.sum()),
    }


def text_duplicates(data: Sequence[str], *, list_duplicates: bool = False) -> dict[str, Any]:
    """The fraction of texts that occurred before, spaces at their ends aside: `{"duplicate_fraction"}`.

    Args:
        list_duplicates: also `"duplicates_list"`: each text (as it is) that occurs more than once, and how often.
    """
    count = check_lengths(data=data)
    check_texts(data=data)
    result: dict[str, Any] = {"duplicate_fraction": 1 - len({text.strip() for text in data}) / count}
    if list_duplicates:
        result["duplicates_list"] = {text: times for text, times in Counter(data).items() if times > 1}
    return result


def label_distribution(data: Sequence[Any]) -> dict[str, Any]:
    """How often each label occurs, in the order in which they first do, and how skew that is.

    Returns:
        `{"label_distribution": {"labels", "fractions"}, "label_skew"}`; labels that are texts are numbered for the
        skew.
    """
    count = check_lengths(data=data)
    labels = data.tolist() if isinstance(data, np.ndarray) else list(data)
    found = Counter(labels)
    numbers = labels
    if isinstance(labels[0], str):
        place = {label: number for number, label in enumerate(found)}
        numbers = [place[label] for label in labels]
    skew = require("scipy.stats", extra=EXTRA, purpose="label_distribution").skew(numbers)
    distribution = {"labels": list(found), "fractions": [times / count for times in found.values()]}
    return {"label_distribution": distribution, "label_skew": float(skew)}
