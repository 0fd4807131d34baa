"""What the formats of arrays and tensors share: columns as numpy, and nested values as tensors where they can be.

Numbers are one array where all rows have one shape; rows of different shapes stay a list (an object array in numpy).
Integers become int64 and floats float32 unless `dtype=` says otherwise; missing numbers are NaN. Text, None and what no
tensor holds stay Python objects. Structs are dicts of the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.datasets.features import FeatureType, LargeList, List, Value
from enfold.datasets.features.arrays import ArrayND, storage_of
from enfold.datasets.features.images import is_picture
from enfold.datasets.features.sounds import AudioDecoder
from enfold.datasets.formats.base import Format


class TensorFormat(Format):
    """Rows and batches as dicts of tensors. A subclass says what a tensor is.

    Args:
        options: what the library's constructor of tensors takes, `dtype=` among them.
    """

    def __init__(self, *, features: Any = None, token_per_repo_id: Any = None, **options: Any):
        super().__init__(features, token_per_repo_id)
        self.options = options

    # what a library does

    whole: Any
    """The type that integers become."""
    real: Any
    """The type that floats become."""

    def make(self, value: Any, kind: dict[str, Any]) -> Any:
        """A number, an array of numpy or a tensor as a tensor; `kind` is `dtype=` where no option says otherwise."""
        raise NotImplementedError

    def tensor(self, value: Any) -> Any:
        return self.make(value, default_dtype(value, self.whole, self.real))

    def is_tensor(self, value: Any) -> bool:
        raise NotImplementedError

    def stack(self, items: list[Any]) -> Any:
        """Tensors as one where they have one shape and type, else as they come."""
        raise NotImplementedError

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """`[height, width(, channels)]` in the order that the library's users expect."""
        return pixels

    def text(self, value: Any) -> Any:
        """A text, bytes, or numpy's arrays of them."""
        return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value

    def row(self, table: pa.Table) -> dict[str, Any]:
        return {name: self.tensors(next(iter(self._values(table, name)))) for name in table.column_names}

    def split(self, flat: Any, lengths: list[int]) -> list[Any] | None:
        """A tensor in pieces of these lengths, as views of it; None where the library has no such thing."""
        return None

    def column(self, table: pa.Table, name: str) -> Any:
        rows = self._ragged(table, name)
        return self.tensors(self._values(table, name)) if rows is None else self.stack(rows)

    def _ragged(self, table: pa.Table, name: str) -> list[Any] | None:
        """Lists of numbers, of several lengths, as tensors cut out of one."""
        found = numpy_ragged(table.column(name), self.feature(table, name))
        return None if found is None else self.split(self.tensor(found[0]), found[1].tolist())

    def batch(self, table: pa.Table) -> dict[str, Any]:
        return {name: self.column(table, name) for name in table.column_names}

    def rows(self, table: pa.Table) -> Iterator[dict[str, Any]]:
        columns = [self._rows_of(table, name) for name in table.column_names]
        for values in zip(*columns, strict=True):
            yield dict(zip(table.column_names, values, strict=True))

    def _rows_of(self, table: pa.Table, name: str) -> Iterator[Any]:
        column = table.column(name)
        whole = column.null_count == 0 and self.decoder(table, name) is None
        values = numpy_fast(column, self.feature(table, name)) if whole else None
        if values is not None and values.ndim > 1:
            return iter(self.tensors(values))
        if values is not None:
            return (self.tensors(value) for value in values)
        if (rows := self._ragged(table, name)) is not None:
            return iter(rows)
        return (self.tensors(next(iter(self._values(table.slice(row, 1), name)))) for row in range(table.num_rows))

    def _values(self, table: pa.Table, name: str) -> Any:
        column = table.column(name)
        if self.decoder(table, name) is None:
            return numpy_column(column, self.feature(table, name))
        return self.decoded(table, name, numpy_rows(column, self.feature(table, name)))

    def tensors(self, value: Any) -> Any:
        """Whatever numpy or Python holds, as tensors as far as it goes."""
        if isinstance(value, (str, bytes, type(None), AudioDecoder)):
            return self.text(value) if isinstance(value, (str, bytes)) else value
        if isinstance(value, Mapping):
            return {key: self.tensors(inner) for key, inner in value.items()}
        if self.is_tensor(value):
            return self.tensor(value)
        if is_picture(value):
            return self.make(self.picture(np.asarray(value)), {})
        if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "__array__"):
            value = np.asarray(value)
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
            return self.stack([self.tensors(item) for item in value])
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "SU":
            return self.text(value)
        return self.tensor(value)


