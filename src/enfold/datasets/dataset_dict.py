"""`DatasetDict`: splits by name, and the methods of `Dataset` on all of them at once."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.datasets.dataset import Dataset
from enfold.datasets.disk import DICT_FILE, MissingFolderError, _safe, _store, local_folder
from enfold.datasets.features import Features
from enfold.datasets.publish import PublishingSplits


class DatasetDict(PublishingSplits, dict[str, Dataset]):
    """Split name → `Dataset`; its methods are those of `Dataset`, on every split."""

    def __getitem__(self, key: Any) -> Dataset:
        if isinstance(key, str) or len(self) == 0:
            return super().__getitem__(key)
        raise KeyError(
            f"Invalid key: {key!r}. Choose a split first: one of {list(self)}, as in data[{next(iter(self))!r}]"
        )

    def __repr__(self) -> str:
        shown = "\n".join(f"{name}: {data}" for name, data in self.items())
        return "DatasetDict({\n" + "\n".join(f"    {line}" for line in shown.split("\n")) + "\n})"

    @property
    def data(self) -> dict[str, Any]:
        return {name: data.data for name, data in self._each()}

    @property
    def cache_files(self) -> dict[str, list[dict[str, str]]]:
        return {name: data.cache_files for name, data in self._each()}

    @property
    def num_columns(self) -> dict[str, int]:
        return {name: data.num_columns for name, data in self._each()}

    @property
    def num_rows(self) -> dict[str, int]:
        return {name: data.num_rows for name, data in self._each()}

    @property
    def column_names(self) -> dict[str, list[str]]:
        return {name: data.column_names for name, data in self._each()}

    @property
    def shape(self) -> dict[str, tuple[int, int]]:
        return {name: data.shape for name, data in self._each()}

    def unique(self, column: str) -> dict[str, list[Any]]:
        """The values of a column in each split."""
        return {name: data.unique(column) for name, data in self._each()}

    def cleanup_cache_files(self) -> dict[str, int]:
        """How many files were removed, by split."""
        return {name: data.cleanup_cache_files() for name, data in self._each()}

    def flatten(self, max_depth: int = 16) -> Self:
        return self._of(lambda data: data.flatten(max_depth=max_depth))

    def cast(self, features: Features) -> Self:
        return self._of(lambda data: data.cast(features))

    def cast_column(self, column: str, feature: Any) -> Self:
        return self._of(lambda data: data.cast_column(column, feature))

    def remove_columns(self, column_names: str | Sequence[str]) -> Self:
        return self._of(lambda data: data.remove_columns(column_names))

    def rename_column(self, original_column_name: str, new_column_name: str) -> Self:
        return self._of(lambda data: data.rename_column(original_column_name, new_column_name))

    def rename_columns(self, column_mapping: Mapping[str, str]) -> Self:
        return self._of(lambda data: data.rename_columns(column_mapping))

    def select_columns(self, column_names: str | Sequence[str]) -> Self:
        return self._of(lambda data: data.select_columns(column_names))

    def class_encode_column(self, column: str, include_nulls: bool = False) -> Self:
        """Each split by its own values: labels are the same only where the values are."""
        return self._of(lambda data: data.class_encode_column(column, include_nulls=include_nulls))

    def align_labels_with_mapping(self, label2id: Mapping[str, int], label_column: str) -> Self:
        return self._of(lambda data: data.align_labels_with_mapping(label2id, label_column))

    @contextlib.contextmanager
    def formatted_as(
        self,
        type: str | None = None,
        columns: Sequence[str] | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> Iterator[None]:
        """`with splits.formatted_as("numpy"):` rows in another form for a while."""
        with contextlib.ExitStack() as stack:
            for _, data in self._each():
                stack.enter_context(data.formatted_as(type, columns, output_all_columns, **format_kwargs))
            yield

    def set_format(
        self,
        type: str | None = None,
        columns: Sequence[str] | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> None:
        for _, data in self._each():
            data.set_format(type, columns, output_all_columns, **format_kwargs)

    def reset_format(self) -> None:
        for _, data in self._each():
            data.reset_format()

    def set_transform(
        self, transform: Any, columns: Sequence[str] | None = None, output_all_columns: bool = False
    ) -> None:
        for _, data in self._each():
            data.set_transform(transform, columns, output_all_columns)

    def with_format(
        self,
        type: str | None = None,
        columns: Sequence[str] | None = None,
        output_all_columns: bool = False,
        **format_kwargs: Any,
    ) -> Self:
        return self._of(lambda data: data.with_format(type, columns, output_all_columns, **format_kwargs))

    def with_transform(
        self, transform: Any, columns: Sequence[str] | None = None, output_all_columns: bool = False
    ) -> Self:
        return self._of(lambda data: data.with_transform(transform, columns, output_all_columns))

    def map(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        with_rank: bool = False,
        with_split: bool = False,
        input_columns: str | Sequence[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        remove_columns: str | Sequence[str] | None = None,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        cache_file_names: Mapping[str, str | None] | None = None,
        writer_batch_size: int | None = 1000,
        features: Features | None = None,
        disable_nullable: bool = False,
        fn_kwargs: dict[str, Any] | None = None,
        num_proc: int | None = None,
        desc: str | None = None,
        try_original_type: bool | None = True,
        on_mixed_types: str | None = None,
        executor: str | None = None,
    ) -> Self:
        """`Dataset.map` on every split; `with_split` calls the function with the split's name after the row (and number
        and rank); `cache_file_names` gives each split's file."""
        made = {}
        for name, data in self._each():
            called = function
            if with_split and function is not None:
                called = partial(_with_split, function, name)
            made[name] = data.map(
                called,
                with_indices=with_indices,
                with_rank=with_rank,
                input_columns=input_columns,
                batched=batched,
                batch_size=batch_size,
                drop_last_batch=drop_last_batch,
                remove_columns=remove_columns,
                keep_in_memory=keep_in_memory,
                load_from_cache_file=load_from_cache_file,
                cache_file_name=(cache_file_names or {}).get(name),
                writer_batch_size=writer_batch_size,
                features=features,
                disable_nullable=disable_nullable,
                fn_kwargs=fn_kwargs,
                num_proc=num_proc,
                desc=desc,
                try_original_type=try_original_type,
                on_mixed_types=on_mixed_types,
                executor=executor,
            )
        return type(self)(made)

    def filter(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        with_rank: bool = False,
        input_columns: str | Sequence[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        cache_file_names: Mapping[str, str | None] | None = None,
        writer_batch_size: int | None = 1000,
        fn_kwargs: dict[str, Any] | None = None,
        num_proc: int | None = None,
        desc: str | None = None,
        executor: str | None = None,
    ) -> Self:
        """`Dataset.filter` on every split."""
        return type(self)(
            {
                name: data.filter(
                    function,
                    with_indices=with_indices,
                    with_rank=with_rank,
                    input_columns=input_columns,
                    batched=batched,
                    batch_size=batch_size,
                    keep_in_memory=keep_in_memory,
                    load_from_cache_file=load_from_cache_file,
                    cache_file_name=(cache_file_names or {}).get(name),
                    writer_batch_size=writer_batch_size,
                    fn_kwargs=fn_kwargs,
                    num_proc=num_proc,
                    desc=desc,
                    executor=executor,
                )
                for name, data in self._each()
            }
        )

    def flatten_indices(
        self,
        keep_in_memory: bool = False,
        cache_file_names: Mapping[str, str | None] | None = None,
        writer_batch_size: int | None = 1000,
        features: Features | None = None,
        disable_nullable: bool = False,
        num_proc: int | None = None,
        new_fingerprint: str | None = None,
    ) -> Self:
        """`Dataset.flatten_indices` on every split."""
        return type(self)(
            {
                name: data.flatten_indices(
                    keep_in_memory=keep_in_memory,
                    cache_file_name=(cache_file_names or {}).get(name),
                    writer_batch_size=writer_batch_size,
                    features=features,
                    disable_nullable=disable_nullable,
                    num_proc=num_proc,
                    new_fingerprint=new_fingerprint,
                )
                for name, data in self._each()
            }
        )

    def sort(
        self,
        column_names: str | Sequence[str],
        reverse: bool | Sequence[bool] = False,
        null_placement: str = "at_end",
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        indices_cache_file_names: Mapping[str, str | None] | None = None,
        writer_batch_size: int | None = 1000,
    ) -> Self:
        """`Dataset.sort` on every split."""
        return type(self)(
            {
                name: data.sort(
                    column_names,
                    reverse=reverse,
                    null_placement=null_placement,
                    keep_in_memory=keep_in_memory,
                    load_from_cache_file=load_from_cache_file,
                    indices_cache_file_name=(indices_cache_file_names or {}).get(name),
                    writer_batch_size=writer_batch_size,
                )
                for name, data in self._each()
            }
        )

    def shuffle(
        self,
        seeds: int | Mapping[str, int | None] | None = None,
        seed: int | None = None,
        generators: Mapping[str, np.random.Generator] | None = None,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        indices_cache_file_names: Mapping[str, str | None] | None = None,
        writer_batch_size: int | None = 1000,
    ) -> Self:
        """`Dataset.shuffle` on every split: `seed` (or a number as `seeds`) for all; others by the split's name."""
        if seed is not None and seeds is not None:
            raise ArgumentError("Please specify seed or seeds, but not both")
        seeds = seed if seeds is None else seeds
        by_name = seeds if isinstance(seeds, Mapping) else dict.fromkeys(self, seeds)
        return type(self)(
            {
                name: data.shuffle(
                    seed=by_name.get(name),
                    generator=(generators or {}).get(name),
                    keep_in_memory=keep_in_memory,
                    load_from_cache_file=load_from_cache_file,
                    indices_cache_file_name=(indices_cache_file_names or {}).get(name),
                    writer_batch_size=writer_batch_size,
                )
                for name, data in self._each()
            }
        )

    def save_to_disk(
        self,
        dataset_dict_path: str | os.PathLike[str],
        max_shard_size: str | int | None = None,
        num_shards: Mapping[str, int] | None = None,
        num_proc: int | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """A folder with one for each split; see `Dataset.save_to_disk`. `num_shards` says how many files, by split."""
        if num_shards is not None and not isinstance(num_shards, Mapping):
            raise ArgumentError(
                "Please provide one `num_shards` per dataset in the dataset dictionary, e.g. {'train': 128, 'test': 4}"
            )
        store, inner = _store(os.fspath(dataset_dict_path), storage_options)
        for name, data in self._each():
            data.save_to_disk(
                f"{os.fspath(dataset_dict_path)}/{_safe(name)}",
                num_shards=(num_shards or {}).get(name),
                max_shard_size=max_shard_size,
                num_proc=num_proc,
                storage_options=storage_options,
            )
        # Written last: splits that it names are there.
        listed = json.dumps({"splits": list(self)})
        if store is None:
            os.makedirs(inner, exist_ok=True)
            with open(os.path.join(inner, DICT_FILE), "w", encoding="utf-8") as file:
                file.write(listed)
        else:
            store.makedirs(inner, exist_ok=True)
            store.pipe_file(f"{inner}/{DICT_FILE}", listed.encode())

    @classmethod
    def load_from_disk(
        cls,
        dataset_dict_path: str | os.PathLike[str],
        keep_in_memory: bool | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> Self:
        """The splits of a folder that `save_to_disk` wrote."""
        folder = local_folder(dataset_dict_path, storage_options)
        if not (folder / DICT_FILE).is_file():
            raise MissingFolderError(
                f"{dataset_dict_path} is no folder of a DatasetDict: it has no {DICT_FILE}. The folder of one data set "
                f"is read by load_from_disk() or Dataset.load_from_disk()."
            )
        names = json.loads((folder / DICT_FILE).read_text(encoding="utf-8"))["splits"]
        return cls({name: Dataset.load_from_disk(folder / _safe(name), keep_in_memory) for name in names})

    @classmethod
    def from_csv(cls, path_or_paths: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """CSV files by split; see `Dataset.from_csv`."""
        return cls._read(Dataset.from_csv, path_or_paths, *args, **kwargs)

    @classmethod
    def from_json(cls, path_or_paths: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """JSON files by split; see `Dataset.from_json`."""
        return cls._read(Dataset.from_json, path_or_paths, *args, **kwargs)

    @classmethod
    def from_parquet(cls, path_or_paths: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Parquet files by split; see `Dataset.from_parquet`."""
        return cls._read(Dataset.from_parquet, path_or_paths, *args, **kwargs)

    @classmethod
    def from_text(cls, path_or_paths: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Text files by split; see `Dataset.from_text`."""
        return cls._read(Dataset.from_text, path_or_paths, *args, **kwargs)

    @classmethod
    def _read(
        cls,
        read: Callable[..., Dataset],
        paths: Mapping[str, Any],
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        **kwargs: Any,
    ) -> Self:
        return cls(
            {
                name: read(
                    path, split=name, features=features, cache_dir=cache_dir, keep_in_memory=keep_in_memory, **kwargs
                )
                for name, path in paths.items()
            }
        )

    def _each(self) -> Iterator[tuple[str, Dataset]]:
        for name, data in self.items():
            if not isinstance(data, Dataset):
                raise TypeError(
                    f"Values in `DatasetDict` should be of type `Dataset` but {name!r} is {type(data).__name__}"
                )
            yield name, data

    def _of(self, change: Callable[[Dataset], Dataset]) -> Self:
        return type(self)({name: change(data) for name, data in self._each()})


def _with_split(function: Callable[..., Any], split: str, *args: Any, **kwargs: Any) -> Any:
    return function(*args, split, **kwargs)


def load_from_disk(
    dataset_path: str | os.PathLike[str],
    keep_in_memory: bool | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Dataset | DatasetDict:
    """What a folder of `save_to_disk` holds: a `Dataset` or a `DatasetDict`.

    Args:
        dataset_path: the folder, or a URL of a store that fsspec knows.
        keep_in_memory: read all of it into memory.
        storage_options: for the store.
    """
    folder = local_folder(dataset_path, storage_options)
    kind = DatasetDict if (folder / DICT_FILE).is_file() else Dataset
    if not folder.is_dir():
        raise MissingFolderError(f"Directory {dataset_path} not found")
    return kind.load_from_disk(folder, keep_in_memory)
