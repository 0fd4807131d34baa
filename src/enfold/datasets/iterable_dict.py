"""`IterableDatasetDict`: splits by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.datasets.iterable import IterableDataset
from enfold.datasets.publish import PublishingSplits

if TYPE_CHECKING:
    from enfold.datasets.features import Features


class IterableDatasetDict(PublishingSplits, dict[str, IterableDataset]):
    """Streamed datasets by split; each method does to every split what it does to one."""

    def __repr__(self) -> str:
        shown = "\n".join(f"{name}: {dataset!r}" for name, dataset in self.items())
        indented = "\n".join("    " + line for line in shown.splitlines())
        return f"IterableDatasetDict({{\n{indented}\n}})"

    def _each(self, change: Callable[[str, IterableDataset], IterableDataset]) -> Self:
        for name, dataset in self.items():
            if not isinstance(dataset, IterableDataset):
                raise ArgumentError(f"{name!r} is {type(dataset).__name__}, not an IterableDataset")
        return type(self)({name: change(name, dataset) for name, dataset in self.items()})

    @property
    def num_columns(self) -> dict[str, int | None]:
        """Number of columns by split."""
        return {name: dataset.num_columns for name, dataset in self.items()}

    @property
    def column_names(self) -> dict[str, list[str] | None]:
        """Columns by split."""
        return {name: dataset.column_names for name, dataset in self.items()}

    def with_format(self, type: str | None = None, **format_kwargs: Any) -> Self:
        """See `IterableDataset.with_format`."""
        return self._each(lambda _, dataset: dataset.with_format(type, **format_kwargs))

    def map(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        with_split: bool = False,
        input_columns: str | list[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        remove_columns: str | list[str] | None = None,
        fn_kwargs: dict[str, Any] | None = None,
        features: Features | None = None,
    ) -> Self:
        """See `IterableDataset.map`. `with_split`: the function is given the split's name after rows and index."""
        return self._each(
            lambda name, dataset: dataset.map(
                _BySplit(function, name) if with_split and function is not None else function,
                with_indices=with_indices,
                input_columns=input_columns,
                batched=batched,
                batch_size=batch_size,
                drop_last_batch=drop_last_batch,
                remove_columns=remove_columns,
                fn_kwargs=fn_kwargs,
                features=features,
            )
        )

    def filter(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        input_columns: str | list[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        fn_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """See `IterableDataset.filter`."""
        return self._each(
            lambda _, dataset: dataset.filter(function, with_indices, input_columns, batched, batch_size, fn_kwargs)
        )

    def shuffle(
        self,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
        buffer_size: int = 1000,
        max_buffer_input_shards: int = 10,
    ) -> Self:
        """See `IterableDataset.shuffle`."""
        return self._each(lambda _, dataset: dataset.shuffle(seed, generator, buffer_size, max_buffer_input_shards))

    def rename_column(self, original_column_name: str, new_column_name: str) -> Self:
        """See `IterableDataset.rename_column`."""
        return self._each(lambda _, dataset: dataset.rename_column(original_column_name, new_column_name))

    def rename_columns(self, column_mapping: dict[str, str]) -> Self:
        """See `IterableDataset.rename_columns`."""
        return self._each(lambda _, dataset: dataset.rename_columns(column_mapping))

    def remove_columns(self, column_names: str | list[str]) -> Self:
        """See `IterableDataset.remove_columns`."""
        return self._each(lambda _, dataset: dataset.remove_columns(column_names))

    def select_columns(self, column_names: str | list[str]) -> Self:
        """See `IterableDataset.select_columns`."""
        return self._each(lambda _, dataset: dataset.select_columns(column_names))

    def cast_column(self, column: str, feature: Any) -> Self:
        """See `IterableDataset.cast_column`."""
        return self._each(lambda _, dataset: dataset.cast_column(column, feature))

    def cast(self, features: Features) -> Self:
        """See `IterableDataset.cast`."""
        return self._each(lambda _, dataset: dataset.cast(features))


class _BySplit:
    """A function that is given the split's name after the rows (and the index); it can be sent to another process."""

    def __init__(self, function: Callable[..., Any], split: str):
        self.function, self.split = function, split

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, self.split, **named)
