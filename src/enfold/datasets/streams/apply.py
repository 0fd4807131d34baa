"""Functions over rows as they go by: `map` and `filter`, described in `enfold.datasets.steps`."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from enfold.datasets import rows as lazy
from enfold.datasets.steps import Call, Filter, Map, Step
from enfold.datasets.streams.block import (
    Block,
    Columns,
    Mark,
    Place,
    PlaceAfter,
    Reader,
    Rows,
    Stored,
    batches,
    columned,
    count,
    cut,
    found,
    pick,
    unwrapped,
)
from enfold.datasets.streams.node import Node
from enfold.datasets.streams.show import Decoder, Format, View, typed

if TYPE_CHECKING:
    from enfold.datasets.features import Features

# Rows of a block that a filter sees before it hands some on: first one, then twice as many each time, up to this.
MOST_AHEAD = 64
# Rows of a table whose columns are decoded at a time for a function over single rows.
MOST_DECODED = 1000


class _Seen(lazy.Rows):
    """Rows as `steps` wants them; columns that are still Arrow among Python ones are read when a function looks."""

    __slots__ = ()

    def column(self, name: str) -> Any:
        column = super().column(name)
        if isinstance(column, Stored):
            column = self._columns[name] = column.tolist()
        return column

    def value(self, name: str, index: int) -> Any:
        column = self._columns.get(name)
        return column[index] if isinstance(column, Stored) else super().value(name, index)


class _Applied(Node):
    """What `map` and `filter` share: what their function is shown, and from where on.

    Args:
        step: the function and how it is called.
        batch_size: rows of a batch, None: all there are.
        format: what the function is shown.
    """

    def __init__(self, node: Node, step: Step, format: Format, batch_size: int | None, drop_last_batch: bool):
        self.step = step
        self.inputs, self.decoder, self.view = (node,), Decoder(node.features), View(format, node.features)
        self.format, self.batch_size, self.drop_last = format, batch_size, drop_last_batch

    @property
    def arrow(self) -> bool:
        return self.format.is_table

    @property
    def sequential(self) -> bool:
        return self.inputs[0].sequential and not self.step.batched and not self.step.with_indices

    def open(self, place: Place) -> Generator[Block, None, None]:
        index, skip, inner = (0, 0, None) if place is None else self.expect(place, "index", "skip", "input")
        return self._by_batch(index, skip, inner) if self.step.batched else self._by_row(index, inner)

    def _by_row(self, index: int, inner: Place) -> Generator[Block, None, None]:
        raise NotImplementedError

    def _by_batch(self, index: int, skip: int, inner: Place) -> Generator[Block, None, None]:
        raise NotImplementedError

    def _seen(self, rows: Rows) -> _Seen:
        if self.format.kind is not None:
            table, rest = self.view.table(rows)
            if not rest:
                return _Seen(table, formatter=self.view.formatter, decoder=self.decoder)
        shown = columned(rows)
        heavy = self.decoder.heavy if isinstance(shown, pa.Table) else frozenset()
        return _Seen(shown, decoder=self.decoder, heavy=heavy)

    def _batches(self, reader: Reader) -> Iterator[tuple[Rows, Mark, Mark]]:
        return batches(reader, self.batch_size, self.decoder, drop_last=self.drop_last)


class Mapped(_Applied):
    """Rows as a function returns them.

    Args:
        step: the function and how it is called.
        features: what the columns are afterwards; None: nobody knows, and values pass as they are returned.
    """

    step: Map

    def __init__(
        self,
        node: Node,
        step: Map,
        *,
        format: Format,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        features: Features | None = None,
    ):
        super().__init__(node, step, format, batch_size, drop_last_batch)
        self.features = features

    def _by_row(self, index: int, inner: Place) -> Generator[Block, None, None]:
        pieces: deque[tuple[_Seen, Rows, PlaceAfter, int]] = deque()

        def seen() -> Iterator[_Seen]:
            for block in self.inputs[0].open(inner):
                number = count(block.rows)
                for start in range(0, number, MOST_DECODED):
                    part = (
                        block.rows
                        if number <= MOST_DECODED
                        else cut(block.rows, start, min(start + MOST_DECODED, number))
                    )
                    pieces.append((self._seen(part), part, block.place, start))
                    yield pieces[-1][0]

        for call in self.step.calls(seen(), first=index):
            while pieces[0][0] is not call.rows:
                pieces.popleft()
            _, rows, place, start = pieces[0]
            row = call.row or 0
            out = self._row(call, rows, row)
            if count(out):
                yield Block(out, partial(_row_done, place, start + row, call.first, count(out)))

    def _row(self, call: Call, rows: Rows, row: int) -> Rows:
        out = self.step.row(call)
        if out is None:
            return self._kept(cut(rows, row, row + 1))
        if isinstance(out, pa.Table):
            return self._kept(out)
        return [out if self.features is None else typed(out, self.features)]

    def _by_batch(self, index: int, skip: int, inner: Place) -> Generator[Block, None, None]:
        waiting: deque[tuple[Rows, Mark, Mark]] = deque()
        reader = Reader(self.inputs[0], inner)

        def seen() -> Iterator[_Seen]:
            for batch in self._batches(reader):
                waiting.append(batch)
                yield self._seen(batch[0])

        try:
            for call in self.step.calls(seen(), first=index):
                rows, begin, end = waiting.popleft()
                out = self._batch(call, rows)
                number = count(out)
                after = partial(_batch_done, begin, end, call.first, call.first + len(call.rows), number)
                if skip:
                    out, after = cut(out, skip, number), partial(_later, after, skip)
                    number, skip = number - skip, 0
                if number:
                    yield Block(out, after)
        finally:
            reader.close()

    def _batch(self, call: Call, rows: Rows) -> Rows:
        out = self.step.batch(call)
        if out is None:
            return self._kept(rows)
        if isinstance(out, pa.Table):
            return self._kept(out)
        return assembled(out, self.inputs[0].features, self.features)

    def _kept(self, rows: Rows) -> Rows:
        """Rows that are no Python values of the function's: as the features say."""
        features = self.features
        if features is None:
            return rows
        if isinstance(rows, pa.Table):
            from enfold.datasets.streams.columns import conformed

            return conformed(rows, features)
        return [typed(row, features) for row in rows] if isinstance(rows, list) else assembled(rows, None, features)


