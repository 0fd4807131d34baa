"""The rows nearest to a vector: indexes of faiss over a column, or over arrays from elsewhere."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError, NotBuiltError
from enfold.base.lazy import require
from enfold.datasets.features import Features, LargeList, List
from enfold.datasets.formats.tensors import numpy_column


class SearchResults(NamedTuple):
    """For one query: scores and rows, [k] each, nearest first; row -1 where there are fewer than k."""

    scores: Any
    indices: Any


class BatchedSearchResults(NamedTuple):
    """For several queries: scores and rows, [queries, k] each."""

    total_scores: Any
    total_indices: Any


class NearestExamplesResults(NamedTuple):
    """For one query: scores [found], and the rows as the data set shows them."""

    scores: Any
    examples: Any


class BatchedNearestExamplesResults(NamedTuple):
    total_scores: list
    total_examples: list


class FaissIndex:
    """A faiss index and where it lives.

    Args:
        device: a GPU's number, a list of them, -1 for all; None: the CPU.
        string_factory: what `faiss.index_factory` makes; None: exact search, `IndexFlat`.
        metric_type: `faiss.METRIC_L2` (the default), `faiss.METRIC_INNER_PRODUCT`, …
        custom_index: an index that is made already.
    """

    def __init__(
        self,
        device: int | list[int] | None = None,
        string_factory: str | None = None,
        metric_type: int | None = None,
        custom_index: Any = None,
    ):
        if custom_index is not None and (string_factory is not None or device is not None):
            raise ArgumentError("custom_index= is an index as it is: string_factory= and device= can't change it.")
        self.device, self.string_factory, self.metric_type = device, string_factory, metric_type
        self.faiss_index: Any = custom_index
        self._faiss = require("faiss", extra="faiss", purpose="Searching by vectors")

    def build(self, size: int) -> None:
        """Make the index for vectors of `size` numbers, unless there is one."""
        if self.faiss_index is not None:
            return
        more = () if self.metric_type is None else (self.metric_type,)
        if self.string_factory is None:
            index = self._faiss.IndexFlat(size, *more)
        else:
            try:
                index = self._faiss.index_factory(size, self.string_factory, *more)
            except RuntimeError as error:
                raise ArgumentError(f"string_factory={self.string_factory!r} makes no faiss index: {error}") from error
        self.faiss_index = self._moved(index)

    def _moved(self, index: Any) -> Any:
        if self.device is None:
            return index
        if not hasattr(self._faiss, "StandardGpuResources"):
            raise ArgumentError(f"device={self.device}: this faiss is built for the CPU only; leave device= out.")
        if isinstance(self.device, (list, tuple)):
            return self._faiss.index_cpu_to_gpus_list(index, gpus=list(self.device))
        if self.device < 0:
            return self._faiss.index_cpu_to_all_gpus(index)
        return self._faiss.index_cpu_to_gpu(self._faiss.StandardGpuResources(), self.device, index)

    def add(self, vectors: np.ndarray) -> None:
        """Add `[rows, size]`; ArgumentError where the index is of another size, or wants training first."""
        self.build(vectors.shape[1])
        if self.faiss_index.d != vectors.shape[1]:
            raise ArgumentError(f"The index holds vectors of {self.faiss_index.d} numbers, not of {vectors.shape[1]}.")
        if not self.faiss_index.is_trained:
            raise ArgumentError(f"An index of {self.string_factory or 'this kind'} learns first: give train_size=.")
        self.faiss_index.add(vectors)

    def train(self, vectors: np.ndarray) -> None:
        self.build(vectors.shape[1])
        try:
            self.faiss_index.train(vectors)
        except RuntimeError as error:
            raise ArgumentError(f"The index can't learn from {len(vectors)} vectors: {error}") from error

    def search(self, query: Any, k: int = 10, **options: Any) -> SearchResults:
        query = np.asarray(query)
        if query.ndim != 1 and not (query.ndim == 2 and len(query) == 1):
            raise ArgumentError(f"A query is one vector, [size] or [1, size], not {query.shape}.")
        scores, indices = self.search_batch(query.reshape(1, -1), k, **options)
        return SearchResults(scores[0], indices[0])

    def search_batch(self, queries: Any, k: int = 10, **options: Any) -> BatchedSearchResults:
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.faiss_index.d:
            raise ArgumentError(f"Queries are [queries, {self.faiss_index.d}], not {queries.shape}.")
        if k < 1:
            raise ArgumentError(f"k={k}: at least one row is to be found.")
        scores, indices = self.faiss_index.search(queries, k, **options)
        return BatchedSearchResults(scores, indices.astype(int))

    def save(self, file: str | os.PathLike, storage_options: dict | None = None) -> None:
        """Write the index, as faiss does; a local file appears whole or not at all."""
        index = self.faiss_index if self.device is None else self._faiss.index_gpu_to_cpu(self.faiss_index)
        content = self._faiss.serialize_index(index).tobytes()
        if storage_options is None and "://" not in os.fspath(file):
            target = Path(file)
            aside = target.with_name(f".{target.name}.{os.getpid()}")
            aside.write_bytes(content)
            aside.replace(target)
            return
        fsspec = require("fsspec", extra="remote", purpose="Writing to a remote file")
        with fsspec.open(os.fspath(file), "wb", **(storage_options or {})) as stream:
            stream.write(content)

    @classmethod
    def load(
        cls, file: str | os.PathLike, device: int | list[int] | None = None, storage_options: dict | None = None
    ) -> "FaissIndex":
        """Read what `save`, or faiss itself, wrote."""
        found = cls(device=device)
        if storage_options is None and "://" not in os.fspath(file):
            content = Path(file).read_bytes()
        else:
            fsspec = require("fsspec", extra="remote", purpose="Reading a remote file")
            with fsspec.open(os.fspath(file), "rb", **(storage_options or {})) as stream:
                content = stream.read()
        try:
            index = found._faiss.deserialize_index(np.frombuffer(content, np.uint8))
        except RuntimeError as error:
            raise DatasetError(f"{os.fspath(file)} is no index of faiss, or torn: {error}") from error
        found.faiss_index = found._moved(index)
        return found


class Searching:
    """What `Dataset` can do with indexes over its rows. They belong to the object and aren't saved with it."""

    _indexes: dict[str, Any]
    features: Features

    def _tables(self, size: int) -> Any:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def add_faiss_index(
        self,
        column: str,
        index_name: str | None = None,
        device: int | list[int] | None = None,
        string_factory: str | None = None,
        metric_type: int | None = None,
        custom_index: Any = None,
        batch_size: int = 1000,
        train_size: int | None = None,
        faiss_verbose: bool = False,
        dtype: Any = np.float32,
    ) -> Any:
        """Index the vectors of a column, under the column's name by default.

        Args:
            column: lists of one length, of numbers.
            device, string_factory, metric_type, custom_index: see `FaissIndex`.
            batch_size: how many rows are added at a time.
            train_size: how many rows, from the first, an index that learns is shown.
            dtype: what the numbers are converted to on their way; faiss itself keeps float32.
        """
        feature = self.features.get(column)
        if not isinstance(feature, (List, LargeList)):
            raise ArgumentError(f"The column {column!r} is {feature}; an index is built over lists of numbers.")
        index = FaissIndex(device, string_factory, metric_type, custom_index)
        if train_size is not None:
            first = next(iter(self._tables(train_size)), None)
            if first is not None:
                index.train(_vectors(first, column, feature, dtype, 0))
        start = 0
        for table in self._tables(batch_size):
            index.add(_vectors(table, column, feature, dtype, start))
            start += table.num_rows
        self._keep(column if index_name is None else index_name, index, faiss_verbose)
        return self

    def add_faiss_index_from_external_arrays(
        self,
        external_arrays: Any,
        index_name: str,
        device: int | list[int] | None = None,
        string_factory: str | None = None,
        metric_type: int | None = None,
        custom_index: Any = None,
        batch_size: int = 1000,
        train_size: int | None = None,
        faiss_verbose: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        """Index vectors `[rows, size]` that aren't in the data set, one for each of its rows."""
        vectors = np.ascontiguousarray(external_arrays, dtype)
        if vectors.ndim != 2 or len(vectors) != len(self):
            raise ArgumentError(
                f"The data set has {len(self)} rows: expected vectors [{len(self)}, size], not {vectors.shape}."
            )
        index = FaissIndex(device, string_factory, metric_type, custom_index)
        if train_size is not None:
            index.train(vectors[:train_size])
        for start in range(0, len(vectors), batch_size):
            index.add(vectors[start : start + batch_size])
        self._keep(index_name, index, faiss_verbose)

    def _keep(self, name: str, index: FaissIndex, verbose: bool) -> None:
        if index.faiss_index is None:
            raise DatasetError("There are no rows to index.")
        index.faiss_index.verbose = verbose
        self._indexes[name] = index

    def save_faiss_index(self, index_name: str, file: str | os.PathLike, storage_options: dict | None = None) -> None:
        """Write an index into a file; the data set itself is saved by `save_to_disk`."""
        self.get_index(index_name).save(file, storage_options)

    def load_faiss_index(
        self,
        index_name: str,
        file: str | os.PathLike,
        device: int | list[int] | None = None,
        storage_options: dict | None = None,
    ) -> None:
        """Read an index that was saved; DatasetError unless it has a vector for each row."""
        index = FaissIndex.load(file, device, storage_options)
        if index.faiss_index.ntotal != len(self):
            raise DatasetError(
                f"The index in {os.fspath(file)} has {index.faiss_index.ntotal} vectors, the data set {len(self)} rows."
            )
        self._indexes[index_name] = index

    def add_elasticsearch_index(self, *args: Any, **options: Any) -> Any:
        raise NotBuiltError("Indexes of Elasticsearch are not built: add_faiss_index() searches by vectors.")

    load_elasticsearch_index = add_elasticsearch_index

    def list_indexes(self) -> list[str]:
        return list(self._indexes)

    def is_index_initialized(self, index_name: str) -> bool:
        return index_name in self._indexes

    def get_index(self, index_name: str) -> FaissIndex:
        if index_name not in self._indexes:
            raise ArgumentError(
                f"There is no index {index_name!r}, only {self.list_indexes()}: add_faiss_index() makes one."
            )
        return self._indexes[index_name]

    def drop_index(self, index_name: str) -> None:
        self.get_index(index_name)
        del self._indexes[index_name]

    def search(self, index_name: str, query: Any, k: int = 10, **options: Any) -> SearchResults:
        """The rows nearest to a vector.

        Args:
            query: [size].
            k: how many rows.
            options: of the index's own search.
        """
        return self.get_index(index_name).search(query, k, **options)

    def search_batch(self, index_name: str, queries: Any, k: int = 10, **options: Any) -> BatchedSearchResults:
        """The same for `[queries, size]`."""
        return self.get_index(index_name).search_batch(queries, k, **options)

    def get_nearest_examples(self, index_name: str, query: Any, k: int = 10, **options: Any) -> NearestExamplesResults:
        """The nearest rows themselves, in the format that is set; fewer than k where there aren't as many."""
        scores, indices = self.search(index_name, query, k, **options)
        found = indices[indices >= 0]
        return NearestExamplesResults(scores[: len(found)], self[found])

    def get_nearest_examples_batch(
        self, index_name: str, queries: Any, k: int = 10, **options: Any
    ) -> BatchedNearestExamplesResults:
        """The same for `[queries, size]`: lists of one entry a query."""
        scores, indices = self.search_batch(index_name, queries, k, **options)
        found = [row[row >= 0] for row in indices]
        kept = [row[: len(rows)] for row, rows in zip(scores, found, strict=True)]
        return BatchedNearestExamplesResults(kept, [self[rows] for rows in found])


def _vectors(table: pa.Table, column: str, feature: Any, dtype: Any, start: int) -> np.ndarray:
    rows = numpy_column(table.column(column), feature)
    if rows.dtype == object or rows.ndim != 2:
        sizes = [np.shape(row) for row in rows]
        wrong = next((index for index, size in enumerate(sizes) if len(size) != 1 or size != sizes[0]), 0)
        raise DatasetError(
            f"Column {column!r}, row {start + wrong}: an index is built over lists of numbers of one length, and "
            f"this one has the shape {sizes[wrong] if sizes else ()}."
        )
    return np.ascontiguousarray(rows, dtype)
