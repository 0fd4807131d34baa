"""Arrays of two to five dimensions in a column: `Array2D` to `Array5D`.

A row is stored as lists of lists (`list<list<int32>>`); that it is an array stands in the metadata of the Arrow field,
in the very form of an Arrow extension type. Files are therefore what the `datasets` library writes and reads, and any
other Arrow reader sees the lists. Inside enfold the columns keep their storage type, because a process has one
registry of extension types and the other library must find its names free.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features import dtypes
from enfold.datasets.features.types import register_feature

EXTENSION_NAME = b"ARROW:extension:name"
EXTENSION_DATA = b"ARROW:extension:metadata"


@dataclass
class ArrayND:
    """What `Array2D` to `Array5D` share.

    Args:
        shape: the size of each dimension; the first may be None, where rows differ.
        dtype: the type of the numbers.
    """

    shape: tuple
    dtype: str
    id: str | None = field(default=None, repr=False)
    ndim: ClassVar[int]

    def __post_init__(self):
        self.shape = tuple(self.shape)
        if len(self.shape) != self.ndim or None in self.shape[1:]:
            raise ArgumentError(
                f"{type(self).__name__} has {self.ndim} dimensions of which the first may be None: not {self.shape}."
            )

    def __call__(self) -> pa.DataType:
        """The storage: as many lists as dimensions."""
        kind = dtypes.arrow_dtype(self.dtype)
        for _ in self.shape:
            kind = pa.list_(kind)
        return kind

    def encode_example(self, value: Any) -> Any:
        return value

    @property
    def field_metadata(self) -> dict[bytes, bytes]:
        """What makes an Arrow field of this storage an array."""
        return {
            EXTENSION_NAME: f"datasets.features.features.Array{self.ndim}DExtensionType".encode(),
            EXTENSION_DATA: json.dumps((self.shape, self.dtype)).encode(),
        }

    def encode_array(self, values: Sequence[Any] | np.ndarray) -> pa.Array:
        """Arrays, nested lists or None, one a row → storage. DatasetError where a shape is another."""
        if isinstance(values, np.ndarray) and values.dtype != object and values.ndim == self.ndim + 1:
            self._check(values.shape[1:])
            return self._storage(values.reshape(-1), np.full(len(values), values.shape[1]), None)
        rows = [None if value is None else self._shaped(np.asarray(value)) for value in values]
        present = [row for row in rows if row is not None]
        if any(row.dtype == object or row.dtype.kind not in "biuf" for row in present):
            # missing numbers inside a row, or no numbers at all: through Arrow's own reading of nested lists
            for row in present:
                self._check(_nested_shape(row.tolist(), self.ndim))
            return pa.array([None if row is None else row.tolist() for row in rows], self())
        for row in present:
            self._check(row.shape)
        flat = np.concatenate([row.reshape(-1) for row in present]) if present else np.empty(0)
        missing = np.array([row is None for row in rows]) if len(present) < len(rows) else None
        return self._storage(flat, np.array([0 if row is None else len(row) for row in rows], np.int64), missing)

    def _shaped(self, row: np.ndarray) -> np.ndarray:
        """An empty list is an array of no rows, where rows may be any number."""
        return row.reshape(0, *self.shape[1:]) if row.shape == (0,) and self.shape[0] is None else row

    def _check(self, shape: tuple) -> None:
        if len(shape) != self.ndim or any(
            want not in (None, size) for want, size in zip(self.shape, shape, strict=True)
        ):
            raise DatasetError(f"an array of shape {tuple(shape)} stands where the column holds {self.shape}")

    def _storage(self, flat: np.ndarray, lengths: np.ndarray, missing: np.ndarray | None) -> pa.Array:
        array = pa.array(flat).cast(dtypes.arrow_dtype(self.dtype))
        for size in reversed(self.shape[1:]):
            count = len(array) // size if size else int(lengths.sum()) * math.prod(self.shape[1:-1])
            array = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * size, pa.int32()), array)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        mask = None if missing is None else np.append(missing, False)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32(), mask=mask), array)

    def to_numpy(self, array: pa.Array) -> np.ndarray:
        """Storage → `[rows, …shape]`. Missing rows are NaN (and all is float64 then); rows of different first
        dimensions are an object array of arrays."""
        array = storage_of(array)
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        flat = array
        for _ in self.shape:
            flat = flat.flatten()
        numbers = flat.to_numpy(zero_copy_only=False)
        if self.shape[0] is not None:
            full = numbers.reshape(len(array) - int(missing.sum()), *self.shape)
            if not missing.any():
                return full
            out = np.full((len(array), *self.shape), np.nan)
            out[~missing] = full
            return out
        blocks = numbers.reshape(int(lengths.sum()), *self.shape[1:])
        if not missing.any() and len(set(lengths.tolist())) <= 1:
            first = int(lengths[0]) if len(lengths) else 0
            return blocks.reshape(len(array), first, *self.shape[1:])
        rows = np.split(blocks, np.cumsum(lengths)[:-1])
        out = np.empty(len(array), dtype=object)
        out[:] = [np.nan if absent else row for row, absent in zip(rows, missing, strict=True)]
        return out


def _nested_shape(value: Any, ndim: int) -> tuple:
    shape: list[int] = []
    while len(shape) < ndim and isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        if any(not isinstance(inner, list) or len(inner) != len(value[0]) for inner in value) and len(shape) < ndim:
            break
        value = value[0]
    return tuple(shape)


def storage_of(array: pa.Array) -> pa.Array:
    """The array itself, or what an extension array (of another library) stores."""
    return array.storage if isinstance(array, pa.ExtensionArray) and not isinstance(array, pa.JsonArray) else array


@dataclass
class Array2D(ArrayND):
    """A matrix per row: `Array2D(shape=(None, 3), dtype="float32")`."""

    _type: str = field(default="Array2D", init=False, repr=False)
    ndim = 2


@dataclass
class Array3D(ArrayND):
    """An array of three dimensions per row."""

    _type: str = field(default="Array3D", init=False, repr=False)
    ndim = 3


@dataclass
class Array4D(ArrayND):
    """An array of four dimensions per row."""

    _type: str = field(default="Array4D", init=False, repr=False)
    ndim = 4


@dataclass
class Array5D(ArrayND):
    """An array of five dimensions per row."""

    _type: str = field(default="Array5D", init=False, repr=False)
    ndim = 5


ARRAYS = {
    f"datasets.features.features.{kind.__name__}ExtensionType": kind for kind in (Array2D, Array3D, Array4D, Array5D)
}
for _kind in ARRAYS.values():
    register_feature(_kind, _kind.__name__)


def array_feature(name: str, data: bytes | str) -> ArrayND | None:
    """The feature that an extension type's name and data stand for; None for other extensions."""
    if name not in ARRAYS:
        return None
    try:
        shape, dtype = json.loads(data)
        found = ARRAYS[name](shape=tuple(shape), dtype=dtype)
        found()
        return found
    except (ValueError, TypeError) as error:
        raise DatasetError(f"The shape of an Arrow extension type {name} can't be read: {error}") from error
