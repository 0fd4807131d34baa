"""Arrow arrays and tables → the types that features ask for."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from enfold.base.errors import DatasetError
from enfold.datasets.features.arrays import ArrayND, storage_of
from enfold.datasets.features.schema import Features, arrow_type, leaves, require_embedding
from enfold.datasets.features.types import FeatureType, LargeList, List, Value, is_text

pc: Any = pyarrow.compute  # its functions are made at run time

FAILURES = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What a conversion that can't be done may raise."""


def cast_array(array: Any, feature: FeatureType, *, strict: bool = False) -> Any:
    """An Arrow array (chunked or not) as `feature` stores it.

    Structs may have their fields in another order or lack some (null then), lists may become fixed or large, text
    becomes labels, numbers become text. Overflow, fractions lost, foreign fields and wrong lengths raise.

    Args:
        strict: numbers stay numbers: text is made of text only.
    """
    if isinstance(array, pa.ChunkedArray):
        chunks = [cast_array(chunk, feature, strict=strict) for chunk in array.chunks]
        return pa.chunked_array(chunks, arrow_type(feature))
    array = _readable(array)
    kind = arrow_type(feature)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if array.type == kind and str(array.type) == str(kind) and all(type(leaf) is Value for leaf in leaves(feature)):
        return array
    if hasattr(feature, "cast_storage"):
        return feature.cast_storage(array)
    if isinstance(feature, ArrayND):
        return _cast_to_shape(array, feature, strict)
    if not isinstance(feature, (Mapping, List, LargeList)) and hasattr(feature, "flatten"):
        feature = feature.flatten()
    if isinstance(feature, Mapping):
        return _cast_struct(array, feature, strict)
    if isinstance(feature, (List, LargeList)):
        return _cast_list(array, feature, strict)
    return _cast_scalar(array, feature(), strict)


def _readable(array: pa.Array) -> pa.Array:
    """Out of the encodings that stand for other types: dictionaries, extensions, maps, list views."""
    array = storage_of(array)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return array.dictionary_decode()
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_decode(array)
    if pa.types.is_map(kind):
        entry = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
        rows = pa.StructArray.from_arrays([array.keys, array.items], fields=list(entry))
        return pa.ListArray.from_arrays(_offsets_with_nulls(array), rows)
    if pa.types.is_list_view(kind):
        return array.cast(pa.list_(kind.value_field))
    if pa.types.is_large_list_view(kind):
        return array.cast(pa.large_list(kind.value_field))
    return array


def _offsets_with_nulls(array: pa.Array) -> pa.Array:
    offsets = array.offsets
    if not array.null_count:
        return offsets
    return pa.concat_arrays([pc.if_else(array.is_null(), None, offsets[:-1]), offsets[-1:]])


def _cast_scalar(array: pa.Array, kind: pa.DataType, strict: bool) -> pa.Array:
    given = array.type
    if given == kind:
        return array
    if isinstance(array, pa.JsonArray):
        array = array.storage
    if pa.types.is_null(kind):
        if array.null_count == len(array):
            return pa.nulls(len(array))
        raise DatasetError(f"values of type {given} stand where the column is empty (null)")
    if (
        strict
        and is_text(kind)
        and not (is_text(given) or pa.types.is_binary(given) or pa.types.is_large_binary(given))
    ):
        raise DatasetError(f"values of type {given} stand where the column is text")
    if pa.types.is_nested(given):
        raise DatasetError(f"values of type {given} can't become {kind}")
    return array.cast(kind)