def default_dtype(value: Any, whole: Any, real: Any) -> dict[str, Any]:
    """`dtype=` for numpy's integers and floats; nothing for the rest."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "iu":
            return {"dtype": whole}
        if value.dtype.kind == "f":
            return {"dtype": real}
    return {}


def numpy_column(column: pa.ChunkedArray, feature: FeatureType) -> np.ndarray:
    """A column as one array: `[rows, …]` of numbers where rows have one shape, else an object array."""
    fast = numpy_fast(column, feature)
    return settled(numpy_rows(column, feature)) if fast is None else fast


def numpy_fast(column: pa.ChunkedArray, feature: FeatureType) -> np.ndarray | None:
    """Numbers without gaps, in lists of one length: a view of Arrow's memory where it is one piece. Else None."""
    if isinstance(feature, ArrayND):
        parts = [feature.to_numpy(chunk) for chunk in column.chunks]
        same = parts and len({part.shape[1:] for part in parts}) == 1 and all(part.dtype != object for part in parts)
        return np.concatenate(parts) if same else None
    depth = 0
    while isinstance(feature, (List, LargeList)):
        feature, depth = feature.feature, depth + 1
    if not _is_numeric(feature):
        return None
    if not depth:
        return None if column.null_count else column.to_numpy()
    if not len(column):
        return None
    array = storage_of(column.chunk(0)) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    shape = [len(array)]
    for _ in range(depth):
        if array.null_count:
            return None
        size = _one_length(array)
        if not size:
            return None
        shape.append(size)
        array = array.flatten()
    return None if array.null_count else array.to_numpy().reshape(shape)


def numpy_ragged(column: pa.ChunkedArray, feature: FeatureType) -> tuple[np.ndarray, np.ndarray] | None:
    """Lists of numbers without gaps, of several lengths: all numbers, and how many each row has. Else None."""
    if (
        not (isinstance(feature, (List, LargeList)) and _is_numeric(feature.feature))
        or column.null_count
        or not len(column)
    ):
        return None
    array = storage_of(column.chunk(0)) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    if _one_length(array) is not None:
        return None
    flat = array.flatten()
    return None if flat.null_count else (flat.to_numpy(), np.diff(array.offsets.to_numpy()))


def _is_numeric(feature: FeatureType) -> bool:
    if not isinstance(feature, Value):
        return False
    return pa.types.is_floating(feature.pa_type) or pa.types.is_integer(feature.pa_type)


def _one_length(array: pa.Array) -> int | None:
    if pa.types.is_fixed_size_list(array.type):
        return array.type.list_size
    if len(array) == 1:
        return array.value_lengths()[0].as_py()
    steps = np.diff(array.offsets.to_numpy())
    return int(steps[0]) if len(steps) and (steps == steps[0]).all() else None


def numpy_rows(column: pa.ChunkedArray, feature: FeatureType) -> list[Any]:
    """Each row as numpy has it: numbers, arrays of them, dicts, text, None (NaN among numbers)."""
    if isinstance(feature, ArrayND):
        return [row for chunk in column.chunks for row in feature.to_numpy(chunk)]
    return [row for chunk in column.chunks for row in storage_of(chunk).to_numpy(zero_copy_only=False)]


def settled(rows: list[Any]) -> np.ndarray:
    """Rows as one array where they stack, as an object array of rows where they don't."""
    arrays = [row for row in rows if isinstance(row, np.ndarray)]
    if arrays and (
        len(arrays) < len(rows)
        or any(array.dtype == object for array in arrays)
        or len({array.shape for array in arrays}) > 1
    ):
        out = np.empty(len(rows), dtype=object)
        out[:] = rows
        return out
    return np.asarray(rows)
