"""Rows in another order, as far as a buffer reaches.

The buffer is filled from several shards in turns, put into a random order, and its first half handed on; then it is
filled again. Its state holds no rows: it is the place of the input and the generator's state at the oldest round of
which a row is still waiting, and how many rounds ago that was. To resume, the rounds since are read and shuffled again.
As half of the buffer leaves each round, that is about log2(buffer_size) rounds of half a buffer, whatever came before.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.datasets.streams.block import Block, Mark, Place, Reader, Rows, count, cut, found, join, pick
from enfold.datasets.streams.node import Node, rng_state, shifted_rng
from enfold.datasets.streams.show import Decoder


class Shuffle(Node):
    """Rows in random order.

    Args:
        rng: gives the order.
        size: rows in the buffer.
        shards: how many shards fill it at the same time.
    """

    def __init__(self, node: Node, rng: np.random.Generator, size: int, shards: int):
        self.inputs, self.features = (node,), node.features
        self.rng, self.size, self.shards = rng, size, max(shards, 1)
        # Rows taken from a shard in its turn, as the reference does it.
        self.turn = max(1, size // self.shards) if node.arrow else 1

    def shifted(self, value: int, worker: bool = False) -> Node:
        twin = super().shifted(value, worker)
        twin.rng = shifted_rng(self.rng, value)  # pyright: ignore[reportAttributeAccessIssue]
        return twin

    def _groups(self) -> list[Node]:
        node = self.inputs[0]
        number = min(node.num_shards, self.shards)
        return [node] if number < 2 else [node.shard(number, index, contiguous=True) for index in range(number)]

    def open(self, place: Place) -> Generator[Block, None, None]:
        groups, decoder = self._groups(), Decoder(self.features)
        rng = copy.deepcopy(self.rng)
        places, turn, kept, rounds, taken = [None] * len(groups), 0, 0, 0, 0
        if place is not None:
            places, turn, kept, rounds, taken, state = self.expect(
                place, "inputs", "turn", "kept", "rounds", "taken", "rng"
            )
            rng.bit_generator.state = state
        intake = _Intake([Reader(node, where) for node, where in zip(groups, places, strict=True)], turn, self.turn)
        # Rounds of which rows are waiting: number → where the input was, the generator's state, rows kept from before.
        history: dict[int, tuple[list[Mark], int, dict[str, Any], int]] = {}
        # Rows kept from before the oldest round stand for nothing: none of them is still waiting when we get there.
        waiting: Rows | None = None
        ages = np.full(kept, -1)
        number = 0
        try:
            while True:
                history[number] = (*intake.mark(), rng_state(rng), len(ages))
                parts = intake.rows(self.size - len(ages))
                fresh = sum(count(part) for part in parts)
                if waiting is None and kept and parts:
                    waiting = pick(parts[0], np.zeros(kept, np.int64))
                if waiting is not None:
                    parts.insert(0, waiting)
                total = len(ages) + fresh
                if not total:
                    return
                order = rng.permutation(total)
                ages = np.concatenate([ages, np.full(fresh, number)])[order]
                rows = pick(_whole(join(parts, decoder)), order)
                last = total < self.size
                leave = total if last else total - self.size // 2
                if number >= rounds:
                    start = taken if number == rounds else 0
                    for round in [round for round in history if round < ages[start:].min(initial=number)]:
                        del history[round]
                    # The oldest row that waits after each row that leaves.
                    oldest = np.minimum.accumulate(ages[::-1])[::-1]
                    if start < leave:
                        # When all rows have left, there is nothing to shuffle again.
                        end = (*intake.mark(), rng_state(rng), 0)
                        after = partial(self._at, {**history, number + 1: end}, oldest, number, start)
                        yield Block(cut(rows, start, leave), after)
                if last:
                    return
                waiting, ages = cut(rows, leave, total), ages[leave:]
                number += 1
        finally:
            intake.close()

    def _at(self, history: dict[int, Any], oldest: np.ndarray, number: int, start: int, taken: int) -> dict[str, Any]:
        ended = start + taken == len(oldest)
        begin = number + 1 if ended else int(oldest[start + taken])
        marks, turn, rng, kept = history[begin]
        return {
            "at": "Shuffle",
            "inputs": [found(mark) for mark in marks],
            "turn": turn,
            "rng": rng,
            "kept": kept,
            "rounds": 0 if ended else number - begin,
            "taken": 0 if ended else start + taken,
        }


class _Intake:
    """Several inputs read in turns, some rows each, until all are at their end."""

    def __init__(self, readers: list[Reader], turn: int, rows: int):
        self.readers, self.turn, self.size = readers, turn, rows

    def mark(self) -> tuple[list[Mark], int]:
        """Where the inputs are, and whose turn it is."""
        return [reader.mark() for reader in self.readers], self.turn

    def rows(self, wanted: int) -> list[Rows]:
        """At least `wanted` rows (whole turns), fewer at the end."""
        parts: list[Rows] = []
        idle = 0
        while wanted > 0 and idle < len(self.readers):
            reader = self.readers[self.turn]
            self.turn = (self.turn + 1) % len(self.readers)
            missing = self.size
            while missing and reader.fill():
                parts.append(reader.take(missing))
                missing -= count(parts[-1])
            wanted -= self.size - missing
            idle = idle + 1 if missing == self.size else 0
        return parts

    def close(self) -> None:
        """Close the inputs."""
        for reader in self.readers:
            reader.close()


def _whole(rows: Rows) -> Rows:
    """In one piece: rows are taken from it in any order."""
    return rows.combine_chunks() if isinstance(rows, pa.Table) else rows
