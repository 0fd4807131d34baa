"""Sources → Arrow files: what is downloaded once is read once, into files that every later run maps into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.splits import Slice, SplitDict, SplitInfo
from enfold.datasets.table import open_mapped
from enfold.datasets.workers import run_tasks

if TYPE_CHECKING:
    from enfold.datasets.features import Features
    from enfold.datasets.sources import Source

MAX_FILE_BYTES = 500 << 20
# Rows per record batch: enough that a batch's cost is shared, few enough that one row is found quickly.
BATCH_ROWS = 10_000


@dataclass(frozen=True)
class _Written:
    path: Path
    rows: int
    bytes: int


def file_names(dataset: str, split: str, files: int) -> list[str]:
    """The names of a split's Arrow files: `dataset-train.arrow`, or `dataset-train-00000-of-00002.arrow`."""
    if files <= 1:
        return [f"{dataset}-{split}.arrow"]
    return [f"{dataset}-{split}-{index:05d}-of-{files:05d}.arrow" for index in range(files)]


def write_splits(
    folder: Path,
    sources: Mapping[str, Source],
    dataset: str,
    *,
    features: Features | None = None,
    num_proc: int | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> tuple[Features, SplitDict]:
    """Write every split of a dataset into `folder`.

    Args:
        features: what all rows are cast to; as the first table of the first split has them if None.
        num_proc: processes that share each split's shards.
        max_file_bytes: where a file ends and the next begins.

    Raises:
        DatasetError: rows that don't have the features of those before them; the message names what was read.
    """
    splits = SplitDict(dataset_name=dataset)
    for split, source in sources.items():
        if features is None and source.features is not None:
            features = source.features
        if features is None:
            features = _first_features(source)
        written, lengths = _write_split(folder, split, source, features, num_proc, max_file_bytes)
        names = file_names(dataset, split, len(written))
        for part, name in zip(written, names, strict=True):
            os.rename(part.path, folder / name)
        splits.add(
            SplitInfo(
                split,
                num_bytes=sum(part.bytes for part in written),
                num_examples=sum(part.rows for part in written),
                shard_lengths=[part.rows for part in written] if len(written) > 1 else None,
                original_shard_lengths=lengths if len(lengths) > 1 else None,
            )
        )
    assert features is not None
    return features, splits


def _first_features(source: Source) -> Features:
    """The features of the first rows. A column of nulls alone is looked for further on."""
    from enfold.datasets.features import Features

    features: Features | None = None
    for shard in range(source.num_shards):
        for table in source.read(shard):
            found = Features.from_arrow_schema(table.schema)
            if features is None:
                features = found
            else:
                open_names = [name for name, kind in _types(features).items() if pa.types.is_null(kind)]
                features = Features({**features, **{name: found[name] for name in open_names if name in found}})
            if not any(pa.types.is_null(kind) for kind in _types(features).values()):
                return features
    return Features() if features is None else features


def _types(features: Features) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in features.arrow_schema}


def _write_split(
    folder: Path, split: str, source: Source, features: Features, num_proc: int | None, max_file_bytes: int
) -> tuple[list[_Written], list[int]]:
    workers = min(num_proc or 1, max(source.num_shards, 1))
    if num_proc is not None and num_proc < 1:
        raise ArgumentError(f"num_proc={num_proc}; it is at least 1.")
    if num_proc is not None and not source.forks:
        raise ArgumentError(
            f"num_proc={num_proc} forks, and {source.describe()} is read through a connection of this "
            "process alone, with workers of its own. Leave num_proc out."
        )
    tasks = [
        partial(_write, folder, f"{split}.{worker:05d}", source.subset(shards), features, max_file_bytes)
        for worker, shards in enumerate(_shared_out(source.num_shards, workers))
    ]
    processes = workers if workers > 1 else None
    results = run_tasks(tasks, processes, total=source.num_shards, label=f"Reading {split}", unit="shards")
    written = [part for parts, _ in results for part in parts]
    kept = [part for part in written if part.rows] or written[:1]
    for part in written:
        if part not in kept:
            part.path.unlink()
    return kept, [length for _, lengths in results for length in lengths]


def _shared_out(shards: int, workers: int) -> list[Sequence[int]]:
    size, longer = divmod(shards, workers)
    starts = [index * size + min(index, longer) for index in range(workers + 1)]
    return [range(starts[index], starts[index + 1]) for index in range(workers)]


def _write(
    folder: Path, stem: str, source: Source, features: Features, max_file_bytes: int, done: Callable[[int], None]
) -> tuple[list[_Written], list[int]]:
    """Write all shards of a source into files `stem.<n>`; returns the files, and each shard's number of rows."""
    files = _Files(folder, stem, features.arrow_schema, max_file_bytes)
    lengths = []
    try:
        for shard in range(source.num_shards):
            rows = 0
            for table in _fitted(source, shard, features):
                rows += table.num_rows
                files.write(table)
            lengths.append(rows)
            done(1)
    finally:
        files.close()
    return files.written, lengths


def _fitted(source: Source, shard: int, features: Features) -> Iterator[pa.Table]:
    from enfold.datasets.features.casting import cast_table

    done = 0
    for table in source.read(shard):
        try:
            yield cast_table(table, features) if source.features is None else table
        except DatasetError as error:
            raise DatasetError(
                f"{source.subset([shard]).describe()}, after row {done}: {error} The types were found in the first "
                "rows that were read; give features= to have others."
            ) from error
        done += table.num_rows


class _Files:
    """Arrow stream files, a new one when one is full."""

    def __init__(self, folder: Path, stem: str, schema: pa.Schema, max_bytes: int) -> None:
        self.written: list[_Written] = []
        self._folder, self._stem, self._schema, self._max_bytes = folder, stem, schema, max_bytes
        self._sink: Any = None
        self._open()

    def _open(self) -> None:
        self._path = self._folder / f"{self._stem}.{len(self.written):05d}"
        self._sink = pa.OSFile(str(self._path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        self._rows = self._bytes = 0

    def write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, BATCH_ROWS):
            self._write(table.slice(start, BATCH_ROWS))

    def _write(self, table: pa.Table) -> None:
        if self._rows and self._bytes + table.nbytes > self._max_bytes:
            self.close()
            self._open()
        if table.schema != self._schema:
            table = pa.table(table.columns, schema=self._schema)
        self._writer.write_table(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes

    def close(self) -> None:
        if self._sink is None:
            return
        self._writer.close()
        self._sink.close()
        self._sink = None
        self.written.append(_Written(self._path, self._rows, self._bytes))


def read_rows(
    folder: Path, dataset: str, info: SplitInfo, rows: Slice, *, in_memory: bool
) -> tuple[pa.Table, list[str]]:
    """Rows of a split, mapped into memory (or read into it), and the files that they lie in."""
    lengths = info.shard_lengths or [info.num_examples]
    tables, used, start = [], [], 0
    for name, length in zip(file_names(dataset, info.name, len(lengths)), lengths, strict=True):
        first, last = max(rows.start - start, 0), min(rows.stop - start, length)
        start += length
        if first < last or not tables:
            path = str(folder / name)
            table = open_mapped(path, in_memory=in_memory)
            if first >= last:
                tables.append(table.slice(0, 0))
                continue
            tables.append(table.slice(first, last - first))
            used.append(path)
    tables = [table for table in tables if table.num_rows] or tables[:1]
    return pa.concat_tables(tables), used
