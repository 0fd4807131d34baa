"""Columns: added, removed, renamed, chosen, and given other types."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as _compute

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features import (
    ClassLabel,
    Features,
    FeatureType,
    LargeList,
    List,
    Value,
    arrow_type,
    cast_table,
    to_table,
)
from enfold.datasets.mapping import Mapped, check_fingerprint

# Its functions are made when it is imported: checkers don't see them.
pc: Any = _compute


class Columned(Mapped):
    """The part of `Dataset` that works on whole columns."""

    def add_column(
        self,
        name: str,
        column: Any,
        new_fingerprint: str | None = None,
        feature: FeatureType | None = None,
    ) -> Self:
        """One more column: a list, an array or a `Column`, with a value for each row; `feature` is its type."""
        if name in self.column_names:
            raise ArgumentError(f"The table can't have duplicated columns but columns {[name]} are duplicated.")
        values = column if isinstance(column, list | np.ndarray | pa.Array | pa.ChunkedArray) else list(column)
        if len(values) != len(self):
            raise DatasetError(f"Column {name!r} has {len(values)} values, and the data set {len(self)} rows.")
        added = to_table({name: values}, None if feature is None else Features({name: feature}))
        fingerprint = new_fingerprint or self._next("add_column", name=name, column=added)
        data = self if self._indices is None else self.flatten_indices()
        return data._derived(
            data._data.append_column(added.schema.field(0), added.column(0)),
            features=Features({**self.features, **Features.from_arrow_schema(added.schema)}),
            indices=None,
            fingerprint=fingerprint,
            indices_files=(),
        )

    def add_item(self, item: Mapping[str, Any], new_fingerprint: str | None = None) -> Self:
        """One more row; columns that it lacks are null, columns that it adds are null before."""
        added = to_table({name: [value] for name, value in item.items()}, like=self.features)
        found = Features.from_arrow_schema(added.schema)
        features = Features(self.features)
        for name, feature in found.items():
            known = features.get(name)
            if known is None or getattr(known, "dtype", None) == "null":
                features[name] = feature
            elif arrow_type(known) != arrow_type(feature) and getattr(feature, "dtype", None) != "null":
                added = cast_table(added, Features({**found, name: known}))
                found[name] = known
        before = _filled(self._data, features)
        table = pa.concat_tables([before, _filled(added, features)])
        indices = None if self._indices is None else np.append(self._indices, self._data.num_rows)
        fingerprint = new_fingerprint or self._next("add_item", item=added)
        return self._derived(table, features=features, indices=indices, fingerprint=fingerprint)

    def remove_columns(self, column_names: str | Sequence[str], new_fingerprint: str | None = None) -> Self:
        """Without these columns; nothing is copied."""
        names = self._known(column_names)
        return self._with_columns(
            [name for name in self.column_names if name not in names],
            new_fingerprint or self._next("remove_columns", names=names),
        )

    def select_columns(self, column_names: str | Sequence[str], new_fingerprint: str | None = None) -> Self:
        """With these columns alone, in this order; nothing is copied."""
        names = self._known(column_names)
        return self._with_columns(names, new_fingerprint or self._next("select_columns", names=names))

    def _with_columns(self, names: list[str], fingerprint: str) -> Self:
        check_fingerprint(fingerprint)
        features = Features({name: self.features[name] for name in names})
        if not names:
            # A table without columns has no rows.
            return self._derived(
                self._data.select([]), features=features, indices=None, fingerprint=fingerprint, indices_files=()
            )
        return self._derived(self._data.select(names), features=features, fingerprint=fingerprint)

    def _known(self, names: str | Sequence[str]) -> list[str]:
        names = [names] if isinstance(names, str) else list(names)
        missing = [name for name in names if name not in self.column_names]
        if missing:
            raise ArgumentError(
                f"Column name {missing} not in the dataset. Current columns in the dataset: {self.column_names}"
            )
        return names

    def rename_column(
        self, original_column_name: str, new_column_name: str, new_fingerprint: str | None = None
    ) -> Self:
        """One column under another name."""
        if new_column_name in self.column_names:
            raise ArgumentError(
                f"New column name {new_column_name} already in the dataset. Please choose a column name which is not "
                f"already in the dataset. Current columns in the dataset: {self.column_names}"
            )
        return self.rename_columns({original_column_name: new_column_name}, new_fingerprint)

    def rename_columns(self, column_mapping: Mapping[str, str], new_fingerprint: str | None = None) -> Self:
        """Columns under other names: old name → new name."""
        self._known(list(column_mapping))
        names = [column_mapping.get(name, name) for name in self.column_names]
        if not all(names):
            raise ArgumentError("New column name is empty.")
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ArgumentError(f"New column names must all be different, but {twice} would stand more than once.")
        fingerprint = new_fingerprint or self._next("rename_columns", mapping=dict(column_mapping))
        check_fingerprint(fingerprint)
        features = Features(zip(names, self.features.values(), strict=True))
        renamed = self._derived(self._data.rename_columns(names), features=features, fingerprint=fingerprint)
        if self._format_columns is not None:
            renamed._format_columns = [column_mapping.get(name, name) for name in self._format_columns]
        return renamed

    def cast(
        self,
        features: Features,
        batch_size: int | None = 1000,
        keep_in_memory: bool = False,
        load_from_cache_file: bool | None = None,
        cache_file_name: str | None = None,
        writer_batch_size: int | None = 1000,
        num_proc: int | None = None,
    ) -> Self:
        """The same columns with other types; a value that doesn't fit is an error. The arguments are those of `map`."""
        if sorted(features) != sorted(self.column_names):
            raise ArgumentError(
                f"The columns in features ({list(features)}) must be identical as the columns in the dataset: "
                f"{self.column_names}"
            )
        features = Features(features)
        return self._as_arrow(
            partial(cast_table, features=features),
            features,
            batch_size=batch_size,
            keep_in_memory=keep_in_memory,
            load_from_cache_file=load_from_cache_file,
            cache_file_name=cache_file_name,
            writer_batch_size=writer_batch_size,
            num_proc=num_proc,
            desc="Casting the dataset",
        )

    def cast_column(self, column: str, feature: FeatureType, new_fingerprint: str | None = None) -> Self:
        """One column with another type; what is only shown differently (images, audio) is not rewritten."""
        self._known(column)
        features = Features({**self.features, column: feature})
        if hasattr(features[column], "decode_example"):
            fingerprint = new_fingerprint or self._next("cast_column", column=column, feature=feature)
            return self._derived(cast_table(self._data, features), features=features, fingerprint=fingerprint)
        return self.cast(features)

    def _as_arrow(self, function: Any, features: Features, **options: Any) -> Self:
        """Map a function over Arrow tables, whatever format is set."""
        mapped = self.with_format("arrow").map(function, batched=True, features=features, **options)
        mapped._take_format(self)
        return mapped

    def unique(self, column: str) -> list[Any]:
        """The values of a column, each once, in the order in which they first come."""
        values = self._only(*self._known(column))
        table = values._data if self._indices is None else values._rows(slice(None))
        return table.column(column).unique().to_pylist()

    def class_encode_column(self, column: str, include_nulls: bool = False) -> Self:
        """A column of values as a `ClassLabel` of their names in alphabetical order; nulls stay null, or are "None"."""
        (name,) = self._known(column)
        feature = self.features[name]
        if not isinstance(feature, Value):
            raise ArgumentError(
                f"Class encoding is only supported for Value column, and column {name} is {type(feature).__name__}."
            )
        values = [value for value in self.unique(name) if include_nulls or value is not None]
        label = ClassLabel(names=sorted({str(value) for value in values}))
        codes = {value: label.str2int(str(value)) for value in values}
        features = Features({**self.features, name: label})
        return self._as_arrow(
            partial(_encode_labels, name=name, codes=codes, features=features), features, desc="Casting to class labels"
        )

    def align_labels_with_mapping(self, label2id: Mapping[str, int], label_column: str) -> Self:
        """Labels numbered as `label2id` numbers their names (upper and lower case alike)."""
        (name,) = self._known(label_column)
        feature = self.features[name]
        listed = isinstance(feature, List | LargeList)
        label = feature.feature if isinstance(feature, List | LargeList) else feature
        if not isinstance(label, ClassLabel):
            raise ArgumentError(
                f"Aligning labels with a mapping is only supported for ClassLabel columns and lists of ClassLabel, and "
                f"column {name} is {feature}."
            )
        names = [known for known, _ in sorted(label2id.items(), key=lambda item: item[1])]
        ids = {known.lower(): number for known, number in label2id.items()}
        missing = [known for known in label.names if known.lower() not in ids]
        numbers = np.array([ids.get(known.lower(), -1) for known in label.names], np.int64)
        if missing and self._uses(name, label, missing):
            raise ArgumentError(f"label2id has no {missing}, which column {name!r} holds; it has {list(label2id)}")
        target = ClassLabel(names=names)
        features = Features({**self.features, name: type(feature)(target) if listed else target})
        return self._as_arrow(
            partial(_renumber, name=name, numbers=numbers, features=features), features, desc="Aligning the labels"
        )

    def _uses(self, name: str, label: ClassLabel, names: Sequence[str]) -> bool:
        column = self._only(name)._rows(slice(None)).column(name)
        while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.list_flatten(column)
        wanted = {label.names.index(one) for one in names}
        return bool(wanted & set(column.unique().to_pylist()))

    def flatten(self, new_fingerprint: str | None = None, max_depth: int = 16) -> Self:
        """Structs as one column a field: `{"a": {"b": …}}` becomes `a.b`."""
        table, features = self._data, self.features
        for _ in range(1, max_depth):
            if not any(pa.types.is_struct(field.type) for field in table.schema):
                break
            table = table.flatten()
        flat = features.flatten(max_depth=max_depth)
        flat = Features({name: flat[name] for name in table.column_names})
        fingerprint = new_fingerprint or self._next("flatten", max_depth=max_depth)
        return self._derived(table.replace_schema_metadata(None), features=flat, fingerprint=fingerprint)


