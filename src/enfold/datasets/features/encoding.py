"""Python values → Arrow: `to_table`, and the inference of types.

A column is converted as a whole where Arrow can do so, and part by part (lists into offsets and items, structs into
fields) where it can't: text for numbers, labels for names, images for arrays, tensors for lists. No row is touched
twice unless something is wrong; then the row that is wrong is looked for, and named.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError, LabelError
from enfold.datasets.features.arrays import ArrayND
from enfold.datasets.features.casting import FAILURES, cast_array, check_columns, list_array, misfit
from enfold.datasets.features.images import Image, is_picture
from enfold.datasets.features.jsons import Json
from enfold.datasets.features.schema import Features, arrow_type, feature_of, leaves
from enfold.datasets.features.types import ClassLabel, FeatureType, LargeList, List, Translation, Value, is_text

NARROW = {
    "input_ids": pa.int32(),
    "attention_mask": pa.int8(),
    "special_tokens_mask": pa.int8(),
    "token_type_ids": pa.int8(),
}
"""Columns that a tokenizer returns, and the smaller integers that hold them where no type is asked for."""

Mixed = Literal["use_json"] | None


def to_table(
    columns: Any, features: Features | None = None, like: Features | None = None, *, on_mixed_types: Mixed = None
) -> pa.Table:
    """Columns of Python values, arrays, tensors or Arrow arrays as a table that carries its features.

    Args:
        columns: name → values, one per row; or an object with `arrow_columns() -> dict[str, pa.Array]`.
        features: the types, obeyed or an error names the column and the row. Their order is the table's.
        like: types to keep where the values allow it; other columns, and those that don't fit, are inferred.
        on_mixed_types: "use_json": what has no common type becomes `Json`. None: it is an error.
    """
    if hasattr(columns, "arrow_columns"):
        columns = columns.arrow_columns()
    if features is not None:
        check_columns(columns, features)
        arrays = {name: to_array(columns[name], feature, name=name) for name, feature in features.items()}
        found = features
    else:
        like = Features() if like is None else like
        arrays, kinds = {}, {}
        for name, values in columns.items():
            arrays[name], kinds[name] = infer(values, like=like.get(name), name=name, on_mixed_types=on_mixed_types)
        found = Features(kinds)
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise DatasetError(f"All columns have the same number of rows, but these have {sizes}.")
    return pa.Table.from_arrays(list(arrays.values()), schema=found.arrow_schema)


def to_array(values: Any, feature: FeatureType, *, name: str | None = None) -> pa.Array | pa.ChunkedArray:
    """A column as `feature` stores it; DatasetError names the row that doesn't fit."""
    values = as_sequence(values)
    try:
        return encode(values, feature)
    except FAILURES as error:
        return misfit(name, feature, len(values), lambda rows: encode(values[:rows], feature), error)


def infer(
    values: Any, *, like: FeatureType | None = None, name: str | None = None, on_mixed_types: Mixed = None
) -> tuple[pa.Array | pa.ChunkedArray, FeatureType]:
    """A column and the feature that it turned out to be."""
    values = as_sequence(values)
    if like is not None:
        try:
            return encode(values, like, strict=True), like
        except LabelError as error:
            misfit(name, like, len(values), lambda rows: encode(values[:rows], like, strict=True), error)
        except FAILURES:
            pass  # the type changed
    try:
        array, feature = _inferred(values, on_mixed_types)
    except FAILURES as error:
        misfit(name, "inferred", len(values), lambda rows: _inferred(values[:rows], on_mixed_types), error)
        raise
    if like is None and name in NARROW:
        array, feature = _narrowed(array, feature, NARROW[name])
    return array, feature


def as_sequence(values: Any) -> Any:
    """Something with a length and slices: Arrow and numpy as they are, tensors as numpy, the rest as a list."""
    if isinstance(values, (pa.Array, pa.ChunkedArray, np.ndarray, list)):
        return values
    array = tensor_array(values)
    if array is not None:
        return array
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise DatasetError(f"A column is a sequence of values, one per row, not a {type(values).__name__}.")
    return list(values)


