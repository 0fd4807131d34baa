"""csv and tsv.

Options are pandas' own. Where those that matter are at their defaults, Arrow reads the file, many times faster, with
the types that pandas would give its first rows; everything else goes through pandas.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.lazy import require
from enfold.datasets.opening import Opened
from enfold.datasets.readers.base import OnBadRows, Reader, bad_row, check_on_bad_rows, skipping
from enfold.datasets.readers.media import words

pc: Any = pyarrow.compute  # its functions are made when it is imported, unseen by type checkers
# What pandas takes for missing.
_NULLS = (
    "",
    "#N/A N/A",
    *words("#N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"),
)
_TRUE, _FALSE = ("True", "TRUE", "true"), ("False", "FALSE", "false")
_INTEGER = r"^\s*[+-]?\d+\s*$"
_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))\s*$"
# As much as stays in the caches of a core: larger blocks cost twice the time.
_BLOCK_BYTES = 1 << 20
# Options that Arrow's reader honours too; any other that is set sends the file to pandas.
_SHARED = frozenset(
    words(
        "sep delimiter header names column_names quotechar quoting escapechar doublequote encoding na_values "
        "keep_default_na na_filter true_values false_values skip_blank_lines usecols chunksize verbose engine "
        "memory_map mangle_dupe_cols error_bad_lines warn_bad_lines features max_expansion on_bad_rows"
    )
)
_NOT_PANDAS = ("features", "max_expansion", "on_bad_rows", "column_names", "chunksize")
_LEGACY = ("prefix", "mangle_dupe_cols", "error_bad_lines", "warn_bad_lines", "verbose")


@dataclass(frozen=True, kw_only=True)
class CsvReader(Reader):
    """csv; every option of `pandas.read_csv` that concerns reading, and `on_bad_rows`."""

    sep: str = ","
    delimiter: str | None = None
    header: int | Sequence[int] | str | None = "infer"
    names: Sequence[str] | None = None
    column_names: Sequence[str] | None = None
    index_col: Any = None
    usecols: Any = None
    prefix: str | None = None
    mangle_dupe_cols: bool = True
    engine: str | None = None
    converters: Any = None
    true_values: Sequence[str] | None = None
    false_values: Sequence[str] | None = None
    skipinitialspace: bool = False
    skiprows: Any = None
    nrows: int | None = None
    na_values: Any = None
    keep_default_na: bool = True
    na_filter: bool = True
    verbose: bool = False
    skip_blank_lines: bool = True
    thousands: str | None = None
    decimal: str = "."
    lineterminator: str | None = None
    quotechar: str = '"'
    quoting: int = 0
    escapechar: str | None = None
    comment: str | None = None
    encoding: str | None = None
    dialect: str | None = None
    error_bad_lines: bool = True
    warn_bad_lines: bool = True
    skipfooter: int = 0
    doublequote: bool = True
    memory_map: bool = False
    float_precision: str | None = None
    chunksize: int = 10_000
    encoding_errors: str | None = "strict"
    on_bad_lines: Any = "error"
    date_format: str | None = None
    on_bad_rows: OnBadRows = "error"

    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    def __post_init__(self) -> None:
        check_on_bad_rows(self.on_bad_rows)
        for name in _LEGACY:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                raise ArgumentError(f"{name}= is gone from pandas.read_csv. Use on_bad_rows= for bad rows.")
        if self.on_bad_rows != "error" and not self._plain_options():
            raise ArgumentError(
                f"on_bad_rows={self.on_bad_rows!r} goes with {', '.join(sorted(self._set() - _SHARED))} nowhere: with "
                "those, pandas reads the file. Use pandas' own on_bad_lines=."
            )

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        if self.on_bad_rows != "error":
            yield from self._row_by_row(opened, self.on_bad_rows)
            return
        done, schema = 0, None
        try:
            if self._plain_options():
                for table in self._by_arrow(opened):
                    schema = table.schema
                    yield table
                    done += table.num_rows
                return
        except _NeedsPandas:
            pass
        except pa.ArrowInvalid as error:
            if _pandas() is None:
                self._explain(opened, error)
        try:
            for table in skipping(self._by_pandas(opened), done):
                # What pandas finds in later rows has to fit what was found in the first.
                schema = schema or table.schema
                yield table.cast(schema) if table.schema.names == schema.names else table
        except (DatasetError, ArgumentError):
            raise
        except (ValueError, UnicodeError) as error:
            self._explain(opened, error)

    def _explain(self, opened: Opened, error: Exception) -> None:
        """Find the row that is at fault; raises always."""
        if self._plain_options():
            with suppress(_NeedsPandas):
                for _ in self._row_by_row(opened, "error"):
                    pass
        raise DatasetError(f"{opened.name} is no csv as described: {type(error).__name__}: {error}") from error

    def _set(self) -> set[str]:
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}

    def _plain_options(self) -> bool:
        """Whether Arrow's reader (and ours, row by row) can honour what is set."""
        return (
            self._set() <= _SHARED
            and len(self._separator) == 1
            and self.header in ("infer", 0, None)
            and self.quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)
            and (self.na_values is None or isinstance(self.na_values, str | list | tuple))
            and (self.usecols is None or all(isinstance(name, str) for name in self.usecols))
            and self.engine in (None, "c", "pyarrow")
        )

    @property
    def _separator(self) -> str:
        return self.delimiter if self.delimiter is not None else self.sep

    @property
    def _names(self) -> list[str] | None:
        names = self.column_names if self.column_names is not None else self.names
        return None if names is None else [str(name) for name in names]

    @property
    def _null_words(self) -> list[str]:
        if not self.na_filter:
            return []
        more = [self.na_values] if isinstance(self.na_values, str) else list(self.na_values or ())
        return [*(_NULLS if self.keep_default_na else ()), *map(str, more)]

    # Arrow

    def _by_arrow(self, opened: Opened) -> Iterator[pa.Table]:
        names, has_header = self._columns(opened)
        if not names:
            return
        kept = names if self.usecols is None else [name for name in names if name in set(self.usecols)]
        types = self._types(opened, names, has_header, kept)
        with opened.open() as source:
            for batch in self._arrow_reader(source, names, has_header, types, kept):
                if batch.num_rows or self.features is None:
                    yield self.fitted(pa.Table.from_batches([batch]))

    def _arrow_reader(self, source, names, has_header, types, kept) -> Any:
        return pacsv.open_csv(
            source,
            read_options=pacsv.ReadOptions(
                column_names=names,
                skip_rows_after_names=int(has_header),
                encoding=self.encoding or "utf8",
                block_size=_BLOCK_BYTES,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self._separator,
                quote_char=False if self.quoting == csv.QUOTE_NONE else self.quotechar,
                double_quote=self.doublequote,
                escape_char=self.escapechar or False,
                newlines_in_values=self.quoting != csv.QUOTE_NONE,
                ignore_empty_lines=self.skip_blank_lines,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=types,
                include_columns=kept,
                null_values=self._null_words,
                strings_can_be_null=self.na_filter,
                quoted_strings_can_be_null=self.na_filter,
                true_values=[*_TRUE, *(self.true_values or ())],
                false_values=[*_FALSE, *(self.false_values or ())],
            ),
        )

    def _columns(self, opened: Opened) -> tuple[list[str], bool]:
        """The columns' names as pandas would call them, and whether the first row is a header."""
        given = self._names
        has_header = self.header == 0 or (self.header == "infer" and given is None)
        first = next((row for row in self._text_rows(opened) if row or not self.skip_blank_lines), None)
        if first is None:
            if given is None:
                raise DatasetError(f"{opened.name} is empty: it has no header.")
            return given, False
        if given is not None:
            if len(set(given)) != len(given):
                raise ArgumentError(f"names={given}: a column's name stands there twice.")
            return given, has_header
        if not has_header:
            return [str(index) for index in range(len(first))], False
        names: list[str] = []
        for index, name in enumerate(first):
            name = name or f"Unnamed: {index}"
            unique = next(
                candidate
                for candidate in itertools.chain([name], (f"{name}.{again}" for again in itertools.count(1)))
                if candidate not in names and (candidate == name or candidate not in first)
            )
            names.append(unique)
        return names, True

    def _types(self, opened: Opened, names: list[str], has_header: bool, kept: list[str]) -> dict[str, pa.DataType]:
        if self.features is not None:
            return {name: self._asked_type(name) for name in kept}
        texts = {name: pa.string() for name in names}
        sample: list[pa.RecordBatch] = []
        with opened.open() as source:
            for batch in self._arrow_reader(source, names, has_header, texts, kept):
                sample.append(batch)
                if sum(part.num_rows for part in sample) >= self.chunksize:
                    break
        if not sum(batch.num_rows for batch in sample):
            return dict.fromkeys(names, pa.null())
        table = pa.Table.from_batches(sample).slice(0, self.chunksize)
        return {name: self._type_of(table[name]) for name in table.column_names}

    def _type_of(self, column: Any) -> pa.DataType:
        """The type that pandas finds in texts; raises _NeedsPandas where only it knows."""
        present = column.drop_null()
        if len(present) == 0:
            return pa.float64() if self.na_filter else pa.large_string()
        words = pa.array([*_TRUE, *_FALSE, *(self.true_values or ()), *(self.false_values or ())])
        if pc.all(pc.is_in(present, value_set=words)).as_py():
            return pa.bool_()
        if pc.all(pc.match_substring_regex(present, _INTEGER)).as_py():
            if pc.max(pc.utf8_length(present)).as_py() > 18:
                raise _NeedsPandas
            return pa.float64() if column.null_count else pa.int64()
        if pc.all(pc.match_substring_regex(present, _NUMBER)).as_py():
            return pa.float64()
        return pa.large_string()

    # pandas

    def _by_pandas(self, opened: Opened) -> Iterator[pa.Table]:
        pandas = _pandas() or require("pandas", extra="pandas", purpose=f"Reading {opened.name} with these options")
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NOT_PANDAS}
        options = {name: value for name, value in options.items() if name not in _LEGACY}
        options |= {"sep": self._separator, "names": self._names, "chunksize": self.chunksize}
        options = {name: value for name, value in options.items() if name not in ("delimiter", "dialect")}
        if self.dialect is not None:
            options["dialect"] = self.dialect
        if options["engine"] == "pyarrow":
            raise ArgumentError("engine='pyarrow': pandas reads no file piece by piece with it. Leave engine= out.")
        with opened.open() as source, pandas.read_csv(source, iterator=True, dtype=self._dtypes(), **options) as chunks:
            for frame in chunks:
                yield self.fitted(pa.Table.from_pandas(frame).replace_schema_metadata(None))

    def _dtypes(self) -> dict[str, Any] | None:
        if self.features is None:
            return None
        kinds = {name: self._asked_type(name) for name in self.features}
        return {
            name: object if pa.types.is_large_string(kind) else kind.to_pandas_dtype() for name, kind in kinds.items()
        }

    def _asked_type(self, name: str) -> pa.DataType:
        """What a column's texts are read as: the numbers and booleans that `features` asks for, else texts."""
        from enfold.datasets.features import Value, arrow_type

        feature = (self.features or {}).get(name)
        kind = arrow_type(feature) if isinstance(feature, Value) else pa.large_string()
        simple = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        return kind if any(test(kind) for test in simple) else pa.large_string()

    # Row by row: slow, and it knows which row is bad

    def _row_by_row(self, opened: Opened, on_bad_rows: OnBadRows) -> Iterator[pa.Table]:
        names, has_header = self._columns(opened)
        types: dict[str, pa.DataType] | None = None
        nulls = set(self._null_words)
        rows = (row for row in self._text_rows(opened) if row or not self.skip_blank_lines)
        if has_header:
            next(rows, None)
        number = 0
        while chunk := list(itertools.islice(rows, self.chunksize)):
            good: list[tuple[int, list[str | None]]] = []
            for row in chunk:
                number += 1
                if len(row) > len(names):
                    bad_row(on_bad_rows, opened.name, number, f"{len(row)} cells, and there are {len(names)} columns")
                elif any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
                    bad_row(on_bad_rows, opened.name, number, f"bytes that are not {self.encoding or 'UTF-8'}")
                else:
                    cells = [None if cell in nulls else cell for cell in row]
                    good.append((number, cells + [None] * (len(names) - len(row))))
            columns = {name: pa.array([row[at] for _, row in good], pa.string()) for at, name in enumerate(names)}
            if self.usecols is not None:
                columns = {name: column for name, column in columns.items() if name in set(self.usecols)}
            if types is None:
                types = self._expected(columns)
            misfits = {
                at: f"{column[at].as_py()!r} in the column {name!r}, which holds {types[name]}"
                for name, column in columns.items()
                for at in _misfits(column, types[name])
            }
            for at in sorted(misfits):
                bad_row(on_bad_rows, opened.name, good[at][0], misfits[at])
            keep = pa.array([at not in misfits for at in range(len(good))], pa.bool_())
            arrays = {name: _cast(column.filter(keep), types[name]) for name, column in columns.items()}
            table = pa.table(arrays)
            if table.num_rows:
                yield self.fitted(table)

    def _expected(self, columns: dict[str, Any]) -> dict[str, pa.DataType]:
        if self.features is None:
            return {name: self._type_of(column) for name, column in columns.items()}
        return {name: self._asked_type(name) for name in columns}

    def _text_rows(self, opened: Opened) -> Iterator[list[str]]:
        with opened.open() as source:
            encoding = self.encoding or "utf-8"
            if codecs.lookup(encoding).name == "utf-8":
                encoding = "utf-8-sig"
            text = io.TextIOWrapper(source, encoding=encoding, errors="surrogateescape", newline="")
            csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
            yield from csv.reader(
                text,
                delimiter=self._separator,
                quotechar=self.quotechar,
                quoting=csv.QUOTE_NONE if self.quoting == csv.QUOTE_NONE else csv.QUOTE_MINIMAL,
                escapechar=self.escapechar,
                doublequote=self.doublequote,
            )


class _NeedsPandas(Exception):  # noqa: N818
    """Only pandas knows what type it would give."""


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def _cast(column: Any, kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return (
            pc.is_in(column, value_set=pa.array(_TRUE))
            if column.null_count == 0
            else pc.if_else(
                pc.is_valid(column), pc.is_in(column, value_set=pa.array(_TRUE)), pa.scalar(None, pa.bool_())
            )
        )
    return pc.utf8_trim_whitespace(column).cast(kind) if not pa.types.is_large_string(kind) else column.cast(kind)


def _misfits(column: Any, kind: pa.DataType) -> list[int]:
    """Where texts are not of a type."""
    if pa.types.is_large_string(kind) or pa.types.is_string(kind):
        return []
    if pa.types.is_boolean(kind):
        fits = pc.is_in(column, value_set=pa.array([*_TRUE, *_FALSE]))
        return [at for at, ok in enumerate(fits.to_pylist()) if not ok and column[at].is_valid]
    try:
        _cast(column, kind)
    except pa.ArrowInvalid:
        found = []
        for at in range(len(column)):
            try:
                _cast(column.slice(at, 1), kind)
            except pa.ArrowInvalid:
                found.append(at)
        return found
    return []
