"""Rows out: Python objects, data frames, files, databases, a stream."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.lazy import require
from enfold.base.whole import file_aside
from enfold.datasets.cache import scratch_directory
from enfold.datasets.core import Core
from enfold.datasets.features import Features, Json, decode_value, leaves, require_embedding
from enfold.datasets.info import DatasetInfo
from enfold.datasets.sources import Source
from enfold.datasets.workers import run_tasks

if TYPE_CHECKING:
    from enfold.datasets.iterable import IterableDataset

DEFAULT_ROWS = 1000
# Uncompressed bytes of a row group: to read one row, its group is read.
ROW_GROUP_BYTES = 100_000_000
# Parquet pages that begin where content does, so that stores that know equal pieces keep them once.
CONTENT_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}


@dataclass(frozen=True)
class RowsSource(Source):
    """Runs of a data set's rows, in its order, each a shard.

    Args:
        data: the data set.
        bounds: (first row, row after the last) of each shard.
    """

    data: Core
    bounds: tuple[tuple[int, int], ...]

    @property
    def features(self) -> Features:  # type: ignore[override]
        return self.data.features

    @property
    def num_shards(self) -> int:
        return len(self.bounds)

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        start, stop = self.bounds[shard]
        yield from self.data._tables(DEFAULT_ROWS, start=start + skip_rows, stop=stop)

    def subset(self, shards: Sequence[int]) -> "RowsSource":
        return RowsSource(self.data, tuple(self.bounds[shard] for shard in shards))

    def describe(self) -> str:
        return f"a data set of {len(self.data)} rows"


class Exported(Core):
    """The part of `Dataset` that gives rows away."""

    def to_dict(self, batch_size: int | None = None, batched: bool = False) -> Any:
        """The columns as lists of Python objects as they are stored; batches of `batch_size` rows where `batched`."""
        if batched:
            return (_python(table, self.features) for table in self._tables(batch_size or DEFAULT_ROWS))
        return _python(self._rows(slice(None)), self.features)

    def to_list(self) -> list[dict[str, Any]]:
        """The rows as dicts of Python objects as they are stored."""
        columns = self.to_dict()
        names = list(columns)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def to_pandas(self, batch_size: int | None = None, batched: bool = False) -> Any:
        """A pandas DataFrame; an iterator of them, of `batch_size` rows, where `batched`."""
        require("pandas", extra="pandas", purpose="to_pandas")
        if batched:
            return (self._frame(table) for table in self._tables(batch_size or DEFAULT_ROWS))
        return self._frame(self._rows(slice(None)))

    def _frame(self, table: pa.Table, **options: Any) -> Any:
        frame = table.to_pandas(**options)
        for name in _json_columns(self.features):
            frame[name] = [_json_decoded(self.features[name], value) for value in table.column(name).to_pylist()]
        return frame

    def to_polars(
        self,
        batch_size: int | None = None,
        batched: bool = False,
        schema_overrides: dict[str, Any] | None = None,
        rechunk: bool = True,
    ) -> Any:
        """A polars DataFrame; an iterator of them, of `batch_size` rows, where `batched`."""
        polars = require("polars", extra="polars", purpose="to_polars")
        read = partial(polars.from_arrow, schema_overrides=schema_overrides, rechunk=rechunk)
        if batched:
            return (read(table) for table in self._tables(batch_size or DEFAULT_ROWS))
        return read(self._rows(slice(None)))

    def to_csv(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        num_proc: int | None = None,
        storage_options: dict[str, Any] | None = None,
        **to_csv_kwargs: Any,
    ) -> int:
        """Write a CSV file; returns the number of bytes.

        Args:
            path_or_buf: a path, a URL of a store that fsspec knows, or a binary file object.
            batch_size: rows written at once.
            num_proc: processes that share the work.
            storage_options: for the store.
            to_csv_kwargs: options of `pandas.DataFrame.to_csv` (`sep`, `header`, `index=False`, …).
        """
        require("pandas", extra="pandas", purpose="to_csv")
        header = to_csv_kwargs.pop("header", True)
        options = {"index": False, **to_csv_kwargs}

        def text(table: pa.Table, first: bool) -> bytes:
            frame = table.to_pandas(integer_object_nulls=True)
            return frame.to_csv(path_or_buf=None, header=header if first else False, **options).encode()

        return self._written(path_or_buf, text, batch_size, num_proc, storage_options, label="Writing CSV")

    def to_json(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        num_proc: int | None = None,
        storage_options: dict[str, Any] | None = None,
        **to_json_kwargs: Any,
    ) -> int:
        """Write JSON Lines (`lines=False`: one JSON document); returns the number of bytes.

        Args:
            path_or_buf, batch_size, num_proc, storage_options: as in `to_csv`.
            to_json_kwargs: options of `pandas.DataFrame.to_json` (`orient`, `force_ascii`, …); `compression` is "infer"
                (from the name), "gzip", "bz2", "xz" or None.
        """
        require("pandas", extra="pandas", purpose="to_json")
        orient = to_json_kwargs.pop("orient", "records")
        lines = to_json_kwargs.pop("lines", orient == "records")
        if orient in ("split", "table"):
            to_json_kwargs.setdefault("index", False)
        named = isinstance(path_or_buf, str | bytes | os.PathLike)
        compression = to_json_kwargs.pop("compression", "infer" if named else None)
        if compression not in (None, "infer", "gzip", "bz2", "xz"):
            raise NotBuiltError(f"to_json writes gzip, bz2 and xz, not {compression!r} compression.")
        if compression and not named:
            raise ArgumentError(
                f"compression={compression!r} needs a path; compress what the file object gets yourself."
            )
        rows = batch_size or DEFAULT_ROWS
        if not lines and rows < len(self):
            # One document can't be written in parts.
            rows = len(self)

        def text(table: pa.Table, first: bool) -> bytes:
            frame = self._frame(table, integer_object_nulls=True)
            written = frame.to_json(path_or_buf=None, orient=orient, lines=lines, **to_json_kwargs)
            return (written if written.endswith("\n") else written + "\n").encode()

        return self._written(
            path_or_buf, text, rows, num_proc, storage_options, label="Writing JSON", compression=compression,
            empty=not lines,
        )  # fmt: skip

    def to_parquet(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        storage_options: dict[str, Any] | None = None,
        use_content_defined_chunking: bool | dict[str, int] = True,
        write_page_index: bool = True,
        **parquet_writer_kwargs: Any,
    ) -> int:
        """Write a Parquet file; returns the number of uncompressed bytes.

        Args:
            path_or_buf, storage_options: as in `to_csv`.
            batch_size: rows per row group; by default groups of 100 MB uncompressed.
            use_content_defined_chunking: let pages begin where content does; a dict gives the sizes.
            write_page_index: write an index of the pages.
            parquet_writer_kwargs: options of `pyarrow.parquet.ParquetWriter`.
        """
        import pyarrow.parquet as pq

        rows = batch_size or self._rows_of(ROW_GROUP_BYTES)
        schema = self.features.arrow_schema
        chunks: Any = CONTENT_CHUNKS if use_content_defined_chunking is True else use_content_defined_chunking
        options = {**parquet_options(self.features, schema), **parquet_writer_kwargs}
        written = 0
        with opened(path_or_buf, storage_options) as file:
            writer = pq.ParquetWriter(
                file, schema, use_content_defined_chunking=chunks, write_page_index=write_page_index, **options
            )
            with writer:
                for table in self._tables(rows):
                    writer.write_table(table, row_group_size=rows)
                    written += table.nbytes
                if chunks:
                    writer.add_key_value_metadata({"content_defined_chunking": json.dumps(chunks)})
        return written

    def to_sql(
        self,
        name: str,
        con: Any,
        batch_size: int | None = None,
        num_proc: int | None = None,
        **sql_writer_kwargs: Any,
    ) -> int:
        """Write a table of a database; returns the number of rows.

        Args:
            name: the table.
            con: a URL, or a connection (SQLAlchemy, sqlite3).
            batch_size: rows written at once.
            num_proc: must be None or 1: rows are written in order.
            sql_writer_kwargs: options of `pandas.DataFrame.to_sql` (`if_exists`, `index=False`, …).
        """
        require("pandas", extra="pandas", purpose="to_sql")
        if num_proc is not None and num_proc > 1:
            raise NotBuiltError("to_sql writes through one connection: leave num_proc out.")
        options = {"index": False, **sql_writer_kwargs}
        written = 0
        for table in self._tables(batch_size or DEFAULT_ROWS):
            frame = table.to_pandas(integer_object_nulls=True)
            written += frame.to_sql(name, con, **options) or len(frame)
            options["if_exists"] = "append"
        return written

    def to_iterable_dataset(self, num_shards: int | None = 1) -> "IterableDataset":
        """The rows as a stream of `num_shards` shards (what shuffles and workers of a DataLoader share out)."""
        from enfold.datasets.iterable import IterableDataset

        plain = self._format_columns is None or set(self._format_columns) == set(self.column_names)
        if self._format_type is not None and (self._format_kwargs or not plain):
            raise NotBuiltError(
                "A stream has no format with options or for some columns: call with_format(None) first."
            )
        count = num_shards or 1
        if count > len(self):
            raise ArgumentError(f"{len(self)} rows can't be cut into {count} shards: each needs a row.")
        bounds = [len(self) // count * index + min(index, len(self) % count) for index in range(count + 1)]
        source = RowsSource(self.with_format(None), tuple(pairwise(bounds)))  # type: ignore[attr-defined]
        stream = IterableDataset(source, info=DatasetInfo(features=self.features))
        return stream if self._format_type is None else stream.with_format(self._format_type)

    def to_tf_dataset(
        self,
        batch_size: int | None = None,
        columns: str | Sequence[str] | None = None,
        shuffle: bool = False,
        collate_fn: Callable[..., Any] | None = None,
        drop_remainder: bool = False,
        collate_fn_args: dict[str, Any] | None = None,
        label_cols: str | Sequence[str] | None = None,
        prefetch: bool = True,
        num_workers: int = 0,
        num_test_batches: int = 20,
    ) -> Any:
        """The rows as a `tf.data.Dataset`, for Keras's `fit` and `predict`: dicts of tensors, or one tensor alone.

        Integers become int64, floats float32, texts strings.

        Args:
            batch_size: rows per batch; None: rows.
            columns: what the model reads, also columns that `collate_fn` makes; None: all, in one dict.
            shuffle: another order in each epoch (`tf.random.set_seed` decides which).
            collate_fn: rows (dicts of arrays) → columns; by default they are stacked.
            drop_remainder: leave out a last batch that is shorter.
            collate_fn_args: keywords for it.
            label_cols: what the model is to answer; batches are then pairs.
            prefetch: work ahead in a thread.
            num_workers: processes that make batches; the function travels to them by pickle.
            num_test_batches: small batches that tell the shapes: what differs among them may differ later.
        """
        from enfold.datasets.tf_batches import tf_dataset

        return tf_dataset(
            self,
            batch_size=batch_size,
            columns=columns,
            shuffle=shuffle,
            collate_fn=collate_fn,
            drop_remainder=drop_remainder,
            collate_fn_args=collate_fn_args,
            label_cols=label_cols,
            prefetch=prefetch,
            num_workers=num_workers,
            num_test_batches=num_test_batches,
        )

    # How

    def _rows_of(self, size: int) -> int:
        """How many rows make `size` bytes."""
        total = self._estimated_bytes()
        return max(1, len(self) * size // total) if total else max(1, len(self))

    def _estimated_bytes(self) -> int:
        """Bytes of the rows as Arrow, files that columns point to included (judged by the first rows)."""
        total = self._data.nbytes
        names = [name for name, feature in self.features.items() if require_embedding(feature)]
        if names and self._data.num_rows:
            sample = self._data.slice(0, DEFAULT_ROWS)
            outside = sum(
                os.path.getsize(value["path"])
                for name in names
                for value in sample.column(name).to_pylist()
                if isinstance(value, dict) and value.get("bytes") is None and os.path.isfile(value.get("path") or "")
            )
            total += outside * self._data.num_rows // sample.num_rows
        if self._indices is not None and self._data.num_rows:
            total = total * len(self._indices) // self._data.num_rows
        return total

    def _written(
        self,
        target: Any,
        text: Callable[[pa.Table, bool], bytes],
        batch_size: int | None,
        num_proc: int | None,
        storage_options: dict[str, Any] | None,
        *,
        label: str,
        compression: str | None = None,
        empty: bool = True,
    ) -> int:
        """Write `text(table, first)` of every batch; `empty`: also where there are no rows."""
        if num_proc is not None and num_proc <= 0:
            raise ArgumentError(f"num_proc {num_proc} must be an integer > 0.")
        rows = batch_size or DEFAULT_ROWS

        def write(start: int, stop: int, file: Any, done: Callable[[int], None]) -> int:
            written = 0
            for table in self._tables(rows, start=start, stop=stop):
                part = text(table, start == 0 and written == 0)
                written += len(part)
                file.write(part)
                done(table.num_rows)
            return written

        def write_part(start: int, stop: int, done: Callable[[int], None]) -> Path:
            path = scratch_directory() / f"part-{secrets.token_hex(8)}"
            with open(path, "wb") as file:
                write(start, stop, file, done)
            return path

        with opened(target, storage_options, compression) as file:
            if len(self) == 0:
                return file.write(text(self._rows(slice(None)), True)) if empty else 0
            batches = -(-len(self) // rows)
            processes = min(num_proc or 1, batches)
            if processes == 1:
                (written,) = run_tasks([partial(write, 0, len(self), file)], None, total=len(self), label=label)
                return written
            bounds = [batches * part // processes * rows for part in range(processes)] + [len(self)]
            tasks = [partial(write_part, start, stop) for start, stop in pairwise(bounds)]
            written = 0
            for path in run_tasks(tasks, processes, total=len(self), label=label):
                written += path.stat().st_size
                with open(path, "rb") as part:
                    shutil.copyfileobj(part, file)
                path.unlink()
            return written


@contextlib.contextmanager
def opened(target: Any, storage_options: dict[str, Any] | None, compression: str | None = None) -> Iterator[Any]:
    """A binary file to write; one of this machine appears under its name when it is whole."""
    if not isinstance(target, str | bytes | os.PathLike):
        yield target
        return
    name = os.fsdecode(target)
    fsspec = require("fsspec", extra="remote", purpose="writing to a path")
    if "://" in name or "::" in name:
        with fsspec.open(name, "wb", compression=compression, **(storage_options or {})) as file:
            yield file
        return
    path = Path(name).expanduser()
    if compression == "infer":
        from fsspec.utils import infer_compression

        compression = infer_compression(path.name)
    with file_aside(path) as unfinished, fsspec.open(str(unfinished), "wb", compression=compression) as file:
        yield file


def _python(table: pa.Table, features: Features) -> dict[str, list[Any]]:
    columns = table.to_pydict()
    for name in _json_columns(features):
        columns[name] = [_json_decoded(features[name], value) for value in columns[name]]
    return columns


def _json_columns(features: Features) -> list[str]:
    return [name for name, feature in features.items() if any(isinstance(leaf, Json) for leaf in leaves(feature))]


def _json_decoded(feature: Any, value: Any) -> Any:
    return decode_value(feature, value)


def parquet_options(features: Features, schema: pa.Schema) -> dict[str, Any]:
    """Columns of files are stored as they are (they are compressed already), the others by dictionary and snappy."""
    compression: dict[str, str] = {}
    dictionary: list[str] = []
    encoding: dict[str, str] = {}
    for field in schema:
        embeds = require_embedding(features[field.name])
        for path in _leaf_paths(field.name, field.type):
            compression[path] = "none" if embeds else "snappy"
            if embeds:
                encoding[path] = "PLAIN"
            else:
                dictionary.append(path)
    return {"compression": compression, "use_dictionary": dictionary, "column_encoding": encoding}


def _leaf_paths(path: str, kind: pa.DataType) -> list[str]:
    """The Parquet names of a column's parts."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaf_paths(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaf_paths(f"{path}.list.element", kind.value_type)
    return [path]