def _row_done(place: PlaceAfter, row: int, index: int, made: int, taken: int) -> dict[str, Any]:
    done = taken == made
    return {"at": "Mapped", "index": index + done, "skip": 0 if done else taken, "input": place(row + done)}


def _batch_done(begin: Mark, end: Mark, first: int, last: int, made: int, taken: int) -> dict[str, Any]:
    if taken == made:
        return {"at": "Mapped", "index": last, "skip": 0, "input": found(end)}
    return {"at": "Mapped", "index": first, "skip": taken, "input": found(begin)}


def _later(after: PlaceAfter, skipped: int, taken: int) -> Place:
    return after(skipped + taken)


def assembled(columns: Mapping[str, Any], before: Features | None, features: Features | None) -> Rows:
    """What a batched function returned: a table where its features are known or all of it is Arrow.

    Args:
        columns: Arrow columns that nobody touched, and what the function returned.
        before: the features of the former.
        features: the features of the result, None if nobody knows.
    """
    from enfold.datasets.features.encoding import to_table
    from enfold.datasets.features.schema import require_decoding

    if features is not None:
        return to_table({name: unwrapped(column) for name, column in columns.items()}, features=features)
    arrow = {name: column for name, column in columns.items() if isinstance(column, pa.Array | pa.ChunkedArray)}
    media = {name for name in arrow if before is not None and name in before and require_decoding(before[name])}
    if len(arrow) == len(columns) and not media:
        return pa.table(arrow)
    decoder = Decoder(before)
    held: dict[str, Any] = {}
    for name, column in columns.items():
        if name in arrow:
            column = Stored(pa.table({name: column}), name, decoder)
        held[name] = column
    return Columns(held)


class Filtered(_Applied):
    """The rows for which a function is true."""

    step: Filter

    def __init__(self, node: Node, step: Filter, *, format: Format, batch_size: int | None = 1000):
        super().__init__(node, step, format, batch_size, False)
        self.features = node.features

    def _by_row(self, index: int, inner: Place) -> Generator[Block, None, None]:
        pieces: deque[tuple[_Seen, Rows, PlaceAfter, int]] = deque()

        def seen() -> Iterator[_Seen]:
            ahead = 1
            for block in self.inputs[0].open(inner):
                number, start = count(block.rows), 0
                while start < number:
                    stop = min(start + ahead, number)
                    part = block.rows if stop - start == number else cut(block.rows, start, stop)
                    pieces.append((self._seen(part), part, block.place, start))
                    yield pieces[-1][0]
                    start, ahead = stop, min(ahead * 2, MOST_AHEAD)

        kept: list[int] = []
        for call in self.step.calls(seen(), first=index):
            row = call.row or 0
            if self.step.mask(call)[0]:
                kept.append(row)
            if row + 1 == len(call.rows):
                _, rows, place, start = pieces.popleft()
                if kept:
                    chosen = np.array(kept)
                    rows = rows if len(kept) == row + 1 else pick(rows, chosen)
                    yield Block(rows, partial(_rows_kept, place, start, call.first - row, chosen))
                kept = []

    def _by_batch(self, index: int, skip: int, inner: Place) -> Generator[Block, None, None]:
        waiting: deque[tuple[Rows, Mark, Mark]] = deque()
        reader = Reader(self.inputs[0], inner)

        def seen() -> Iterator[_Seen]:
            for batch in self._batches(reader):
                waiting.append(batch)
                yield self._seen(batch[0])

        try:
            for call in self.step.calls(seen(), first=index):
                rows, begin, end = waiting.popleft()
                chosen = np.flatnonzero(self.step.mask(call))
                number = len(chosen)
                after = partial(_batch_kept, begin, end, call.first, call.first + len(call.rows), number)
                if skip:
                    chosen, after = chosen[skip:], partial(_later, after, skip)
                    skip = 0
                if len(chosen):
                    yield Block(rows if len(chosen) == len(call.rows) else pick(rows, chosen), after)
        finally:
            reader.close()


def _rows_kept(place: PlaceAfter, start: int, index: int, chosen: np.ndarray, taken: int) -> dict[str, Any]:
    seen = int(chosen[taken - 1]) + 1 if taken else 0
    return {"at": "Filtered", "index": index + seen, "skip": 0, "input": place(start + seen)}


def _batch_kept(begin: Mark, end: Mark, first: int, last: int, kept: int, taken: int) -> dict[str, Any]:
    return {**_batch_done(begin, end, first, last, kept, taken), "at": "Filtered"}