def _cast_struct(array: pa.Array, feature: Mapping[str, FeatureType], strict: bool) -> pa.Array:
    kind = array.type
    if not pa.types.is_struct(kind):
        raise DatasetError(f"values of type {kind} stand where the column has the fields {list(feature)}")
    foreign = [field.name for field in kind if field.name not in feature]
    if foreign:
        raise DatasetError(f"the fields {foreign} are none of {list(feature)}")
    # flatten() also nulls what stands under a missing row, which may be anything
    named = dict(zip([field.name for field in kind], array.flatten(), strict=True))
    parts = [
        cast_array(named[name] if name in named else pa.nulls(len(array)), inner, strict=strict)
        for name, inner in feature.items()
    ]
    if not parts:
        return array
    return pa.StructArray.from_arrays(
        parts, fields=list(arrow_type(feature)), mask=array.is_null() if array.null_count else None
    )


def _cast_list(array: pa.Array, feature: List | LargeList, strict: bool) -> pa.Array:
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DatasetError(f"values of type {kind} stand where the column has lists")
    target = arrow_type(feature)
    missing = array.is_null() if array.null_count else None
    values = cast_array(array.flatten(), feature.feature, strict=strict)
    if pa.types.is_fixed_size_list(kind):
        lengths = np.full(len(array), kind.list_size)
        if missing is not None:
            lengths[missing.to_numpy(zero_copy_only=False)] = 0
    elif missing is None and array.offset == 0 and array.offsets[0].as_py() == 0 and not _fixed(feature):
        offsets = array.offsets
        if pa.types.is_large_list(target) != pa.types.is_large_list(kind):
            offsets = offsets.cast(pa.int64() if pa.types.is_large_list(target) else pa.int32())
        return list_of(offsets, values, target)
    else:
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return list_array(lengths, values, feature, missing)


def _fixed(feature: FeatureType) -> bool:
    return isinstance(feature, List) and feature.length != -1


def list_of(offsets: pa.Array, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """A list array of exactly this type, its item's metadata included."""
    make = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
    return make.from_arrays(offsets, values, type=kind)


def list_array(
    lengths: np.ndarray, values: pa.Array, feature: List | LargeList, missing: pa.Array | np.ndarray | None = None
) -> pa.Array:
    """Lists of these lengths over `values`, one after another.

    Args:
        lengths: [rows], 0 where a row is missing.
        missing: [rows], True where a row is null.
    """
    absent = None if missing is None else np.asarray(missing)
    kind = arrow_type(feature)
    if isinstance(feature, List) and feature.length != -1:
        wrong = lengths != feature.length
        if absent is not None:
            wrong = wrong & ~absent
        if wrong.any():
            raise DatasetError(
                f"a list of {int(lengths[wrong.argmax()])} stands where every list has {feature.length} items"
            )
        if not feature.length:
            return pa.array([[]] * len(lengths), kind, mask=absent)
        if absent is None:
            return pa.FixedSizeListArray.from_arrays(values, type=kind)
        starts = np.repeat((np.cumsum(lengths) - lengths), feature.length).reshape(-1, feature.length)
        picked = (starts + np.arange(feature.length)).reshape(-1)
        blank = np.repeat(absent, feature.length)
        values = taken(values, pa.array(picked, mask=blank))
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(absent))
    width = pa.int64() if pa.types.is_large_list(kind) else pa.int32()
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if width == pa.int32() and ends[-1] > np.iinfo(np.int32).max:
        raise DatasetError(
            f"{ends[-1]} items are more than a list column holds in one piece: use fewer rows at a time "
            "(writer_batch_size), or LargeList"
        )
    mask = None if absent is None else np.append(absent, False)
    return list_of(pa.array(ends, width, mask=mask), values, kind)


def taken(values: pa.Array, indices: pa.Array) -> pa.Array:
    """`take`, for the view types too, which Arrow has no kernel for."""
    try:
        return values.take(indices)
    except pa.ArrowNotImplementedError:
        rows = values.to_pylist()
        return pa.array([None if index is None else rows[index] for index in indices.to_pylist()], values.type)


