"""Batches → an Arrow stream on disk or in memory, with types that hold from the first batch to the last."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.features import Features, Value, arrow_type, cast_table, leaves, to_table
from enfold.datasets.table import open_mapped, read_buffer

DEFAULT_BATCH_ROWS = 1000


class TableWriter:
    """Writes batches, as columns or tables, into one Arrow stream.

    Without `features`, the first batch decides the types. A column that has held only nulls takes its type from the
    first value that comes, and what was written is rewritten with it.

    Args:
        path: where to write; None: into memory.
        features: the types, obeyed or an error names column and row.
        like: types to keep where the values allow it; also gives columns of these names their order.
        keep_types: whether columns that a function returned are tried as `like` has them before they are inferred.
        fingerprint: noted in the schema's metadata.
        disable_nullable: write columns that can't hold nulls.
        batch_rows: rows per record batch.
        on_mixed_types: see `to_table`.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        features: Features | None = None,
        like: Features | None = None,
        keep_types: bool = True,
        fingerprint: str | None = None,
        disable_nullable: bool = False,
        batch_rows: int | None = DEFAULT_BATCH_ROWS,
        on_mixed_types: Any = None,
    ):
        self.features = features
        self.num_rows = 0
        self._path = path
        self._like = Features() if like is None else like
        self._keep_types = keep_types
        self._fingerprint = fingerprint
        self._nullable = not disable_nullable
        self._batch_rows = batch_rows or DEFAULT_BATCH_ROWS
        self._on_mixed_types: Any = on_mixed_types
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._sink: Any = None
        self._writer: pa.RecordBatchStreamWriter | None = None

    def write(self, batch: Mapping[str, Any] | pa.Table) -> None:
        """Add rows; a batch without rows is left out, as it knows no types."""
        rows = _rows(batch) if isinstance(batch, Mapping) else batch.num_rows
        if rows == 0:
            self._note_names(batch)
            return
        table = self._first(batch) if self.features is None or self.num_rows == 0 else self._later(batch)
        self.num_rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= self._batch_rows:
            self._flush()

    def close(self) -> Features:
        """Write what is left; returns the features."""
        if self.features is None:
            self.features = Features(self._like)
        self._flush()
        self._end()
        return self.features

    def table(self) -> pa.Table:
        """What was written, after `close`: memory-mapped, or from memory."""
        return open_mapped(self._path) if self._path is not None else read_buffer(self._sink.getvalue())

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    # Types

    def _note_names(self, batch: Mapping[str, Any] | pa.Table) -> None:
        """Nothing but empty batches may come: then their names are all that is known of new columns."""
        if self.features is None and self.num_rows == 0:
            names = list(batch) if isinstance(batch, Mapping) else batch.column_names
            self._like = Features({name: self._like.get(name, Value("null")) for name in self._ordered(names)})

    def _ordered(self, names: Any) -> list[str]:
        known = [name for name in self._like if name in names]
        return known + [name for name in names if name not in self._like]

    def _first(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        if self.features is not None:
            return self._obeyed(batch)
        if isinstance(batch, Mapping):
            columns = {name: batch[name] for name in self._ordered(batch)}
            kept = {name: self._like[name] for name in columns if name in self._like and self._tried(columns[name])}
            table = to_table(columns, like=Features(kept), on_mixed_types=self._on_mixed_types)
        else:
            table = batch
        found = Features.from_arrow_schema(table.schema)
        for name, feature in found.items():
            known = self._like.get(name)
            if known is not None and arrow_type(known) == arrow_type(feature):
                found[name] = known
        self.features = found
        return cast_table(table, found)

    def _tried(self, values: Any) -> bool:
        return self._keep_types or isinstance(values, pa.Array | pa.ChunkedArray)

    def _later(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        assert self.features is not None
        open_names = [name for name, feature in self.features.items() if _holds_null(feature)]
        if not open_names:
            return self._obeyed(batch)
        if isinstance(batch, Mapping):
            if batch.keys() >= set(open_names):
                self._settle(to_table({name: batch[name] for name in open_names}, on_mixed_types=self._on_mixed_types))
        elif set(batch.column_names) >= set(open_names):
            self._settle(batch.select(open_names))
        return self._obeyed(batch)

    def _obeyed(self, batch: Mapping[str, Any] | pa.Table) -> pa.Table:
        assert self.features is not None
        return to_table(batch, self.features) if isinstance(batch, Mapping) else cast_table(batch, self.features)

    def _settle(self, found: pa.Table) -> None:
        """Give columns that had held only nulls the types of `found`, also where they are written already."""
        assert self.features is not None
        changed = {
            name: feature
            for name, feature in Features.from_arrow_schema(found.schema).items()
            if arrow_type(feature) != arrow_type(self.features[name]) and not pa.types.is_null(arrow_type(feature))
        }
        if not changed:
            return
        features = Features({**self.features, **changed})
        self._flush()
        self._end()
        before = self.table().combine_chunks() if self._path is not None else self.table()
        self.features, self._writer, self._sink = features, None, None
        # Read whole before the file is written anew.
        before = pa.ipc.open_stream(_in_memory(before)).read_all()
        self._waiting, self._waiting_rows = [cast_table(before, features)], before.num_rows
        self._flush()

    # The stream

    def _flush(self) -> None:
        if self._writer is None:
            assert self.features is not None
            schema = self.features.arrow_schema
            if not self._nullable:
                schema = pa.schema([field.with_nullable(False) for field in schema], metadata=schema.metadata)
            if self._fingerprint is not None:
                noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
                noted["fingerprint"] = self._fingerprint
                schema = schema.with_metadata({**(schema.metadata or {}), b"huggingface": json.dumps(noted).encode()})
            self._sink = pa.BufferOutputStream() if self._path is None else pa.OSFile(str(self._path), "wb")
            self._schema = schema
            self._writer = pa.ipc.new_stream(self._sink, schema)
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if any(column.num_chunks > 1 for column in table.columns):
            table = table.combine_chunks()
        self._waiting, self._waiting_rows = [], 0
        if not self._nullable:
            for field, column in zip(table.schema, table.columns, strict=True):
                if column.null_count:
                    raise DatasetError(f"column {field.name!r} holds nulls, and disable_nullable=True forbids them")
            table = pa.table(table.columns, schema=self._schema)
        self._writer.write_table(table, max_chunksize=self._batch_rows)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            if self._path is not None:
                self._sink.close()


def _rows(batch: Mapping[str, Any]) -> int:
    return len(next(iter(batch.values()))) if batch else 0


def _holds_null(feature: Any) -> bool:
    return any(isinstance(leaf, Value) and leaf.dtype == "null" for leaf in leaves(feature))


def _in_memory(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
