"""Tables and queries of a database, by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.lazy import require
from enfold.datasets.readers.base import skipping
from enfold.datasets.sources import Source


@dataclass(frozen=True)
class SqlSource(Source):
    """The rows of a query or a table.

    Args:
        sql: a table's name, a query, or a SQLAlchemy selectable.
        con: a URL (`"sqlite:///file.db"`), a SQLAlchemy engine or connection, or a sqlite3 connection.
        index_col, coerce_float, params, parse_dates, columns, chunksize: as `pandas.read_sql` takes them.
    """

    sql: Any
    con: Any
    features: Any = None
    index_col: str | Sequence[str] | None = None
    coerce_float: bool = True
    params: Any = None
    parse_dates: Any = None
    columns: Sequence[str] | None = None
    chunksize: int = 10_000

    @property
    def num_shards(self) -> int:
        return 1

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        yield from skipping(self._tables(), skip_rows)

    def subset(self, shards: Sequence[int]) -> SqlSource:
        if list(shards) not in ([0], []):
            raise ArgumentError(f"A query is one shard, and {list(shards)} were asked for.")
        return self

    def describe(self) -> str:
        return f"the query {str(self.sql)[:80]!r}"

    def _tables(self) -> Iterator[pa.Table]:
        pandas = require("pandas", extra="sql", purpose="Reading from a database")
        connection, owned = self.con, None
        if isinstance(self.con, str):
            alchemy = require("sqlalchemy", extra="sql", purpose="Reading from a database")
            try:
                owned = connection = alchemy.create_engine(self.con)
            except Exception as error:
                raise ArgumentError(f"con={self.con!r}: {error}") from error
        try:
            frames = pandas.read_sql(
                self.sql,
                connection,
                index_col=self.index_col,
                coerce_float=self.coerce_float,
                params=self.params,
                parse_dates=self.parse_dates,
                columns=self.columns,
                chunksize=self.chunksize,
            )
            for frame in frames:
                table = pa.Table.from_pandas(frame).replace_schema_metadata(None)
                if self.features is not None:
                    from enfold.datasets.features.casting import cast_table

                    table = cast_table(table, self.features)
                yield table
        except (ArgumentError, DatasetError):
            raise
        except Exception as error:
            raise DatasetError(f"The query {str(self.sql)[:80]!r} failed: {error}") from error
        finally:
            if owned is not None:
                owned.dispose()
