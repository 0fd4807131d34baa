"""Several inputs at once: in turns, at random, or side by side."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.streams.block import Block, Columns, Mark, Place, Reader, Rows, join, listed, pick
from enfold.datasets.streams.node import Node, Whole, rng_state, shifted_rng
from enfold.datasets.streams.show import Decoder

Stopping = Literal["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"]
# Sources are drawn this many at a time, as the reference does: another number would give other draws.
DRAWS = 1000


class Turns:
    """Which input the next row is from: each in its turn."""

    def __init__(self, inputs: int, state: dict[str, Any] | None = None):
        self.inputs, self.turn = inputs, 0 if state is None else state["turn"]

    def mark(self) -> Any:
        """Where it is, for `state`."""
        return self.turn

    def state(self, mark: Any) -> dict[str, Any]:
        """What `Turns(inputs, state)` goes on from."""
        return {"turn": mark}

    def draw(self) -> int:
        """The next input."""
        turn = self.turn
        self.turn = (turn + 1) % self.inputs
        return turn


class Draws:
    """Which input the next row is from: drawn, with or without probabilities."""

    def __init__(
        self,
        inputs: int,
        rng: np.random.Generator,
        probabilities: Sequence[float] | None,
        state: dict[str, Any] | None = None,
    ):
        self.inputs, self.rng, self.probabilities = inputs, copy.deepcopy(rng), probabilities
        if state is not None:
            self.rng.bit_generator.state = state["rng"]
        self._draw()
        self.used = 0 if state is None else state["used"]

    def _draw(self) -> None:
        self.used, self.before = 0, rng_state(self.rng)
        if self.probabilities is None:
            drawn = self.rng.integers(0, self.inputs, size=DRAWS)
        else:
            drawn = self.rng.choice(self.inputs, size=DRAWS, p=self.probabilities)
        self.drawn = drawn.tolist()

    def mark(self) -> Any:
        """Where it is, for `state`: the generator before the current draws, and how many of them are used."""
        return self.before, self.used

    def state(self, mark: Any) -> dict[str, Any]:
        """What `Draws(…, state)` goes on from."""
        return {"rng": mark[0], "used": mark[1]}

    def draw(self) -> int:
        """The next input."""
        if self.used == DRAWS:
            self._draw()
        self.used += 1
        return self.drawn[self.used - 1]


class Interleave(Node):
    """Rows of several inputs, one at a time.

    Args:
        nodes: the inputs.
        stopping: at the end of the first input; of the last, beginning again with the others; or of the last, with
            every row once.
        rng: draws the input of each row; None: they take turns.
        probabilities: of each input; None: all alike.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        stopping: Stopping = "first_exhausted",
        rng: np.random.Generator | None = None,
        probabilities: Sequence[float] | None = None,
    ):
        self.inputs, self.features = tuple(nodes), nodes[0].features
        self.stopping, self.rng, self.probabilities = stopping, rng, probabilities

    @property
    def num_shards(self) -> int:
        return min(node.num_shards for node in self.inputs)

    def shuffled(self, rng: np.random.Generator) -> Node:
        twin = super().shuffled(rng)
        if self.rng is not None:
            twin.rng = copy.deepcopy(rng)  # pyright: ignore[reportAttributeAccessIssue]
        return twin

    def shifted(self, value: int, worker: bool = False) -> Node:
        twin = super().shifted(value, worker)
        if self.rng is not None:
            twin.rng = shifted_rng(self.rng, value)  # pyright: ignore[reportAttributeAccessIssue]
        return twin

    def open(self, place: Place) -> Generator[Block, None, None]:
        number = len(self.inputs)
        state, flags, places = None, [False] * number, [None] * number
        if place is not None:
            state, flags, places = self.expect(place, "choice", "ended", "inputs")
        ended = list(flags)
        choice = Turns(number, state) if self.rng is None else Draws(number, self.rng, self.probabilities, state)
        readers = [Reader(node, where) for node, where in zip(self.inputs, places, strict=True)]
        decoder = Decoder(self.features)
        once = self.stopping == "all_exhausted_without_replacement"
        over = any if self.stopping == "first_exhausted" else all
        # Inputs of which everything at hand was used: is there more? One that was never read from is not asked.
        used_up = [index for index, where in enumerate(places) if where is not None and not (once and ended[index])]
        try:
            while True:
                for index in used_up:
                    if not readers[index].fill():
                        ended[index] = True
                        if not once:
                            readers[index] = Reader(self.inputs[index], None)
                if over(ended):
                    return
                used_up = []
                before, marks = list(ended), [reader.mark() for reader in readers]
                chosen, choices, taken = [], [choice.mark()], [0] * number
                while not used_up:
                    index = choice.draw()
                    if once and ended[index]:
                        continue
                    if not readers[index].left:
                        if not readers[index].fill():
                            # It has no rows at all.
                            ended[index] = True
                            break
                        marks[index] = readers[index].mark()
                    chosen.append(index)
                    choices.append(choice.mark())
                    taken[index] += 1
                    if taken[index] == readers[index].left:
                        used_up.append(index)
                if chosen:
                    parts = [reader.take(rows) if rows else None for reader, rows in zip(readers, taken, strict=True)]
                    yield Block(
                        _woven(parts, chosen, decoder), partial(_interleaved, marks, before, choice, choices, chosen)
                    )
        finally:
            for reader in readers:
                reader.close()


