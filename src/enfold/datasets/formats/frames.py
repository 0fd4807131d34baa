"""Tables as other libraries' tables: Arrow, pandas, polars."""

from typing import Any

import numpy as np
import pyarrow as pa

from enfold.base.lazy import require
from enfold.datasets.features.arrays import ArrayND, storage_of
from enfold.datasets.formats.base import Format


class ArrowFormat(Format):
    """Arrow as it is stored: nothing is decoded, nothing is copied."""

    def row(self, table: pa.Table) -> pa.Table:
        return table

    def column(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        return table.column(name)

    def batch(self, table: pa.Table) -> pa.Table:
        return table


class PandasFormat(Format):
    """`pandas.DataFrame` and `Series`; images, audio and JSON decoded, arrays as numpy arrays."""

    def batch(self, table: pa.Table) -> Any:
        require("pandas", extra="pandas", purpose="The pandas format")
        frame = table.to_pandas()
        for name in table.column_names:
            values = self._objects(table, name, frame)
            if values is not None:
                objects = np.empty(len(values), dtype=object)
                objects[:] = values
                frame[name] = objects
        return frame

    def _objects(self, table: pa.Table, name: str, frame: Any) -> list[Any] | None:
        feature = self.feature(table, name)
        if isinstance(feature, ArrayND):
            return [row for chunk in table.column(name).chunks for row in feature.to_numpy(chunk)]
        if self.decoder(table, name) is None:
            return None
        return self.decoded(table, name, [None if value is None else value for value in frame[name]])

    def row(self, table: pa.Table) -> Any:
        return self.batch(table.slice(0, 1))

    def column(self, table: pa.Table, name: str) -> Any:
        return self.batch(table.select([name]))[name]


class PolarsFormat(Format):
    """`polars.DataFrame` and `Series`; images, audio and JSON decoded, as columns of objects."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        require("polars", extra="polars", purpose="The polars format")

    def batch(self, table: pa.Table) -> Any:
        polars = require("polars", extra="polars", purpose="The polars format")
        columns = [
            pa.chunked_array([_bare(chunk) for chunk in column.chunks], _bare_type(column.type))
            for column in table.columns
        ]
        frame = polars.from_arrow(pa.table(columns, names=table.column_names))
        for index, name in enumerate(table.column_names):
            if self.decoder(table, name) is not None:
                values = self.decoded(table, name, table.column(name).to_pylist())
                frame = frame.with_columns(polars.Series(name, values, dtype=polars.Object))
                frame = frame.select([*table.column_names[: index + 1], *table.column_names[index + 1 :]])
        return frame

    def row(self, table: pa.Table) -> Any:
        return self.batch(table.slice(0, 1))

    def column(self, table: pa.Table, name: str) -> Any:
        return self.batch(table.select([name]))[name]


def _bare(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.JsonArray) else storage_of(array)


def _bare_type(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
