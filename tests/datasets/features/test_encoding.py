"""Python values → Arrow, beside the reference: with features, with types to keep, inferred; and what doesn't fit."""

import collections
import dataclasses
import datetime
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets.arrow_writer import OptimizedTypedSequence, TypedSequence
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets as reference
from enfold.base.errors import DatasetError, LabelError
from enfold.datasets.features import (
    Array2D,
    Array3D,
    ClassLabel,
    Features,
    Json,
    LargeList,
    List,
    Translation,
    TranslationVariableLanguages,
    Value,
    infer,
    to_array,
    to_table,
)
from tests.datasets.described import described, tables, values_of


@settings(max_examples=200, deadline=None)
@given(tables(extras=False))
def test_values_with_features_are_stored_as_the_reference_stores_them(case):
    plain, columns = case
    ours = to_table(columns, Features.from_dict(plain))
    ours.validate(full=True)
    try:
        theirs = reference.Dataset.from_dict(columns, features=reference.Features.from_dict(plain)).data.table
    except (pa.ArrowException, TypeError, ValueError):
        return  # labels given as names and as numbers in one nested list, text and numbers: it looks at the first only
    assert ours.schema.equals(theirs.schema, check_metadata=True)
    assert ours.to_pydict() == theirs.to_pydict()


INFERRED = ("bool", "int64", "float64", "string", "binary", "date32", "timestamp[us]", "time64[us]", "duration[us]")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_inference_is_the_references(data):
    plain = data.draw(described(scalars=INFERRED, extras=False))
    values = data.draw(st.lists(values_of(plain), max_size=4))
    try:
        theirs = pa.array(TypedSequence(values))
    except (pa.ArrowException, TypeError):
        with pytest.raises(DatasetError, match="row"):
            infer(values)
    else:
        ours, feature = infer(values)
        assert ours.equals(theirs)
        assert feature == Features.from_arrow_schema(pa.schema({"x": theirs.type}))["x"]


MIXED = {
    "integers and floats": [1, 2.5, None],
    "nulls first": [None, None, "a"],
    "nulls only": [None, None],
    "empty lists": [[], [], []],
    "empty list, then numbers": [[], [1]],
    "nothing": [],
    "structs that grow": [{"a": 1}, {"a": 2, "b": "x"}, None],
    "lists of structs": [[{"a": 1}], [], None, [{"a": None}]],
    "tuples": [(1, 2), (3,)],
    "big": [2**40, -1],
    "decimals": [decimal.Decimal("1.50"), None, decimal.Decimal("12.3")],
    "dates": [datetime.date(2020, 1, 2), None],
    "aware": [datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)],
    "pandas timestamps": [pd.Timestamp("2020-01-02 03:04:05"), None],
    "pandas timedeltas": [pd.Timedelta("1 days")],
    "numpy scalars": [np.int8(3), np.int8(4)],
    "numpy floats": [np.float32(0.5)],
    "numpy rows": [np.arange(3), None, np.arange(2)],
    "numpy matrices": [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)],
    "numpy ragged matrices": [np.ones((2, 3), np.int16), np.zeros((2, 1), np.int16)],
    "numpy strings": [np.array(["a", "bc"]), np.array(["d"])],
    "empty numpy rows": [np.zeros(0, np.int32), np.zeros(0, np.int32)],
    "lists of numpy rows": [[np.arange(2), np.arange(3)], [np.arange(1)]],
    "numpy in structs": [{"a": np.arange(2), "b": np.float32(1)}],
    "a numpy matrix": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "a numpy cube": np.zeros((2, 3, 4), np.float16),
    "a transposed matrix": np.arange(6).reshape(2, 3).T,
    "a strided column": np.arange(10)[::2],
    "numpy times": np.array(["2020-01-01", "2021-01-01"], "datetime64[ms]"),
    "an object array": np.array(["a", None, "b"], object),
    "numpy booleans": np.array([True, False]),
    "tensors": [torch.arange(3), torch.arange(2)],
    "tensor matrices": [torch.ones(2, 2), torch.zeros(1, 2)],
    "tensor scalars": [torch.tensor(1.5), torch.tensor(2.5)],
    "a tensor": torch.arange(6).reshape(2, 3),
    "bfloat16": [torch.ones(2, dtype=torch.bfloat16)],
    "tensors that need gradients": [torch.ones(2, requires_grad=True)],
    "lists of tensors": [[torch.ones(2)], [torch.ones(1), torch.ones(3)]],
    "tensors in structs": [{"x": torch.arange(2)}, {"x": torch.arange(1)}],
    "a series": pd.Series([1, 2, 3]),
    "ordered dicts": [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "user dicts": [collections.UserDict(a=1, b=[1]), None],
    "bytes": [b"a", None],
    "None in numpy lists": [None, np.arange(2)],
}


