"""What every part of `Dataset` stands on: an Arrow table, an order of its rows, features, and how rows are shown."""

import copy
import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features import Features, cast_table, require_decoding
from enfold.datasets.fingerprint import next_fingerprint, table_fingerprint
from enfold.datasets.formats import formatter
from enfold.datasets.info import DatasetInfo
from enfold.datasets.shown import TABLE_FORMATS, Shown
from enfold.datasets.table import Blocks, pieces

# Rows decoded at once while iterating: few enough to be held, enough that the cost of a table is shared.
ITER_ROWS = 1000


class Core(Shown):
    """Rows, and how they are shown.

    Args:
        arrow_table: the rows.
        info: what is known of them; `info.features` says what the columns mean (by default the table's schema does).
        split: the split's name.
        indices_table: an order of (some of) the rows, as an array of integers or a table of one such column.
        fingerprint: names this content and how it came to be; taken from the table's files where it isn't given.
        source_files: the Arrow files behind the table (cached results are put beside them).
        indices_files: the files behind the order.
    """

    def __init__(
        self,
        arrow_table: pa.Table,
        info: DatasetInfo | None = None,
        split: str | None = None,
        indices_table: pa.Table | np.ndarray | None = None,
        fingerprint: str | None = None,
        *,
        source_files: Iterable[str] = (),
        indices_files: Iterable[str] = (),
    ):
        _check_unique(arrow_table.column_names)
        self._info = DatasetInfo() if info is None else info.copy()
        self._split = split
        features = Features.from_arrow_schema(arrow_table.schema)
        if self._info.features is not None:
            features = _reconciled(self._info.features, features)
        self._info.features = features
        self._data = _dressed(arrow_table, features)
        self._indices = _as_indices(indices_table)
        self._known_fingerprint = fingerprint
        self._source_files = tuple(source_files)
        self._indices_files = tuple(indices_files)
        self._show_all()
        # Search indexes by name (`enfold.datasets.search`).
        self._indexes: dict[str, Any] = {}

    # What it is

    @property
    def info(self) -> DatasetInfo:
        """What is known about the data set."""
        return self._info

    @property
    def split(self) -> Any:
        """The split's name."""
        return self._split

    @property
    def features(self) -> Features:
        """Column name → type."""
        assert self._info.features is not None
        return self._info.features

    @property
    def data(self) -> pa.Table:
        """The Arrow table behind the rows (all of it, in its own order)."""
        return self._data

    @property
    def _fingerprint(self) -> str:
        if self._known_fingerprint is None:
            self._known_fingerprint = table_fingerprint(self._data, self._indices, self._source_files)
        return self._known_fingerprint

    @_fingerprint.setter
    def _fingerprint(self, value: str) -> None:
        self._known_fingerprint = value

    @property
    def cache_files(self) -> list[dict[str, str]]:
        """The Arrow files behind the rows and their order."""
        return [{"filename": path} for path in (*self._source_files, *self._indices_files)]

    @property
    def column_names(self) -> list[str]:
        return list(self._data.column_names)

    @property
    def num_columns(self) -> int:
        return self._data.num_columns

    @property
    def num_rows(self) -> int:
        return self._data.num_rows if self._indices is None else len(self._indices)

    @property
    def shape(self) -> tuple[int, int]:
        """(number of rows, number of columns)."""
        return self.num_rows, self.num_columns

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"Dataset({{\n    features: {self.column_names},\n    num_rows: {self.num_rows}\n}})"

    # Rows and columns

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self._data)

    def _rows(self, key: Any) -> pa.Table:
        """The rows `key` (an integer, a slice, a range, integers) as an Arrow table."""
        count = self.num_rows
        if isinstance(key, slice):
            key = range(*key.indices(count))
        if isinstance(key, range):
            if key.step == 1 and key.start >= 0 and key.stop <= count:
                return self._run(key.start, max(len(key), 0))
            key = np.arange(key.start, key.stop, key.step)
        if isinstance(key, Iterable) and not isinstance(key, bytes):
            return self._picked(_index_array(key, count))
        row = _index(key, count)
        return self._run(row, 1)

    def _run(self, start: int, length: int) -> pa.Table:
        if self._indices is None:
            return self._blocks.slice(start, length)
        return self._blocks.take(self._indices[start : start + length])

    def _picked(self, indices: np.ndarray) -> pa.Table:
        return self._blocks.take(indices if self._indices is None else self._indices[indices])

    def _tables(self, size: int, *, start: int = 0, stop: int | None = None, drop_last: bool = False):
        """The rows from `start` to `stop` as Arrow tables of `size` rows."""
        stop = self.num_rows if stop is None else stop
        if self._indices is None:
            yield from pieces([self._run(start, stop - start)], size, drop_last=drop_last)
            return
        for at in range(start, stop, size):
            if drop_last and at + size > stop:
                return
            yield self._run(at, min(size, stop - at))

    def __getitem__(self, key: Any) -> Any:
        """A row (integer), rows (slice, range, integers) or a column (name), shown in the format that is set."""
        if isinstance(key, bool):
            raise TypeError("a data set is indexed by int, str, slice or a collection of int, not by bool")
        if isinstance(key, str):
            if key not in self._data.column_names:
                raise KeyError(f"Column {key} not in the dataset. Its columns: {self.column_names}")
            if self._format_type not in TABLE_FORMATS:
                return Column(self, key)
            table = self._only(key)._rows(slice(None))
            if self._format_columns is not None and key not in self._format_columns:
                return formatter(None).column(table, key)
            return self._formatter.column(table, key)
        if isinstance(key, slice | range) or (isinstance(key, Iterable) and not isinstance(key, bytes)):
            return self._shown(self._rows(key), "batch")
        return self._shown(self._rows(key), "row")

    def __getitems__(self, keys: Sequence[int]) -> list[Any]:
        """The rows `keys`, read at once; what a torch DataLoader asks for."""
        batch = self[keys]
        names = list(batch)
        return [dict(zip(names, values, strict=True)) for values in zip(*(batch[name] for name in names), strict=True)]

    def __iter__(self) -> Iterator[Any]:
        if self._format_type is None and self._format_columns is None:
            yield from self._python_rows()
            return
        for table in self._tables(ITER_ROWS):
            yield from self._shown_rows(table)

    def iter(self, batch_size: int, drop_last_batch: bool = False) -> Iterator[Any]:
        """Batches of `batch_size` rows, in the format that is set; the last may be shorter, or is dropped."""
        for table in self._tables(batch_size, drop_last=drop_last_batch):
            yield self._shown(table, "batch")

    def _python_rows(self) -> Iterator[dict[str, Any]]:
        show, names, heavy = formatter(None), self.column_names, self._heavy
        light = [name for name in names if name not in heavy]
        for table in self._tables(ITER_ROWS):
            if heavy:
                columns = dict(zip(light, (show.column(table, name) for name in light), strict=True))
                for row in range(table.num_rows):
                    one = table.slice(row, 1)
                    yield {name: show.column(one, name)[0] if name in heavy else columns[name][row] for name in names}
            else:
                batch = show.batch(table)
                for values in zip(*(batch[name] for name in names), strict=True):
                    yield dict(zip(names, values, strict=True))

    @property
    def _heavy(self) -> frozenset[str]:
        """Columns whose values cost to decode (images, audio): one by one, when they are looked at."""
        return frozenset(name for name, feature in self.features.items() if require_decoding(feature))

    # Others made from this one

    def _twin(self) -> Self:
        """A shallow copy whose format and info can be changed alone."""
        twin = copy.copy(self)
        twin._info = self._info.copy()
        twin._indexes = dict(self._indexes)
        twin.__dict__.pop("_formatter", None)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Tables and orders never change, so copies share them.
        return self._twin()

    def _derived(
        self,
        table: pa.Table | None = None,
        *,
        features: Features | None = None,
        indices: Any = ...,
        fingerprint: str | None = None,
        source_files: Iterable[str] | None = None,
        indices_files: Iterable[str] | None = None,
    ) -> Self:
        """Another data set with this one's info and format; what isn't given stays."""
        info = self._info.copy()
        if table is not None:
            info.features = features
        twin = type(self)(
            self._data if table is None else table,
            info,
            self._split,
            self._indices if indices is ... else indices,
            fingerprint,
            source_files=self._source_files if source_files is None else source_files,
            indices_files=self._indices_files if indices_files is None else indices_files,
        )
        if table is None and "_blocks" in self.__dict__:
            twin._blocks = self._blocks
        twin._take_format(self)
        return twin

    def _only(self, name: str) -> Self:
        """This data set's column `name` alone."""
        twin = copy.copy(self)
        twin._data = self._data.select([name])
        twin._info = DatasetInfo(features=Features({name: self.features[name]}))
        twin._format_columns = None
        twin.__dict__.pop("_blocks", None)
        twin.__dict__.pop("_formatter", None)
        return twin

    def _next(self, transform: str, **arguments: Any) -> str:
        """The fingerprint after `transform`."""
        return next_fingerprint(self._fingerprint, transform, arguments)

    def _no_indexes(self, method: str) -> None:
        if self._indexes:
            raise IndexedError(
                f"{method} would leave the search indexes {sorted(self._indexes)} pointing at other rows: call "
                f"drop_index() first, and add them again afterwards"
            )


