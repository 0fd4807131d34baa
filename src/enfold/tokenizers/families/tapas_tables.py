"""Tables of texts, and of tokens, as TAPAS reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from enfold.base.errors import ArgumentError

Cell = tuple[int, int]  # (row, column), from 0, headers apart


@dataclass(frozen=True, slots=True)
class Table:
    """The texts of a table.

    Args:
        columns: its headers.
        rows: its cells, as many in each row as there are headers.
    """

    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def of(cls, given: Any) -> "Table | None":
        """The table in a pandas DataFrame or a mapping of header → cells; None for what is neither.

        Raises:
            ArgumentError: cells or headers that are no texts, or columns of different lengths.
        """
        if isinstance(given, cls):
            return given
        if hasattr(given, "itertuples") and hasattr(given, "columns"):
            made = cls(list(given.columns), [list(row) for row in given.itertuples(index=False, name=None)])
        elif isinstance(given, Mapping):
            columns = list(given.values())
            if len(sizes := {len(column) for column in columns}) > 1:
                raise ArgumentError(f"The columns of a table must be of one length, got {sorted(sizes)} cells.")
            made = cls(list(given), [list(row) for row in zip(*columns, strict=True)])
        else:
            return None
        for text in (text for row in [made.columns, *made.rows] for text in row):
            if not isinstance(text, str):
                raise ArgumentError(
                    f"Headers and cells of a table must be texts, got {text!r:.80}: convert it first (a DataFrame with "
                    "astype(str))."
                )
        return made

    def column(self, place: int) -> list[str]:
        return [row[place] for row in self.rows]


@dataclass(slots=True)
class TokenizedTable:
    """A table as tokens: its cells row by row, headers first."""

    cells: list[list[list[str]]]

    def longest(self) -> int:
        return max((len(cell) for row in self.cells for cell in row), default=0)

    def starts(self) -> Iterator[tuple[str, int, int, int]]:
        """For each token itself, its column, its row (0 is the headers) and where its word begins in the cell."""
        for row, cells in enumerate(self.cells):
            for column, cell in enumerate(cells):
                begin = -1
                for place, token in enumerate(cell):
                    begin = begin if token.startswith("##") else place
                    yield token, column, row, begin
