"""Functions over rows, described once: `Dataset` runs them into Arrow files, `IterableDataset` runs them as rows go by.

    step = Map(tokenize, batched=True, remove_columns=("text",))
    for call in step.calls([Rows(table)]):   # one call a batch, or one a row where batched=False; in order
        step.batch(call)                     # its columns: Arrow where nobody touched them, else what was returned

- `calls(blocks, first=0, rank=None)` runs the function. Each block (`Rows`) is one batch where `batched` (the caller
  cuts them: `batch_size`, `drop_last_batch`); else each of its rows is a call, made only when the iterator is asked for
  it. Coroutine functions run up to `MAX_RUNNING` at once, and come out in order (blocks are then read ahead).
- `Map.batch(call)` → columns of a batched call; `Map.row(call)` → the values of one row, as Python objects;
  `Map.gather(calls)` → columns of the row-wise calls of one block. Each is None where the function returned None (the
  rows stay as they are), and a `pa.Table` where it returned a table or a data frame (which stands for all columns).
- `Filter.mask(call)` → booleans, one a row of the call; `Filter.masks(blocks)` → an array for each block.

An exception of the function passes as it is, with a note that names the rows.
"""

import asyncio
import functools
import inspect
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.flat import results_to_arrow
from enfold.datasets.rows import LazyBatch, LazyRow, Rows

# How many coroutines of one step run at the same time.
MAX_RUNNING = 1000

Columns = dict[str, Any]


@dataclass(slots=True)
class Call:
    """One call of a step's function: what went in and what came out."""

    rows: Rows
    # The row within `rows`, or None: all of them.
    row: int | None
    # Index of the (first) row among all rows the step has seen.
    first: int
    inputs: Any
    output: Any = None


