"""What an `IterableDataset` can be asked to do with its rows: each method is one more node of its pipeline."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.datasets.sources import TableSource
from enfold.datasets.steps import Filter, Map
from enfold.datasets.streams.apply import Filtered, Mapped
from enfold.datasets.streams.batching import Batched, Runs
from enfold.datasets.streams.columns import Cast, Remove, Rename, Select, check
from enfold.datasets.streams.mixing import Beside
from enfold.datasets.streams.node import FixedOrderError, Node, divided
from enfold.datasets.streams.order import Repeat, Skip, Take
from enfold.datasets.streams.prefetch import Prefetch
from enfold.datasets.streams.read import Read
from enfold.datasets.streams.show import Format
from enfold.datasets.streams.shuffle import Shuffle

if TYPE_CHECKING:
    from enfold.datasets.features import Features

DECODING_THREADS = 32


class Steps:
    """The steps of `IterableDataset`."""

    _node: Node
    _format: Format

    @property
    def features(self) -> Features | None:
        """Column name → type."""
        return self._node.features

    def _with(self, node: Node, **changes: Any) -> Self:
        raise NotImplementedError

    def _resolve_features(self) -> Self:
        raise NotImplementedError

    # Functions

    def map(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        input_columns: str | list[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        remove_columns: str | list[str] | None = None,
        features: Features | None = None,
        fn_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Rows updated by what a function returns for them, or for a batch of them.

        The options are those of `Dataset.map`. What the function did not touch stays Arrow. Values that it returns pass
        to the next step and to the consumer as they are, of whatever kind, unless `features` says what they become.
        """
        step = Map(
            _as_it_is if function is None else function,
            with_indices=with_indices,
            input_columns=self._names(input_columns),
            batched=batched,
            fn_kwargs=fn_kwargs or {},
            remove_columns=self._names(remove_columns) or (),
        )
        node = Mapped(
            self._node,
            step,
            format=self._format,
            batch_size=_batch_size(batch_size),
            drop_last_batch=drop_last_batch,
            features=features,
        )
        return self._with(node)

    def filter(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        input_columns: str | list[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        fn_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """The rows for which a function is true. The options are those of `Dataset.filter`."""
        if function is None:
            raise ArgumentError("filter needs a function: of a row, or of a batch where batched=True")
        step = Filter(
            function,
            with_indices=with_indices,
            input_columns=self._names(input_columns),
            batched=batched,
            fn_kwargs=fn_kwargs or {},
        )
        return self._with(Filtered(self._node, step, format=self._format, batch_size=_batch_size(batch_size)))

    def batch(
        self, batch_size: int | None = None, by_column: str | list[str] | None = None, drop_last_batch: bool = False
    ) -> Self:
        """Rows of lists: of `batch_size` rows each, or of neighbours that are alike in `by_column`."""
        if by_column is not None:
            return self._with(Runs(self._node, self._names(by_column) or (), drop_last_batch))
        if batch_size is None or batch_size < 1:
            raise ArgumentError(f"batch_size={batch_size}: a batch has at least one row; or give by_column=")
        return self._with(Batched(self._node, batch_size, drop_last_batch))

    # Which rows, in which order

    def shuffle(
        self,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
        buffer_size: int = 1000,
        max_buffer_input_shards: int = 10,
    ) -> Self:
        """The shards in another order, and rows too, as far as a buffer reaches.

        Args:
            seed, generator: give the order; the same one gives the order that the reference gives.
            buffer_size: rows held. As many as there are make every order possible.
            max_buffer_input_shards: shards that fill the buffer in turns.
        """
        if buffer_size < 1:
            raise ArgumentError(f"buffer_size={buffer_size}: the buffer holds at least one row")
        rng = np.random.default_rng(seed) if generator is None else copy.deepcopy(generator)
        node = self._node
        try:
            node = node.shuffled(rng)
        except FixedOrderError:
            max_buffer_input_shards = 1
        return self._with(Shuffle(node, rng, buffer_size, max_buffer_input_shards))

    def take(self, n: int) -> Self:
        """The first `n` rows. They stay these: shuffled afterwards, and divided among workers."""
        return self._with(Take(self._node, n))

    def skip(self, n: int) -> Self:
        """All but the first `n` rows, also where workers divide them."""
        return self._with(Skip(self._node, n))

    def repeat(self, num_times: int | None) -> Self:
        """The rows so many times over; None: again and again."""
        return self._with(Repeat(self._node, num_times))

    def shard(self, num_shards: int, index: int, contiguous: bool = True) -> Self:
        """Part `index` of `num_shards`: whole shards, so the first parts may have more.

        With more parts than the dataset has shards, the rows of a shard are dealt out in turns.
        """
        if not 0 <= index < num_shards:
            raise ArgumentError(f"index={index} is not one of {num_shards} parts: 0 to {num_shards - 1}")
        if num_shards > self._node.num_shards:
            return self._with(divided(self._node, num_shards, index))
        return self._with(self._node.shard(num_shards, index, contiguous))

    def reshard(self) -> Self:
        """More and smaller shards, where the format can be cut (parquet: by row groups)."""
        return self._with(self._node.resharded())

    def prefetch(self, num_blocks: int = 2) -> Self:
        """Read ahead in a thread, up to so many blocks (tables, batches or rows, as the step before makes them).

        Worth its thread where reading waits (remote files) while what comes after computes.
        """
        if num_blocks < 1:
            raise ArgumentError(f"num_blocks={num_blocks}: at least one block is read ahead")
        return self._with(Prefetch(self._node, num_blocks))

    # Columns

    def select_columns(self, column_names: str | list[str]) -> Self:
        """Only these columns, in this order."""
        return self._with(Select(self._node, self._names(column_names) or ()))

    def remove_columns(self, column_names: str | list[str]) -> Self:
        """Without these columns."""
        return self._with(Remove(self._node, self._names(column_names) or ()))

    def rename_column(self, original_column_name: str, new_column_name: str) -> Self:
        """One column under another name."""
        return self.rename_columns({original_column_name: new_column_name})

    def rename_columns(self, column_mapping: dict[str, str]) -> Self:
        """Columns under other names: old → new."""
        return self._with(Rename(self._node, column_mapping))

    def add_column(self, name: str, column: list | np.ndarray) -> Self:
        """One more column, of as many values as there are rows."""
        from enfold.datasets.features import Features, to_table

        if name in (self.features or ()):
            raise ArgumentError(f"there is a column {name!r} already. Columns: {list(self.features or ())}")
        table = to_table({name: column})
        values = Read(TableSource.of(table, features=Features.from_arrow_schema(table.schema)))
        return self._with(Beside([self._node, values]))

    def cast(self, features: Features) -> Self:
        """The columns as these features."""
        if self.features is not None and set(self.features) != set(features):
            raise ArgumentError(f"cast to the columns {list(features)}, but the dataset has {list(self.features)}")
        return self._with(Cast(self._node, features))

    def cast_column(self, column: str, feature: Any) -> Self:
        """One column as another feature."""
        known = self._resolve_features()
        features = known.features
        if features is None:
            raise ArgumentError(f"cast_column({column!r}): there are no rows to learn the columns from; use cast()")
        check([column], features)
        features = features.copy()
        features[column] = feature
        return known._with(Cast(known._node, features))

    def decode(self, enable: bool = True, num_threads: int | None = None) -> Self:
        """Whether images and audio are decoded, and by how many threads ahead (None: 32 where there is any, else 0)."""
        from enfold.datasets.features import require_decoding, visit

        if self.features is None:
            raise ArgumentError("decode needs the features, which nobody knows here: map(features=…), or cast() before")

        def switched(feature: Any) -> Any:
            if not hasattr(feature, "decode"):
                return None
            twin = copy.copy(feature)
            object.__setattr__(twin, "decode", enable)
            return twin

        features = type(self.features)({name: visit(feature, switched) for name, feature in self.features.items()})
        if num_threads is None:
            num_threads = DECODING_THREADS if any(map(require_decoding, features.values())) else 0
        return self._with(Cast(self._node, features), _threads=num_threads if enable else 0)

    # How rows are shown

    def with_format(self, type: str | None = None, **format_kwargs: Any) -> Self:
        """Rows as numpy, torch, jax, tensorflow, arrow, pandas or polars show them; None: Python objects."""
        from enfold.datasets.formats import format_name

        return self._with(self._node, _format=Format(format_name(type), format_kwargs))

    def _names(self, names: str | Iterable[str] | None) -> tuple[str, ...] | None:
        """Names of columns; each is one of the dataset's, if those are known."""
        if names is None:
            return None
        wanted = (names,) if isinstance(names, str) else tuple(names)
        if self.features is not None:
            check(wanted, self.features)
        return wanted


def _as_it_is(*_: Any) -> None:
    """Rows stay as they are."""


def _batch_size(size: int | None) -> int | None:
    """Rows of a batch; None: all there are."""
    return None if size is None or size <= 0 else size
