"""Arrow tables on disk and in pieces: memory maps, rows by number, and blocks of a wanted size."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from os import PathLike, fspath

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.mapped import mapped


def open_mapped(path: str | PathLike[str], *, in_memory: bool = False) -> pa.Table:
    """The table of an Arrow stream (or file), memory-mapped: nothing is read until it is looked at.

    Args:
        in_memory: read all of it instead.
    """
    try:
        with pa.OSFile(fspath(path)) if in_memory else mapped(fspath(path)) as source:
            return _read(source)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{fspath(path)} is no whole Arrow file ({error}); build or download it again") from error


def read_buffer(buffer: pa.Buffer) -> pa.Table:
    """The table of an Arrow stream (or file) in memory, without a copy."""
    try:
        return _read(pa.BufferReader(buffer))
    except pa.ArrowInvalid as error:
        raise DatasetError(f"the buffer is no whole Arrow stream ({error})") from error


def _read(source: pa.NativeFile) -> pa.Table:
    magic = source.read(6)
    source.seek(0)
    reader = pa.ipc.open_file(source) if magic == b"ARROW1" else pa.ipc.open_stream(source)
    return reader.read_all()


# Rows per record batch from which on they are taken together: taking from a batch costs as much as so many views.
SPARSE = 32


class Blocks:
    """Rows of a table by number, without copying the rest: an index of where its record batches begin."""

    def __init__(self, table: pa.Table):
        self.schema = table.schema
        self.num_rows = table.num_rows
        self._batches = [batch for batch in table.to_batches() if batch.num_rows]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        # bisect on a list of ints is several times as fast as on an array.
        self._offsets = self._starts.tolist()

    def slice(self, start: int, length: int) -> pa.Table:
        """Rows `start` to `start + length`, as views."""
        stop = min(start + length, self.num_rows)
        parts = []
        index = bisect_right(self._offsets, start) - 1
        while start < stop:
            offset, batch = self._offsets[index], self._batches[index]
            count = min(stop - start, offset + batch.num_rows - start)
            parts.append(batch.slice(start - offset, count))
            start += count
            index += 1
        return pa.Table.from_batches(parts, schema=self.schema)

    def take(self, indices: np.ndarray) -> pa.Table:
        """The rows `indices` (int64, each within the table), in that order; a run of neighbours is a view."""
        count = len(indices)
        if count == 0:
            return self.slice(0, 0)
        first = int(indices[0])
        if int(indices[-1]) - first == count - 1 and (count < 3 or bool((np.diff(indices) == 1).all())):
            return self.slice(first, count)
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        # Rows of one batch are taken together, then all are put in the order asked for.
        used = np.unique(owners)
        if len(used) == 1:
            owner = int(used[0])
            return pa.Table.from_batches([self._picked(owner, indices)], schema=self.schema)
        if count < SPARSE * len(used):
            # Few rows of each batch: a view of each, in the order asked for, costs less than taking.
            batches, offsets = self._batches, self._offsets
            parts = [
                batches[owner].slice(index - offsets[owner], 1)
                for owner, index in zip(owners.tolist(), indices.tolist(), strict=True)
            ]
            return pa.Table.from_batches(parts, schema=self.schema).combine_chunks()
        order = np.argsort(owners, kind="stable")
        bounds = np.searchsorted(owners[order], used)
        groups = np.split(indices[order], bounds[1:])
        parts = [self._picked(int(owner), group) for owner, group in zip(used, groups, strict=True)]
        table = pa.Table.from_batches(parts, schema=self.schema)
        if (order[:-1] < order[1:]).all():
            return table
        back = np.empty(count, np.int64)
        back[order] = np.arange(count)
        return table.take(pa.array(back))

    def _picked(self, owner: int, indices: np.ndarray) -> pa.RecordBatch:
        return self._batches[owner].take(pa.array(indices - self._offsets[owner]))


def pieces(tables: Iterable[pa.Table], size: int, *, drop_last: bool = False) -> Iterator[pa.Table]:
    """The rows of `tables` in tables of `size` rows, as views; the last may be shorter, or is dropped."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        start = 0
        while table.num_rows - start >= size - count:
            part = table.slice(start, size - count)
            start += part.num_rows
            yield pa.concat_tables([*waiting, part]) if waiting else part
            waiting, count = [], 0
        if start < table.num_rows:
            waiting.append(table.slice(start))
            count += table.num_rows - start
    if waiting and not drop_last:
        yield pa.concat_tables(waiting)
