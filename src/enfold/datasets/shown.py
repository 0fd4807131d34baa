"""How rows are shown: as Python objects, or in the form of another library."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.datasets.features import Features
from enfold.datasets.formats import format_name, formatter
from enfold.datasets.info import Described

# Formats whose columns are one object of another library; the others give a `Column`, read when looked at.
TABLE_FORMATS = ("arrow", "pandas", "polars")


class Shown(Described):
    """A format, its options, and the columns that it shows."""

    features: Features
    column_names: list[str]

    def _show_all(self) -> None:
        self._format_type: str | None = None
        self._format_kwargs: dict[str, Any] = {}
        self._format_columns: list[str] | None = None
        self._output_all_columns = False

    def _twin(self) -> Self:
        raise NotImplementedError

    @cached_property
    def _formatter(self) -> Any:
        return formatter(self._format_type, features=self.features, **self._format_kwargs)

    def _shown_rows(self, table: pa.Table) -> Iterator[Any]:
        """Each row of a table as the format shows it; the block is converted at once where the format can."""
        if self._format_columns is None:
            yield from self._formatter.rows(table)
        elif self._output_all_columns or self._format_type == "custom":
            for row in range(table.num_rows):
                yield self._shown(table.slice(row, 1), "row")
        else:
            yield from self._formatter.rows(table.select([n for n in table.column_names if n in self._format_columns]))

    def _shown(self, table: pa.Table, kind: str) -> Any:
        """A table as the format shows it: `kind` is "row" (of a table of one) or "batch"."""
        if self._format_columns is None:
            return getattr(self._formatter, kind)(table)
        wanted = [name for name in table.column_names if name in self._format_columns]
        shown = getattr(self._formatter, kind)(table.select(wanted))
        if self._output_all_columns:
            if not hasattr(shown, "update") or self._format_type in TABLE_FORMATS:
                raise TypeError(
                    f"output_all_columns=True needs a format whose rows are dicts, not {type(shown).__name__}"
                )
            rest = [name for name in table.column_names if name not in self._format_columns]
            shown.update(getattr(formatter(None), kind)(table.select(rest)))
        return shown

    @property
    def format(self) -> dict[str, Any]:
        """The format that is set: its type, options and columns."""
        return {
            "type": self._format_type,
            "format_kwargs": self._format_kwargs,
            "columns": self.column_names if self._format_columns is None else self._format_columns,
            "output_all_columns": self._output_all_columns,
        }

    def set_format(
        self,
        type: str | None = None,
        columns: Sequence[str] | str | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> None:
        """Show rows in another form from now on (changes this object; `with_format` gives a new one).

        Args:
            type: None or "python", "numpy", "torch", "tensorflow", "jax", "arrow", "pandas", "polars".
            columns: the columns that are shown; None: all.
            output_all_columns: show the other columns too, as Python objects.
            format_kwargs: options of the form (`dtype=`, `device=`, …).
        """
        format_kwargs.update(format_kwargs.pop("format_kwargs", {}))
        name = format_name(type)
        formatter(name, **format_kwargs)
        columns = [columns] if isinstance(columns, str) else None if columns is None else list(columns)
        if columns is not None and (missing := [column for column in columns if column not in self.column_names]):
            raise ArgumentError(f"Columns {missing} not in the dataset. Its columns: {self.column_names}")
        self._format_type, self._format_kwargs = name, format_kwargs
        self._format_columns, self._output_all_columns = columns, output_all_columns
        self.__dict__.pop("_formatter", None)

    def reset_format(self) -> None:
        """Show all columns as Python objects again."""
        self.set_format()

    def set_transform(self, transform: Any, columns: Sequence[str] | None = None, output_all_columns: bool = False):
        """Show rows as `transform(batch)` makes them, each time they are read (changes this object)."""
        self.set_format("custom", columns=columns, output_all_columns=output_all_columns, transform=transform)

    def with_format(
        self,
        type: str | None = None,
        columns: Sequence[str] | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> Self:
        """The same rows in another form: see `set_format`."""
        twin = self._twin()
        twin.set_format(type=type, columns=columns, output_all_columns=output_all_columns, **format_kwargs)
        return twin

    def with_transform(self, transform: Any, columns: Sequence[str] | None = None, output_all_columns: bool = False):
        """The same rows as `transform(batch)` makes them: see `set_transform`."""
        twin = self._twin()
        twin.set_transform(transform, columns=columns, output_all_columns=output_all_columns)
        return twin

    @contextlib.contextmanager
    def formatted_as(
        self,
        type: str | None = None,
        columns: Sequence[str] | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> Iterator[None]:
        """`with data.formatted_as("numpy"):` rows in another form for a while."""
        before = (self._format_type, self._format_kwargs, self._format_columns, self._output_all_columns)
        self.set_format(type, columns, output_all_columns, **format_kwargs)
        try:
            yield
        finally:
            self.set_format(before[0], before[2], before[3], **before[1])

    def _take_format(self, other: "Shown") -> None:
        """Show rows as `other` does; columns that it doesn't know are shown."""
        columns = other._format_columns
        if columns is not None:
            hidden = set(other.column_names) - set(columns)
            columns = [name for name in self.column_names if name not in hidden]
        self._format_type, self._format_kwargs = other._format_type, dict(other._format_kwargs)
        self._format_columns, self._output_all_columns = columns, other._output_all_columns
        self.__dict__.pop("_formatter", None)
