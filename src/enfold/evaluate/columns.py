"""Columns of a module's inputs: checked against what the metric takes, kept, and written so that they come back equal.

A feature says what a row holds: "label" (a number or a text), "int", "float", "string", "map" (a map of classes), a
list of a feature, or a dictionary of them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError

Feature = Any
# What NumPy's kinds are called in a feature.
_KINDS = {"label": "biuUSO", "int": "biu", "float": "biuf"}
_ARRAY = "ndarray"


def as_chunk(column: Any) -> Any:
    """Rows as a NumPy array of numbers (a copy) or a list, from whatever holds them.

    Raises:
        ArgumentError: something without rows.
    """
    if isinstance(column, (str, bytes, Mapping)) or column is None:
        raise ArgumentError(f"got {column!r:.60} as a column; expected a list with one item a row")
    if hasattr(column, "detach"):  # a torch tensor, whatever its device and dtype
        column = column.detach().cpu()
        column = column.float() if str(column.dtype) == "torch.bfloat16" else column
        column = column.numpy()
    elif hasattr(column, "to_pylist"):
        return column.to_pylist()
    elif not isinstance(column, (list, tuple, np.ndarray)) and hasattr(column, "__array__"):
        column = np.asarray(column)
    if isinstance(column, np.ndarray):
        if column.ndim == 0:
            raise ArgumentError("got a single number as a column; expected a list with one item a row")
        return column.copy() if column.dtype.kind in "biuf" else column.tolist()
    try:
        return list(column)
    except TypeError:
        raise ArgumentError(f"got a {type(column).__name__} as a column; expected a list with one item a row") from None


def check_column(name: str, chunk: Any, feature: Feature) -> str | None:
    """Why a chunk can't be of a feature, or None."""
    if isinstance(chunk, np.ndarray):
        depth = 1
        inner = feature
        while isinstance(inner, list):
            inner, depth = inner[0], depth + 1
        if inner in ("map", "any"):
            return None
        kinds = _KINDS.get(inner, "") if isinstance(inner, str) else ""
        whole = inner != "float" and chunk.dtype.kind == "f" and bool((chunk == np.floor(chunk)).all())
        if kinds and chunk.ndim == depth and (chunk.dtype.kind in kinds or whole):
            return None
        return f"{name} is an array of {chunk.dtype} with {chunk.ndim} axes, expected {describe(feature)} in each row"
    for row, item in enumerate(chunk):
        if not _fits(item, feature):
            return f"row {row} of {name} is {_shown(item)}, expected {describe(feature)}"
    return None


def _fits(item: Any, feature: Feature) -> bool:
    if isinstance(feature, list):
        if isinstance(item, np.ndarray):
            return check_column("", item, feature[0]) is None
        return isinstance(item, (list, tuple)) and all(_fits(inner, feature[0]) for inner in item)
    if isinstance(feature, dict):
        return isinstance(item, Mapping) and all(key in item and _fits(item[key], feature[key]) for key in feature)
    if feature == "any":
        return True
    if feature == "string":
        return isinstance(item, str)
    if feature == "label":
        return isinstance(item, (str, bool, int, np.integer, np.bool_)) or _whole(item)
    if feature == "int":
        return isinstance(item, (bool, int, np.integer, np.bool_)) or _whole(item)
    if feature == "float":
        return isinstance(item, (bool, int, float, np.number, np.bool_))
    return hasattr(item, "__array__") or isinstance(item, (list, tuple))  # "map"


def _whole(item: Any) -> bool:
    return isinstance(item, (float, np.floating)) and float(item).is_integer()


_WORDS = {
    "label": ("a label (a whole number or a text)", "labels (whole numbers or texts)"),
    "int": ("a whole number", "whole numbers"),
    "float": ("a number", "numbers"),
    "string": ("a text", "texts"),
    "map": ("a map of class numbers", "maps of class numbers"),
    "any": ("anything", "anything"),
}


def describe(feature: Feature) -> str:
    """A feature in words."""
    if isinstance(feature, list):
        return f"a list of {_WORDS[feature[0]][1]}" if isinstance(feature[0], str) else "a list"
    if isinstance(feature, dict):
        return "a dictionary with " + ", ".join(feature)
    return _WORDS[feature][0]


def _shown(item: Any) -> str:
    shown = repr(item)
    return f"{shown if len(shown) < 60 else shown[:60] + '…'} (a {type(item).__name__})"


def joined(chunks: Sequence[Any]) -> Any:
    """All rows: one array where all chunks are arrays of one shape, else a list."""
    arrays = [chunk for chunk in chunks if isinstance(chunk, np.ndarray)]
    if len(arrays) == len(chunks) and arrays and len({array.shape[1:] for array in arrays}) == 1:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if len(chunks) == 1:
        return chunks[0]
    return [row for chunk in chunks for row in (chunk.tolist() if _flat(chunk) else chunk)]


def _flat(chunk: Any) -> bool:
    return isinstance(chunk, np.ndarray) and chunk.ndim == 1


def to_line(batch: Mapping[str, Any]) -> str:
    """Columns as a line of JSON; arrays keep their bytes."""
    return json.dumps(batch, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "detach") or hasattr(value, "__array__"):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "biuf":
            return array.tolist()
        packed = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {_ARRAY: packed, "dtype": array.dtype.str, "shape": array.shape}
    raise ArgumentError(f"a row holds a {type(value).__name__}; expected texts, numbers, arrays, or lists of them")


def from_line(line: str | bytes) -> dict[str, Any]:
    """What `to_line` wrote."""
    return json.loads(line, object_hook=_arrays)


def _arrays(found: dict[str, Any]) -> Any:
    if found.keys() != {_ARRAY, "dtype", "shape"}:
        return found
    dtype = np.dtype(found["dtype"])
    if dtype.kind not in "biuf":
        raise ArgumentError(f"an array of {dtype} in a file of rows; expected numbers")
    return np.frombuffer(base64.b64decode(found[_ARRAY]), dtype).reshape(found["shape"]).copy()
