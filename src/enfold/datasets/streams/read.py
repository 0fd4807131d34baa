"""Where pipelines begin: a source's shards, one after the other."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.sources import Source
from enfold.datasets.streams.block import Block, Place
from enfold.datasets.streams.node import Node, share
from enfold.datasets.streams.show import typed


class Read(Node):
    """The rows of a source. It resumes by shard and row: rows read before are skipped as well as the format can.

    Args:
        source: shards of rows.
        step, offset: which rows of each shard.
    """

    def __init__(self, source: Source, step: int = 1, offset: int = 0):
        self.source, self.step, self.offset = source, step, offset
        self.features = source.features

    @property
    def num_shards(self) -> int:
        return self.source.num_shards

    @property
    def arrow(self) -> bool:
        return self.source.examples is None

    @property
    def sequential(self) -> bool:
        return True

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        twin = copy.copy(self)
        twin.source = self.source.subset(list(share(number, index, self.num_shards, contiguous)))
        return twin

    def stripe(self, step: int, offset: int) -> Node:
        return Read(self.source, self.step * step, self.offset + self.step * offset)

    def shuffled(self, rng: np.random.Generator) -> Node:
        order = list(range(self.num_shards))
        copy.deepcopy(rng).shuffle(order)
        twin = copy.copy(self)
        twin.source = self.source.subset(order)
        return twin

    def resharded(self) -> Node:
        smaller = getattr(self.source, "reshard", None)
        return self if smaller is None else Read(smaller(), self.step, self.offset)

    def open(self, place: Place) -> Generator[Block, None, None]:
        first, row = (0, 0) if place is None else self.expect(place, "shard", "row")
        for shard in range(first, self.num_shards):
            yield from self._tables(shard, row) if self.source.examples is None else self._examples(shard, row)
            row = 0

    def _tables(self, shard: int, row: int) -> Generator[Block, None, None]:
        tables = iter(self.source.read(shard, row))
        try:
            for table in tables:
                if self.step == 1:
                    yield Block(table, partial(_at, shard, row, 1, 1))
                else:
                    first = (self.offset - row) % self.step
                    if first < table.num_rows:
                        chosen = table.take(pa.array(np.arange(first, table.num_rows, self.step)))
                        yield Block(chosen, partial(_at, shard, row, first + 1, self.step))
                row += table.num_rows
        finally:
            _close(tables)

    def _examples(self, shard: int, row: int) -> Generator[Block, None, None]:
        examples = self.source.examples
        assert examples is not None
        rows = iter(examples(shard, row))
        features = self.features
        try:
            for example in rows:
                if (row - self.offset) % self.step == 0:
                    if not isinstance(example, Mapping):
                        raise DatasetError(
                            f"row {row} of shard {shard} of {self.source.describe()} is {type(example).__name__}, not "
                            "a dictionary of column name to value"
                        )
                    shown = dict(example) if features is None else typed(example, features)
                    yield Block([shown], partial(_at, shard, row, 1, 1))
                row += 1
        finally:
            _close(rows)


def _at(shard: int, row: int, first: int, step: int, taken: int) -> dict[str, Any]:
    """After `taken` rows of a block: they are rows `first` (from 1, counted from `row`), `first + step`, …"""
    return {"at": "Read", "shard": shard, "row": row + (first + (taken - 1) * step if taken else 0)}


def _close(rows: Any) -> None:
    """End a generator that was left early, so that its files are closed now."""
    close = getattr(rows, "close", None)
    if close is not None:
        close()
