"""A result that is made in parts: rows that a process or a machine of its own works on, and the files they end in."""

import glob
import os
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.cache import build_once, is_caching_enabled, scratch_directory
from enfold.datasets.core import Core
from enfold.datasets.ray import cluster_size, packed_rows, started
from enfold.datasets.table import open_mapped, read_buffer
from enfold.datasets.workers import run_tasks
from enfold.datasets.writing import DEFAULT_BATCH_ROWS


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of `data`, of which the first is row number `first` of the whole, and their places."""

    data: Any
    start: int
    stop: int
    first: int
    order: np.ndarray | None

    @classmethod
    def of(cls, data: Core, start: int, stop: int) -> "Part":
        return cls(data, start, stop, start, None if data._indices is None else data._indices[start:stop])

    def carried(self) -> Callable[[], "Part"]:
        """A function that goes to another machine, with these rows alone, and gives them there."""
        rows = packed_rows(
            self.data._tables(DEFAULT_BATCH_ROWS, start=self.start, stop=self.stop), self.data.data.schema
        )
        kind, shown, first, order = type(self.data), self.data._shown_as, self.first, self.order

        def opened() -> Part:
            data = kind(read_buffer(pa.py_buffer(rows)))
            data._format_type, data._format_kwargs = shown
            return Part(data, 0, len(data), first, order)

        return opened


class Shards:
    """A result in one file, or in one a process: where they lie, what exists of them, and how the rest is made.

    Args:
        data: whose rows are shared out.
        fingerprint: the result's.
        num_proc: processes at a time; None: this one.
        suffix_template: of the file names, where there are several.
        cache_file_name: where the result goes; None: beside the source's files, or in memory where it has none.
        keep_in_memory: put it into memory anyway.
        executor: what runs the work: None (here), or "ray".
    """

    def __init__(
        self,
        data: Core,
        fingerprint: str,
        num_proc: int | None,
        suffix_template: str,
        cache_file_name: str | os.PathLike[str] | None,
        keep_in_memory: bool,
        executor: str | None = None,
    ):
        self._data = data
        self._executor = executor
        self._rows = len(data)
        self._processes = num_proc
        self._suffix = suffix_template
        self._path = None if cache_file_name is None else Path(cache_file_name)
        if self._path is None and not keep_in_memory and data._source_files:
            self._path = cache_path(data, fingerprint)
        if self._path is not None and not self._path.suffix:
            raise ArgumentError(f"cache_file_name needs an extension, like .arrow: {self._path}")
        self._count = (num_proc or 1) if self._path is None else self._matching_count()

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the result."""
        return tuple(str(path) for path in self._paths() if path is not None)

    def run(self, write: Callable[..., pa.Table], load: bool | None, label: str, total: int) -> list[pa.Table] | None:
        """The tables of all shards, those that exist read, the others made; None where the function changed nothing.

        Args:
            write: `write(part, rank, path, done)` writes the rows of one shard to `path`, or returns them as a table
                where that is None.
        """
        if not (is_caching_enabled() if load is None else load):
            self._count = self._processes or 1
            for path in self._paths():
                if path is not None:
                    path.unlink(missing_ok=True)
        paths = self._paths()
        missing = [rank for rank, path in enumerate(paths) if path is None or not path.exists()]
        if missing and self._executor == "ray":
            return self._tables(paths, dict(zip(missing, self._from_ray(write, missing, paths), strict=True)))
        forked = self._processes is not None and (self._processes > 1 or len(missing) > 1)
        tasks = [partial(self._shard, write, rank, paths[rank], forked) for rank in missing]
        if tasks:
            label = f"{label} (num_proc={self._processes})" if self._processes else label
            total -= sum(
                stop - start
                for rank in range(self._count)
                if rank not in missing
                for start, stop in [self._range(rank)]
            )
            results = run_tasks(tasks, self._processes if forked else None, total=total, label=label)
        else:
            results = []
        return self._tables(paths, dict(zip(missing, results, strict=True)))

    def _tables(self, paths: Sequence[Path | None], made: Mapping[int, Any]) -> list[pa.Table] | None:
        """The shards that were there and those that were made; None where the function changed nothing."""
        unchanged = [rank for rank, result in made.items() if result is None]
        if unchanged:
            if len(unchanged) < self._count:
                raise DatasetError(
                    f"map's function returned None for all rows of process {unchanged[0]}, and columns for others; "
                    f"return an empty dict to leave rows as they are"
                )
            return None
        tables = []
        for rank, path in enumerate(paths):
            result = made.get(rank)
            if isinstance(result, pa.Table):
                tables.append(result)
            elif path is not None:
                tables.append(open_mapped(path))
            else:
                tables.append(_read_and_remove(Path(str(result))))
        return tables

    def _from_ray(
        self, write: Callable[..., pa.Table], missing: Sequence[int], paths: Sequence[Path | None]
    ) -> list[Any]:
        """What tasks of a Ray cluster made of the missing shards, as `_shard` gives it."""
        tasks = [
            partial(_write_there, write, Part.of(self._data, *self._range(rank)).carried(), self._number(rank))
            for rank in missing
        ]
        made: list[Any] = []
        with started(tasks, missing, self._count) as results:
            for rank, result in zip(missing, results, strict=True):
                path = paths[rank]
                if path is None:
                    content = result()
                    made.append(content if content is None else read_buffer(pa.py_buffer(content)))
                    continue
                try:
                    build_once(path, partial(_put, result))
                    made.append(str(path))
                except UnchangedError:
                    made.append(None)
        return made

    def _number(self, rank: int) -> int | None:
        """What functions are told as their rank."""
        return rank if self._count > 1 else None

    def _shard(
        self, write: Callable[..., pa.Table], rank: int, path: Path | None, forked: bool, done: Callable[[int], None]
    ) -> Any:
        """Make one shard: the table, or the path of its file; None where the function changed nothing."""
        part, number = Part.of(self._data, *self._range(rank)), self._number(rank)
        try:
            if path is not None:
                build_once(path, lambda unfinished: write(part, number, unfinished, done) and None)
                return str(path)
            if not forked:
                return write(part, number, None, done)
            # A process hands over its rows in a file.
            path = scratch_directory() / f"shard-{secrets.token_hex(8)}.arrow"
            write(part, number, path, done)
            return str(path)
        except UnchangedError:
            return None

    def _range(self, rank: int) -> tuple[int, int]:
        size, left = divmod(self._rows, self._count)
        start = size * rank + min(rank, left)
        return start, start + size + (rank < left)

    def _paths(self) -> list[Path | None]:
        if self._path is None:
            return [None] * self._count
        if self._count == 1:
            return [self._path]
        return [self._numbered(rank, self._count) for rank in range(self._count)]

    def _numbered(self, rank: int, count: int) -> Path:
        assert self._path is not None
        return self._path.with_name(
            self._path.stem + self._suffix.format(rank=rank, num_proc=count) + self._path.suffix
        )

    def _matching_count(self) -> int:
        """In how many files the result is to lie: as many as it lies in already, whoever made them."""
        assert self._path is not None
        wanted = self._processes or 1
        found = {1: 1} if self._path.exists() else {}
        pattern = re.compile(
            re.escape(self._path.stem)
            + "".join(
                re.escape(text) + (rf"(?P<{field}>\d+)" if field else "")
                for text, field, _, _ in string.Formatter().parse(self._suffix)
            )
            + re.escape(self._path.suffix)
        )
        for name in glob.glob(glob.escape(str(self._path.with_suffix(""))) + "*" + self._path.suffix):
            match = pattern.fullmatch(Path(name).name)
            if match is not None:
                count = int(match["num_proc"])
                found[count] = found.get(count, 0) + 1
        found = {count: have for count, have in found.items() if count <= self._rows}
        if not found:
            return wanted
        # The most complete, then the nearest to what was asked for, then the fewest.
        return min(found, key=lambda count: ((count - found[count]) / count, abs(count - wanted), count))