class IndexedError(DatasetError):
    """A data set with search indexes can't be reordered or resized."""


class Column(Sequence):
    """A column, read when it is looked at: `data["text"][0]`, `data["text"][:3]`, `data["meta"]["url"]`."""

    def __init__(self, source: Any, column_name: str):
        features = source.features
        if not isinstance(features, dict) or column_name not in features:
            raise ArgumentError(f"Column '{column_name}' doesn't exist.")
        self.source = source
        self.column_name = column_name
        self.features = features[column_name]

    @property
    def _reader(self) -> Any:
        """The data set, of this column alone unless a transform may need the others."""
        if not isinstance(self.source, Core) or self.source._format_type == "custom":
            return self.source
        return self.source._only(self.column_name)

    def __iter__(self) -> Iterator[Any]:
        for row in self._reader:
            yield row[self.column_name]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return Column(self, key)
        if isinstance(self.source, Core):
            return self._reader[key][self.column_name]
        found = self.source[key]
        if isinstance(found, dict):
            return found[self.column_name]
        return [item[self.column_name] for item in found]

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"Column({_first(self)})"

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, Column) else other)

    __hash__ = None  # type: ignore[assignment]


def _first(column: Column) -> str:
    shown = repr(list(column[:5]))
    return f"{shown[:-1]}, ...]" if len(column) > 5 else shown


