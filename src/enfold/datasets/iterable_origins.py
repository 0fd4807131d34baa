"""Where an `IterableDataset` comes from: `IterableDataset.from_…`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.datasets.info import DatasetInfo
from enfold.datasets.sources import GeneratorSource, TableSource

if TYPE_CHECKING:
    import pyarrow as pa

    from enfold.datasets.features import Features

Paths = str | bytes | PathLike[str] | Sequence[str | bytes | PathLike[str]]


class Origins:
    """The `from_…` methods of `IterableDataset`."""

    @classmethod
    def _of_table(
        cls,
        table: pa.Table,
        features: Features | None,
        info: DatasetInfo | None,
        split: str | None,
        num_shards: int | None,
    ) -> Self:
        from enfold.datasets.features import Features
        from enfold.datasets.streams.columns import conformed

        declared = features if features is not None or info is None else info.features
        if declared is not None:
            table = conformed(table, declared)
        known = declared if declared is not None else Features.from_arrow_schema(table.schema)
        info = DatasetInfo() if info is None else info.copy()
        info.features = known
        return cls(TableSource.of(table, num_shards or 1, known), info, split)  # pyright: ignore[reportCallIssue]

    @classmethod
    def from_dict(
        cls,
        mapping: dict[str, Any],
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        num_shards: int | None = 1,
    ) -> Self:
        """Columns of Python values, in `num_shards` shards."""
        from enfold.datasets.features import to_table

        declared = features if features is not None or info is None else info.features
        return cls._of_table(to_table(mapping, features=declared), declared, info, split, num_shards)

    @classmethod
    def from_list(
        cls,
        mapping: list[dict[str, Any]],
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        num_shards: int | None = 1,
    ) -> Self:
        """Rows as dictionaries; the first one's keys are the columns."""
        declared = features if features is not None or info is None else info.features
        names = list(mapping[0]) if mapping else list(declared or ())
        columns = {name: [row.get(name) for row in mapping] for name in names}
        return cls.from_dict(columns, features, info, split, num_shards)

    @classmethod
    def from_pandas(
        cls,
        df: Any,
        features: Features | None = None,
        info: DatasetInfo | None = None,
        split: str | None = None,
        preserve_index: bool | None = None,
        num_shards: int | None = 1,
    ) -> Self:
        """A pandas data frame."""
        import pyarrow as pa

        table = pa.Table.from_pandas(df, preserve_index=preserve_index).replace_schema_metadata(None)
        return cls._of_table(table, features, info, split, num_shards)

    @classmethod
    def from_polars(
        cls, df: Any, features: Features | None = None, info: DatasetInfo | None = None, split: str | None = None
    ) -> Self:
        """A polars data frame, or a lazy one (which is collected)."""
        polars = require("polars", extra="polars", purpose="IterableDataset.from_polars")
        frame = df.collect() if isinstance(df, polars.LazyFrame) else df
        return cls._of_table(frame.to_arrow(), features, info, split, 1)

    @classmethod
    def from_generator(
        cls,
        generator: Callable[..., Any],
        features: Features | None = None,
        gen_kwargs: dict[str, Any] | None = None,
        split: str | None = "train",
    ) -> Self:
        """Rows that a function yields, objects of any kind.

        Args:
            generator: called with `gen_kwargs`; yields dictionaries.
            features: what they are made into; None: they pass as they are.
            gen_kwargs: its arguments. The lists among them are the shards: one call for one element of each.
            split: the split's name.
        """
        info = DatasetInfo(builder_name="generator", dataset_name="generator", config_name="default", version="0.0.0")
        return cls(GeneratorSource(generator, gen_kwargs or {}, features), info, split)  # pyright: ignore[reportCallIssue]

    @classmethod
    def from_spark(cls, df: Any, split: str | None = None, features: Features | None = None, **kwargs: Any) -> Self:
        """A Spark frame; its partitions are the shards, in Spark's order."""
        from enfold.datasets.readers.spark import SparkSource

        if kwargs:
            raise ArgumentError(
                f"from_spark has no options {sorted(kwargs)}: a stream of a Spark frame writes no files"
            )
        return cls(SparkSource(df, features), None, split)  # pyright: ignore[reportCallIssue]

    @classmethod
    def from_ray(cls, ds: Any, split: str | None = None, features: Features | None = None) -> Self:
        """A `ray.data.Dataset`; its blocks are the shards where Ray holds them (`ds.materialize()`)."""
        from enfold.datasets.readers.ray import RaySource

        source = RaySource(ds, features)
        return cls(source, DatasetInfo(features=source.features), split)  # pyright: ignore[reportCallIssue]

    @classmethod
    def from_file(cls, filename: str) -> Self:
        """An Arrow file, memory-mapped."""
        from enfold.datasets.table import open_mapped

        return cls._of_table(open_mapped(filename), None, None, None, 1)

    @classmethod
    def from_csv(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        **kwargs: Any,
    ) -> Self:
        """CSV files, each a shard. `kwargs` are those of `load_dataset("csv", …)`."""
        return _loaded("csv", path_or_paths, split, features, keep_in_memory, kwargs)

    @classmethod
    def from_json(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        field: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """JSON or JSON lines files, each a shard. `field`: the key under which the rows are."""
        return _loaded("json", path_or_paths, split, features, keep_in_memory, {"field": field, **kwargs})

    @classmethod
    def from_parquet(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        columns: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Parquet files, each a shard (`reshard()` cuts them by row groups). `columns`: only these are read."""
        return _loaded("parquet", path_or_paths, split, features, keep_in_memory, {"columns": columns, **kwargs})

    @classmethod
    def from_text(
        cls,
        path_or_paths: Paths,
        split: str | None = None,
        features: Features | None = None,
        keep_in_memory: bool = False,
        keep_linebreaks: bool = False,
        sample_by: Literal["line", "paragraph", "document"] = "line",
        **kwargs: Any,
    ) -> Self:
        """Text files, each a shard: a row is a line, a paragraph or a document."""
        options = {"keep_linebreaks": keep_linebreaks, "sample_by": sample_by, **kwargs}
        return _loaded("text", path_or_paths, split, features, keep_in_memory, options)


def _loaded(
    builder: str,
    paths: Any,
    split: str | None,
    features: Features | None,
    keep_in_memory: bool,
    options: Mapping[str, Any],
) -> Any:
    from enfold.datasets.load import load_dataset

    if keep_in_memory:
        raise ArgumentError("keep_in_memory=True: streamed rows are not kept. Use Dataset.from_… for that")
    chosen = {name: value for name, value in options.items() if value is not None}
    split = str(split or "train")
    return load_dataset(builder, data_files={split: paths}, split=split, features=features, streaming=True, **chosen)
