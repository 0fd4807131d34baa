"""Columns renamed, chosen, removed, cast: tables stay tables, and every row stands where it stood."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.datasets.streams.block import Block, Columns, Place, Rows, listed
from enfold.datasets.streams.node import Node
from enfold.datasets.streams.show import Decoder, typed

if TYPE_CHECKING:
    from enfold.datasets.features import Features


class _Alike(Node):
    """As many rows as the input has, one for one."""

    def __init__(self, node: Node, features: Features | None):
        self.inputs, self.features = (node,), features

    @property
    def sequential(self) -> bool:
        return self.inputs[0].sequential

    @abstractmethod
    def _changed(self, rows: Rows) -> Rows: ...

    def open(self, place: Place) -> Generator[Block, None, None]:
        for block in self.inputs[0].open(place):
            yield Block(self._changed(block.rows), block.place)


class Select(_Alike):
    """Only these columns, in this order."""

    def __init__(self, node: Node, names: Sequence[str]):
        features = node.features
        if features is not None:
            check(names, features)
            features = type(features)({name: features[name] for name in names})
        super().__init__(node, features)
        self.names = list(names)

    def _changed(self, rows: Rows) -> Rows:
        if isinstance(rows, pa.Table):
            return rows.select(self.names)
        if isinstance(rows, Columns):
            return Columns({name: rows[name] for name in self.names}, rows.num_rows)
        return [{name: row[name] for name in self.names} for row in rows]


class Remove(_Alike):
    """Without these columns."""

    def __init__(self, node: Node, names: Sequence[str]):
        features = node.features
        if features is not None:
            check(names, features)
            features = type(features)({name: features[name] for name in features if name not in names})
        super().__init__(node, features)
        self.names = frozenset(names)

    @property
    def arrow(self) -> bool:
        return False

    def _changed(self, rows: Rows) -> Rows:
        if isinstance(rows, pa.Table):
            return rows.select([name for name in rows.column_names if name not in self.names])
        if isinstance(rows, Columns):
            return Columns({name: rows[name] for name in rows if name not in self.names}, rows.num_rows)
        return [{name: value for name, value in row.items() if name not in self.names} for row in rows]


class Rename(_Alike):
    """Columns under other names, where they were."""

    def __init__(self, node: Node, names: Mapping[str, str]):
        features = node.features
        if features is not None:
            check(names, features)
            after = [names.get(name, name) for name in features]
            twice = sorted({name for name in after if after.count(name) > 1})
            if twice:
                raise ArgumentError(
                    f"renaming {dict(names)} gives two columns of one name: {twice}. Columns: {list(features)}"
                )
            features = type(features)(zip(after, features.values(), strict=True))
        super().__init__(node, features)
        self.names = dict(names)

    @property
    def arrow(self) -> bool:
        return False

    def _changed(self, rows: Rows) -> Rows:
        name = self.names.get
        if isinstance(rows, pa.Table):
            return rows.rename_columns([name(column, column) for column in rows.column_names])
        if isinstance(rows, Columns):
            return Columns({name(column, column): rows[column] for column in rows}, rows.num_rows)
        return [{name(column, column): value for column, value in row.items()} for row in rows]


class Cast(_Alike):
    """Columns of these types; a column that is missing is null."""

    def __init__(self, node: Node, features: Features):
        super().__init__(node, features)

    def _changed(self, rows: Rows) -> Rows:
        features = self.features
        assert features is not None
        if isinstance(rows, pa.Table):
            return conformed(rows, features)
        return [
            typed({name: row.get(name) for name in features}, features)
            for row in listed(rows, Decoder(self.inputs[0].features))
        ]


def conformed(table: pa.Table, features: Features) -> pa.Table:
    """The table with the features' types and order of columns; missing columns are null."""
    from enfold.datasets.features.casting import cast_table

    schema = features.arrow_schema
    for name in features:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return cast_table(table.select(list(features)), features)


def check(names: Sequence[str] | Mapping[str, Any], have: Mapping[str, Any]) -> None:
    """ArgumentError where a name is no column."""
    missing = [name for name in names if name not in have]
    if missing:
        raise ArgumentError(f"columns {missing} are not in the dataset. Its columns: {list(have)}")
