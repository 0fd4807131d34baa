"""Rows as Python objects, and as a user's function makes them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.datasets.formats.base import Format


class PythonFormat(Format):
    """Dicts and lists of Python objects."""

    def row(self, table: pa.Table) -> dict[str, Any]:
        return {name: self.column(table, name)[0] for name in table.column_names}

    def column(self, table: pa.Table, name: str) -> list[Any]:
        return self.decoded(table, name, table.column(name).to_pylist())

    def batch(self, table: pa.Table) -> dict[str, Any]:
        return {name: self.column(table, name) for name in table.column_names}

    def rows(self, table: pa.Table) -> Iterator[dict[str, Any]]:
        names = table.column_names
        decoded = [self.decoder(table, name) for name in names]
        for values in zip(*(table.column(name).to_pylist() for name in names), strict=True):
            parts = zip(names, decoded, values, strict=True)
            yield {name: value if decode is None else decode(value) for name, decode, value in parts}


class CustomFormat(Format):
    """What a function makes of a batch of Python objects, each time it is read.

    Args:
        transform: dict of lists → dict of sequences (or anything, where no single rows are asked for).
    """

    def __init__(self, transform: Callable[[dict[str, list]], Any], **options: Any):
        super().__init__(**options)
        if not callable(transform):
            raise ArgumentError(f"A transform is a function of a batch, not {transform!r}.")
        self.transform = transform
        self._python = PythonFormat(**options)

    def batch(self, table: pa.Table) -> Any:
        return self.transform(self._python.batch(table))

    def row(self, table: pa.Table) -> dict[str, Any]:
        batch = self.batch(table)
        try:
            return {name: values[0] for name, values in batch.items()}
        except (AttributeError, TypeError, IndexError, KeyError) as error:
            raise TypeError(
                f"A row is shown only where the transform returns a dict of sequences; it returned {str(batch)[:200]}"
            ) from error

    def column(self, table: pa.Table, name: str) -> Any:
        batch = self.batch(table.select([name]))
        if not isinstance(batch, Mapping) or name not in batch or len(batch) > 1:
            shown = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
            raise TypeError(
                f"A column is shown only where the transform makes of {name!r} one column of that name, not {shown}."
            )
        return batch[name]