@pytest.mark.parametrize("what", MIXED)
def test_inference_of_all_that_people_pass(what):
    values = MIXED[what]
    theirs = pa.array(TypedSequence(values if not isinstance(values, (torch.Tensor, pd.Series)) else list(values)))
    ours, _ = infer(values)
    assert ours.type == theirs.type
    assert ours.to_pylist() == theirs.to_pylist()


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "special_tokens_mask", "token_type_ids", "labels"])
@pytest.mark.parametrize("values", [[1, 0], [[1, 0], None], [[[1], []]], [2**40, 1], [1.5], [[[[1]]]]], ids=str)
def test_what_tokenizers_return_is_narrowed(name, values):
    assert infer(values, name=name)[0].equals(pa.array(OptimizedTypedSequence(values, col=name)))


def test_dataclasses_are_structs():
    @dataclasses.dataclass
    class Point:
        x: int
        tags: list

    array, feature = infer([Point(1, ["a"]), None])
    assert feature == {"x": Value("int64"), "tags": List(Value("string"))}
    assert array.to_pylist() == [{"x": 1, "tags": ["a"]}, None]


KEPT = [
    ("int32", [1, 2]),
    ("int32", [1.0, 2.0]),
    ("int32", [1.5]),
    ("int8", [300]),
    ("float32", [1, 2]),
    ("string", [1]),
    ("string", [decimal.Decimal("1.5")]),
    ("large_string", ["a", None]),
    ("int64", ["1"]),
    ("int64", ["a"]),
    ("bool", [1, 0]),
    ("timestamp[s]", ["2020-01-01"]),
    ("null", [1]),
    ("float16", np.ones(2)),
]


@pytest.mark.parametrize(("dtype", "values"), KEPT, ids=str)
@pytest.mark.parametrize("nested", [False, True])
def test_types_are_kept_where_the_values_allow_it(dtype, values, nested):
    like, theirs = Value(dtype), reference.Value(dtype)
    if nested:
        like, theirs, values = List(like), reference.List(theirs), [values, None]
    wanted = pa.array(TypedSequence(values, try_type=theirs))
    ours, _ = infer(values, like=like)
    if wanted.type == pa.list_(pa.large_string()) or wanted.type == pa.large_string():
        assert ours.type == wanted.type
    if dtype != "string" and dtype != "large_string":
        assert ours.type == wanted.type
    assert ours.to_pylist() == wanted.to_pylist()


def test_labels_are_kept_and_checked():
    like = ClassLabel(names=["no", "yes"])
    assert infer(["yes", None, "no"], like=like)[1] == like
    assert infer([0.25, 0.75], like=like)[1] == Value("float64")
    with pytest.raises(LabelError, match="'label', row 1: 'perhaps'"):
        infer(["yes", "perhaps"], like=like, name="label")


MISFITS = [
    (Value("int8"), [1, 300], 1, "300"),
    (Value("int8"), [1, None, 1.5], 2, "1.5"),
    (Value("int32"), [1, 2, "x"], 2, "'x'"),
    (Value("uint8"), [-1], 0, "-1"),
    (Value("string"), ["a", [1]], 1, "list"),
    (Value("float32"), [1.0, "many"], 1, "many"),
    (Value("bool"), [True, "perhaps"], 1, "perhaps"),
    (Value("null"), [None, 1], 1, "empty"),
    (Value("timestamp[s]"), ["2020-01-01", "yesterday"], 1, "yesterday"),
    (List(Value("int8")), [[1], [2, 300]], 1, "300"),
    (List(Value("int8")), [[1], 7], 1, "list"),
    (List(Value("int8"), length=2), [[1, 2], [1, 2, 3]], 1, "3"),
    (List(Value("int8")), [[1], "ab"], 1, "ab|str"),
    ({"a": Value("int8")}, [{"a": 1}, {"a": "x"}], 1, "x"),
    ({"a": Value("int8")}, [{"a": 1}, 3], 1, "int"),
    (ClassLabel(names=["a", "b"]), ["a", "b", "c"], 2, "'c'"),
    (ClassLabel(names=["a", "b"]), [0, 1, 2], 2, "2"),
    (ClassLabel(names=["a", "b"]), [0, -2], 1, "-2"),
    (List(ClassLabel(names=["a", "b"])), [["a"], ["a", "z"]], 1, "'z'"),
    (Array2D((2, 2), "int8"), [np.ones((2, 2)), np.ones((2, 3))], 1, r"\(2, 3\)"),
    (Array2D((2, 2), "int8"), [[[1, 2], [3, 4]], [[1, 2], [3]]], 1, "shape|inhomogeneous"),
    (Array2D((None, 2), "int8"), [[[1, 2]], [[1, 500]]], 1, "500"),
    (TranslationVariableLanguages(["de", "en"]), [{"de": "x"}, {"fr": "y"}], 1, "fr"),
    (Json(), [1, {1, 2}], 1, "JSON"),
]


