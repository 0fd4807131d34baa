"""Classes and their numbers, from the training data."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from enfold import evaluate
from enfold.base.errors import ArgumentError


class Classes:
    """The classes of a column.

    Args:
        values: all labels of the training data.
        names: the classes' names, where the column holds their numbers.
        known: the names that the model has already; they stay where they say all labels.
        column: for errors.

    Raises:
        ArgumentError: labels that are missing, or of mixed kinds.
    """

    def __init__(self, values: Iterable[Any], names: list[str] | None, known: list[str], column: str):
        found = set()
        for place, value in enumerate(values):
            if not isinstance(value, str | int | float):
                raise ArgumentError(f"the training data's column {column!r} holds {value!r} (row {place}): no label")
            found.add(value)
        if len({type(value) for value in found}) > 1:
            kinds = ", ".join(sorted({type(value).__name__ for value in found}))
            raise ArgumentError(f"the training data's column {column!r} holds labels of several kinds: {kinds}")
        self.column = column
        if names is not None:
            self.names, self.numbers = names, {number: number for number in range(len(names))}
        elif found <= set(known):
            self.names, self.numbers = known, {name: number for number, name in enumerate(known)}
        elif known and all(type(value) is int and 0 <= value < len(known) for value in found):
            self.names, self.numbers = known, {number: number for number in range(len(known))}
        else:
            ordered = sorted(found)
            self.names = [str(value) for value in ordered]
            self.numbers = {value: number for number, value in enumerate(ordered)}

    @property
    def entries(self) -> dict[str, Any]:
        """Of the configuration."""
        return {"id2label": dict(enumerate(self.names)), "label2id": {name: n for n, name in enumerate(self.names)}}

    def check(self, values: Iterable[Any]) -> None:
        """Refuse evaluation data with labels that the training data don't have."""
        for place, value in enumerate(values):
            if value not in self.numbers:
                shown = ", ".join(map(repr, list(self.numbers)[:12]))
                raise ArgumentError(
                    f"row {place} of the evaluation data has the label {value!r} (column {self.column!r}), which the "
                    f"training data don't have; they have {shown}"
                )


def names_in(rows: Any, column: str) -> list[str] | None:
    """The names that a ClassLabel column carries, alone or in lists."""
    feature = rows.features[column]
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return list(names) if names else None


def known_names(config: Any) -> list[str]:
    """The names of a model's classes, if somebody gave them any."""
    names = [name for _, name in sorted(config.id2label.items())]
    return [] if any(name.startswith("LABEL_") for name in names) else names


def flat(rows: Iterable[Iterable[Any] | None]) -> Iterator[Any]:
    """The labels of all rows."""
    for row in rows:
        yield from row if row is not None else ()


def class_scores(prediction: Any) -> dict[str, float]:
    """Accuracy and macro F1 of logits."""
    logits, truth = prediction
    chosen = np.argmax(logits, -1)
    right = evaluate.load("accuracy").compute(predictions=chosen, references=truth)
    return right | evaluate.load("f1").compute(predictions=chosen, references=truth, average="macro")
