"""Arrow to other features, beside the reference's casts, and what can't be cast."""

import decimal

import numpy as np
import pyarrow as pa
import pytest
from datasets.table import cast_table_to_features
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets as reference
from enfold.base.errors import DatasetError
from enfold.datasets.features import (
    Array2D,
    ClassLabel,
    Features,
    Json,
    LargeList,
    List,
    Translation,
    Value,
    cast_array,
    cast_table,
    to_table,
)
from tests.datasets.described import tables


def pair(plain):
    return Features.from_dict({"x": plain}), reference.Features.from_dict({"x": plain})


def value(dtype):
    return {"dtype": dtype, "_type": "Value"}


def listed(inner, length=-1, kind="List"):
    return {"feature": inner, **({"length": length} if length != -1 else {}), "_type": kind}


STRUCT = pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": None}])
LISTS = pa.array([[1, 2], [3, 4], [None, 5]])
GAPS = pa.array([[1, 2], None, [3, 4]])
CASTS = [
    (pa.array([1, 2, None]), value("int8")),
    (pa.array([1, 2, None]), value("float32")),
    (pa.array([1, 2, None]), value("string")),
    (pa.array([1.0, 2.0]), value("int32")),
    (pa.array([1.5, 2.0]), value("string")),
    (pa.array(["1", "2"]), value("int32")),
    (pa.array(["true", "false"]), value("bool")),
    (pa.array(["a", None]), value("large_string")),
    (pa.array(["a", None], pa.large_string()), value("string")),
    (pa.array([b"a"]), value("large_binary")),
    (pa.array([decimal.Decimal("1.50")]), value("string")),
    (pa.array(["2020-01-02"]), value("timestamp[s]")),
    (pa.array([None, None]), value("string")),
    (pa.array([None, None]), listed(value("int8"))),
    (pa.array([None]), {"a": value("int8")}),
    (pa.array(["no", "yes", None]), {"names": ["no", "yes"], "_type": "ClassLabel"}),
    (pa.array(["no", "1"], pa.large_string()), {"names": ["no", "yes"], "_type": "ClassLabel"}),
    (pa.array([0, 1, -1, None], pa.int8()), {"names": ["no", "yes"], "_type": "ClassLabel"}),
    (pa.array([["no"], ["yes", "no"]]), listed({"names": ["no", "yes"], "_type": "ClassLabel"})),
    (STRUCT, {"b": value("string"), "a": value("int8")}),
    (STRUCT, {"b": value("large_string"), "c": value("float32"), "a": value("string")}),
    (STRUCT.slice(1), {"b": value("string"), "a": value("int8")}),
    (LISTS, listed(value("int8"))),
    (LISTS, listed(value("int64"), kind="LargeList")),
    (LISTS, listed(value("int32"), 2)),
    (LISTS.slice(1), listed(value("int32"), 2)),
    (LISTS.slice(1), listed(value("string"))),
    (GAPS, listed(value("int32"), 2)),
    (GAPS.slice(1), listed(value("int32"), 2)),
    (GAPS.slice(1), listed(value("int32"), kind="LargeList")),
    (GAPS, listed(value("string"))),
    (LISTS.cast(pa.large_list(pa.int64())), listed(value("int8"))),
    (LISTS.cast(pa.list_(pa.int64(), 2)), listed(value("int8"))),
    (LISTS.cast(pa.list_(pa.int64(), 2)).slice(1), listed(value("int8"), kind="LargeList")),
    (LISTS.cast(pa.list_(pa.int64(), 2)).slice(1), listed(value("int8"), 2)),
    (pa.array([[{"a": 1, "b": 2}], None, []]), listed({"b": value("int8"), "a": value("string")})),
    (pa.array([[{"a": 1}], None, []]), listed({"b": value("int8"), "a": value("string")}, kind="LargeList")),
    (pa.array(["a", "b", "a"]).dictionary_encode(), value("string")),
    (pa.array([[[1, 2]], [[3, 4]]]), {"shape": [1, 2], "dtype": "int8", "_type": "Array2D"}),
    (pa.array([[[1, 2]], [[3, 4], [5, 6]]]), {"shape": [None, 2], "dtype": "float32", "_type": "Array2D"}),
    (pa.array(['{"a": 1}', None]), {"_type": "Json"}),
    (pa.array([{"a": 1}, None]), {"_type": "Json"}),
    (pa.array([1, 2]), {"_type": "Json"}),
    (pa.array(["plain", "words"]), {"_type": "Json"}),
    (pa.array([{"en": "x", "fr": "y"}]), {"languages": ["en", "fr"], "_type": "Translation"}),
]


