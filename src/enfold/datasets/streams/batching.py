"""Rows gathered: `batch(n)` and `batch(by_column=…)` make one row of several."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from enfold.datasets.streams.block import (
    Block,
    Columns,
    Mark,
    Place,
    PlaceAfter,
    Reader,
    Rows,
    Stored,
    columned,
    count,
    cut,
    found,
    join,
)
from enfold.datasets.streams.node import Node
from enfold.datasets.streams.show import Decoder, same

if TYPE_CHECKING:
    from enfold.datasets.features import Features


class _Gathered(Node):
    def __init__(self, node: Node, drop_last_batch: bool):
        self.inputs, self.drop_last = (node,), drop_last_batch
        self.decoder = Decoder(node.features)
        self.features = None if node.features is None else _lists(node.features)

    @property
    def arrow(self) -> bool:
        return False


class Batched(_Gathered):
    """Rows of lists, `size` values each."""

    def __init__(self, node: Node, size: int, drop_last_batch: bool):
        super().__init__(node, drop_last_batch)
        self.size = size

    def open(self, place: Place) -> Generator[Block, None, None]:
        inner = None if place is None else self.expect(place, "input")[0]
        reader = Reader(self.inputs[0], inner)
        size = self.size
        try:
            while reader.fill():
                begin = reader.mark()
                if reader.left >= size:
                    # As many whole batches as are at hand, in one go.
                    whole = reader.left // size
                    yield Block(_gathered(reader.take(whole * size), size), partial(_batches_done, begin, size))
                    continue
                parts, missing = [], size
                while missing and reader.fill():
                    parts.append(reader.take(missing))
                    missing -= count(parts[-1])
                if missing and self.drop_last:
                    return
                yield Block(
                    _gathered(join(parts, self.decoder), size - missing), partial(_batch_done, begin, reader.mark())
                )
        finally:
            reader.close()


def _batches_done(begin: Mark, size: int, taken: int) -> dict[str, Any]:
    place, start = begin
    return {"at": "Batched", "input": place(start + taken * size)}


def _batch_done(begin: Mark, end: Mark, taken: int) -> dict[str, Any]:
    return {"at": "Batched", "input": found(end if taken else begin)}


class Runs(_Gathered):
    """Rows of lists: neighbours that have the same values in some columns, however many they are."""

    def __init__(self, node: Node, names: Sequence[str], drop_last_batch: bool):
        super().__init__(node, drop_last_batch)
        self.names = list(names)

    def open(self, place: Place) -> Generator[Block, None, None]:
        inner = None if place is None else self.expect(place, "input")[0]
        parts: list[Rows] = []
        key: Any = None
        begin: PlaceAfter = lambda _: inner  # noqa: E731
        for block in self.inputs[0].open(inner):
            rows = block.rows
            keys = self._keys(rows)
            starts = [0, *(i for i in range(1, len(keys)) if not same(keys[i], keys[i - 1])), len(keys)]
            if parts and not same(keys[0], key):
                yield self._run(parts, begin, block.place, 0)
                parts = []
            for start, stop in itertools.pairwise(starts):
                if parts and start:
                    yield self._run(parts, begin, block.place, start)
                    parts = []
                if not parts:
                    begin = partial(_from, block.place, start)
                parts.append(cut(rows, start, stop))
            key, end = keys[-1], partial(_from, block.place, len(keys))
        if parts and not self.drop_last:
            yield self._run(parts, begin, end, 0)

    def _keys(self, rows: Rows) -> list[tuple[Any, ...]]:
        if isinstance(rows, list):
            return [tuple(row[name] for name in self.names) for row in rows]
        columns = (rows.column(name).to_pylist() if isinstance(rows, pa.Table) else rows[name] for name in self.names)
        return list(zip(*columns, strict=True))

    def _run(self, parts: list[Rows], begin: PlaceAfter, end: PlaceAfter, stop: int) -> Block:
        rows = join(parts, self.decoder)
        return Block(_gathered(rows, count(rows)), partial(_run_done, begin, end, stop))


def _from(place: PlaceAfter, start: int, taken: int) -> Place:
    return place(start + taken)


def _run_done(begin: PlaceAfter, end: PlaceAfter, stop: int, taken: int) -> dict[str, Any]:
    return {"at": "Runs", "input": end(stop) if taken else begin(0)}


def _gathered(rows: Rows, size: int) -> Rows:
    """Every `size` rows as one row of lists."""
    shown: Rows = columned(rows)
    number = shown.num_rows // size if size else 0
    if isinstance(shown, pa.Table):
        offsets = pa.array(np.arange(number + 1, dtype=np.int32) * size)
        return pa.table({name: _list_array(offsets, shown.column(name)) for name in shown.column_names})
    values = {name: column.tolist() if isinstance(column, Stored) else column for name, column in shown.items()}
    return Columns(
        {name: [column[at * size : (at + 1) * size] for at in range(number)] for name, column in values.items()}, number
    )


def _list_array(offsets: pa.Array, column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    return pa.ListArray.from_arrays(offsets, values)


def _lists(features: Features) -> Features:
    from enfold.datasets.features.types import List

    return type(features)({name: List(feature) for name, feature in features.items()})
