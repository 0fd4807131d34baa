"""Parquet: columns, filters, row groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.logging import get_logger
from enfold.datasets.files import DataFile
from enfold.datasets.opening import Opened, contents
from enfold.datasets.readers.base import Reader, skipping


@dataclass(frozen=True)
class RowGroup:
    """A part of a file that is read alone."""

    file: DataFile
    index: int

    def __str__(self) -> str:
        return f"{self.file}, row group {self.index}"


@dataclass(frozen=True, kw_only=True)
class ParquetReader(Reader):
    """Parquet files; their Arrow schema (and the features noted in it) are the types.

    Args:
        batch_size: rows per table; the first row group's size if None.
        columns: read only these.
        filters: keep only rows for which it holds: an Arrow expression, or `[("column", "op", value), …]`.
        fragment_scan_options: as `pyarrow.dataset.ParquetFragmentScanOptions`.
        on_bad_files: `"error"`, `"warn"` or `"skip"` for files that can't be read.
    """

    batch_size: int | None = None
    columns: Sequence[str] | None = None
    filters: Any = None
    fragment_scan_options: Any = None
    on_bad_files: Literal["error", "warn", "skip"] = "error"

    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".geoparquet", ".gpq")

    def __post_init__(self) -> None:
        if self.on_bad_files not in ("error", "warn", "skip"):
            raise ArgumentError(f"on_bad_files={self.on_bad_files!r}; it is 'error', 'warn' or 'skip'.")
        if self.features is not None and self.columns is not None:
            absent = [name for name in self.columns if name not in self.features]
            if absent:
                raise ArgumentError(f"columns= names {absent}, which features= doesn't have: {list(self.features)}.")

    def prepared(self, splits: Mapping[str, Sequence[DataFile]]) -> ParquetReader:
        from enfold.datasets.features import Features

        if self.features is not None:
            chosen = self.columns or list(self.features)
            return replace(self, features=Features({name: self.features[name] for name in chosen}))
        for files in splits.values():
            for file in files:
                for opened in contents(file, self.max_expansion):
                    with self._reading(opened.name):
                        features = Features.from_arrow_schema(pq.read_schema(opened.seekable()))
                        if self.columns is not None:
                            absent = [name for name in self.columns if name not in features]
                            if absent:
                                raise ArgumentError(f"{opened.name} has no column {absent}. It has {list(features)}.")
                            features = Features({name: features[name] for name in features if name in self.columns})
                        return replace(self, features=features)
        return self

    def divided(self, file: DataFile | RowGroup) -> Sequence[DataFile | RowGroup]:
        """The row groups of a file; files in archives stay whole."""
        if isinstance(file, RowGroup):
            return [file]
        groups = []
        for opened in contents(file, self.max_expansion):
            with self._reading(opened.name), pq.ParquetFile(opened.seekable()) as parquet:
                groups.append(parquet.num_row_groups)
        return [RowGroup(file, index) for index in range(groups[0])] if len(groups) == 1 and groups[0] else [file]

    def __call__(self, file: DataFile | RowGroup, skip_rows: int = 0) -> Iterator[pa.Table]:
        if isinstance(file, RowGroup):
            for opened in contents(file.file, self.max_expansion):
                with self._reading(opened.name):
                    yield from skipping(self._batches(opened, [file.index]), skip_rows)
            return
        for opened in contents(file, self.max_expansion):
            with self._reading(opened.name):
                if self.filters is None:
                    skip_rows = yield from self._from_row(opened, skip_rows)
                else:
                    tables = list(self.read(opened)) if skip_rows else self.read(opened)
                    yield from skipping(tables, skip_rows)
                    skip_rows = max(0, skip_rows - sum(t.num_rows for t in tables)) if isinstance(tables, list) else 0

    def _from_row(self, opened: Opened, skip_rows: int) -> Iterator[pa.Table]:
        """Rows from `skip_rows` on; whole row groups before it are not read. Returns what is left to skip."""
        with pq.ParquetFile(opened.seekable()) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        first = 0
        while first < len(sizes) and skip_rows >= sizes[first]:
            skip_rows -= sizes[first]
            first += 1
        if first < len(sizes):
            yield from skipping(self._batches(opened, range(first, len(sizes))), skip_rows)
            return 0
        return skip_rows

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        yield from self._batches(opened, None)

    def _batches(self, opened: Opened, row_groups: Sequence[int] | None) -> Iterator[pa.Table]:
        import pyarrow.dataset as ds

        options = (
            {} if self.fragment_scan_options is None else {"default_fragment_scan_options": self.fragment_scan_options}
        )
        fragment = ds.ParquetFileFormat(**options).make_fragment(opened.seekable())
        if row_groups is not None:
            fragment = fragment.subset(row_group_ids=list(row_groups))
        if not fragment.row_groups:
            return
        batches = fragment.to_batches(
            batch_size=self.batch_size or max(fragment.row_groups[0].num_rows, 1),
            columns=None if self.columns is None else list(self.columns),
            filter=pq.filters_to_expression(self.filters) if isinstance(self.filters, list) else self.filters,
            batch_readahead=0,
            fragment_readahead=0,
        )
        for batch in batches:
            if batch.num_rows:
                yield self.fitted(pa.Table.from_batches([batch]))

    def _reading(self, name: str) -> _Reading:
        return _Reading(name, self.on_bad_files)


class _Reading:
    """Deals with a file that can't be read."""

    def __init__(self, name: str, on_bad_files: str) -> None:
        self.name, self.on_bad_files = name, on_bad_files

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if not isinstance(error, pa.ArrowException | OSError) or isinstance(error, FileNotFoundError):
            return False
        if self.on_bad_files == "error":
            raise DatasetError(
                f"{self.name} is torn, or no parquet: {error}. Get it again; to go on without it: on_bad_files='skip'."
            ) from error
        if self.on_bad_files == "warn":
            get_logger("enfold.datasets").warning("%s left out: %s", self.name, error)
        return True