def _interleaved(
    marks: list[Mark], ended: list[bool], choice: Turns | Draws, choices: list[Any], chosen: list[int], taken: int
) -> dict[str, Any]:
    read = np.bincount(chosen[:taken], minlength=len(marks)).tolist()
    places = [place(start + rows) for (place, start), rows in zip(marks, read, strict=True)]
    return {"at": "Interleave", "choice": choice.state(choices[taken]), "ended": ended, "inputs": places}


def _woven(parts: Sequence[Rows | None], chosen: list[int], decoder: Decoder) -> Rows:
    """Row k is the next one of part `chosen[k]`."""
    present = [part for part in parts if part is not None]
    if len(present) == 1:
        return present[0]
    # The parts one after the other are the rows sorted by part; each row goes back to where it was chosen.
    order = np.argsort(chosen, kind="stable")
    back = np.empty(len(chosen), np.int64)
    back[order] = np.arange(len(chosen))
    return pick(join(present, decoder), back)


class Beside(Whole, Node):
    """Columns of several inputs, side by side; all have the same number of rows."""

    def __init__(self, nodes: Sequence[Node]):
        self.inputs = tuple(nodes)
        features = [node.features for node in nodes]
        known = [each for each in features if each is not None]
        if len(known) == len(features):
            self.features = type(known[0])({name: kind for each in known for name, kind in each.items()})

    @property
    def num_shards(self) -> int:
        return 1

    def shard(self, number: int, index: int, contiguous: bool) -> Node:
        from enfold.datasets.streams.order import Stripe

        return self if number == 1 else Stripe(self, number, index)

    def stripe(self, step: int, offset: int) -> Node:
        return self.shard(step, offset, contiguous=False)

    def shuffled(self, rng: np.random.Generator) -> Node:
        # The inputs' shards differ: in another order, rows that belong together would come apart.
        return self

    def open(self, place: Place) -> Generator[Block, None, None]:
        places = [None] * len(self.inputs) if place is None else self.expect(place, "inputs")[0]
        readers = [Reader(node, where) for node, where in zip(self.inputs, places, strict=True)]
        decoders = [Decoder(node.features) for node in self.inputs]
        rows = 0
        try:
            while True:
                full = [reader.fill() for reader in readers]
                if not all(full):
                    break
                number = min(reader.left for reader in readers)
                marks = [reader.mark() for reader in readers]
                yield Block(_joined([reader.take(number) for reader in readers], decoders), partial(_beside, marks))
                rows += number
            if any(full):
                ended = full.index(False)
                raise DatasetError(
                    f"datasets side by side must have equally many rows; number {ended} ended after {rows} rows "
                    "(counted from where reading began), and others go on: take() as many of each"
                )
        finally:
            for reader in readers:
                reader.close()


def _beside(marks: list[Mark], taken: int) -> dict[str, Any]:
    return {"at": "Beside", "inputs": [place(start + taken) for place, start in marks]}


def _joined(parts: Sequence[Rows], decoders: Sequence[Decoder]) -> Rows:
    tables = [part for part in parts if isinstance(part, pa.Table)]
    if len(tables) == len(parts):
        return pa.table({name: table.column(name) for table in tables for name in table.column_names})
    columns = [part for part in parts if isinstance(part, Columns)]
    if len(columns) == len(parts):
        return Columns({name: column for part in columns for name, column in part.items()}, columns[0].num_rows)
    rows = [listed(part, decoder) for part, decoder in zip(parts, decoders, strict=True)]
    return [{name: value for row in group for name, value in row.items()} for group in zip(*rows, strict=True)]