@pytest.mark.parametrize(("feature", "values", "row", "reason"), MISFITS, ids=str)
def test_misfits_name_the_column_and_the_row(feature, values, row, reason):
    with pytest.raises(DatasetError, match=rf"Column 'col', row {row}: .*({reason})"):
        to_table({"col": values}, Features({"col": feature}))


def test_the_row_is_found_in_a_long_column():
    values = [*range(5000), "five thousand", *range(5000), "no"]
    with pytest.raises(DatasetError, match=r"row 5000: .*five thousand"):
        to_array(values, Value("int64"), name="n")


@pytest.mark.parametrize(
    ("feature", "theirs", "values"),
    [
        (Value("int32"), reference.Value("int32"), ["3", 4, True, 5.0, None]),
        (Value("string"), reference.Value("string"), [1, 2.5, True, None, "x", decimal.Decimal("1.10"), 1e20]),
        (Value("float32"), reference.Value("float32"), [1, "2.5", 2**60 + 1, None]),
        (Value("timestamp[s]"), reference.Value("timestamp[s]"), ["2020-01-02", None]),
        (Value("date32"), reference.Value("date32"), [datetime.date(2020, 1, 2)]),
        (Value("decimal128(5, 2)"), reference.Value("decimal128(5, 2)"), [decimal.Decimal("1.5")]),
        (ClassLabel(names=["a", "3", "b"]), reference.ClassLabel(names=["a", "3", "b"]), ["3", "2", " a", -1, 0, None]),
        (List(Value("string")), reference.List(reference.Value("string")), [[1, 2], None, []]),
        (List(Value("int8"), length=2), reference.List(reference.Value("int8"), length=2), [None, [1, 2], [None, 3]]),
        (LargeList(Value("int8")), reference.LargeList(reference.Value("int8")), [np.arange(3), None]),
        (List(Value("float32")), reference.List(reference.Value("float32")), [np.arange(3), np.ones(2, int)]),
        (
            {"a": Value("int8"), "b": Value("string")},
            {"a": reference.Value("int8"), "b": reference.Value("string")},
            [{"b": 1}, None, {"a": 1, "c": 3}],
        ),
        (Translation(["fr", "en"]), reference.Translation(["fr", "en"]), [{"en": "a", "fr": "b"}, None]),
        (
            TranslationVariableLanguages(["de", "en"]),
            reference.TranslationVariableLanguages(["de", "en"]),
            [{"en": "a", "de": ["z", "b"]}, None, {"language": ["en"], "translation": ["x"]}],
        ),
        (Array2D((2, 2), "int32"), reference.Array2D((2, 2), "int32"), [[[1, 2], [3, 4]], None, [[5, 6], [7, 8]]]),
        (Array2D((None, 2), "float32"), reference.Array2D((None, 2), "float32"), [np.ones((3, 2)), np.zeros((0, 2))]),
        (Array2D((1, 2), "int32"), reference.Array2D((1, 2), "int32"), [[[1, 2]], None]),
        (Array3D((1, 2, 1), "int64"), reference.Array3D((1, 2, 1), "int64"), np.arange(4).reshape(2, 1, 2, 1)),
        (Array2D((1, 2), "string"), reference.Array2D((1, 2), "string"), [[["a", "b"]]]),
    ],
    ids=str,
)
def test_values_of_another_type_are_converted_as_in_the_reference(feature, theirs, values):
    wanted = reference.Dataset.from_dict({"x": list(values)}, features=reference.Features({"x": theirs})).data.table
    ours = to_table({"x": values}, Features({"x": feature}))
    ours.validate(full=True)
    assert ours.schema.types[0] == getattr(wanted.schema.types[0], "storage_type", wanted.schema.types[0])
    assert ours.to_pydict() == wanted.to_pydict()


def test_arrays_inside_lists_and_structs():
    feature = {"a": List(Array2D((1, 2), "int8"))}
    array = to_array([{"a": [np.ones((1, 2)), None]}, None, {"a": []}], feature)
    assert array.to_pylist() == [{"a": [[[1, 1]], None]}, None, {"a": []}]


