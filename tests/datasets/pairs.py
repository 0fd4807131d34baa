"""The same data set in enfold and in the reference, and what is compared of two results."""

import datetime
import math

import numpy as np

import datasets as reference
from enfold.datasets.dataset import Dataset
from enfold.datasets.dataset_dict import DatasetDict

COLUMNS = {
    "id": list(range(23)),
    "text": [None if i == 5 else "word " * (i % 4) for i in range(23)],
    "score": [None if i % 7 == 3 else i * 1.5 - 10 for i in range(23)],
    "flag": [i % 3 == 0 for i in range(23)],
    "label": [i % 3 for i in range(23)],
    "tokens": [[str(j) for j in range(i % 4)] if i != 4 else None for i in range(23)],
    "meta": [{"url": f"u{i}", "deep": {"n": i, "list": [i, None]}} for i in range(23)],
    "when": [datetime.datetime(2024, 1, 1 + i) for i in range(23)],
    "raw": [bytes([i, 255 - i]) for i in range(23)],
}


def both(columns=None, labels=True, on_disk=None):
    """(ours, the reference's): in memory, or as Arrow files in the folder `on_disk`."""
    columns = COLUMNS if columns is None else columns
    theirs = reference.Dataset.from_dict(columns)
    if labels and "label" in columns:
        theirs = theirs.cast_column("label", reference.ClassLabel(names=["a", "b", "c"])).with_format(None)
    if on_disk is not None:
        theirs.save_to_disk(str(on_disk / "data"))
        return Dataset.load_from_disk(on_disk / "data"), reference.load_from_disk(str(on_disk / "data"))
    return Dataset(theirs.data.table), theirs


def same(ours, theirs):
    """Values, order, column names, types and format are those of the reference."""
    if isinstance(ours, DatasetDict):
        assert list(ours) == list(theirs)
        for name in ours:
            same(ours[name], theirs[name])
        return
    assert ours.column_names == theirs.column_names
    assert {name: str(feature) for name, feature in ours.features.items()} == {
        name: str(feature) for name, feature in theirs.features.items()
    }
    assert ours.num_rows == theirs.num_rows
    assert ours.shape == theirs.shape
    assert ours.to_dict() == theirs.to_dict()
    assert ours.format == theirs.format
    assert list(ours.with_format(None)) == list(theirs.with_format(None))


def equal(left, right):
    """Python values, arrays and tensors alike."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return type(left) is type(right) and left.dtype == right.dtype and left.tolist() == right.tolist()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return left == right