def tensor_array(value: Any) -> np.ndarray | None:
    """A tensor of torch, jax or tensorflow as numpy (bfloat16 as float32); None for anything else."""
    library = type(value).__module__.partition(".")[0]
    if library == "torch":
        torch = sys.modules["torch"]
        if not isinstance(value, torch.Tensor):
            return None
        if value.requires_grad or value.device.type != "cpu":
            value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if library in ("jax", "jaxlib", "tensorflow") and hasattr(value, "__array__"):
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    return None


# with a feature


def encode(values: Any, feature: FeatureType, *, strict: bool = False) -> pa.Array | pa.ChunkedArray:
    """A sequence as `feature` stores it. `strict`: numbers don't become text, nor the other way round."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return cast_array(values, feature, strict=strict)
    if isinstance(feature, ArrayND):
        return feature.encode_array([None if value is None else _whole(value) for value in _rows(values)])
    if _direct(feature):
        try:
            array = plain_array(values)
            if strict or _readable_as(array.type, feature):
                return cast_array(array, feature, strict=strict)
        except FAILURES:
            if strict:
                raise
    if isinstance(feature, Mapping):
        return _encode_struct(_rows(values), feature, strict)
    if isinstance(feature, (List, LargeList)):
        return _encode_lists(_rows(values), feature, strict)
    return _encode_leaf(_rows(values), feature, strict)


def _rows(values: Any) -> Any:
    """For reading one by one; the numbers of a numpy column become Python's at once."""
    return values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values


def _whole(value: Any) -> Any:
    array = tensor_array(value)
    return value if array is None else array


def _direct(feature: FeatureType) -> bool:
    """Whether what Arrow infers from values can be cast to the feature: no images, arrays or JSON inside."""
    return all(isinstance(leaf, (Value, ClassLabel, Translation)) for leaf in leaves(feature))


def _readable_as(kind: pa.DataType, feature: FeatureType) -> bool:
    """Whether Arrow's cast says the same as Python: it writes numbers as text in its own way."""
    if isinstance(feature, Translation):
        feature = feature.flatten()
    if isinstance(feature, Mapping):
        return pa.types.is_struct(kind) and all(
            name in feature and _readable_as(kind.field(name).type, feature[name]) for name in kind.names
        )
    if isinstance(feature, (List, LargeList)):
        return not pa.types.is_nested(kind) or _readable_as(kind.value_type, feature.feature)
    if isinstance(feature, Value) and is_text(feature.pa_type):
        return is_text(kind) or pa.types.is_null(kind)
    return True


def _encode_struct(rows: Sequence[Any], feature: Mapping[str, FeatureType], strict: bool) -> pa.Array:
    rows = [row if row is None or isinstance(row, Mapping) else _mapping(row) for row in rows]
    missing = np.array([row is None for row in rows], bool)
    if not feature:
        return pa.array([None if absent else {} for absent in missing], pa.struct([]))
    if strict and any(row is not None and not row.keys() <= feature.keys() for row in rows):
        raise DatasetError(f"there are fields besides {list(feature)}")
    parts = [
        whole(encode([None if row is None else row.get(name) for row in rows], inner, strict=strict))
        for name, inner in feature.items()
    ]
    return pa.StructArray.from_arrays(
        parts, fields=list(arrow_type(feature)), mask=pa.array(missing) if missing.any() else None
    )


def _mapping(row: Any) -> Mapping[str, Any]:
    row = to_python(row)
    if not isinstance(row, Mapping):
        raise DatasetError(f"a {type(row).__name__} stands where the column has named fields")
    return row


