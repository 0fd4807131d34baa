"""Which rows, and in what order: selections are views or arrays of row numbers, nothing is copied."""

import os
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute

from enfold.base.errors import ArgumentError
from enfold.datasets.cache import build_once, is_caching_enabled
from enfold.datasets.core import Core, _index_array
from enfold.datasets.features import ClassLabel, Features, List
from enfold.datasets.mapping import check_fingerprint
from enfold.datasets.shards import cache_path, read_indices, write_indices
from enfold.datasets.table import open_mapped

if TYPE_CHECKING:
    from enfold.datasets.dataset_dict import DatasetDict

# Its functions are made when it is imported: checkers don't see them.
pc: Any = _compute

_PLACEMENTS = {"at_start": "at_start", "first": "at_start", "at_end": "at_end", "last": "at_end"}


class Ordered(Core):
    """The part of `Dataset` that chooses and orders rows."""

    def select(
        self,
        indices: Iterable[int],
        keep_in_memory: bool = False,
        indices_cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        new_fingerprint: str | None = None,
    ) -> Self:
        """The rows with these numbers, in that order.

        Args:
            indices: integers (a range, list, array, iterator, …); negative ones count from the end.
            keep_in_memory: hold the numbers in memory (they are anyway, unless a file is named).
            indices_cache_file_name: a file to put the numbers in, and to map them from.
            writer_batch_size: of no effect: the numbers are written at once.
            new_fingerprint: the result's fingerprint, instead of one computed from the numbers.
        """
        if keep_in_memory and indices_cache_file_name is not None:
            raise ArgumentError("Please use either `keep_in_memory` or `indices_cache_file_name` but not both.")
        self._no_indexes("select")
        if len(self) == 0:
            return self
        if isinstance(indices, range) and indices.step == 1 and indices.start >= 0:
            if len(indices) and indices.stop > len(self):
                raise IndexError(f"Index {indices.stop - 1} out of range for dataset of size {len(self)}.")
            return self._selected_run(indices.start, len(indices), new_fingerprint)
        if isinstance(indices, Iterator):
            indices = list(indices)
        rows = _index_array(indices, len(self))
        if len(rows) == 0 or (rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())):
            return self._selected_run(int(rows[0]) if len(rows) else 0, len(rows), new_fingerprint)
        fingerprint = new_fingerprint or self._next("select", rows=rows)
        return self._ordered(rows, fingerprint, indices_cache_file_name)

    def _selected_run(self, start: int, length: int, fingerprint: str | None) -> Self:
        fingerprint = fingerprint or self._next("select", start=start, length=length)
        check_fingerprint(fingerprint)
        if self._indices is not None and length:
            return self._derived(indices=self._indices[start : start + length], fingerprint=fingerprint)
        return self._derived(
            self._data.slice(start, length),
            features=self.features,
            indices=None,
            fingerprint=fingerprint,
            indices_files=(),
        )

    def _ordered(self, rows: np.ndarray, fingerprint: str, path: str | os.PathLike[str] | None = None) -> Self:
        """The rows with these (checked) numbers, noted in a file where one is named."""
        check_fingerprint(fingerprint)
        order = rows if self._indices is None else self._indices[rows]
        if path is None:
            return self._derived(indices=order, fingerprint=fingerprint, indices_files=())
        Path(path).unlink(missing_ok=True)
        build_once(Path(path), lambda unfinished: write_indices(order, unfinished) and None)
        return self._from_indices_file(path, fingerprint)

    def _from_indices_file(self, path: str | os.PathLike[str], fingerprint: str) -> Self:
        order = read_indices(open_mapped(path))
        return self._derived(indices=order, fingerprint=fingerprint, indices_files=(os.fspath(path),))

    def _order_file(self, path: str | None, fingerprint: str, load: bool | None) -> tuple[str | None, bool]:
        """The file that an order goes to (beside the source's, if that has any), and whether it is to be read."""
        if path is None and self._source_files:
            path = str(cache_path(self, fingerprint))
        load = is_caching_enabled() if load is None else load
        return path, bool(load and path is not None and os.path.exists(path))

    def skip(self, n: int) -> Self:
        """The rows after the first `n`."""
        return self.select(range(min(n, len(self)), len(self)))

    def take(self, n: int) -> Self:
        """The first `n` rows (all, where there are fewer)."""
        return self.select(range(min(n, len(self))))

    def repeat(self, num_times: int) -> Self:
        """All rows `num_times` times, one round after the other."""
        if num_times is None:
            raise ArgumentError(
                "A Dataset has an end: give repeat a number, or use to_iterable_dataset().repeat(None)."
            )
        if num_times <= 0:
            return self.select([])
        rows = np.tile(np.arange(len(self)), num_times)
        return self._ordered(rows, self._next("repeat", num_times=num_times)) if num_times > 1 else self

    def shard(
        self,
        num_shards: int,
        index: int,
        contiguous: bool = True,
        keep_in_memory: bool = False,
        indices_cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
    ) -> Self:
        """Part `index` of `num_shards`: neighbouring rows, the first parts one longer; or every `num_shards`-th row."""
        if not 0 <= index < num_shards:
            raise ArgumentError(f"index should be in [0, num_shards-1]: it is {index} of {num_shards}")
        if contiguous:
            size, left = divmod(len(self), num_shards)
            start = size * index + min(index, left)
            rows: Any = range(start, start + size + (index < left))
        else:
            rows = np.arange(index, len(self), num_shards)
        return self.select(rows, keep_in_memory, indices_cache_file_name, writer_batch_size)

    def sort(
        self,
        column_names: str | Sequence[str],
        reverse: bool | Sequence[bool] = False,
        null_placement: str = "at_end",
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        indices_cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        new_fingerprint: str | None = None,
    ) -> Self:
        """The rows in the order of one or more columns; equal ones stay in the order they were in.

        Args:
            column_names: what to sort by, first things first.
            reverse: descending; one value for all columns, or one for each.
            null_placement: where nulls go: "at_start" ("first") or "at_end" ("last").
            (The others as in `shuffle`.)
        """
        self._no_indexes("sort")
        if len(self) == 0:
            return self
        names = [column_names] if isinstance(column_names, str) else list(column_names)
        descending = [reverse] * len(names) if isinstance(reverse, bool) else list(reverse)
        if len(descending) != len(names):
            raise ArgumentError(
                "Parameter 'reverse' should be either a boolean or a list of booleans with the same length as "
                "'column_names'."
            )
        for name in names:
            if name not in self.column_names:
                raise ArgumentError(
                    f"Column '{name}' not found in the dataset. Please provide a column of: {self.column_names}"
                )
        if null_placement not in _PLACEMENTS:
            raise ArgumentError(f"null_placement '{null_placement}' is none of {', '.join(_PLACEMENTS)}.")
        placement = _PLACEMENTS[null_placement]
        fingerprint = new_fingerprint or self._next("sort", names=names, reverse=descending, placement=placement)
        check_fingerprint(fingerprint)
        path, found = self._order_file(indices_cache_file_name, fingerprint, load_from_cache_file)
        if found and path is not None:
            return self._from_indices_file(path, fingerprint)
        table = self.select_columns(names)._rows(slice(None))  # type: ignore[attr-defined]
        rows = _sorted(table.combine_chunks(), names, descending, placement)
        return self._ordered(rows, fingerprint, None if keep_in_memory else path)

    def shuffle(
        self,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        indices_cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        new_fingerprint: str | None = None,
    ) -> Self:
        """The rows in a random order.

        Args:
            seed: makes the order the same each time (and the same as in the `datasets` library).
            generator: a numpy generator to draw the order from, instead of a seed.
            keep_in_memory: don't put the order into a file.
            load_from_cache_file: use the order of the same call on the same rows if there is one (default: where
                caching is enabled).
            indices_cache_file_name: the order's file, instead of one beside the source's.
            writer_batch_size: of no effect: an order is written at once.
            new_fingerprint: the result's fingerprint.
        """
        self._no_indexes("shuffle")
        if len(self) == 0:
            return self
        if keep_in_memory and indices_cache_file_name is not None:
            raise ArgumentError("Please use either `keep_in_memory` or `indices_cache_file_name` but not both.")
        generator, told = _generator(seed, generator)
        fingerprint = new_fingerprint or self._next("shuffle", **told)
        check_fingerprint(fingerprint)
        # Drawn before the cache is looked up, so that the caller's generator advances either way.
        rows = generator.permutation(len(self))
        path, found = self._order_file(indices_cache_file_name, fingerprint, load_from_cache_file)
        if found and path is not None:
            return self._from_indices_file(path, fingerprint)
        return self._ordered(rows, fingerprint, None if keep_in_memory else path)

    def train_test_split(
        self,
        test_size: float | int | None = None,
        train_size: float | int | None = None,
        shuffle: bool = True,
        stratify_by_column: str | None = None,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        train_indices_cache_file_name: str | None = None,
        test_indices_cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        train_new_fingerprint: str | None = None,
        test_new_fingerprint: str | None = None,
    ) -> "DatasetDict":
        """Two random parts, `train` and `test`.

        Args:
            test_size: rows of the test part: a number, or a share in (0, 1); by default what the train part leaves, and
                0.25 where neither is given.
            train_size: the same for the train part.
            shuffle: draw the parts at random; False: the first rows train, the next ones test.
            stratify_by_column: a `ClassLabel` column whose classes have the same shares in both parts.
            (The others as in `shuffle`.)
        """
        self._no_indexes("train_test_split")
        if len(self) == 0:
            return _parts(self, self)
        train_count, test_count = _split_sizes(train_size, test_size, len(self))
        if not shuffle and stratify_by_column is not None:
            raise ArgumentError("Stratified train/test split is not implemented for `shuffle=False`")
        told: dict[str, Any] = {}
        if shuffle:
            generator, told = _generator(seed, generator)
        told = {**told, "train": train_count, "test": test_count, "shuffle": shuffle, "by": stratify_by_column}
        prints = (
            train_new_fingerprint or self._next("train_test_split", part="train", **told),
            test_new_fingerprint or self._next("train_test_split", part="test", **told),
        )
        train_file, train_found = self._order_file(train_indices_cache_file_name, prints[0], load_from_cache_file)
        test_file, test_found = self._order_file(test_indices_cache_file_name, prints[1], load_from_cache_file)
        if train_found and test_found and train_file is not None and test_file is not None:
            parts = [self._from_indices_file(train_file, prints[0]), self._from_indices_file(test_file, prints[1])]
            return _parts(*parts)
        if not shuffle:
            train, test = np.arange(train_count), np.arange(train_count, train_count + test_count)
        elif stratify_by_column is not None:
            assert generator is not None
            train, test = _stratified(self._labels(stratify_by_column), train_count, test_count, generator)
        else:
            assert generator is not None
            rows = generator.permutation(len(self))
            train, test = rows[test_count : test_count + train_count], rows[:test_count]
        if not shuffle:
            # Neighbours need no order of their own.
            parts = [self.select(train, new_fingerprint=prints[0]), self.select(test, new_fingerprint=prints[1])]
        else:
            files = (None, None) if keep_in_memory else (train_file, test_file)
            parts = [self._ordered(train, prints[0], files[0]), self._ordered(test, prints[1], files[1])]
        return _parts(*parts)

    def _labels(self, name: str) -> np.ndarray:
        if name not in self.features:
            raise ArgumentError(f"Key {name} not found in {list(self.features)}")
        if not isinstance(self.features[name], ClassLabel):
            raise ArgumentError(
                f"Stratifying by column is only supported for ClassLabel column, and column {name} is "
                f"{type(self.features[name]).__name__}: call class_encode_column({name!r}) first."
            )
        return self._only(name)._rows(slice(None)).column(name).to_numpy()

    def batch(
        self,
        batch_size: int | None = None,
        by_column: str | Sequence[str] | None = None,
        drop_last_batch: bool = False,
        num_proc: int | None = None,
        new_fingerprint: str | None = None,
    ) -> Self:
        """Rows grouped: each row of the result is a batch, each column a list.

        Args:
            batch_size: rows per batch.
            by_column: instead, neighbouring rows of equal values in this column (these columns) make a batch.
            drop_last_batch: leave out a last batch that is shorter than `batch_size`.
            num_proc: of no effect: lists are laid over the rows, which are not copied one by one.
            new_fingerprint: the result's fingerprint.
        """
        if batch_size is None and by_column is None:
            raise ArgumentError("batch() needs `batch_size` or `by_column`.")
        if batch_size is not None and batch_size <= 0:
            batch_size = len(self)
        names = [by_column] if isinstance(by_column, str) else by_column
        fingerprint = new_fingerprint or self._next("batch", size=batch_size, by=names, drop_last=drop_last_batch)
        features = Features({name: List(feature) for name, feature in self.features.items()})
        if names is not None:
            table = self._rows(slice(None))
            starts = _run_starts(table.select(list(names)))
        else:
            assert batch_size is not None
            count = len(self) // batch_size * batch_size if drop_last_batch else len(self)
            table = self._rows(range(count))
            starts = np.arange(0, count, batch_size)
        listed = _listed(table, np.append(starts, table.num_rows), features.arrow_schema)
        return self._derived(
            listed, features=features, indices=None, fingerprint=fingerprint, source_files=(), indices_files=()
        )


