"""Rows of a Ray Data dataset, block by block, as the Arrow tables that its workers made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.lazy import require
from enfold.datasets.features import Features, List, arrow_type, cast_table, to_array
from enfold.datasets.features.schema import feature_of
from enfold.datasets.readers.base import skipping
from enfold.datasets.sources import Source

# Ray's own column types: tensors of one shape, tensors of several, and anything else, pickled.
_TENSORS = ("ray.data.arrow_tensor", "ray.data.arrow_variable_shaped_tensor")
_PICKLED = "ray.data.arrow_pickled_object"


@dataclass(frozen=True)
class RaySource(Source):
    """A dataset of Ray Data; no row becomes a Python object.

    Where Ray holds the rows (`ds.materialize()`), its blocks are the shards, read where they lie in shared memory.
    Otherwise there is one shard, read while the cluster makes it.

    Args:
        ds: the dataset.
        features: what the columns are; by default what Ray says that all blocks have (a first one is made to know).
        blocks: which of Ray's blocks; None: all.
    """

    ds: Any
    features: Features | None = None
    blocks: tuple[Any, ...] | None = None

    forks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ray = require("ray.data.dataset", extra="ray", purpose="Reading a Ray dataset")
        if not isinstance(self.ds, ray.Dataset):
            raise ArgumentError(f"ds= is a {type(self.ds).__name__}; expected a ray.data.Dataset.")
        if self.blocks is None and isinstance(self.ds, ray.MaterializedDataset):
            object.__setattr__(self, "blocks", tuple(self.ds.to_arrow_refs()))
        if self.features is None:
            object.__setattr__(self, "features", _told(self.ds.schema()))

    @property
    def num_shards(self) -> int:
        return 1 if self.blocks is None else len(self.blocks)

    def read(self, shard: int, skip_rows: int = 0) -> Iterator[pa.Table]:
        yield from skipping(map(self._plain, self._tables(shard)), skip_rows)

    def _tables(self, shard: int) -> Iterator[pa.Table]:
        if self.blocks is None:
            yield from self.ds.iter_batches(batch_size=None, batch_format="pyarrow")
        else:
            yield require("ray", extra="ray", purpose="Reading a Ray dataset").get(self.blocks[shard])

    def _plain(self, table: pa.Table) -> pa.Table:
        """A block in Arrow's own types."""
        columns: dict[str, Any] = {}
        for field, column in zip(table.schema, table.columns, strict=True):
            if isinstance(field.type, pa.BaseExtensionType):
                feature = _feature(field.name, field.type)
                parts = [to_array(chunk.to_numpy(zero_copy_only=False), feature) for chunk in column.chunks]
                column = pa.chunked_array(parts, arrow_type(feature))
            columns[field.name] = column
        table = pa.table(columns)
        return table if self.features is None else cast_table(table, self.features)

    def subset(self, shards: Sequence[int]) -> RaySource:
        if self.blocks is None:
            return self
        return replace(self, blocks=tuple(self.blocks[shard] for shard in shards))

    def describe(self) -> str:
        return f"a Ray dataset of {len(self.ds.columns() or ())} columns"


def _told(schema: Any) -> Features | None:
    """The features that Ray's schema tells; None where it knows none, or not in Arrow's types."""
    if schema is None or not all(isinstance(kind, pa.DataType) for kind in schema.types):
        return None
    return Features({name: _feature(name, kind) for name, kind in zip(schema.names, schema.types, strict=True)})


def _feature(name: str, kind: Any) -> Any:
    """What a column of Ray's is: its tensors are nested lists."""
    extension = kind.extension_name if isinstance(kind, pa.BaseExtensionType) else ""
    if extension.startswith(_PICKLED):
        raise DatasetError(
            f"Column {name!r} of the Ray dataset holds pickled Python objects, which are not read. Make numbers, "
            "texts, lists or dictionaries of them with ds.map(…), or leave it out with ds.drop_columns(…)."
        )
    if not extension.startswith(_TENSORS):
        return feature_of(kind)
    feature = feature_of(kind.value_type)
    for _ in range(len(kind.shape) if hasattr(kind, "shape") else kind.ndim):
        feature = List(feature)
    return feature
