"""Error rates of transcripts, by words and by characters. RapidFuzz counts the edits."""

import re
from collections.abc import Callable, Sequence

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, check_texts

_SPACES = re.compile(r"\s\s+")


def wer(predictions: Sequence[str], references: Sequence[str], *, concatenate_texts: bool = False) -> dict[str, float]:
    """Substituted, deleted and inserted words, divided by the words of the references: `{"wer"}`.

    Args:
        concatenate_texts: either way the errors of all pairs are added up and divided once, as jiwer has done since
            version 2.3, which the reference calls.

    Raises:
        ArgumentError: a reference without words.
    """
    return {"wer": _rate("wer", predictions, references, words)}


def cer(predictions: Sequence[str], references: Sequence[str], *, concatenate_texts: bool = False) -> dict[str, float]:
    """Substituted, deleted and inserted characters, divided by the characters of the references: `{"cer"}`.

    Spaces count, those at the ends don't. Arguments as of `wer`.
    """
    return {"cer": _rate("cer", predictions, references, str.strip)}


def words(text: str) -> list[str]:
    """What stands between spaces, as jiwer splits it: other single white space is part of a word."""
    return [word for word in _SPACES.sub(" ", text).strip().split(" ") if word]


def _rate(
    name: str, predictions: Sequence[str], references: Sequence[str], parts: Callable[[str], Sequence[str]]
) -> float:
    check_lengths(predictions=predictions, references=references)
    check_texts(predictions=predictions, references=references)
    distance = require("rapidfuzz.distance", extra=EXTRA, purpose=name).Levenshtein.distance
    errors = total = 0
    for row, (ours, truth) in enumerate(zip(predictions, references, strict=True)):
        known = parts(truth)
        if not known:
            raise ArgumentError(
                f"row {row} of references is empty: an error rate divides by its length; leave the row out"
            )
        errors += distance(parts(ours), known)
        total += len(known)
    return errors / total