def _parts(train: Any, test: Any) -> "DatasetDict":
    from enfold.datasets.dataset_dict import DatasetDict

    return DatasetDict({"train": train, "test": test})


def _generator(seed: Any, generator: np.random.Generator | None) -> tuple[np.random.Generator, dict[str, Any]]:
    """The generator to draw from, and what names its state in a fingerprint."""
    if seed is not None and generator is not None:
        raise ArgumentError("Both `seed` and `generator` were provided. Please specify just one of them.")
    if generator is not None:
        if not isinstance(generator, np.random.Generator):
            raise ArgumentError("The provided generator must be an instance of numpy.random.Generator")
        return generator, {"generator": generator.bit_generator.state}
    if seed is None:
        # As users of the reference know it: numpy's global state decides, and moves on.
        _, keys, position, *_ = np.random.get_state(legacy=True)
        seed = keys[position] if position < 624 else keys[0]  # type: ignore[index,operator]
        np.random.random()
    return np.random.default_rng(seed), {"seed": seed if isinstance(seed, int) else np.asarray(seed)}


def _split_sizes(train_size: Any, test_size: Any, count: int) -> tuple[int, int]:
    """Rows of the train and the test part."""
    if test_size is None and train_size is None:
        test_size = 0.25
    for name, size in (("test_size", test_size), ("train_size", train_size)):
        if size is None:
            continue
        if isinstance(size, bool) or not isinstance(size, int | float):
            raise ArgumentError(f"Invalid value for {name}: {size} of type {type(size)}")
        if size <= 0 or size >= (count if isinstance(size, int) else 1):
            raise ArgumentError(
                f"{name}={size} should be either positive and smaller than the number of samples {count} or a float in "
                f"the (0, 1) range"
            )
    if isinstance(train_size, float) and isinstance(test_size, float) and train_size + test_size > 1:
        raise ArgumentError(
            f"The sum of test_size and train_size = {train_size + test_size}, should be in the (0, 1) range. Reduce "
            f"test_size and/or train_size."
        )
    test: Any = ceil(test_size * count) if isinstance(test_size, float) else test_size
    train: Any = floor(train_size * count) if isinstance(train_size, float) else train_size
    train = count - test if train is None else train
    test = count - train if test is None else test
    if train + test > count:
        raise ArgumentError(
            f"The sum of train_size and test_size = {train + test}, should be smaller than the number of samples "
            f"{count}. Reduce test_size and/or train_size."
        )
    if train == 0:
        raise ArgumentError(
            f"With n_samples={count}, test_size={test_size} and train_size={train_size}, the resulting train set will "
            f"be empty. Adjust any of the aforementioned parameters."
        )
    return train, test


