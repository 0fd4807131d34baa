"""Rows to train on and to score, from wherever they come."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.evaluate.evaluators.data import SPLITS, read

_TRAINING = ("train", "training")
_HELD_OUT = ("validation", "val", "valid", "dev", "eval", "evaluation")


def parts_of(data: Any, subset: str | None = None) -> dict[str, Any]:
    """Splits by name: of a file, a dataset's name, a dataset, a dictionary of columns or a list of rows.

    Raises:
        ArgumentError: anything else.
    """
    if isinstance(data, str | Path):
        data = read(data, subset)
    if isinstance(data, Mapping) and data and all(hasattr(part, "column_names") for part in data.values()):
        return dict(data)
    if hasattr(data, "column_names") and hasattr(data, "map"):
        return {"train": data}
    from enfold.datasets import Dataset

    if isinstance(data, Mapping):
        return {"train": Dataset.from_dict(dict(data))}
    if isinstance(data, list) and all(isinstance(row, Mapping) for row in data):
        return {"train": Dataset.from_list(data)}
    raise ArgumentError(
        f"data is a {type(data).__name__}; expected a file, a dataset's name, a dataset, a dictionary of columns or a "
        "list of rows"
    )


def training_and_evaluation(
    data: Any,
    eval_data: Any = None,
    *,
    subset: str | None = None,
    split: str | None = None,
    eval_split: str | None = None,
) -> tuple[Any, Any]:
    """The rows to learn and those to score; without `eval_data`, the dataset's own validation split, or None."""
    parts = parts_of(data, subset)
    rows = _chosen(parts, split, _TRAINING, "split")
    if eval_data is not None:
        return rows, _chosen(parts_of(eval_data, subset), eval_split, (*_HELD_OUT, *SPLITS), "eval_split")
    held_out = [name for name in _HELD_OUT if name in parts and parts[name] is not rows]
    return rows, _chosen(parts, eval_split, _HELD_OUT, "eval_split") if eval_split or held_out else None


def _chosen(parts: dict[str, Any], name: str | None, preferred: tuple[str, ...], option: str) -> Any:
    if name is None:
        name = next((one for one in preferred if one in parts), next(iter(parts)) if len(parts) == 1 else None)
    if name not in parts:
        asked = f"{option} is {name!r}" if name else f"which split to take isn't clear ({option})"
        raise ArgumentError(f"{asked}; the data have {', '.join(parts)}")
    return parts[name]
