"""Rows that are added bit by bit: a few thousand in memory, what came before them in a file."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from enfold.evaluate.columns import from_line, joined, to_line

# Rows that are held in memory before they are written down.
HELD = 10_000


class Rows:
    """Columns of equal length.

    Args:
        folder: where a temporary file may lie.
        keep_in_memory: never write one.
    """

    def __init__(self, folder: Path, *, keep_in_memory: bool = False):
        self._folder, self._keep = folder, keep_in_memory
        self._batches: list[dict[str, Any]] = []
        self._held = self._count = 0
        self._file: IO[str] | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, batch: Mapping[str, Any], count: int) -> None:
        """Add columns with `count` rows."""
        self._batches.append(dict(batch))
        self._held += count
        self._count += count
        if self._held > HELD and not self._keep:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self._folder, prefix="rows-")  # noqa: SIM115
        for batch in self._batches:
            self._file.write(to_line(batch) + "\n")
        self._batches, self._held = [], 0

    def batches(self) -> Iterator[dict[str, Any]]:
        """Every batch, in the order in which they were added."""
        if self._file is not None:
            self._file.flush()
            self._file.seek(0)
            yield from map(from_line, self._file)
        yield from self._batches

    def lines(self) -> Iterator[str]:
        """Every batch as a line of JSON."""
        return map(to_line, self.batches())

    def clear(self) -> None:
        """Forget them all."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._batches, self._held, self._count = [], 0, 0


def columns_of(batches: Iterator[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """The columns that batches make together."""
    chunks: dict[str, list[Any]] = {name: [] for name in names}
    for batch in batches:
        for name in names:
            chunks[name].append(batch[name])
    return {name: joined(found) if found else [] for name, found in chunks.items()}
