"""Each format beside the reference's, on the same table: rows, columns, batches; shapes, types, values."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from datasets.formatting import get_formatter

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, MissingDependencyError
from enfold.datasets.features import Features, to_table
from enfold.datasets.formats import format_name, formatter

COLUMNS = {
    "ints": ([1, 2, 3], {"dtype": "int32", "_type": "Value"}),
    "bytes8": ([1, 2, 3], {"dtype": "uint8", "_type": "Value"}),
    "words16": ([1, 2, 3], {"dtype": "uint16", "_type": "Value"}),
    "floats": ([0.1, 0.2, 0.3], {"dtype": "float64", "_type": "Value"}),
    "halves": ([0.1, 0.2, 0.3], {"dtype": "float16", "_type": "Value"}),
    "gaps": ([1, None, 3], {"dtype": "int64", "_type": "Value"}),
    "float gaps": ([0.5, None, None], {"dtype": "float32", "_type": "Value"}),
    "bools": ([True, False, True], {"dtype": "bool", "_type": "Value"}),
    "text": (["a", "bcd", ""], {"dtype": "string", "_type": "Value"}),
    "text gaps": (["a", None, ""], {"dtype": "large_string", "_type": "Value"}),
    "binary": ([b"a", b"bc", b"d"], {"dtype": "binary", "_type": "Value"}),
    "label": ([0, 1, 0], {"names": ["x", "y"], "_type": "ClassLabel"}),
    "lists": ([[1, 2], [3, 4], [5, 6]], {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"}),
    "fixed": (
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        {"feature": {"dtype": "float64", "_type": "Value"}, "length": 2, "_type": "List"},
    ),
    "ragged": ([[1], [], [2, 3]], {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"}),
    "large": ([[1], [2], [3]], {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "LargeList"}),
    "gaps in lists": ([[1, None], [2, 3], [4, 5]], {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"}),
    "text lists": ([["a"], ["b", "c"], []], {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}),
    "deep": (
        [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]],
        {"feature": {"feature": {"dtype": "int16", "_type": "Value"}, "_type": "List"}, "_type": "List"},
    ),
    "deep ragged": (
        [[[1, 2], [3]], [], [[9, 10], [11, 12]]],
        {"feature": {"feature": {"dtype": "int16", "_type": "Value"}, "_type": "List"}, "_type": "List"},
    ),
    "matrices": ([[[1, 2]], [[3, 4]], [[5, 6]]], {"shape": [1, 2], "dtype": "int32", "_type": "Array2D"}),
    "float matrices": ([[[1, 2]], [[3, 4]], [[5, 6]]], {"shape": [1, 2], "dtype": "float64", "_type": "Array2D"}),
    "growing matrices": ([[[1, 2]], [[3, 4], [5, 6]], []], {"shape": [None, 2], "dtype": "int32", "_type": "Array2D"}),
    "cubes": (np.arange(12).reshape(3, 1, 2, 2).tolist(), {"shape": [1, 2, 2], "dtype": "uint8", "_type": "Array3D"}),
    "structs": (
        [{"a": 1, "b": "x", "c": [1.5]}, {"a": 2, "b": "y", "c": [2.5, 3.5]}, {"a": 3, "b": None, "c": []}],
        {
            "a": {"dtype": "int32", "_type": "Value"},
            "b": {"dtype": "string", "_type": "Value"},
            "c": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
        },
    ),
    "lists of structs": (
        [[{"a": 1}], [{"a": 2}, {"a": 3}], []],
        {"feature": {"a": {"dtype": "int32", "_type": "Value"}}, "_type": "List"},
    ),
}
NUMPY_ONLY = {
    "times": (
        [datetime.datetime(2020, 1, 2), datetime.datetime(2021, 1, 2, 3), None],
        {"dtype": "timestamp[us]", "_type": "Value"},
    ),
    "dates": ([datetime.date(2020, 1, 2)] * 3, {"dtype": "date32", "_type": "Value"}),
    "decimals": ([decimal.Decimal("1.5")] * 3, {"dtype": "decimal128(5, 2)", "_type": "Value"}),
}


def tables(name: str) -> tuple[pa.Table, pa.Table, object]:
    values, plain = {**COLUMNS, **NUMPY_ONLY}[name]
    theirs = reference.Dataset.from_dict({"x": values}, features=reference.Features.from_dict({"x": plain}))
    return to_table({"x": values}, Features.from_dict({"x": plain})), theirs.data.table, theirs.features


def same(ours, theirs, where="") -> None:
    """Equal in type, dtype, shape and value, all the way down."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, torch.Tensor):
        assert isinstance(ours, torch.Tensor), (where, ours)
        assert ours.dtype == theirs.dtype, where
        assert torch.equal(torch.nan_to_num(ours, -7.0), torch.nan_to_num(theirs, -7.0)), (where, ours, theirs)
    elif isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray), (where, ours)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), (where, ours, theirs)
        if theirs.dtype == object:
            same(list(ours.ravel()), list(theirs.ravel()), where)
        else:
            np.testing.assert_array_equal(ours, theirs)
    elif type(theirs).__module__.partition(".")[0] in ("jaxlib", "jax", "tensorflow"):
        assert type(ours) is type(theirs), (where, ours, theirs)
        assert ours.dtype == theirs.dtype, where
        if hasattr(theirs, "to_list"):
            assert ours.to_list() == theirs.to_list(), where
        else:
            same(np.asarray(ours), np.asarray(theirs), where)
    elif isinstance(theirs, list):
        assert isinstance(ours, list), (where, ours)
        assert len(ours) == len(theirs), where
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, f"{where}[{index}]")
    else:
        assert type(ours) is type(theirs), (where, ours, theirs)
        assert ours == theirs or (ours != ours and theirs != theirs), where


