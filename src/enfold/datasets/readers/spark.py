"""Rows of a Spark frame, a partition at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.datasets.sources import Row, Source, tables_of_rows


@dataclass(frozen=True)
class SparkSource(Source):
    """A Spark frame; its partitions are the shards, each of which must fit into memory.

    The order of rows is Spark's: that of the partitions. Sort the frame if another one is meant.
    """

    df: Any
    features: Any = None
    partitions: tuple[int, ...] | None = None

    forks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require("pyspark", extra="spark", purpose="Reading a Spark frame")
        if not hasattr(self.df, "semanticHash"):
            raise ArgumentError(f"df= is a {type(self.df).__name__}; expected a frame of pyspark.")

    @property
    def _parts(self) -> tuple[int, ...]:
        return tuple(range(self.df.rdd.getNumPartitions())) if self.partitions is None else self.partitions

    @property
    def num_shards(self) -> int:
        return len(self._parts)

    def examples(self, shard: int, skip_rows: int = 0) -> Iterator[Row]:
        """The partition's rows. Partitions are those of `df.rdd`: another query of the frame may cut it otherwise."""
        rows = self.df.sparkSession.sparkContext.runJob(self.df.rdd, list, [self._parts[shard]])
        yield from (row.asDict(recursive=True) for row in rows[skip_rows:])

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        yield from tables_of_rows(self.examples(shard, skip_rows), self.features or self._told())

    def _told(self) -> Any:
        """The features that the frame's schema tells."""
        from pyspark.sql.pandas.types import to_arrow_schema  # pyright: ignore[reportMissingImports]

        from enfold.datasets.features import Features

        return Features.from_arrow_schema(to_arrow_schema(self.df.schema))

    def subset(self, shards: Sequence[int]) -> SparkSource:
        return SparkSource(self.df, self.features, tuple(self._parts[shard] for shard in shards))

    def describe(self) -> str:
        return f"a Spark frame of {len(self.df.columns)} columns"

    def plan_hash(self) -> int:
        """Spark's hash of what the frame computes, which is the same in every session."""
        return self.df.semanticHash()