def _cast_to_shape(array: pa.Array, feature: ArrayND, strict: bool) -> pa.Array:
    nested: FeatureType = Value(feature.dtype)
    for _ in feature.shape:
        nested = List(nested)
    cast = _cast_list(array, nested, strict)
    level = cast
    for size in feature.shape:
        lengths = level.value_lengths().drop_null()
        if size is not None and len(lengths) and pc.any(pc.not_equal(lengths, size)).as_py():
            raise DatasetError(f"the lists are not of the shape {feature.shape}")
        level = level.flatten()
    return cast


def first_failure(length: int, works: Callable[[int], Any]) -> tuple[int, Exception] | None:
    """The first row that `works(rows)` can't take when it is given the first `rows` of them, and the reason."""
    low, high, reason = 0, length, None
    while low < high:
        middle = (low + high) // 2
        try:
            works(middle + 1)
            low = middle + 1
        except FAILURES as error:
            high, reason = middle, error
    return None if reason is None else (low, reason)


def misfit(name: str | None, feature: FeatureType, length: int, works: Callable[[int], Any], error: Exception) -> Any:
    """Raise what went wrong with a column, and in which row."""
    found = first_failure(length, works)
    row, reason = found if found else (None, error)
    where = f"Column {name!r}" if name is not None else "The column"
    where += f", row {row}" if row is not None else ""
    raise type_of(reason)(f"{where}: {reason} (the column is {feature}).") from error


def type_of(error: Exception) -> type[DatasetError]:
    return type(error) if isinstance(error, DatasetError) else DatasetError


def cast_table(table: pa.Table, features: Features) -> pa.Table:
    """The table as `features` store it, columns in their order; DatasetError names the column and the row."""
    check_columns(table.column_names, features)
    columns = []
    for name, feature in features.items():
        column = table.column(name)
        try:
            columns.append(cast_array(column, feature))
        except FAILURES as error:
            misfit(name, feature, len(column), lambda rows, c=column, f=feature: cast_array(c.slice(0, rows), f), error)
    return pa.Table.from_arrays(columns, schema=features.arrow_schema)


def check_columns(given: Any, features: Mapping[str, FeatureType]) -> None:
    """DatasetError unless the columns are those of the features, in any order."""
    missing = [name for name in features if name not in given]
    foreign = [name for name in given if name not in features]
    if missing or foreign:
        parts = ([f"{missing} are missing"] if missing else []) + ([f"{foreign} are not expected"] if foreign else [])
        raise DatasetError(f"The columns don't match the features: {' and '.join(parts)} (features: {list(features)}).")


def embed_array(array: Any, feature: FeatureType, **options: Any) -> Any:
    """The array with every file that it names by path read into it; `options` as in `embed_storage`."""
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([embed_array(chunk, feature, **options) for chunk in array.chunks], array.type)
    if not require_embedding(feature):
        return array
    if isinstance(feature, Mapping):
        named = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
        parts = [embed_array(named[name], inner, **options) for name, inner in feature.items()]
        return pa.StructArray.from_arrays(parts, fields=list(arrow_type(feature)), mask=array.is_null())
    if isinstance(feature, (List, LargeList)):
        values = embed_array(array.flatten(), feature.feature, **options)
        if pa.types.is_fixed_size_list(array.type):
            lengths = np.where(np.asarray(array.is_null()), 0, array.type.list_size)
        else:
            lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return list_array(lengths, values, feature, array.is_null() if array.null_count else None)
    return feature.embed_storage(array, **options)


def embed_table(
    table: pa.Table,
    features: Features | None = None,
    token_per_repo_id: Mapping[str, Any] | None = None,
    local_files: bool = True,
    remote_files: bool = True,
) -> pa.Table:
    """The table with the bytes of images, sounds and other files in it, not the paths to them."""
    features = Features.from_arrow_schema(table.schema) if features is None else features
    options = {"token_per_repo_id": token_per_repo_id, "local_files": local_files, "remote_files": remote_files}
    columns = [
        embed_array(table.column(field.name), features[field.name], **options) if field.name in features else column
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)
