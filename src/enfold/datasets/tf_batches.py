"""Rows as a `tf.data.Dataset`: what Keras trains on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require

# Columns that collators look for, whether they were asked for or not.
LABELS = ("label", "label_ids", "labels")
# Rows per batch that shapes are found from: few, so that padding to the longest shows itself.
_TEST_ROWS = 2
# Batches that each process works ahead.
_AHEAD = 2


@dataclass(frozen=True)
class Batches:
    """Batches of a data set by the numbers of their rows, as arrays.

    Args:
        data: in a format whose rows are arrays.
        kept: the columns to read; None: all.
        collate: rows (dicts) → columns; None: they are stacked.
        dtypes: what columns become; None while it isn't known.
    """

    data: Any
    kept: Sequence[str] | None
    collate: Callable[..., Mapping[str, Any]] | None
    options: Mapping[str, Any]
    dtypes: Mapping[str, np.dtype] | None = None

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        columns = self.data[rows]
        if self.kept is not None:
            columns = {name: values for name, values in columns.items() if name in self.kept}
        if self.collate is None:
            made: Mapping[str, Any] = columns
        else:
            made = self.collate(
                [{name: values[at] for name, values in columns.items()} for at in range(len(rows))], **self.options
            )
        if self.dtypes is None:
            return {name: _array(name, values) for name, values in made.items()}
        return {name: _array(name, made[name]).astype(dtype, copy=False) for name, dtype in self.dtypes.items()}


def _array(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype != object:
        return array
    if all(isinstance(value, str) for value in array.flat):
        return array.astype(np.str_)
    shapes = {np.shape(value) for value in array}
    if len(shapes) == 1 and None not in array:
        return np.stack(list(array))
    raise ArgumentError(
        f"Column {name!r} makes no tensor: its rows have the shapes {sorted(shapes, key=str)[:5]}, or are no numbers "
        "and no texts. Pass collate_fn= (such as DataCollatorWithPadding), or leave it out with columns=[…]."
    )


def tf_dataset(
    data: Any,
    *,
    batch_size: int | None,
    columns: str | Sequence[str] | None,
    shuffle: bool,
    collate_fn: Callable[..., Any] | None,
    drop_remainder: bool,
    collate_fn_args: Mapping[str, Any] | None,
    label_cols: str | Sequence[str] | None,
    prefetch: bool,
    num_workers: int,
    num_test_batches: int,
) -> Any:
    """See `Dataset.to_tf_dataset`."""
    tf = require("tensorflow", extra="tensorflow", purpose="to_tf_dataset")
    wanted, labels = _names(columns, "columns"), _names(label_cols, "label_cols")
    if labels and not wanted:
        raise ArgumentError("label_cols= needs columns=: which columns the model reads.")
    if batch_size is None and num_workers:
        raise ArgumentError(f"num_workers={num_workers} share out batches: give batch_size=.")
    if num_workers < 0 or (batch_size is not None and batch_size < 1):
        raise ArgumentError(f"num_workers={num_workers}, batch_size={batch_size}: expected 0 or more, and 1 or more.")
    if not len(data):
        raise ArgumentError("A data set without rows tells no shapes: there is nothing to make tensors of.")
    if data.format["type"] not in ("custom", "numpy"):
        data = data.with_format("numpy")
    kept = [*wanted, *labels, *LABELS] if wanted else None
    batches = Batches(data, kept, collate_fn, dict(collate_fn_args or {}))
    shapes, dtypes = _found(batches, len(data), num_test_batches)
    if "labels" in dtypes:  # collators rename the column
        wanted, labels = _renamed(wanted), _renamed(labels)
    missing = [name for name in (*wanted, *labels) if name not in dtypes]
    if missing:
        raise ArgumentError(f"columns= and label_cols= name {missing}; there are {sorted(dtypes)}.")
    batches = Batches(data, kept, collate_fn, batches.options, dtypes)
    first = [] if batch_size is None else [batch_size if drop_remainder else None]
    signature = {
        name: tf.TensorSpec([*first, *shape], tf.string if dtypes[name].kind == "U" else dtypes[name])
        for name, shape in shapes.items()
    }
    count = len(data) // (batch_size or 1)
    if batch_size is not None and not drop_remainder and len(data) % batch_size:
        count += 1

    def arrays(seed: int) -> Iterator[dict[str, np.ndarray]]:
        order = np.random.default_rng(seed).permutation(len(data)) if shuffle else np.arange(len(data))
        size = batch_size or 1
        parts = (order[at * size : (at + 1) * size] for at in range(count))
        for made in _ahead(batches, parts, num_workers) if num_workers else map(batches, parts):
            yield {name: values[0] for name, values in made.items()} if batch_size is None else made

    # A new seed each epoch, drawn where `tf.random.set_seed` has its say.
    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).take(1)
    found = seeds.flat_map(
        lambda seed: tf.data.Dataset.from_generator(arrays, args=(seed,), output_signature=signature)
    )
    found = found.apply(tf.data.experimental.assert_cardinality(count))
    if kept is not None:
        found = found.map(lambda made: _split(made, wanted, labels))
    return found.prefetch(tf.data.AUTOTUNE) if prefetch else found


def _names(given: str | Sequence[str] | None, argument: str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given or ())
    if len(set(names)) < len(names):
        raise ArgumentError(f"{argument}= names a column twice: {names}.")
    return names


def _renamed(names: list[str]) -> list[str]:
    asked = [name for name in names if name not in ("label", "label_ids")]
    return asked if len(asked) == len(names) or "labels" in asked else [*asked, "labels"]


def _found(batches: Batches, rows: int, tries: int) -> tuple[dict[str, list[int | None]], dict[str, np.dtype]]:
    """Each column's shape after the first dimension (None where it differs) and type, from some small batches."""
    drawn = np.random.default_rng(0)
    tried = [batches(np.sort(drawn.choice(rows, min(rows, _TEST_ROWS), replace=False))) for _ in range(max(1, tries))]
    shapes: dict[str, list[int | None]] = {}
    dtypes: dict[str, np.dtype] = {}
    for name, array in tried[0].items():
        sizes = zip(*(made[name].shape[1:] for made in tried), strict=True)
        shapes[name] = [size.pop() if len(size := set(several)) == 1 else None for several in sizes]
        dtypes[name] = _dtype(name, array.dtype)
    return shapes, dtypes


