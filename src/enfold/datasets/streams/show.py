"""What functions and consumers see: Python objects of Arrow columns, rows and batches in a format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.streams.block import Columns, Rows, Stored, columned, count, cut, listed, unwrapped

if TYPE_CHECKING:
    from enfold.datasets.features import Features
    from enfold.datasets.rows import Formatter

# Rows made at a time for a consumer of rows.
MOST_SHOWN = 256
TABLES = frozenset({"arrow", "pandas", "polars"})


class Decoder:
    """Makes Python objects of Arrow columns.

    Args:
        features: what the columns are; None: what their Arrow types say.
    """

    def __init__(self, features: Features | None):
        self.features = features

    @cached_property
    def heavy(self) -> frozenset[str]:
        """Columns to decode one value at a time: images, audio."""
        from enfold.datasets.features.schema import require_decoding

        features = self.features
        return (
            frozenset()
            if features is None
            else frozenset(name for name in features if require_decoding(features[name]))
        )

    def column(self, table: pa.Table, name: str) -> Sequence[Any]:
        """The column's values."""
        return self._formatter.column(table, name)

    @cached_property
    def _formatter(self) -> Formatter:
        from enfold.datasets.formats import formatter

        return formatter(None, features=self.features)

    def row(self, table: pa.Table) -> Any:
        """The values of a table of one row."""
        return {name: self.column(table, name)[0] for name in table.column_names}

    def batch(self, table: pa.Table) -> Any:
        """All columns."""
        return {name: self.column(table, name) for name in table.column_names}


def typed(row: Mapping[str, Any], features: Features) -> dict[str, Any]:
    """A row of Python values as its features give it: labels as numbers, arrays as lists, media decoded."""
    return features.decode_example(features.encode_example(row))


def same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether values are equal; arrays and tensors where all of their elements are."""
    for one, other in zip(left, right, strict=True):
        equal = one == other
        if not (equal.all() if hasattr(equal, "all") else equal):
            return False
    return True


@dataclass(frozen=True)
class Format:
    """What rows are shown as: None (Python objects) or the name of a format, and its options."""

    kind: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Whether batches are tables or data frames."""
        return self.kind in TABLES


class View:
    """Rows of some features in a format."""

    def __init__(self, format: Format, features: Features | None):
        self.format, self.features, self.decoder = format, features, Decoder(features)

    @cached_property
    def formatter(self) -> Any:
        """What shows tables."""
        from enfold.datasets.formats import formatter

        return formatter(self.format.kind, features=self.features, **self.format.options)

    def rows(self, rows: Rows) -> Iterator[Any]:
        """The rows one by one, made as they are asked for."""
        kind = self.format.kind
        if isinstance(rows, list) and kind is None:
            yield from rows
            return
        number = count(rows)
        media = isinstance(rows, Columns) and any(isinstance(one, Stored) and one.is_heavy for one in rows.values())
        size = 1 if media or self.decoder.heavy else MOST_SHOWN
        for start in range(0, number, size):
            part = cut(rows, start, min(start + size, number))
            if kind is None:
                yield from listed(part, self.decoder)
                continue
            table, rest = self.table(part)
            for index, row in enumerate(self.formatter.rows(table)):
                yield {**row, **{name: values[index] for name, values in rest.items()}} if rest else row

    def batch(self, rows: Rows) -> Any:
        """The rows as one batch: columns, or a table."""
        shown = columned(rows)
        if self.format.kind is None:
            if isinstance(shown, pa.Table):
                return self.decoder.batch(shown)
            return {name: list(column) for name, column in shown.items()}
        table, rest = self.table(shown)
        batch = self.formatter.batch(table)
        return {**batch, **rest} if rest else batch

    def table(self, rows: Rows) -> tuple[pa.Table, dict[str, Sequence[Any]]]:
        """The rows as a table, and the columns of objects that Arrow doesn't know, which pass as they are."""
        from enfold.datasets.features.encoding import to_table

        columns = columned(rows)
        if isinstance(columns, pa.Table):
            return columns, {}
        plain = {name: unwrapped(column) for name, column in columns.items()}
        try:
            return to_table(plain, features=self.features), {}
        except DatasetError:
            if self.format.is_table or self.features is not None:
                raise
        tables, rest = {}, {}
        for name, column in plain.items():
            try:
                tables[name] = to_table({name: column}).column(0)
            except DatasetError:
                rest[name] = column
        return pa.table(tables), rest