def _write_there(write: Callable[..., pa.Table], opened: Callable[[], Part], rank: int | None, path: Path) -> bool:
    """Write a shard on another machine; whether there was something to write."""
    try:
        write(opened(), rank, path, lambda rows: None)
    except UnchangedError:
        return False
    return True


def _put(result: Callable[[], bytes | None], path: Path) -> None:
    content = result()
    if content is None:
        raise UnchangedError
    path.write_bytes(content)


class UnchangedError(Exception):
    """The function returned None for all rows: there is nothing to write."""


def cache_path(data: Core, fingerprint: str) -> Path:
    """Where a result of `data` lies: beside its first file, or in a folder that goes with this process."""
    if is_caching_enabled() and data._source_files:
        return Path(data._source_files[0]).parent / f"cache-{fingerprint}.arrow"
    return scratch_directory() / f"cache-{secrets.token_hex(8)}.arrow"


def write_indices(indices: np.ndarray, path: Path | None) -> pa.Table:
    """An order of rows as an Arrow file of one column and one record batch, so that it is read without a copy."""
    table = pa.table({"indices": pa.array(indices.astype(np.uint64, copy=False))})
    if path is not None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return table


def read_indices(table: pa.Table) -> np.ndarray:
    """The order in a table that `write_indices` wrote."""
    column = table.column(0)
    if column.num_chunks == 0:
        return np.empty(0, np.int64)
    values = column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()
    return values.view(np.int64)


def _read_and_remove(path: Path) -> pa.Table:
    table = open_mapped(path, in_memory=True)
    path.unlink()
    return table


def checked_processes(num_proc: int | None, rows: int, suffix_template: str, executor: str | None) -> int | None:
    if num_proc is not None and num_proc < 0:
        raise ArgumentError("num_proc must be >= 0 or None.")
    fields = {field for _, field, _, _ in string.Formatter().parse(suffix_template) if field}
    if fields != {"rank", "num_proc"}:
        raise ArgumentError(
            f"suffix_template must have the fields 'rank' and 'num_proc', and no others: it has {fields}"
        )
    if executor == "ray" and rows:
        num_proc = num_proc or cluster_size()
    return min(num_proc, rows) if num_proc else None