def _dtype(name: str, found: np.dtype) -> np.dtype:
    if found.kind in "iub":
        return np.dtype(np.int64)
    if found.kind == "f":
        return np.dtype(np.float32)
    if found.kind == "U":
        return np.dtype(np.str_)
    raise ArgumentError(f"Column {name!r} holds {found}, of which no tensor is made: leave it out with columns=[…].")


def _split(made: Mapping[str, Any], wanted: Sequence[str], labels: Sequence[str]) -> Any:
    """What the model reads, and what it is to answer; one column alone is no dictionary."""
    read, told = ({name: value for name, value in made.items() if name in names} for names in (wanted, labels))
    read, told = (next(iter(part.values())) if len(part) == 1 else part for part in (read, told))
    return (read, told) if len(labels) else read


def _ahead(batches: Batches, parts: Iterable[np.ndarray], workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches that other processes make, in order. TensorFlow doesn't survive a fork: they begin anew."""
    waiting: deque[Future] = deque()
    parts = iter(parts)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (batches,)) as pool:
        waiting.extend(pool.submit(_make, part) for part in islice(parts, workers * _AHEAD))
        while waiting:
            made = waiting.popleft()
            waiting.extend(pool.submit(_make, part) for part in islice(parts, 1))
            yield made.result()


_mine: Batches | None = None


def _begin(batches: Batches) -> None:
    global _mine
    _mine = batches


def _make(rows: np.ndarray) -> dict[str, np.ndarray]:
    assert _mine is not None
    return _mine(rows)