def compare(kind: str | None, name: str, **options) -> None:
    ours, theirs, features = tables(name)
    mine, other = formatter(kind, **options), get_formatter(kind, features=features, **options)
    same(mine.batch(ours), other(theirs, "batch"), "batch")
    same(mine.column(ours, "x"), other(theirs, "column"), "column")
    for row, shown in enumerate(mine.rows(ours)):
        wanted = other(theirs.slice(row, 1), "row")
        same(mine.row(ours.slice(row, 1)), wanted, "row")
        same(shown, wanted, "rows")
    # in pieces, and from the middle of memory
    pieces = pa.concat_tables([ours.slice(0, 1), ours.slice(1)])
    same(mine.batch(pieces), other(theirs, "batch"), "chunks")
    same(mine.batch(ours.slice(1, 2)), other(theirs.slice(1, 2), "batch"), "slice")


@pytest.mark.parametrize("name", [*COLUMNS, *NUMPY_ONLY])
@pytest.mark.parametrize("kind", [None, "numpy"])
def test_python_and_numpy(kind, name):
    compare(kind, name)


@pytest.mark.parametrize("name", COLUMNS)
def test_torch(name):
    compare("torch", name)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("kind", ["jax", "tensorflow"])
def test_jax_and_tensorflow(kind, name):
    pytest.importorskip(kind, reason=f"{kind} is not among the packages for development (issue 5)")
    if (kind, name) == ("tensorflow", "deep ragged"):
        return  # the reference fails on it
    compare(kind, name)


@pytest.mark.parametrize("kind", ["jax", "tensorflow"])
def test_a_library_that_is_not_there(kind):
    try:
        __import__(kind)
    except ImportError:
        with pytest.raises(MissingDependencyError, match=kind):
            formatter(kind)
    else:
        assert formatter(kind)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("torch", {"dtype": torch.float16}),
        ("torch", {"dtype": torch.int32}),
        ("torch", {"device": "cpu", "requires_grad": False}),
        ("numpy", {"dtype": np.float16}),
        ("numpy", {"dtype": "int8"}),
    ],
)
@pytest.mark.parametrize("name", ["ints", "floats", "lists", "ragged", "matrices", "bools"])
def test_options(kind, options, name):
    compare(kind, name, **options)


@pytest.mark.parametrize("name", [name for name in COLUMNS if "matrices" not in name and name != "cubes"])
def test_pandas(name):
    ours, theirs, features = tables(name)
    mine, other = formatter("pandas"), get_formatter("pandas", features=features)
    pd.testing.assert_frame_equal(mine.batch(ours), other(theirs, "batch"))
    pd.testing.assert_series_equal(mine.column(ours, "x"), other(theirs, "column"))
    pd.testing.assert_frame_equal(mine.row(ours), other(theirs, "row"))


def test_matrices_in_pandas_are_arrays():
    frame = formatter("pandas").batch(tables("matrices")[0])
    np.testing.assert_array_equal(frame["x"][1], np.array([[3, 4]], np.int32))


