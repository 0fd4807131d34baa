"""Plain text, by lines, paragraphs or documents; xml, a document a row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pyarrow as pa

from enfold.base.errors import ArgumentError, BadRowError
from enfold.datasets.opening import Opened
from enfold.datasets.readers.base import OnBadRows, Reader, bad_row, check_on_bad_rows


@dataclass(frozen=True, kw_only=True)
class TextReader(Reader):
    """One column, `text` (or the one name in `features`).

    Args:
        encoding, encoding_errors: as `open` takes them.
        chunksize: characters read at a time.
        keep_linebreaks: keep the line's end (as `\\n`).
        sample_by: what a row is: a `"line"`, a `"paragraph"` (parted by an empty line) or a `"document"` (the file).
        on_bad_rows: what happens with lines of bytes that aren't in the encoding.
    """

    encoding: str = "utf-8"
    encoding_errors: str | None = None
    chunksize: int = 10 << 20
    keep_linebreaks: bool = False
    sample_by: Literal["line", "paragraph", "document"] = "line"
    on_bad_rows: OnBadRows = "error"

    extensions: ClassVar[tuple[str, ...]] = (".txt",)
    column: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        check_on_bad_rows(self.on_bad_rows)
        if self.sample_by not in ("line", "paragraph", "document"):
            raise ArgumentError(f"sample_by={self.sample_by!r}; it is 'line', 'paragraph' or 'document'.")
        if self.on_bad_rows != "error" and self.encoding_errors not in (None, "strict"):
            raise ArgumentError(
                "encoding_errors= mends bad bytes and on_bad_rows= leaves such rows out: give one of them."
            )
        if self.features is not None and len(self.features) != 1:
            raise ArgumentError(f"A text has one column, and features= has {list(self.features)}.")

    def read(self, opened: Opened) -> Iterator[pa.Table]:
        if self.on_bad_rows != "error":
            samples = self._good(opened)
        else:
            samples = {"line": self._lines, "paragraph": self._paragraphs, "document": self._document}[self.sample_by](
                opened
            )
        name = self.column if self.features is None else next(iter(self.features))
        try:
            for rows in samples:
                if rows:
                    yield self.fitted(pa.table({name: pa.array(rows, pa.string())}))
        except UnicodeDecodeError as error:
            raise BadRowError(
                f"{opened.name}, line {self._line_of_bad_bytes(opened)}: bytes that are not {self.encoding} "
                f"({error.reason}). Give encoding=, encoding_errors='replace', or on_bad_rows='skip'."
            ) from error

    def _text(self, opened: Opened, errors: str | None = None) -> io.TextIOWrapper:
        return io.TextIOWrapper(opened.open(), encoding=self.encoding, errors=errors or self.encoding_errors)

    def _lines(self, opened: Opened) -> Iterator[list[str]]:
        with self._text(opened) as file:
            while chunk := file.read(self.chunksize):
                chunk += file.readline()
                if self.keep_linebreaks:
                    lines = io.StringIO(chunk).readlines()
                else:
                    lines = chunk.split("\n")
                    if not lines[-1]:
                        lines.pop()
                yield lines

    def _paragraphs(self, opened: Opened) -> Iterator[list[str]]:
        rest = ""
        with self._text(opened) as file:
            while chunk := file.read(self.chunksize):
                *whole, rest = (rest + chunk + file.readline()).split("\n\n")
                yield [paragraph for paragraph in whole if paragraph]
        if rest:
            yield [rest]

    def _document(self, opened: Opened) -> Iterator[list[str]]:
        with self._text(opened) as file:
            yield [file.read()]

    def _good(self, opened: Opened) -> Iterator[list[str]]:
        """Rows without bad bytes, the others dealt with as asked."""
        strict = replace(self, on_bad_rows="error", encoding_errors="surrogateescape")
        samples = {"line": strict._lines, "paragraph": strict._paragraphs, "document": strict._document}
        number = 0
        for rows in samples[self.sample_by](opened):
            good = []
            for row in rows:
                number += 1
                if any("\udc80" <= character <= "\udcff" for character in row):
                    bad_row(self.on_bad_rows, opened.name, number, f"bytes that are not {self.encoding}")
                else:
                    good.append(row)
            yield good

    def _line_of_bad_bytes(self, opened: Opened) -> int:
        with self._text(opened, errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                if any("\udc80" <= character <= "\udcff" for character in line):
                    return number
        return 0


@dataclass(frozen=True, kw_only=True)
class XmlReader(TextReader):
    """One column, `xml`: each file as it is."""

    sample_by: Literal["line", "paragraph", "document"] = "document"

    extensions: ClassVar[tuple[str, ...]] = (".xml",)
    column: ClassVar[str] = "xml"