def _encode_lists(rows: Sequence[Any], feature: List | LargeList, strict: bool) -> pa.Array:
    rows = [row if row is None or isinstance(row, (list, tuple, np.ndarray)) else _listed(row) for row in rows]
    lengths = np.array([0 if row is None else len(row) for row in rows], np.int64)
    missing = np.array([row is None for row in rows], bool)
    present = [row for row in rows if row is not None and len(row)]
    if present and all(isinstance(row, np.ndarray) and row.dtype != object for row in present):
        items: Any = np.concatenate(present) if len({row.shape[1:] for row in present}) == 1 else None
    else:
        items = None
    if items is None:
        items = [item for row in present for item in row]
    return list_array(
        lengths, whole(encode(items, feature.feature, strict=strict)), feature, missing if missing.any() else None
    )


def _listed(row: Any) -> Any:
    array = tensor_array(row)
    if array is not None:
        row = array
    elif hasattr(row, "tolist"):
        row = row.tolist()
    elif isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Iterable):
        raise DatasetError(f"a {type(row).__name__} stands where the column has lists")
    else:
        row = list(row)
    if isinstance(row, np.ndarray) and not row.ndim:
        raise DatasetError("a single number stands where the column has lists")
    return row


def _encode_leaf(rows: Sequence[Any], feature: FeatureType, strict: bool) -> pa.Array | pa.ChunkedArray:
    if isinstance(feature, Translation):
        return _encode_struct(rows, feature.flatten(), strict)
    encoded = [None if row is None else feature.encode_example(_scalar(row, feature)) for row in rows]
    if isinstance(feature, Value):
        return cast_array(pa.array(encoded), feature)
    return pa.array(encoded, arrow_type(feature))


def _scalar(value: Any, feature: FeatureType) -> Any:
    """A single value out of what libraries wrap one in; pictures and files are read by the feature itself."""
    array = tensor_array(value)
    if array is not None:
        return array.item() if not array.ndim else array
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        return value.item()
    if isinstance(value, np.ndarray) and not value.ndim:
        return value.item()
    return value


def whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array out of chunks, for what can't be in pieces: a field of a struct, the items of lists."""
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


# without a feature


def _inferred(values: Any, on_mixed_types: Mixed) -> tuple[pa.Array | pa.ChunkedArray, FeatureType]:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        feature = feature_of(values.type)
        return (values if values.type == arrow_type(feature) else cast_array(values, feature)), feature
    first = _first(values)
    if is_picture(first):
        return encode(values, Image()), Image()
    if isinstance(first, (list, tuple)) and first and is_picture(first[0]):
        return encode(values, List(Image())), List(Image())
    try:
        array = plain_array(values)
    except FAILURES:
        if on_mixed_types != "use_json":
            raise
    else:
        feature = feature_of(array.type)
        if on_mixed_types != "use_json" or _same_keys(array):
            return array, feature
    feature = common_feature(to_python(values))
    if not any(isinstance(leaf, Json) for leaf in leaves(feature)):
        return array, feature_of(array.type)
    return encode(to_python(values), feature), feature


def _first(values: Any) -> Any:
    """The first value that says something about the type."""
    if isinstance(values, np.ndarray):
        return None
    return next(
        (value for value in values if value is not None and not (isinstance(value, (dict, list)) and not value)), None
    )


def _same_keys(array: pa.Array | pa.ChunkedArray) -> bool:
    """Whether all dicts that an array was made of surely have the same keys: no field is null but where its row is."""
    if isinstance(array, pa.ChunkedArray):
        return all(_same_keys(chunk) for chunk in array.chunks)
    if pa.types.is_struct(array.type):
        fields = array.flatten()
        return bool(fields) and all(field.null_count == array.null_count and _same_keys(field) for field in fields)
    return not pa.types.is_list(array.type) or _same_keys(array.flatten())