def _index(key: Any, count: int) -> int:
    try:
        row = operator.index(key)
    except TypeError:
        raise TypeError(
            f"a data set is indexed by int, str, slice or a collection of int, not by {type(key).__name__}"
        ) from None
    if not -count <= row < count:
        raise IndexError(f"Invalid key: {row} is out of bounds for size {count}")
    return row % count


def _index_array(key: Iterable[Any], count: int) -> np.ndarray:
    """Integers (negative ones count from the end) as rows, checked."""
    if isinstance(key, np.ndarray):
        indices = key
    elif hasattr(key, "to_numpy"):
        indices = key.to_numpy()  # type: ignore[attr-defined]
    elif hasattr(key, "numpy"):
        indices = key.numpy()  # type: ignore[attr-defined]
    else:
        indices = np.array(key if isinstance(key, list) else list(key))
    if indices.size == 0:
        return np.empty(0, np.int64)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise TypeError(
            f"rows are chosen by integers in one dimension, not by {indices.dtype} of shape {indices.shape}"
        )
    indices = indices.astype(np.int64, copy=False)
    low, high = int(indices.min()), int(indices.max())
    if low < -count or high >= count:
        raise IndexError(f"Invalid key: {low if low < -count else high} is out of bounds for size {count}")
    return np.where(indices < 0, indices + count, indices) if low < 0 else indices


def _check_unique(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"The table can't have duplicated columns but columns {twice} are duplicated.")


def _reconciled(told: Features, found: Features) -> Features:
    """The features that were told, in the order of the table's columns and fields; an error where they differ."""
    if set(told) != set(found):
        raise DatasetError(f"the features name the columns {sorted(told)}, the table has {sorted(found)}")
    try:
        return told.reorder_fields_as(found)
    except ValueError as error:
        raise DatasetError(f"the features don't fit the table: {error}") from error


def _dressed(table: pa.Table, features: Features) -> pa.Table:
    """The table with the features' types and metadata."""
    schema = features.arrow_schema
    if table.schema.equals(schema, check_metadata=False):
        return table.replace_schema_metadata(schema.metadata)
    return cast_table(table, features)


def _as_indices(indices: Any) -> np.ndarray | None:
    if isinstance(indices, pa.Table):
        column = indices.column(0)
        if not pa.types.is_integer(column.type):
            raise DatasetError(f"an order of rows is a column of integers, not of {column.type}")
        # One chunk (all that is written here) is a view of the file.
        values = column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()
        return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)
    return None if indices is None else np.asarray(indices, np.int64)
