"""Which rows, and in which order: take, skip, every n-th, again, one dataset after the other."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import numpy as np

from enfold.datasets.streams.block import Block, Place, PlaceAfter, count, cut, pick
from enfold.datasets.streams.node import FixedOrderError, Node, Whole, share


class Stripe(Whole, Node):
    """Every `step`-th row from `offset` on, of rows that can't be divided further up."""

    def __init__(self, node: Node, step: int, offset: int):
        self.inputs, self.features = (node,), node.features
        self.step, self.offset = step, offset

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        return Stripe(self.inputs[0], self.step * number, self.offset + self.step * index)

    def stripe(self, step: int, offset: int) -> Node:
        return self.shard(step, offset, contiguous=False)

    def open(self, place: Place) -> Generator[Block, None, None]:
        # `row`: how many rows the input gave before, modulo `step`.
        row, inner = (0, None) if place is None else self.expect(place, "row", "input")
        for block in self.inputs[0].open(inner):
            number = count(block.rows)
            first = (self.offset - row) % self.step
            if first < number:
                rows = pick(block.rows, np.arange(first, number, self.step)) if number > 1 else block.rows
                yield Block(rows, partial(self._at, block.place, row, first))
            row = (row + number) % self.step

    def _at(self, place: PlaceAfter, row: int, first: int, taken: int) -> dict[str, Any]:
        read = first + (taken - 1) * self.step + 1 if taken else 0
        return {"at": type(self).__name__, "row": (row + read) % self.step, "input": place(read)}


class Ranked(Stripe):
    """A stripe for one of several ranks: each divides its input among its workers alike, and then keeps its rows."""

    def shifted(self, value: int, worker: bool = False) -> Node:
        return Node.shifted(self, value, worker)

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        return self.over([self.inputs[0].shard(number, index, contiguous)])

    def stripe(self, step: int, offset: int) -> Node:
        return self.over([self.inputs[0].stripe(step, offset)])


class Take(Whole, Node):
    """The first `number` rows. Its parts are parts of these rows, whatever the shards are."""

    def __init__(self, node: Node, number: int):
        self.inputs, self.features = (node,), node.features
        self.number = max(number, 0)

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        if not contiguous:
            return Stripe(self, number, index)
        rows = share(number, index, self.number, contiguous=True)
        return Take(Skip(self.inputs[0], rows.start), len(rows))

    def stripe(self, step: int, offset: int) -> Node:
        return Stripe(self, step, offset)

    def shuffled(self, rng: np.random.Generator) -> Node:
        raise FixedOrderError

    def open(self, place: Place) -> Generator[Block, None, None]:
        left, inner = (self.number, None) if place is None else self.expect(place, "left", "input")
        if not left:
            return
        for block in self.inputs[0].open(inner):
            number = count(block.rows)
            rows = block.rows if number <= left else cut(block.rows, 0, left)
            yield Block(rows, partial(_taken, block.place, left))
            left -= number
            if left <= 0:
                return


def _taken(place: PlaceAfter, left: int, taken: int) -> dict[str, Any]:
    return {"at": "Take", "left": left - taken, "input": place(taken)}


class Skip(Whole, Node):
    """All rows but the first `number`.

    Args:
        before: what comes before the input's first row, of which up to `number` rows count as skipped; None: nothing.
    """

    def __init__(self, node: Node, number: int, before: Node | None = None):
        self.inputs, self.features = (node,), node.features
        self.number, self.before = max(number, 0), before

    @property
    def sequential(self) -> bool:
        return self.inputs[0].sequential

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        node = self.inputs[0]
        if self.before is not None or not node.sequential:
            return Stripe(self, number, index)
        shards = node.num_shards
        mine = share(number, index, shards, contiguous)
        if contiguous:
            return self._part(node.shard(number, index, contiguous=True), mine.start)
        return Concat([self._part(node.shard(shards, shard, contiguous=True), shard) for shard in mine])

    def _part(self, part: Node, first: int) -> Node:
        """`part` begins at shard `first`: fewer of its rows are skipped, the more there are before it."""
        if not first:
            return Skip(part, self.number)
        node = self.inputs[0]
        shards = [node.shard(node.num_shards, shard, contiguous=True) for shard in range(first)]
        return Skip(part, self.number, Concat(shards))

    def stripe(self, step: int, offset: int) -> Node:
        return Stripe(self, step, offset)

    def shuffled(self, rng: np.random.Generator) -> Node:
        raise FixedOrderError

    def open(self, place: Place) -> Generator[Block, None, None]:
        left, inner = (None, None) if place is None else self.expect(place, "left", "input")
        if left is None:
            left = self.number - self._rows_before()
        for block in self.inputs[0].open(inner):
            number = count(block.rows)
            if left >= number:
                left -= number
                continue
            rows = block.rows if not left else cut(block.rows, left, number)
            yield Block(rows, partial(_skipped, block.place, left))
            left = 0

    def _rows_before(self) -> int:
        rows = 0
        if self.before is not None:
            for block in self.before.open(None):
                rows += count(block.rows)
                if rows >= self.number:
                    return self.number
        return rows


def _skipped(place: PlaceAfter, skipped: int, taken: int) -> dict[str, Any]:
    return {"at": "Skip", "left": 0, "input": place(skipped + taken)}


class Repeat(Node):
    """The rows `times` times over; None: until somebody stops asking (an input without rows ends at once)."""

    def __init__(self, node: Node, times: int | None):
        self.inputs, self.features = (node,), node.features
        self.times = times

    def open(self, place: Place) -> Generator[Block, None, None]:
        time, inner = (0, None) if place is None else self.expect(place, "time", "input")
        while self.times is None or time < self.times:
            # Resumed at the end of a round, nothing is left of it, which doesn't mean that there are no rows.
            empty = inner is None
            for block in self.inputs[0].open(inner):
                empty = False
                yield Block(block.rows, partial(_repeated, block.place, time))
            if empty:
                return
            time, inner = time + 1, None


def _repeated(place: PlaceAfter, time: int, taken: int) -> dict[str, Any]:
    return {"at": "Repeat", "time": time, "input": place(taken)}


class Concat(Node):
    """One input after the other."""

    def __init__(self, nodes: Sequence[Node]):
        self.inputs = tuple(nodes)
        self.features = nodes[0].features if nodes else None

    @property
    def num_shards(self) -> int:
        return sum(node.num_shards for node in self.inputs)

    @property
    def sequential(self) -> bool:
        return all(node.sequential for node in self.inputs)

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        shards = self._shards()
        return self.over([shards[shard] for shard in share(number, index, len(shards), contiguous)])

    def shuffled(self, rng: np.random.Generator) -> Node:
        shards = self._shards()
        order = list(range(len(shards)))
        copy.deepcopy(rng).shuffle(order)
        return self.over([shards[shard] for shard in order])

    def _shards(self) -> list[Node]:
        return [
            node if node.num_shards == 1 else node.shard(node.num_shards, index, contiguous=True)
            for node in self.inputs
            for index in range(node.num_shards)
        ]

    def open(self, place: Place) -> Generator[Block, None, None]:
        first, inner = (0, None) if place is None else self.expect(place, "input", "place")
        for index in range(first, len(self.inputs)):
            for block in self.inputs[index].open(inner):
                yield Block(block.rows, partial(_within, block.place, index))
            inner = None


def _within(place: PlaceAfter, index: int, taken: int) -> dict[str, Any]:
    return {"at": "Concat", "input": index, "place": place(taken)}