@pytest.mark.parametrize("name", [name for name in COLUMNS if "matrices" not in name and name != "cubes"])
def test_polars(name):
    ours, theirs, features = tables(name)
    mine, other = formatter("polars"), get_formatter("polars", features=features)
    assert mine.batch(ours).equals(other(theirs, "batch"))
    assert mine.batch(ours).schema == other(theirs, "batch").schema
    assert mine.column(ours, "x").equals(other(theirs, "column"))
    assert mine.row(ours).equals(other(theirs, "row"))


def test_polars_reads_arrays_and_json():
    frame = formatter("polars").batch(tables("matrices")[0])
    assert frame["x"].to_list() == [[[1, 2]], [[3, 4]], [[5, 6]]]
    json = to_table(
        {"j": [{"a": 1}, [2]], "k": [1, 2]}, Features.from_dict({"j": {"_type": "Json"}, "k": COLUMNS["ints"][1]})
    )
    frame = formatter("polars").batch(json)
    assert frame.columns == ["j", "k"]
    assert frame["j"].to_list() == [{"a": 1}, [2]]
    assert isinstance(frame, pl.DataFrame)


def test_arrow_is_what_is_stored():
    table = tables("ints")[0]
    mine = formatter("arrow")
    assert mine.batch(table) is table
    assert mine.column(table, "x").equals(table.column("x"))
    assert mine.row(table.slice(1, 1)).to_pylist() == [{"x": 2}]


def test_custom():
    table = tables("ints")[0]
    double = formatter("custom", transform=lambda batch: {"x": [value * 2 for value in batch["x"]]})
    assert double.batch(table) == {"x": [2, 4, 6]}
    assert double.row(table.slice(1, 1)) == {"x": 4}
    assert double.column(table, "x") == [2, 4, 6]
    other = formatter("custom", transform=lambda batch: {"y": [1], "z": [2]})
    with pytest.raises(TypeError, match="'y', 'z'"):
        other.column(table, "x")
    with pytest.raises(TypeError, match="dict of sequences"):
        formatter("custom", transform=lambda batch: 3).row(table)


def test_json_is_decoded_in_every_format():
    features = Features.from_dict({"j": {"_type": "Json"}})
    table = to_table({"j": [{"a": [1, 2]}, None, "x"]}, features)
    assert formatter(None).batch(table) == {"j": [{"a": [1, 2]}, None, "x"]}
    shown = formatter("torch").batch(table)["j"]
    assert shown[0]["a"].tolist() == [1, 2]
    assert shown[1:] == [None, "x"]
    assert formatter("pandas").batch(table)["j"].tolist() == [{"a": [1, 2]}, None, "x"]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_what_is_shown_may_be_written_to(kind):
    table = tables("lists")[0]
    shown = formatter(kind).batch(table)["x"]
    shown[0] = 9
    assert table["x"].to_pylist() == [[1, 2], [3, 4], [5, 6]]
    for row in formatter(kind).rows(table):
        row["x"][0] = 9
    assert table["x"].to_pylist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_missing_lists(kind):
    """The reference fails on a list that is missing after one that isn't."""
    table = to_table({"x": [[1], None, [2, 3]]})
    shown = formatter(kind).batch(table)["x"]
    assert [None if row is None else row.tolist() for row in shown] == [[1], None, [2, 3]]
    assert [None if row["x"] is None else row["x"].tolist() for row in formatter(kind).rows(table)] == [
        [1],
        None,
        [2, 3],
    ]


def test_gradients_reach_every_row():
    table = to_table({"x": [[1.0], [2.0, 3.0]], "y": [[1.0], [2.0]]})
    for row in formatter("torch", requires_grad=True).rows(table):
        assert row["x"].is_leaf
        assert row["y"].is_leaf
        assert row["x"].requires_grad


def test_no_rows():
    for name in ("ints", "lists", "text", "matrices"):
        table = tables(name)[0].slice(0, 0)
        assert len(formatter("numpy").batch(table)["x"]) == 0
        assert len(formatter("torch").batch(table)["x"]) == 0
        assert list(formatter("torch").rows(table)) == []


def test_names():
    for alias, name in {
        "np": "numpy",
        "pt": "torch",
        "tf": "tensorflow",
        "pl": "polars",
        "python": None,
        None: None,
    }.items():
        assert format_name(alias) == name
    with pytest.raises(ArgumentError, match="'numy' is none of"):
        format_name("numy")
    with pytest.raises(ArgumentError, match="colour"):
        formatter("arrow", colour=1)


def test_what_torch_holds_not():
    with pytest.raises(DatasetError, match="datetime64"):
        formatter("torch").batch(tables("times")[0])
