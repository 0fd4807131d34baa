"""Error rates of transcripts, by words and by characters. jiwer aligns."""

from collections.abc import Sequence

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, check_texts


def wer(predictions: Sequence[str], references: Sequence[str], *, concatenate_texts: bool = False) -> dict[str, float]:
    """Substituted, deleted and inserted words, divided by the words of the references: `{"wer"}`.

    Args:
        concatenate_texts: either way the errors of all pairs are added up and divided once, as jiwer has done since
            2.3.

    Raises:
        ArgumentError: a reference without words.
    """
    return {"wer": _rate("process_words", "wer", predictions, references)}


def cer(predictions: Sequence[str], references: Sequence[str], *, concatenate_texts: bool = False) -> dict[str, float]:
    """Substituted, deleted and inserted characters, divided by the characters of the references: `{"cer"}`.

    Spaces count, those at the ends don't. Arguments as of `wer`.
    """
    return {"cer": _rate("process_characters", "cer", predictions, references)}


def _rate(function: str, name: str, predictions: Sequence[str], references: Sequence[str]) -> float:
    check_lengths(predictions=predictions, references=references)
    check_texts(predictions=predictions, references=references)
    for row, text in enumerate(references):
        if not text.strip():
            raise ArgumentError(
                f"row {row} of references is empty: an error rate divides by its length; leave the row out"
            )
    align = getattr(require("jiwer", extra=EXTRA, purpose=name), function)
    return float(getattr(align(list(references), list(predictions)), name))