def test_json_keeps_what_no_type_holds():
    values = [{"a": 1}, ["x", 2.5], "text", '{"b": null}', None, 1, {"é/": 0.1234567890123456}]
    array = to_array(values, Json())
    theirs = reference.Dataset.from_dict({"x": values}, features=reference.Features({"x": reference.Json()}))[:]["x"]
    back = [None if text is None else json.loads(text) for text in array.to_pylist()]
    assert back[:6] == theirs[:6]
    assert back[6] == {"é/": 0.1234567890123456}


@pytest.mark.parametrize(
    "values",
    [
        [0, "foo", {"subfield": "bar"}],
        [[{"b": 0}, {"c": 0}]],
        [{"a": {"x": 1}}, {"a": {"y": 1}}],
        [{"a": {"x": 1}}, {"a": {"x": None}}],
        [{"a": []}, {"a": [1]}],
        [{"m": [{"role": "u", "content": "x"}, {"role": "a", "content": [{"t": 1}]}]}],
        [[1, "a"], [2]],
        [1, 2.5],
        [{}],
    ],
    ids=str,
)
def test_mixed_types_become_json_on_demand(values):
    theirs = reference.Dataset.from_dict({"x": values}, on_mixed_types="use_json")
    table = to_table({"x": values}, on_mixed_types="use_json")
    ours = Features.from_arrow_schema(table.schema)
    assert ours.to_dict() == theirs.features.to_dict()
    assert ours.decode_batch(table.to_pydict()) == theirs[:]


def test_mixed_types_are_an_error_otherwise():
    with pytest.raises(DatasetError, match="'x', row 1"):
        to_table({"x": [1, "a"]})


def test_columns_must_match():
    with pytest.raises(DatasetError, match="same number of rows"):
        to_table({"a": [1], "b": [1, 2]})
    with pytest.raises(DatasetError, match=r"\['b'\] are missing.*\['c'\] are not expected"):
        to_table({"a": [1], "c": [1]}, Features({"a": Value("int8"), "b": Value("int8")}))
    with pytest.raises(DatasetError, match="one per row, not a str"):
        to_table({"a": "text"})


def test_columns_that_are_arrow_pass_through():
    numbers = pa.chunked_array([[1, 2], [3]])
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    table = to_table({"n": numbers, "w": words})
    assert table["n"].chunk(0).buffers()[1].address == numbers.chunk(0).buffers()[1].address
    assert Features.from_arrow_schema(table.schema) == {"n": Value("int64"), "w": Value("string")}
    assert table["w"].to_pylist() == ["a", "b", "a"]

    class Encoded:
        def arrow_columns(self):
            return {"n": numbers}

    assert to_table(Encoded(), like=Features({"n": Value("int32")})).schema.types == [pa.int32()]


def test_numpy_is_not_copied():
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    array, _ = infer(data)
    assert array.values.buffers()[1].address == data.ctypes.data


def test_encoding_single_rows_and_batches():
    features = Features({"a": Value("int8"), "l": ClassLabel(names=["x", "y"])})
    assert features.encode_example({"a": "3", "l": "y"}) == {"a": 3, "l": 1}
    assert features.encode_batch({"a": [1, 2], "l": ["x", None]}) == {"a": [1, 2], "l": [0, None]}
    assert features.encode_column(["y"], "l") == [1]
    with pytest.raises(DatasetError, match="columns"):
        features.encode_batch({"a": [1]})


def test_class_labels(tmp_path):
    (tmp_path / "names.txt").write_text("neg\n\n pos \n")
    for ours, theirs in (
        (ClassLabel(names=["neg", "pos"]), reference.ClassLabel(names=["neg", "pos"])),
        (ClassLabel(num_classes=3), reference.ClassLabel(num_classes=3)),
        (
            ClassLabel(names_file=str(tmp_path / "names.txt")),
            reference.ClassLabel(names_file=str(tmp_path / "names.txt")),
        ),
    ):
        assert ours.names == theirs.names
        assert ours.num_classes == theirs.num_classes
        assert repr(ours) == repr(theirs)
        for values in (1, [0, 1], np.array([1, 0]), torch.tensor([0, 1]), np.int64(1)):
            if not isinstance(values, np.int64):
                assert ours.int2str(values) == theirs.int2str(values)
        assert ours.str2int(ours.names) == theirs.str2int(theirs.names)
        assert ours.str2int("-1") == theirs.str2int("-1")
        for wrong in (-1, 99):
            with pytest.raises(ValueError):
                ours.int2str(wrong)
        with pytest.raises(ValueError):
            ours.str2int("other")
    assert ClassLabel(names=["a", "b"]).int2str(np.int64(1)) == "b"
    for arguments in ({}, {"num_classes": 1, "names": ["a", "b"]}, {"names": ["a", "a"]}, {"names": "ab"}):
        with pytest.raises(ValueError):
            ClassLabel(**arguments)
