"""Name tables: what a module is called here and in the checkpoint, one row each, read in both directions.

    ours                         theirs                          storage
    stack.layers.{i}.attn.op.q   encoder.layer.{i}.attention.self.query
    stack.layers.{i}.mlp.op.up   h.{i}.mlp.c_fc                  transposed

A row names a module or a parameter; the rest of a name (`.weight`, `.lora_A.weight`) passes through.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from enfold.base.errors import ConfigError


def _transposed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.t() if tensor.ndim == 2 else tensor


# How a base weight may be stored; each is its own inverse or names one.
STORAGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"": lambda tensor: tensor, "transposed": _transposed}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    ours: str
    theirs: str
    storage: str = ""


class NameTable:
    """A family's names.

    Args:
        text: the rows, columns separated by blanks.

    Raises:
        ConfigError: a name occurs twice in a column, or a row's indices repeat or differ between the columns.
    """

    def __init__(self, text: str = "", rows: list[Row] | None = None):
        self.rows = list(rows or [])
        for line in filter(str.strip, text.splitlines()):
            columns = line.split()
            if not 2 <= len(columns) <= 3:
                raise ConfigError(f"name table: {line.strip()!r}; a row has two or three columns")
            self.rows.append(Row(*columns))
        for column in ("ours", "theirs"):
            names = [getattr(row, column) for row in self.rows]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ConfigError(f"name table: {sorted(twice)} stand twice in the column {column!r}")
        for row in self.rows:
            indices = [sorted(re.findall(r"\{\w+\}", name)) for name in (row.ours, row.theirs)]
            if indices[0] != indices[1]:
                raise ConfigError(f"name table: the indices of {row.ours!r} and {row.theirs!r} differ")
            if len(set(indices[0])) < len(indices[0]):
                raise ConfigError(f"name table: an index of {row.ours!r} repeats; each has a name of its own")
            if row.storage not in STORAGES:
                raise ConfigError(f"name table: storage {row.storage!r} is none of {sorted(STORAGES)}")
        self._readers = {
            "ours": [(_pattern(row.ours), row) for row in self.rows],
            "theirs": [(_pattern(row.theirs), row) for row in self.rows],
        }

    def under(self, ours: str, theirs: str) -> "NameTable":
        """The same rows below a prefix on each side (`base.` and `bert.`)."""
        return NameTable(rows=[Row(ours + row.ours, theirs + row.theirs, row.storage) for row in self.rows])

    def __add__(self, other: "NameTable") -> "NameTable":
        return NameTable(rows=self.rows + other.rows)

    def theirs(self, name: str) -> tuple[str, str] | None:
        """(checkpoint's name, storage) of one of our names, or None."""
        return self._translate(name, "ours", "theirs")

    def ours(self, name: str) -> tuple[str, str] | None:
        """(our name, storage) of a checkpoint's name, or None."""
        return self._translate(name, "theirs", "ours")

    def _translate(self, name: str, source: str, target: str) -> tuple[str, str] | None:
        best: tuple[int, str, str] | None = None
        for pattern, row in self._readers[source]:
            match = pattern.match(name)
            if match and (best is None or match.end() > best[0]):
                translated = getattr(row, target).format(**match.groupdict()) + name[match.end() :]
                best = (match.end(), translated, row.storage)
        return None if best is None else best[1:]


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(name))
    return re.compile(escaped + r"(?=\.|$)")
