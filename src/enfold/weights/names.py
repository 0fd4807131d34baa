"""Name tables: what a module is called here and in the checkpoint, one row each, read in both directions.

    ours                         theirs                          storage
    stack.layers.{i}.attn.op.q   encoder.layer.{i}.attention.self.query
    stack.layers.{i}.mlp.op.up   h.{i}.mlp.c_fc                  transposed
    stack.layers.{i}.attn.op.qkv h.{i}.attn.query_key_value      by_head
    experts.down.{e}             experts.{e}.down_proj.weight    stacked

A row names a module or a parameter; the rest of a name (`.weight`, `.lora_A.weight`) passes through. A stacked row
names a piece of a parameter: the numbers at the end of our name index its first dimensions. A storage that depends on
sizes gets them from the configuration: `table.sized("by_head", 8, 2)`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from enfold.base.errors import ConfigError


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.mT if tensor.ndim > 1 else tensor


def _by_head(tensor: Tensor, heads: int, kv_heads: int) -> Tensor:
    """Rows of q, k and v [(H + 2·Hkv)·d, …] → each key's queries, the key, the value: [Hkv·(H / Hkv + 2)·d, …]."""
    parts = tensor.unflatten(0, (heads + 2 * kv_heads, -1)).split([heads, kv_heads, kv_heads])
    return torch.cat([part.unflatten(0, (kv_heads, -1)) for part in parts], dim=1).flatten(0, 2)


def _from_head(tensor: Tensor, heads: int, kv_heads: int) -> Tensor:
    grouped = tensor.unflatten(0, (kv_heads, heads // kv_heads + 2, -1))
    return torch.cat([part.flatten(0, 2) for part in grouped.split([heads // kv_heads, 1, 1], dim=1)])


# How a base weight (of a stacked one, a piece) may be stored: ours → theirs, and back.
STORAGES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "": (_same, _same),
    "transposed": (_transposed, _transposed),
    "stacked": (_same, _same),
    "by_head": (_by_head, _from_head),
}


def as_stored(tensor: Tensor, storage: str) -> Tensor:
    """One of our weights in a checkpoint's form; a view of ours wherever a view can show it."""
    name, *sizes = storage.split(":")
    return STORAGES[name][0](tensor, *map(int, sizes))


def from_stored(tensor: Tensor, storage: str) -> Tensor:
    """A checkpoint's tensor in our form: the inverse of `as_stored`."""
    name, *sizes = storage.split(":")
    return STORAGES[name][1](tensor, *map(int, sizes))


@dataclass(frozen=True)
class Piece:
    """A tensor of a checkpoint, and the part of our parameter that it holds (`()`: all of it)."""

    theirs: str
    index: tuple[int, ...]
    storage: str


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
            if row.storage.split(":")[0] not in STORAGES:
                raise ConfigError(f"name table: storage {row.storage!r} is none of {sorted(STORAGES)}")
        self._readers = {
            "ours": [(_pattern(row.ours), row) for row in self.rows],
            "theirs": [(_pattern(row.theirs), row) for row in self.rows],
        }

        self._stacked: list[tuple[re.Pattern[str], int]] = []  # stacked parameters, and how many dimensions are taken
        for row in self.rows:
            if row.storage == "stacked":
                stem = _TRAILING.sub("", row.ours)
                self._stacked.append((_pattern(stem), row.ours.count(".") - stem.count(".")))

    def pieces(self, name: str, shape: tuple[int, ...]) -> list[Piece]:
        """The checkpoint's tensors that hold our parameter of this name: one, or as many as fill a stacked one.

        Raises:
            ConfigError: no row names it.
        """
        taken = next((count for stem, count in self._stacked if stem.fullmatch(name)), 0)
        found = []
        for index in product(*map(range, shape[:taken])):
            translated = self.theirs(".".join([name, *map(str, index)]))
            if translated is None:
                raise ConfigError(f"name table: no row for {name}{list(index) if index else ''}")
            found.append(Piece(translated[0], index, translated[1]))
        return found

    def under(self, ours: str, theirs: str) -> "NameTable":
        """The same rows below a prefix on each side (`base.` and `bert.`)."""
        return NameTable(rows=[Row(ours + row.ours, theirs + row.theirs, row.storage) for row in self.rows])

    def sized(self, storage: str, *sizes: int) -> "NameTable":
        """The same rows, with the sizes that a storage depends on: `by_head` takes the heads of queries and of keys."""
        named = ":".join([storage, *map(str, sizes)])
        return NameTable(rows=[replace(row, storage=named) if row.storage == storage else row for row in self.rows])

    def part(self, ours: str, renamed: str) -> "NameTable":
        """The rows whose name here begins with `ours`, which becomes `renamed`: one stack of several."""
        kept = [row for row in self.rows if row.ours.startswith(ours)]
        return NameTable(rows=[replace(row, ours=renamed + row.ours.removeprefix(ours)) for row in kept])

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


# The numbers at the end of a stacked row's name: `.{e}`, `.{e}.0`.
_TRAILING = re.compile(r"(\.(\d+|\{\w+\}))+$")


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(name))
    return re.compile(escaped + r"(?=\.|$)")