@dataclass(frozen=True)
class Step:
    """A function over rows and how it is called; the options are those of `Dataset.map`."""

    function: Callable[..., Any]
    with_indices: bool = False
    with_rank: bool = False
    input_columns: tuple[str, ...] | None = None
    batched: bool = False
    fn_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function (or an object whose `__call__` is one)."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004

    def calls(self, blocks: Iterable[Rows], *, first: int = 0, rank: int | None = None) -> Iterator[Call]:
        """Call the function: once a block where batched, else once a row; in order.

        Args:
            blocks: the rows; where batched, each block is one batch.
            first: index of the first row (`with_indices`).
            rank: rank of this process (`with_rank`).
        """
        calls = self._prepared(blocks, first)
        if self.is_async:
            yield from self._concurrent(calls, rank)
            return
        for call in calls:
            try:
                flat = results_to_arrow.set(self.batched)
                try:
                    call.output = self.function(*self._arguments(call, rank), **self.fn_kwargs)
                finally:
                    results_to_arrow.reset(flat)
            except Exception as error:
                error.add_note(_where(call))
                raise
            yield call

    def _prepared(self, blocks: Iterable[Rows], first: int) -> Iterator[Call]:
        for rows in blocks:
            if self.batched:
                yield Call(rows, None, first, self._inputs(rows, None))
            else:
                for row in range(len(rows)):
                    yield Call(rows, row, first + row, self._inputs(rows, row))
            first += len(rows)

    def _inputs(self, rows: Rows, row: int | None) -> Any:
        """The mapping (or array, data frame, …) that the function is given; a list of values with `input_columns`."""
        if rows.formatter is None or rows.table is None:
            if self.input_columns is None:
                return LazyBatch(rows) if row is None else LazyRow(rows, row)
            if row is None:
                return [rows.column(name) for name in self.input_columns]
            return [rows.value(name, row) for name in self.input_columns]
        table = rows.table if self.input_columns is None else rows.table.select(list(self.input_columns))
        shown = rows.formatter.batch(table) if row is None else rows.formatter.row(table.slice(row, 1))
        return shown if self.input_columns is None else [shown[name] for name in self.input_columns]

    def _arguments(self, call: Call, rank: int | None) -> list[Any]:
        arguments = [call.inputs] if self.input_columns is None else list(call.inputs)
        if self.with_indices:
            count = len(call.rows)
            arguments.append(call.first if call.row is not None else list(range(call.first, call.first + count)))
        if self.with_rank:
            arguments.append(rank)
        return arguments

    def _concurrent(self, calls: Iterator[Call], rank: int | None) -> Iterator[Call]:
        """Coroutines on a loop of their own, so that it works inside a running loop (a notebook) too."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="enfold-map", daemon=True)
        thread.start()
        running: deque[tuple[Call, Future[Any]]] = deque()

        def finished() -> Call:
            call, future = running.popleft()
            try:
                call.output = future.result()
            except Exception as error:
                error.add_note(_where(call))
                raise
            return call

        try:
            for call in calls:
                coroutine = self.function(*self._arguments(call, rank), **self.fn_kwargs)
                running.append((call, asyncio.run_coroutine_threadsafe(coroutine, loop)))
                if len(running) >= MAX_RUNNING:
                    yield finished()
                while running and running[0][1].done():
                    yield finished()
            while running:
                yield finished()
        finally:
            # Left early: by an error, or by a consumer who has seen enough.
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@dataclass(frozen=True)
class Map(Step):
    """Rows in, rows out: what the function returns updates the row or the batch.

    Args:
        remove_columns: input columns that go, before the function's are added.
    """

    remove_columns: tuple[str, ...] = ()

    def batch(self, call: Call) -> Columns | pa.Table | None:
        """The columns after a batched call."""
        output = _output(call)
        if output is None or isinstance(output, pa.Table):
            return output
        if not isinstance(output, LazyBatch):
            output = _batch_columns(output, call)
        returned = self._returned(output)
        kept = {
            name: call.rows.untouched(name) if isinstance(value, _Untouched) and name not in returned else value
            for name, value in self._kept(call).items()
        }
        return {**kept, **returned}

    def row(self, call: Call) -> dict[str, Any] | pa.Table | None:
        """The values after a row-wise call, as Python objects."""
        output = _output(call)
        if output is None or isinstance(output, pa.Table):
            return output
        returned = self._returned(output)
        kept = {
            name: call.rows.value(name, call.row or 0)
            if isinstance(value, _Untouched) and name not in returned
            else value
            for name, value in self._kept(call).items()
        }
        return {**kept, **returned}

    def gather(self, calls: Sequence[Call]) -> Columns | pa.Table | None:
        """The columns after the row-wise calls of one block, one a row, in order."""
        outputs = [_output(call) for call in calls]
        if all(output is None for output in outputs):
            return None
        if all(isinstance(output, pa.Table) for output in outputs):
            for call, output in zip(calls, outputs, strict=True):
                if output.num_rows != 1:
                    raise DatasetError(
                        f"a function over single rows must return tables of 1 row, not of {output.num_rows} "
                        f"({_where(call)}); use batched=True to change the number of rows"
                    )
            return pa.concat_tables(outputs)
        for call, output in zip(calls, outputs, strict=True):
            if not isinstance(output, Mapping):
                raise DatasetError(
                    f"the function returned {type(output).__name__} for one row and {type(outputs[0]).__name__} for "
                    f"another ({_where(call)}); it must return the same kind for every row"
                )
        return self._gathered(calls, outputs)

    def _gathered(self, calls: Sequence[Call], outputs: Sequence[Mapping[str, Any]]) -> Columns:
        rows = calls[0].rows
        merged = []
        for call, output in zip(calls, outputs, strict=True):
            merged.append({**self._kept(call), **self._returned(output)})
        names = merged[0].keys()
        columns: Columns = {}
        for call, values in zip(calls, merged, strict=True):
            if values.keys() != names:
                raise DatasetError(
                    f"the function returned columns {sorted(values)} for one row and {sorted(names)} for another "
                    f"({_where(call)}); every row must have the same columns: give missing ones as None"
                )
        for name in names:
            column = [values[name] for values in merged]
            stays = [isinstance(value, _Untouched) for value in column]
            if all(stays) and len(column) == len(rows):
                columns[name] = rows.untouched(name)
            elif any(stays):
                columns[name] = [
                    rows.value(name, call.row or 0) if stay else value
                    for call, stay, value in zip(calls, stays, column, strict=True)
                ]
            else:
                columns[name] = column
        return columns

    def _kept(self, call: Call) -> dict[str, Any]:
        """The input's columns without those removed: what may have changed, and `_UNTOUCHED` for the others."""
        inputs = call.inputs
        if isinstance(inputs, LazyRow | LazyBatch):
            kept: dict[str, Any] = dict.fromkeys(inputs, _UNTOUCHED)
            kept.update(inputs.changed())
        elif self.input_columns is not None or isinstance(inputs, Mapping):
            kept = dict.fromkeys(call.rows.names, _UNTOUCHED)
        else:
            # Arrays and data frames are no mappings to update: what is returned stands alone.
            return {}
        for name in self.remove_columns:
            kept.pop(name, None)
        return kept

    def _returned(self, output: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the function adds; of a lazy mapping that it returned, only what may have changed."""
        if not isinstance(output, LazyRow | LazyBatch):
            return output
        returned = output.changed()
        return {name: value for name, value in returned.items() if name not in self.remove_columns}


@dataclass(frozen=True)
class Filter(Step):
    """Which rows stay: the function returns a truth value for a row, or one for each row of a batch."""

    def masks(self, blocks: Iterable[Rows], *, first: int = 0, rank: int | None = None) -> Iterator[np.ndarray]:
        """Booleans, one a row, for each block in turn."""
        if self.batched or self.is_async:
            for _, group in groupby(self.calls(blocks, first=first, rank=rank), key=lambda call: id(call.rows)):
                yield np.concatenate([self.mask(call) for call in group])
            return
        # Row by row, with nothing kept of a call but its answer.
        for rows in blocks:
            mask = np.zeros(len(rows), bool)
            row = 0
            try:
                for row in range(len(rows)):
                    call = Call(rows, row, first + row, self._inputs(rows, row))
                    mask[row] = _truth(self.function(*self._arguments(call, rank), **self.fn_kwargs))
            except Exception as error:
                error.add_note(f"row {first + row}")
                raise
            yield mask
            first += len(rows)

    def mask(self, call: Call) -> np.ndarray:
        """Booleans, one a row of the call."""
        if call.row is not None:
            return np.array([_truth(call.output)])
        output = call.output
        if isinstance(output, pa.Array | pa.ChunkedArray):
            output = output.to_pylist()
        if isinstance(output, np.ndarray):
            mask = output.astype(bool, copy=False)
        elif isinstance(output, Iterable) and not isinstance(output, str | bytes | Mapping):
            mask = np.fromiter((_truth(value) for value in output), bool)
        else:
            raise DatasetError(
                f"a batched filter's function must return one truth value a row (a list or an array), not "
                f"{type(output).__name__} ({_where(call)})"
            )
        if mask.shape != (len(call.rows),):
            raise DatasetError(
                f"a batched filter's function returned {mask.shape} truth values for {len(call.rows)} rows "
                f"({_where(call)})"
            )
        return mask


class _Untouched:
    """Stands for a value that is where it was: in the source."""

    __slots__ = ()


_UNTOUCHED = _Untouched()


def arrow_table(value: Any) -> pa.Table | None:
    """An Arrow table of a table or data frame (pandas, polars); None for anything else."""
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return pa.Table.from_pandas(value)
    if polars is not None and isinstance(value, polars.DataFrame):
        return value.to_arrow()
    return None


def _output(call: Call) -> Any:
    """What the function returned: None, a mapping, or a table; else an error."""
    output = call.output
    if output is None or isinstance(output, Mapping):
        return output
    table = arrow_table(output)
    if table is None:
        raise _WrongTypeError(
            f"map's function must return a dict (or a table) to change rows, or None to leave them as they are; "
            f"it returned {type(output).__name__} ({_where(call)})"
        )
    return table


def _batch_columns(output: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
    """The columns of a batch as the function returned them: Arrow at once where the object can, else sequences."""
    as_arrow = getattr(output, "arrow_columns", None)
    columns = output if as_arrow is None else as_arrow()
    for name, column in columns.items():
        if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__len__"):
            raise _WrongTypeError(
                f"with batched=True the function must return a list or an array for each column; column {name!r} is "
                f"{type(column).__name__} ({_where(call)})"
            )
    return columns


class _WrongTypeError(DatasetError, TypeError):
    """The reference raises TypeError for a function that returns the wrong thing."""


def _truth(value: Any) -> bool:
    # A null of Arrow is as false as None; a pa.Scalar's own truth value is not its content's.
    return bool(value.as_py() if isinstance(value, pa.Scalar) else value)


def _where(call: Call) -> str:
    if call.row is not None:
        return f"row {call.first}"
    return f"rows {call.first} to {call.first + len(call.rows) - 1}"


async def _cancel_all() -> None:
    """Cancel every task of the loop but this one, and let them end."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def check_columns(names: Iterable[str] | None, have: Sequence[str], what: str) -> tuple[str, ...] | None:
    """`names` as a tuple, or ArgumentError where one isn't among the columns."""
    if names is None:
        return None
    wanted = (names,) if isinstance(names, str) else tuple(names)
    missing = [name for name in wanted if name not in have]
    if missing:
        raise ArgumentError(f"{what} {missing} not in the dataset. Its columns: {list(have)}")
    return wanted
