"""Where the rows of an `IterableDataset` go: files and tables are written batch by batch, as the rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from enfold.datasets.info import DatasetInfo
from enfold.datasets.streams.block import Block, batches_of
from enfold.datasets.streams.show import Format, View

if TYPE_CHECKING:
    from enfold.datasets.dataset import Dataset
    from enfold.datasets.features import Features

DEFAULT_ROWS = 1000


class Exports:
    """The `to_…` methods of `IterableDataset`."""

    @property
    def features(self) -> Features | None:
        """Column name → type."""
        raise NotImplementedError

    def _blocks(self) -> Iterator[Block]:
        raise NotImplementedError

    def _resolve_features(self) -> Self:
        raise NotImplementedError

    def _tables(self, size: int | None) -> Iterator[pa.Table]:
        """All rows as tables of `size` rows (None: in one); at least one table, if of no rows."""
        view = View(Format("arrow"), self.features)
        empty = True
        for rows in batches_of(self._blocks(), size, view.decoder):
            empty = False
            yield view.table(rows)[0]
        if empty and self.features is not None:
            yield self.features.arrow_schema.empty_table()

    def _parts(self, size: int | None) -> Iterator[Dataset]:
        """All rows as datasets of `size` rows."""
        from enfold.datasets.dataset import Dataset

        known = self._resolve_features()
        for table in known._tables(size):
            yield Dataset(table, DatasetInfo(features=known.features))

    def _whole(self) -> Dataset:
        """All rows, in memory."""
        from enfold.datasets.dataset import Dataset

        known = self._resolve_features()
        tables = list(known._tables(DEFAULT_ROWS))
        return Dataset(pa.concat_tables(tables) if tables else pa.table({}), DatasetInfo(features=known.features))

    def to_dict(self, batch_size: int | None = None, batched: bool = False) -> Any:
        """The columns as lists; batches of `batch_size` rows where `batched`."""
        if batched:
            return (part.to_dict() for part in self._parts(batch_size or DEFAULT_ROWS))
        return self._whole().to_dict()

    def to_list(self) -> list[Any]:
        """The rows as dictionaries."""
        return self._whole().to_list()

    def to_pandas(self, batch_size: int | None = None, batched: bool = False) -> Any:
        """A pandas data frame; an iterator of them, of `batch_size` rows, where `batched`."""
        if batched:
            return (part.to_pandas() for part in self._parts(batch_size or DEFAULT_ROWS))
        return self._whole().to_pandas()

    def to_polars(
        self,
        batch_size: int | None = None,
        batched: bool = False,
        schema_overrides: dict[str, Any] | None = None,
        rechunk: bool = True,
    ) -> Any:
        """A polars data frame; an iterator of them, of `batch_size` rows, where `batched`."""
        options: dict[str, Any] = {"schema_overrides": schema_overrides, "rechunk": rechunk}
        if batched:
            return (part.to_polars(**options) for part in self._parts(batch_size or DEFAULT_ROWS))
        return self._whole().to_polars(**options)

    def to_csv(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        storage_options: dict[str, Any] | None = None,
        **to_csv_kwargs: Any,
    ) -> int:
        """Write a CSV file; returns the number of bytes. The options are those of `Dataset.to_csv`."""
        from enfold.datasets.exports import opened

        header = to_csv_kwargs.pop("header", True)
        written = 0
        with opened(path_or_buf, storage_options) as file:
            for part in self._parts(batch_size or DEFAULT_ROWS):
                written += part.to_csv(file, header=header, **to_csv_kwargs)
                header = False
        return written

    def to_json(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        storage_options: dict[str, Any] | None = None,
        **to_json_kwargs: Any,
    ) -> int:
        """Write JSON lines; returns the number of bytes. The options are those of `Dataset.to_json`.

        Other documents than lines are written whole, so all rows are held for them.
        """
        from enfold.datasets.exports import opened

        if not to_json_kwargs.get("lines", to_json_kwargs.get("orient", "records") == "records"):
            return self._whole().to_json(path_or_buf, storage_options=storage_options, **to_json_kwargs)
        compression = to_json_kwargs.pop("compression", "infer")
        written = 0
        with opened(path_or_buf, storage_options, compression) as file:
            for part in self._parts(batch_size or DEFAULT_ROWS):
                written += part.to_json(file, **to_json_kwargs)
        return written

    def to_sql(self, name: str, con: Any, batch_size: int | None = None, **sql_writer_kwargs: Any) -> int:
        """Write a table of a database; returns the number of rows. The options are those of `Dataset.to_sql`."""
        written = 0
        for part in self._parts(batch_size or DEFAULT_ROWS):
            written += part.to_sql(name, con, **sql_writer_kwargs)
            sql_writer_kwargs["if_exists"] = "append"
        return written

    def to_parquet(
        self,
        path_or_buf: Any,
        batch_size: int | None = None,
        storage_options: dict[str, Any] | None = None,
        **parquet_writer_kwargs: Any,
    ) -> int:
        """Write a parquet file; returns the number of uncompressed bytes.

        Args:
            batch_size: rows of a row group.
            parquet_writer_kwargs: options of `pyarrow.parquet.ParquetWriter`.
        """
        import pyarrow.parquet as pq

        from enfold.datasets.exports import opened

        known = self._resolve_features()
        schema = pa.schema([]) if known.features is None else known.features.arrow_schema
        rows = batch_size or DEFAULT_ROWS
        written = 0
        with (
            opened(path_or_buf, storage_options) as file,
            pq.ParquetWriter(file, schema, **parquet_writer_kwargs) as writer,
        ):
            for table in known._tables(rows):
                writer.write_table(table, row_group_size=rows)
                written += table.nbytes
        return written
