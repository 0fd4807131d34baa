"""Rows of a Spark frame, a partition at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.datasets.readers.base import skipping
from enfold.datasets.sources import Source


@dataclass(frozen=True)
class SparkSource(Source):
    """A Spark frame; its partitions are the shards, each of which must fit into memory.

    The order of rows is Spark's: that of the partitions. Sort the frame if another one is meant.
    """

    df: Any
    features: Any = None
    partitions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require("pyspark", extra="spark", purpose="Reading a Spark frame")
        if not hasattr(self.df, "toArrow"):
            raise ArgumentError(f"df= is a {type(self.df).__name__}; expected a frame of pyspark 4 or later.")

    @property
    def _parts(self) -> tuple[int, ...]:
        return tuple(range(self.df.rdd.getNumPartitions())) if self.partitions is None else self.partitions

    @property
    def num_shards(self) -> int:
        return len(self._parts)

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        from pyspark.sql.functions import spark_partition_id  # pyright: ignore[reportMissingImports]

        table = self.df.where(spark_partition_id() == self._parts[shard]).toArrow().replace_schema_metadata(None)
        if self.features is not None:
            from enfold.datasets.features.casting import cast_table

            table = cast_table(table, self.features)
        yield from skipping([table], skip_rows)

    def subset(self, shards: Sequence[int]) -> SparkSource:
        return SparkSource(self.df, self.features, tuple(self._parts[shard] for shard in shards))

    def describe(self) -> str:
        return f"a Spark frame of {len(self.df.columns)} columns"

    def plan_hash(self) -> int:
        """Spark's hash of what the frame computes, which is the same in every session."""
        return self.df.semanticHash()
