"""Rows on their way through a pipeline, and the place they stand at.

Rows come in three kinds, and a step takes whichever it gets: an Arrow table (nobody has looked inside yet), `Columns`
(what a batched function returned) and a list of dictionaries (what functions over single rows return, any objects).
Arrow becomes Python where a function or the consumer looks at it; Python becomes Arrow only where features say how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError

if TYPE_CHECKING:
    from enfold.datasets.streams.node import Node
    from enfold.datasets.streams.show import Decoder

# Where a stream is to go on: a dictionary of JSON values, None for its beginning.
Place = dict[str, Any] | None
# `place(k)`: the place after the first k rows of a block. Worked out when somebody asks, which is rarely.
PlaceAfter = Callable[[int], Place]


class Stored(Sequence[Any]):
    """A column that is still Arrow, read as Python objects one by one (images and audio are decoded then)."""

    __slots__ = ("decoder", "name", "table")

    def __init__(self, table: pa.Table, name: str, decoder: Decoder):
        self.table, self.name, self.decoder = table, name, decoder

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return Stored(self.table.slice(start, max(stop - start, 0)), self.name, self.decoder)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._decoded(self.table.slice(index, 1))[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self))) if self.is_heavy else iter(self.tolist())

    @property
    def is_heavy(self) -> bool:
        """Whether its values are large when they are decoded."""
        return self.name in self.decoder.heavy

    def tolist(self) -> Sequence[Any]:
        """All values."""
        return self._decoded(self.table)

    def take(self, indices: np.ndarray) -> Stored:
        """The values at `indices`, still Arrow."""
        return Stored(self.table.take(pa.array(indices)), self.name, self.decoder)

    def _decoded(self, table: pa.Table) -> Sequence[Any]:
        return self.decoder.column(table, self.name)


def unwrapped(column: Any) -> Any:
    """The Arrow column that is `Stored`; others as they are."""
    return column.table.column(column.name) if isinstance(column, Stored) else column


class Columns(dict[str, Sequence[Any]]):
    """Columns of one length: lists, arrays, or `Stored`."""

    __slots__ = ("num_rows",)

    def __init__(self, columns: Mapping[str, Sequence[Any]], num_rows: int | None = None):
        super().__init__(columns)
        lengths = {name: len(column) for name, column in columns.items()}
        if num_rows is None:
            num_rows = next(iter(lengths.values()), 0)
        if any(length != num_rows for length in lengths.values()):
            raise DatasetError(
                f"columns differ in length: {lengths}; a batched function must return as many values for each column, "
                "and remove_columns= those it makes more or fewer of"
            )
        self.num_rows = num_rows


# A table, `Columns` or a list of dictionaries. (pyarrow has no types for a checker to tell them apart by.)
Rows = Any


class Block:
    """Some rows and where they stand."""

    __slots__ = ("place", "rows")

    def __init__(self, rows: Rows, place: PlaceAfter):
        self.rows, self.place = rows, place


def count(rows: Rows) -> int:
    """How many rows."""
    return len(rows) if isinstance(rows, list) else rows.num_rows


def cut(rows: Rows, start: int, stop: int) -> Rows:
    """Rows `start` to `stop`, without a copy of what is Arrow."""
    if isinstance(rows, list):
        return rows[start:stop]
    if isinstance(rows, pa.Table):
        return rows.slice(start, stop - start)
    return Columns({name: column[start:stop] for name, column in rows.items()}, stop - start)


def pick(rows: Rows, indices: np.ndarray) -> Rows:
    """The rows at `indices`, in that order."""
    if isinstance(rows, list):
        return [rows[index] for index in indices.tolist()]
    if isinstance(rows, pa.Table):
        return rows.take(pa.array(indices))
    return Columns({name: _picked(column, indices) for name, column in rows.items()}, len(indices))


def _picked(column: Any, indices: np.ndarray) -> Any:
    if isinstance(column, Stored):
        return column.take(indices)
    if isinstance(column, np.ndarray):
        return column[indices]
    return [column[index] for index in indices.tolist()]


def join(parts: Sequence[Rows], decoder: Decoder) -> Rows:
    """The parts, one after the other: a table where all of them are tables of one schema, else a list of rows."""
    if len(parts) == 1:
        return parts[0]
    tables = [part for part in parts if isinstance(part, pa.Table)]
    if len(tables) == len(parts):
        names = tables[0].column_names
        if all(table.column_names == names or sorted(table.column_names) == sorted(names) for table in tables):
            return pa.concat_tables([table.select(names) for table in tables], promote_options="permissive")
    return [row for part in parts for row in listed(part, decoder)]


def listed(rows: Rows, decoder: Decoder) -> list[dict[str, Any]]:
    """The rows as dictionaries of Python objects."""
    if isinstance(rows, list):
        return rows
    if isinstance(rows, pa.Table):
        rows = Columns({name: decoder.column(rows, name) for name in rows.column_names}, rows.num_rows)
    if not rows:
        return [{} for _ in range(rows.num_rows)]
    values = [column.tolist() if isinstance(column, Stored) else column for column in rows.values()]
    names = tuple(rows)
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def columned(rows: Rows) -> Rows:
    """A table as it is; rows as columns, where a row that lacks one has None."""
    if not isinstance(rows, list):
        return rows
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns({name: [row.get(name) for row in rows] for name in names}, len(rows))


def batches_of(blocks: Iterable[Block], size: int | None, decoder: Decoder) -> Iterator[Rows]:
    """The rows of blocks in batches of `size` (None: all in one)."""
    parts, missing = [], size
    for block in blocks:
        start, number = 0, count(block.rows)
        while missing is not None and number - start >= missing:
            parts.append(cut(block.rows, start, start + missing))
            start += missing
            yield join(parts, decoder)
            parts, missing = [], size
        if start < number:
            parts.append(cut(block.rows, start, number))
            missing = None if missing is None else missing - (number - start)
    if parts:
        yield join(parts, decoder)


class Reader:
    """A stream that is read by the row, and always knows its place.

    Args:
        node: the pipeline.
        place: where to begin.
    """

    __slots__ = ("_blocks", "block", "left", "node", "offset", "start")

    def __init__(self, node: Node, place: Place):
        self.node, self.start = node, place
        self._blocks = node.open(place)
        self.block: Block | None = None
        self.offset = self.left = 0

    def fill(self) -> bool:
        """Have at least one row at hand; False at the end."""
        while not self.left:
            block = next(self._blocks, None)
            if block is None:
                return False
            self.block, self.offset, self.left = block, 0, count(block.rows)
        return True

    def take(self, wanted: int) -> Rows:
        """Up to `wanted` rows, as many as are at hand (after `fill`)."""
        block = self.block
        assert block is not None
        number = min(wanted, self.left)
        start = self.offset
        self.offset += number
        self.left -= number
        return block.rows if not start and not self.left else cut(block.rows, start, self.offset)

    def mark(self) -> tuple[PlaceAfter, int]:
        """The place now, for `found`. It holds no rows."""
        if self.block is None:
            start = self.start
            return (lambda _: start), 0
        return self.block.place, self.offset

    def close(self) -> None:
        """Let go of files and threads."""
        self._blocks.close()


Mark = tuple[PlaceAfter, int]


def found(mark: Mark) -> Place:
    """The place that was marked."""
    return mark[0](mark[1])


def batches(
    reader: Reader, size: int | None, decoder: Decoder, *, drop_last: bool = False
) -> Iterator[tuple[Rows, Mark, Mark]]:
    """Rows in batches of `size` (None: all in one), each with the marks of where it begins and ends."""
    while True:
        begin = reader.mark()
        parts, missing = [], size
        while (missing is None or missing > 0) and reader.fill():
            part = reader.take(reader.left if missing is None else missing)
            parts.append(part)
            if missing is not None:
                missing -= count(part)
        if not parts or (missing and drop_last):
            return
        yield join(parts, decoder), begin, reader.mark()
        if missing or size is None:
            return
