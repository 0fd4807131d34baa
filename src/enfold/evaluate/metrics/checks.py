"""What every metric asks of its inputs before it counts anything, and how its numbers leave."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError

EXTRA = "evaluate"


def check_lengths(**columns: Any) -> int:
    """The number of rows that all columns have.

    Raises:
        ArgumentError: columns of different lengths, without rows, or something that has no length.
    """
    lengths = {}
    for name, column in columns.items():
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise ArgumentError(f"{name} is a {type(column).__name__}; expected a list with one item a row")
        lengths[name] = len(column)
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"{length} {name}" for name, length in lengths.items())
        raise ArgumentError(f"got {said}: they must be as many, in the same order")
    count = next(iter(lengths.values()))
    if not count:
        raise ArgumentError(f"{' and '.join(lengths)} are empty: there is nothing to measure")
    return count


def check_texts(**columns: Any) -> None:
    """Raises ArgumentError where a row of a column is not a text."""
    for name, column in columns.items():
        for row, text in enumerate(column):
            if not isinstance(text, str):
                raise ArgumentError(f"row {row} of {name} is a {type(text).__name__}; expected a text")


def reference_lists(predictions: Sequence[str], references: Any) -> list[list[str]]:
    """References as a list of texts for each prediction, given so or as one text each.

    Raises:
        ArgumentError: other lengths, rows that are no texts, a row without references, or rows of both forms.
    """
    check_lengths(predictions=predictions, references=references)
    check_texts(predictions=predictions)
    single = isinstance(references[0], str)
    found = []
    for row, given in enumerate(references):
        if isinstance(given, str) != single:
            raise ArgumentError(f"row {row} of references is not of the same form as row 0: texts, or lists of texts")
        texts = [given] if single else list(given)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ArgumentError(f"row {row} of references is {given!r:.60}; expected a text or a list of texts")
        found.append(texts)
    return found


def choose(name: str, value: Any, options: Sequence[Any]) -> Any:
    """`value`, if it is one of the options.

    Raises:
        ArgumentError: it is none of them.
    """
    if value not in options:
        raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(map(repr, options))}")
    return value


def number(value: Any) -> Any:
    """A float where there is one number, else the array as it is."""
    numbers = np.asarray(value)
    return float(numbers.item()) if numbers.size == 1 else value


def sklearn_metrics(purpose: str) -> Any:
    """The module `sklearn.metrics`."""
    from enfold.base.lazy import require

    return require("sklearn.metrics", extra=EXTRA, purpose=purpose)