def _stratified(
    labels: np.ndarray, train: int, test: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two parts in which classes have the shares that they have in `labels`.

    The draws, and their order, are those of scikit-learn's StratifiedShuffleSplit, so that seeds mean the same rows.
    """
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ArgumentError(
            f"The class {classes[counts.argmin()]} has only 1 member: a class needs 2 to be in both parts."
        )
    for name, size in (("train_size", train), ("test_size", test)):
        if size < len(classes):
            raise ArgumentError(
                f"The {name} = {size} should be greater or equal to the number of classes = {len(classes)}"
            )
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])
    for_train = _shares(counts, train, generator)
    for_test = _shares(counts - for_train, test, generator)
    chosen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for rows, take_train, take_test in zip(members, for_train, for_test, strict=True):
        rows = rows[generator.permutation(len(rows))]
        chosen[0].append(rows[:take_train])
        chosen[1].append(rows[take_train : take_train + take_test])
    return generator.permutation(np.concatenate(chosen[0])), generator.permutation(np.concatenate(chosen[1]))


def _shares(counts: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """How many draws fall to each class: its share rounded down, the rest to the largest fractions, ties at random."""
    exact = draws * counts / counts.sum()
    shares = np.floor(exact)
    left = int(draws - shares.sum())
    fractions = exact - shares
    for fraction in np.unique(fractions)[::-1]:
        if left <= 0:
            break
        tied = np.flatnonzero(fractions == fraction)
        given = generator.choice(tied, size=min(len(tied), left), replace=False)
        shares[given] += 1
        left -= len(given)
    return shares.astype(np.int64)


def _run_starts(keys: pa.Table) -> np.ndarray:
    """Where rows begin whose values differ from the row before."""
    count = keys.num_rows
    differs = np.zeros(count, bool)
    differs[:1] = True
    for column in keys.columns:
        whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(whole, pa.ChunkedArray):
            whole = pa.concat_arrays(whole.chunks)
        if pa.types.is_nested(whole.type):
            codes = np.array([hash(repr(value)) for value in whole.to_pylist()])
            differs[1:] |= codes[1:] != codes[:-1]
            continue
        codes = whole.dictionary_encode(null_encoding="encode").indices.to_numpy()
        differs[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(differs)


def _listed(table: pa.Table, bounds: np.ndarray, schema: pa.Schema) -> pa.Table:
    """The table's columns as lists of the rows between `bounds`: offsets laid over the values as they are."""
    if table.num_rows == 0:
        return schema.empty_table()
    offsets = pa.array(bounds.astype(np.int32))
    columns = []
    for name, field in zip(table.column_names, schema, strict=True):
        column = table.column(name)
        values = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
        columns.append(pa.ListArray.from_arrays(offsets, values, type=field.type))
    return pa.table(columns, schema=schema)


def _sorted(table: pa.Table, names: Sequence[str], descending: Sequence[bool], placement: str) -> np.ndarray:
    """Row numbers in the order of the columns."""
    keys = [(name, "descending" if down else "ascending") for name, down in zip(names, descending, strict=True)]
    if int(pa.__version__.split(".")[0]) >= 25:
        # Where nulls go is said of each key there.
        order = pc.sort_indices(table, sort_keys=[(*key, placement) for key in keys])  # type: ignore[list-item]
    else:
        order = pc.sort_indices(table, sort_keys=keys, null_placement=placement)
    return order.to_numpy().view(np.int64)
