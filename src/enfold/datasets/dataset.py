"""`Dataset`: rows in a memory-mapped Arrow table, and everything one does with them.

Its parts, each in a module of its own: access and format (`core`), `map` and `filter` (`mapping`), order (`ordering`),
columns (`columns`), rows out (`exports`) and on disk (`disk`), nearest rows (`search`), and
to a hub (`publish`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.datasets.columns import Columned
from enfold.datasets.core import Column, IndexedError
from enfold.datasets.disk import Saved
from enfold.datasets.features import Features, cast_table, to_table
from enfold.datasets.info import DatasetInfo
from enfold.datasets.ordering import Ordered
from enfold.datasets.publish import Publishing
from enfold.datasets.search import Searching
from enfold.datasets.table import open_mapped, read_buffer

__all__ = ["Column", "Dataset", "IndexedError"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Dataset(Columned, Ordered, Saved, Searching, Publishing):
    """Rows with typed columns, in Arrow.

    >>> data = Dataset.from_dict({"text": ["a", "bc"], "label": [0, 1]})
    >>> data[1]
    {'text': 'bc', 'label': 1}
    >>> data.map(lambda row: {"length": len(row["text"])})["length"][:]
    [1, 2]
    """

    @classmethod
    def from_dict(
        cls,
        mapping: Mapping[str, Any],
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        on_mixed_types: str | None = None,
    ) -> Self:
        """Columns in memory: name → values (lists, arrays, tensors, Arrow arrays).

        Args:
            features: their types; inferred by default.
            on_mixed_types: "use_json": values without a common type become `Json`; None: they are an error.
        """
        features, info = _told(features, info)
        table = to_table(mapping, features, on_mixed_types=on_mixed_types)  # type: ignore[arg-type]
        return cls(table, info, split)

    @classmethod
    def from_list(
        cls,
        mapping: Sequence[Mapping[str, Any]],
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        on_mixed_types: str | None = None,
    ) -> Self:
        """Rows in memory, as dicts. The first row names the columns; one that a row lacks is null there."""
        names = list(mapping[0]) if mapping else list(features or ())
        columns = {name: [row.get(name) for row in mapping] for name in names}
        return cls.from_dict(columns, features, info, split, on_mixed_types)

    @classmethod
    def from_pandas(
        cls,
        df: Any,
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        preserve_index: bool | None = None,
    ) -> Self:
        """A pandas DataFrame in memory; `preserve_index` keeps its index as a column (None: unless it is a range)."""
        features, info = _told(features, info)
        table = pa.Table.from_pandas(df, preserve_index=preserve_index)
        return cls(_typed(table, features), info, split)

    @classmethod
    def from_polars(
        cls, df: Any, features: Features | None = None, info: DatasetInfo | None = None, split: str | None = None
    ) -> Self:
        """A polars DataFrame or LazyFrame in memory, mostly without a copy."""
        polars = require("polars", extra="polars", purpose="from_polars")
        features, info = _told(features, info)
        frame = df.collect() if isinstance(df, polars.LazyFrame) else df
        return cls(_typed(frame.to_arrow(), features), info, split)

    @classmethod
    def from_file(
        cls,
        filename: str | os.PathLike[str],
        info: DatasetInfo | None = None,
        split: str | None = None,
        indices_filename: str | os.PathLike[str] | None = None,
        in_memory: bool = False,
    ) -> Self:
        """An Arrow file, memory-mapped (or read, `in_memory`); `indices_filename` holds an order of its rows."""
        files = [] if in_memory else [os.fspath(filename)]
        order = None if indices_filename is None else open_mapped(indices_filename)
        table = open_mapped(filename, in_memory=in_memory)
        orders = [] if indices_filename is None or in_memory else [os.fspath(indices_filename)]
        return cls(table, info, split, order, _noted(table), source_files=files, indices_files=orders)

    @classmethod
    def from_buffer(
        cls,
        buffer: pa.Buffer,
        info: DatasetInfo | None = None,
        split: str | None = None,
        indices_buffer: pa.Buffer | None = None,
    ) -> Self:
        """An Arrow stream in memory, without a copy."""
        table = read_buffer(buffer)
        order = None if indices_buffer is None else read_buffer(indices_buffer)
        return cls(table, info, split, order, _noted(table))

    @classmethod
    def from_csv(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """CSV files, as `load_dataset("csv")` reads them; `kwargs` are its options."""
        return _loaded("csv", path_or_paths, split, features, cache_dir, keep_in_memory, num_proc, **kwargs)

    @classmethod
    def from_json(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        field: str | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """JSON or JSON Lines files, as `load_dataset("json")` reads them; `field` holds the rows within a document."""
        return _loaded(
            "json", path_or_paths, split, features, cache_dir, keep_in_memory, num_proc, field=field, **kwargs
        )

    @classmethod
    def from_parquet(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        columns: Sequence[str] | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Parquet files, as `load_dataset("parquet")` reads them; `columns` chooses some."""
        return _loaded(
            "parquet", path_or_paths, split, features, cache_dir, keep_in_memory, num_proc, columns=columns, **kwargs
        )

    @classmethod
    def from_text(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Text files, as `load_dataset("text")` reads them: a row a line, unless `sample_by` says otherwise."""
        return _loaded("text", path_or_paths, split, features, cache_dir, keep_in_memory, num_proc, **kwargs)

    @classmethod
    def from_sql(
        cls,
        sql: Any,
        con: Any,
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        **kwargs: Any,
    ) -> Self:
        """What a query (or table name) gives, as `load_dataset("sql")` reads it."""
        return _loaded("sql", None, None, features, cache_dir, keep_in_memory, None, sql=sql, con=con, **kwargs)

    @classmethod
    def from_generator(
        cls,
        generator: Callable[..., Iterable[Mapping[str, Any]]],
        features: Features | None = None,
        cache_dir: str | None = None,
        keep_in_memory: bool = False,
        gen_kwargs: dict[str, Any] | None = None,
        num_proc: int | None = None,
        split: str | None = "train",
        fingerprint: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """The rows that a function yields, written into Arrow once for the same function and arguments.

        Args:
            generator: the function.
            gen_kwargs: its arguments; lists among them are shards, which `num_proc` processes share.
            fingerprint: stands for function and arguments, instead of a digest of them.
        """
        return _loaded(
            "generator",
            None,
            split,
            features,
            cache_dir,
            keep_in_memory,
            num_proc,
            generator=generator,
            gen_kwargs=gen_kwargs,
            fingerprint=fingerprint,
            **kwargs,
        )

    @classmethod
    def from_spark(
        cls,
        df: Any,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        cache_dir: str | None = None,
        working_dir: str | None = None,
        load_from_cache_file: bool = True,
    ) -> Self:
        """The rows of a Spark frame, written into Arrow once for the same plan, a partition at a time."""
        if working_dir is not None:
            raise ArgumentError("working_dir= is for workers that write the files; here the driver does. Leave it out.")
        mode = None if load_from_cache_file else "reuse_cache_if_exists"
        return _loaded("spark", None, split, features, cache_dir, keep_in_memory, None, df=df, download_mode=mode)

    @classmethod
    def from_ray(
        cls,
        ds: Any,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        cache_dir: str | None = None,
        fingerprint: str | None = None,
    ) -> Self:
        """The rows of a `ray.data.Dataset`, written into Arrow files block by block; tensors become nested lists.

        Args:
            fingerprint: names the rows, so that they are found again in the cache. Without one, Ray's plan is run each
                time, and the files go when the process ends (unless `cache_dir` says where they stay).
        """
        return _loaded("ray", None, split, features, cache_dir, keep_in_memory, None, ds=ds, fingerprint=fingerprint)

    def cleanup_cache_files(self) -> int:
        """Remove the results of `map` and kin beside the rows' files, but those in use here; returns how many."""
        used = {os.path.abspath(entry["filename"]) for entry in self.cache_files}
        if not used:
            return 0
        folder = Path(os.path.abspath(self.cache_files[0]["filename"])).parent
        old = [path for path in folder.glob("cache-*.arrow") if str(path) not in used]
        for path in old:
            path.unlink()
        return len(old)


def _told(features: Features | None, info: DatasetInfo | None) -> tuple[Features | None, DatasetInfo]:
    """The features that were given, one way or the other."""
    if info is not None and features is not None and info.features != features:
        raise ArgumentError(
            f"Features specified in `features` and `info.features` can't be different:\n{features}\n{info.features}"
        )
    info = DatasetInfo() if info is None else info.copy()
    features = info.features if features is None else Features(features)
    info.features = features
    return features, info


def _typed(table: pa.Table, features: Features | None) -> pa.Table:
    # The metadata of pandas says nothing about rows.
    table = table.replace_schema_metadata(None)
    return table if features is None else cast_table(table, features)


def _noted(table: pa.Table) -> str | None:
    """The fingerprint in a file's metadata."""
    import json

    noted = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    return noted.get("fingerprint") if isinstance(noted, dict) else None


def _loaded(
    name: str,
    paths: Paths | None,
    split: str | None,
    features: Features | None,
    cache_dir: str | None,
    keep_in_memory: bool,
    num_proc: int | None,
    **options: Any,
) -> Any:
    from enfold.datasets.load import load_dataset

    split = "train" if split is None else str(split)
    if paths is not None:
        options["data_files"] = {split: paths}
    return load_dataset(
        name,
        split=split,
        features=features,
        cache_dir=cache_dir,
        keep_in_memory=keep_in_memory,
        num_proc=num_proc,
        **options,
    )