def plain_array(values: Any) -> pa.Array | pa.ChunkedArray:
    """What Arrow makes of values: numpy and tensors of any rank become lists of lists of their own type."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return numpy_lists(values)
    first = _first(values)
    if isinstance(first, np.ndarray) or tensor_array(first) is not None:
        arrays = [None if value is None else _whole(value) for value in values]
        if all(array is None or (isinstance(array, np.ndarray) and array.dtype != object) for array in arrays):
            return _lists_of_arrays(arrays)
    try:
        if type(first).__module__.partition(".")[0] != "pandas":
            return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, AttributeError):
        pass  # some value is of a library that Arrow doesn't know
    return pa.array(to_python(values))


def numpy_lists(array: np.ndarray) -> pa.Array:
    """`[rows, …]` → lists of lists; the numbers are not copied where they lie in order."""
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        count = len(flat) // size if size else int(np.prod(array.shape[:-1]))
        flat = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * size, pa.int32()), flat)
    return flat


def _lists_of_arrays(arrays: Sequence[np.ndarray | None]) -> pa.Array:
    present = [array for array in arrays if array is not None]
    if any(array.ndim == 0 for array in present):
        return pa.array([None if array is None else array[()] for array in arrays])
    if len({array.ndim for array in present}) > 1:
        raise DatasetError(f"arrays of {sorted({array.ndim for array in present})} dimensions are in one column")
    if len({array.shape[1:] for array in present}) == 1:
        items = numpy_lists(np.concatenate(present))
    else:
        items = _lists_of_arrays([inner for array in present for inner in array])
    lengths = np.array([0 if array is None else len(array) for array in arrays], np.int64)
    missing = np.array([array is None for array in arrays])
    return list_array(lengths, items, List(feature_of(items.type)), missing if missing.any() else None)


def to_python(value: Any) -> Any:
    """Values of other libraries, wherever they are nested, as what Arrow reads."""
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return [to_python(item) for item in value]
        return value[()] if not value.ndim else value if value.ndim == 1 else [to_python(row) for row in value]
    array = tensor_array(value)
    if array is not None:
        return to_python(array)
    if isinstance(value, Mapping):
        return {key: to_python(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_python(item) for item in value]
    if is_picture(value):
        return Image().encode_example(value)
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "encoded"):  # a decoded sound
        return value.encoded()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_python(getattr(value, item.name)) for item in fields(value)}
    return _foreign_python(value)


def _foreign_python(value: Any) -> Any:
    """What pandas and whatever else has `__array__` hand over."""
    for name in ("to_pydatetime", "to_pytimedelta"):
        if hasattr(value, name):
            return getattr(value, name)()
    if type(value).__name__ == "DataFrame" and hasattr(value, "to_dict"):
        frame: Any = value
        return {key: to_python(list(column)) for key, column in frame.items()}
    if not isinstance(value, np.generic) and hasattr(value, "tolist"):
        return to_python(value.tolist())
    if not isinstance(value, np.generic) and hasattr(value, "__array__"):
        return to_python(np.asarray(value))
    return value


def common_feature(values: Sequence[Any]) -> FeatureType:
    """The feature of plain Python values in which whatever has no common type is `Json`."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, Mapping) for value in present):
        names = list(present[0])
        if not names or any(value.keys() != present[0].keys() for value in present):
            return Json()
        return {name: common_feature([value[name] for value in present]) for name in names}
    if present and all(isinstance(value, (list, np.ndarray)) for value in present):
        return List(common_feature([item for value in present for item in value]))
    if any(isinstance(value, (Mapping, list)) for value in present):
        return Json()
    try:
        return feature_of(pa.array(present).type)
    except FAILURES:
        return Json()


def _narrowed(array: Any, feature: FeatureType, kind: pa.DataType) -> tuple[Any, FeatureType]:
    """int64, or lists or lists of lists of it, as smaller integers where they fit."""
    smaller: FeatureType = Value(str(kind))
    depth = feature
    for _ in range(2):
        if type(depth) is List and depth.length == -1:
            smaller, depth = List(smaller), depth.feature
    if not (isinstance(depth, Value) and depth.dtype == "int64"):
        return array, feature
    try:
        return cast_array(array, smaller), smaller
    except pa.ArrowInvalid:
        return array, feature
