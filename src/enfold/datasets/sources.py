"""Where rows come from: shards that are read one after the other, as Arrow tables.

A source is read in two ways. A build writes all of its shards into Arrow files; streaming reads them when somebody
iterates, from a row on when it resumes. Both read the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from enfold.datasets.features import Features

Row = Mapping[str, Any]
ROWS_PER_TABLE = 1000


class Source(ABC):
    """Shards of rows.

    A subclass has `features` (None while nobody knows: the first table's schema tells) and `num_shards`. `examples` is
    None where rows are Arrow anyway; a source of Python objects gives them there as they are, so that streaming neither
    reads ahead nor converts what nobody asked for.
    """

    features: Features | None

    @property
    @abstractmethod
    def num_shards(self) -> int:
        """How many shards there are: what can be read in parallel."""

    @abstractmethod
    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        """The shard's rows from `skip_rows` on, in tables of whatever length the format suggests."""

    @abstractmethod
    def subset(self, shards: Sequence[int]) -> Source:
        """The same source with only these shards, in this order."""

    @abstractmethod
    def describe(self) -> str:
        """What it reads, for messages: names of files, of a function, of a table."""

    examples: Callable[[int, int], Iterator[Row]] | None = None
    # Whether a forked process can read it: connections to other programs don't survive a fork.
    forks: ClassVar[bool] = True


@dataclass(frozen=True)
class FileSource(Source):
    """Files, each a shard.

    Args:
        files: what `reader` is called with, one per shard (a path, a URL, or a file object's description).
        reader: `reader(file, skip_rows)` → tables.
        features: what the tables' columns are, None if the files tell.
    """

    files: tuple[Any, ...]
    reader: Callable[[Any, int], Iterable[pa.Table]]
    features: Features | None = None

    @property
    def num_shards(self) -> int:
        return len(self.files)

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        yield from self.reader(self.files[shard], skip_rows)

    def subset(self, shards: Sequence[int]) -> FileSource:
        return replace(self, files=tuple(self.files[shard] for shard in shards))

    def reshard(self) -> FileSource:
        """Each file cut into as many shards as its reader can tell apart."""
        divided = getattr(self.reader, "divided", None)
        if divided is None:
            return self
        return replace(self, files=tuple(part for file in self.files for part in divided(file)))

    def describe(self) -> str:
        shown = ", ".join(str(file) for file in self.files[:3])
        return shown if len(self.files) <= 3 else f"{shown} and {len(self.files) - 3} more"


@dataclass(frozen=True)
class TableSource(Source):
    """Arrow tables that are in memory (or memory-mapped), each a shard.

    `of(table, num_shards)` cuts one table into shards whose sizes differ by at most one row.
    """

    tables: tuple[pa.Table, ...]
    features: Features | None = None
    rows_per_table: int = ROWS_PER_TABLE

    @classmethod
    def of(cls, table: pa.Table, num_shards: int = 1, features: Features | None = None) -> TableSource:
        rows = table.num_rows
        if not 1 <= num_shards <= max(rows, 1):
            raise ArgumentError(f"num_shards={num_shards}: a table of {rows} rows has between 1 and {max(rows, 1)}.")
        size, longer = divmod(rows, num_shards)
        starts = [index * size + min(index, longer) for index in range(num_shards + 1)]
        parts = (table.slice(start, stop - start) for start, stop in pairwise(starts))
        return cls(tuple(parts), features)

    @property
    def num_shards(self) -> int:
        return len(self.tables)

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        table = self.tables[shard]
        for start in range(skip_rows, table.num_rows, self.rows_per_table):
            yield table.slice(start, self.rows_per_table)

    def subset(self, shards: Sequence[int]) -> TableSource:
        return replace(self, tables=tuple(self.tables[shard] for shard in shards))

    def describe(self) -> str:
        return f"a table of {sum(table.num_rows for table in self.tables)} rows"


@dataclass(frozen=True)
class GeneratorSource(Source):
    """Rows that a function yields, called with keyword arguments.

    The lists among the arguments are the shards: each shard calls the function with one element (a list of one) of
    every list, so all lists must be equally long. Without lists there is one shard.

    Args:
        generator: a function that yields rows (dictionaries).
        gen_kwargs: its arguments.
        features: what the rows' columns are; inferred from the rows, table by table, if None.
        rows_per_table: rows that `read` gathers before it gives a table.
    """

    generator: Callable[..., Iterable[Row]]
    gen_kwargs: Mapping[str, Any]
    features: Features | None = None
    rows_per_table: int = ROWS_PER_TABLE

    def __post_init__(self) -> None:
        if not callable(self.generator):
            raise ArgumentError(f"generator= is a {type(self.generator).__name__}; give the function, uncalled.")
        lengths = {name: len(value) for name, value in self.gen_kwargs.items() if isinstance(value, list)}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(
                f"The lists in gen_kwargs are the shards, and their lengths differ: {lengths}. Make them equally long, "
                "or make a tuple of the one that isn't to be split."
            )
        object.__setattr__(self, "_num_shards", next(iter(lengths.values()), 1))

    @property
    def num_shards(self) -> int:
        return self._num_shards  # pyright: ignore[reportAttributeAccessIssue]

    def arguments(self, shards: Sequence[int]) -> dict[str, Any]:
        """The keyword arguments for these shards."""
        return {
            name: [value[shard] for shard in shards] if isinstance(value, list) else value
            for name, value in self.gen_kwargs.items()
        }

    def examples(self, shard: int, skip_rows: int = 0) -> Iterator[Row]:
        """The shard's rows as the function yields them, from `skip_rows` on."""
        rows = iter(self.generator(**self.arguments([shard])))
        for _ in range(skip_rows):
            if next(rows, None) is None:
                return
        yield from rows

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        yield from tables_of_rows(self.examples(shard, skip_rows), self.features, self.rows_per_table)

    def subset(self, shards: Sequence[int]) -> GeneratorSource:
        return replace(self, gen_kwargs=self.arguments(shards))

    def describe(self) -> str:
        return f"the generator {getattr(self.generator, '__qualname__', self.generator)}"


def tables_of_rows(
    rows: Iterable[Row], features: Features | None = None, rows_per_table: int = ROWS_PER_TABLE
) -> Iterator[pa.Table]:
    """Gather rows into tables. A key that a row lacks is null there; the columns are in the order they first appear."""
    from enfold.datasets.features.encoding import to_table

    pending: list[Row] = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise ArgumentError(f"A row is a dictionary of column to value, not {type(row).__name__}: {row!s:.200}")
        pending.append(row)
        if len(pending) == rows_per_table:
            yield to_table(_columns(pending), features=features)
            pending = []
    if pending:
        yield to_table(_columns(pending), features=features)


def _columns(rows: Sequence[Row]) -> dict[str, list]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