@pytest.mark.parametrize(("array", "plain"), CASTS, ids=lambda part: str(getattr(part, "type", part))[:60])
@pytest.mark.parametrize("pieces", [1, 2])
def test_casts_are_the_references(array, plain, pieces):
    ours, theirs = pair(plain)
    chunks = [array] if pieces == 1 else [array.slice(0, 1), array.slice(1)]
    table = pa.table({"x": pa.chunked_array(chunks, array.type)})
    # in one piece from its first row on: the reference loses rows of a chunk that starts with a missing list
    fresh = pa.concat_arrays([array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array])
    wanted = cast_table_to_features(pa.table({"x": fresh}), theirs)
    got = cast_table(table, ours)
    got.validate(full=True)
    kind = wanted.schema.field("x").type
    assert got.schema.field("x").type == (kind.storage_type if isinstance(kind, pa.ExtensionType) else kind)
    assert got["x"].to_pylist() == wanted["x"].to_pylist()
    assert Features.from_arrow_schema(got.schema) == ours


@settings(max_examples=60, deadline=None)
@given(tables(scalars=("int64", "string", "float64", "bool"), extras=False), st.integers(0, 3))
def test_a_cast_to_itself_keeps_every_slice(case, start):
    plain, columns = case
    features = Features.from_dict(plain)
    table = to_table(columns, features).slice(start)
    cast = cast_table(table, features)
    cast.validate(full=True)
    assert cast.equals(table)


WRONG = [
    (pa.array([1, 300]), Value("int8"), 1, "300"),
    (pa.array([1.0, 1.5]), Value("int8"), 1, "1.5"),
    (pa.array(["1", "x"]), Value("int8"), 1, "'x'"),
    (pa.array([1, None]), Value("null"), 0, "empty"),
    (pa.array(["a", "c"]), ClassLabel(names=["a", "b"]), 1, "'c'"),
    (pa.array([0, 5]), ClassLabel(names=["a", "b"]), 1, "5"),
    (pa.array([{"a": 1, "z": 1}]), {"a": Value("int8")}, 0, "'z'"),
    (pa.array([1]), {"a": Value("int8")}, 0, "fields"),
    (pa.array([1]), List(Value("int8")), 0, "lists"),
    (pa.array([[1], [1, 2]]), List(Value("int8"), length=1), 1, "2"),
    (pa.array([[1], [400]]), LargeList(Value("int8")), 1, "400"),
    (pa.array([[[1]], [[1, 2]]]), Array2D((1, 1), "int8"), 1, "shape"),
    (pa.array([[1]]), Value("string"), 0, "list"),
    (pa.array([{"en": 1, "xx": 2}]), Translation(["en"]), 0, "xx"),
]


@pytest.mark.parametrize(("array", "feature", "row", "reason"), WRONG, ids=str)
def test_what_cant_be_cast_names_column_and_row(array, feature, row, reason):
    with pytest.raises(DatasetError, match=f"'col', row {row}: .*{reason}"):
        cast_table(pa.table({"col": array}), Features({"col": feature}))


def test_columns_must_be_the_same():
    with pytest.raises(DatasetError, match=r"\['b'\] are missing"):
        cast_table(pa.table({"a": [1]}), Features({"a": Value("int8"), "b": Value("int8")}))


def test_columns_come_in_the_order_of_the_features():
    table = cast_table(pa.table({"a": [1], "b": ["x"]}), Features({"b": Value("string"), "a": Value("int8")}))
    assert table.column_names == ["b", "a"]


def test_maps_and_list_views_become_lists():
    mapped = pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64()))
    table = to_table({"m": mapped})
    assert Features.from_arrow_schema(table.schema) == {"m": List({"key": Value("string"), "value": Value("int64")})}
    assert table["m"].to_pylist() == [[{"key": "k", "value": 1}], None, []]
    views = pa.array([[1, 2], None], pa.list_view(pa.int64()))
    assert cast_array(views, List(Value("int8"))).to_pylist() == [[1, 2], None]


def test_json_text_is_checked_to_the_last_row():
    texts = ['{"a": 1}'] * 10 + ["not json"]
    assert cast_array(pa.array(texts), Json()).to_pylist()[-1] == '"not json"'


def test_numbers_become_no_text_when_strict():
    with pytest.raises(DatasetError, match="text"):
        cast_array(pa.array([1]), Value("string"), strict=True)


def test_a_large_cast_shares_memory():
    numbers = pa.array(np.arange(1000))
    lists = pa.ListArray.from_arrays(np.arange(0, 1001, 10, dtype=np.int32), numbers)
    cast = cast_array(lists, List(Value("int64")))
    assert cast.values.buffers()[1].address == numbers.buffers()[1].address
