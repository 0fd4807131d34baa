"""What a model takes: which columns of a data set reach it, and which of them are labels."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from enfold.base.errors import ArgumentError

_ANSWERS = ("start_positions", "end_positions")


def accepted_inputs(model: nn.Module) -> set[str] | None:
    """The names that the model's forward takes; None if it takes any.

    Models of the house hand what they don't know on to their base's `run`, whose names count too.
    """
    names: set[str] = set()
    looked_at: list[Any] = [model.forward]
    looked_at += [run for part in (model, getattr(model, "base", None)) if (run := getattr(part, "run", None))]
    open_ended = False
    for function in looked_at:
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if open_ended and len(looked_at) == 1 else names


def find_labels(model: nn.Module) -> list[str]:
    """The inputs that are labels, by their names."""
    names = inspect.signature(model.forward).parameters
    if all(name in names for name in _ANSWERS):
        return list(_ANSWERS)
    return [name for name in names if "label" in name]


class KnownColumns:
    """A collator that leaves out the columns which the model doesn't take.

    Raises:
        ArgumentError: none of a row's columns is known to the model.
    """

    def __init__(self, collate: Any, names: set[str]):
        self.collate = collate
        self.names = names | {"label", "label_ids", "word_ids", "special_tokens_mask"}

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        if isinstance(rows[0], Mapping):
            kept = [{name: value for name, value in row.items() if name in self.names} for row in rows]
            if not kept[0]:
                raise ArgumentError(
                    f"None of the data set's columns {sorted(rows[0])} is among the model's inputs "
                    f"{sorted(self.names)}: tokenize the data set first (dataset.map), or pass "
                    "remove_unused_columns=False and a collator that makes the inputs"
                )
            rows = kept
        return self.collate(rows)