def _encode_labels(table: pa.Table, name: str, codes: dict[Any, Any], features: Features) -> pa.Table:
    column = table.column(name)
    encoded = pa.array([codes.get(value) for value in column.to_pylist()], pa.int64())
    return _replaced(table, name, encoded, features)


def _renumber(table: pa.Table, name: str, numbers: np.ndarray, features: Features) -> pa.Table:
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return _replaced(table, name, _renumbered(column, pa.array(numbers)), features)


def _renumbered(array: pa.Array, numbers: pa.Array) -> pa.Array:
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        kind = pa.ListArray if pa.types.is_list(array.type) else pa.LargeListArray
        inner = _renumbered(array.values, numbers)
        return kind.from_arrays(array.offsets, inner, mask=array.is_null() if array.null_count else None)
    return numbers.take(array)


def _replaced(table: pa.Table, name: str, column: pa.Array, features: Features) -> pa.Table:
    schema = features.arrow_schema
    at = table.column_names.index(name)
    return table.set_column(at, schema.field(name), column).replace_schema_metadata(schema.metadata)


def _filled(table: pa.Table, features: Features) -> pa.Table:
    """The table with all columns of `features`, nulls where it has none."""
    schema = features.arrow_schema
    columns = [
        table.column(name) if name in table.column_names else pa.nulls(table.num_rows, schema.field(name).type)
        for name in features
    ]
    return cast_table(pa.table(columns, names=list(features)), features)
