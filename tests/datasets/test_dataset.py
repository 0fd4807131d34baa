"""`Dataset`: made, read, ordered, its columns changed, beside the reference on the same rows."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, EnfoldError
from enfold.datasets.dataset import Dataset
from enfold.datasets.features import ClassLabel, Features, List, Value

from .pairs import COLUMNS, both, equal, same

# What one does with rows and columns: each runs in both libraries, and the results are the same.
CHANGES = {
    "select a list": lambda d: d.select([5, 0, 0, 22]),
    "select an array": lambda d: d.select(np.array([3, 4, 5])),
    "select a range with steps": lambda d: d.select(range(20, 2, -3)),
    "select an iterator": lambda d: d.select(iter([1, 3])),
    "select a run": lambda d: d.select(range(4, 9)),
    "select nothing": lambda d: d.select([]),
    "select twice": lambda d: d.select([9, 7, 5, 3]).select([2, 0]),
    "select from a run": lambda d: d.select(range(5, 15)).select([3, 1]),
    "skip": lambda d: d.skip(20),
    "take": lambda d: d.take(3),
    "take too many": lambda d: d.take(300),
    "skip of a selection": lambda d: d.select([9, 7, 5, 3]).skip(1).take(2),
    "repeat": lambda d: d.take(4).repeat(3),
    "repeat a selection": lambda d: d.select([4, 1]).repeat(2),
    "repeat no times": lambda d: d.repeat(0),
    "shard": lambda d: d.shard(4, 1),
    "shard in steps": lambda d: d.shard(4, 3, contiguous=False),
    "sort": lambda d: d.sort("score"),
    "sort reversed": lambda d: d.sort("score", reverse=True),
    "sort nulls first": lambda d: d.sort("text", null_placement="first"),
    "sort by two": lambda d: d.sort(["flag", "score"], reverse=[True, False]),
    "sort a selection": lambda d: d.select([9, 3, 7, 1]).sort("id", reverse=True),
    "shuffle": lambda d: d.shuffle(seed=42),
    "shuffle with a generator": lambda d: d.shuffle(generator=np.random.default_rng(7)),
    "shuffle twice": lambda d: d.shuffle(seed=1).shuffle(seed=2),
    "shuffle a run": lambda d: d.select(range(5, 15)).shuffle(seed=3),
    "flatten indices": lambda d: d.shuffle(seed=1).flatten_indices(),
    "split": lambda d: d.train_test_split(seed=3),
    "split by number": lambda d: d.train_test_split(test_size=4, train_size=9, seed=3),
    "split by share": lambda d: d.train_test_split(train_size=0.3, seed=5),
    "split in order": lambda d: d.train_test_split(test_size=0.4, shuffle=False),
    "split stratified": lambda d: d.train_test_split(0.3, stratify_by_column="label", seed=9),
    "split stratified, ties": lambda d: d.train_test_split(7, 8, stratify_by_column="label", seed=1),
    "split a selection": lambda d: d.select([1, 5, 3, 8]).train_test_split(0.5, generator=np.random.default_rng(1)),
    "remove columns": lambda d: d.remove_columns(["text", "meta"]),
    "remove all columns": lambda d: d.remove_columns(list(COLUMNS)),
    "select columns": lambda d: d.select_columns(["meta", "id"]),
    "rename a column": lambda d: d.rename_column("text", "words"),
    "rename columns": lambda d: d.rename_columns({"id": "text", "text": "id"}),
    "flatten": lambda d: d.flatten(),
    "flatten a little": lambda d: d.flatten(max_depth=2),
    "class encode": lambda d: d.class_encode_column("text"),
    "class encode numbers": lambda d: d.class_encode_column("flag"),
    "class encode nulls": lambda d: d.class_encode_column("text", include_nulls=True),
    "align labels": lambda d: d.align_labels_with_mapping({"C": 0, "B": 1, "A": 2}, "label"),
    "add a column": lambda d: d.add_column("new", list(range(23))),
    "add an array": lambda d: d.add_column("new", np.arange(23.0)),
    "add to a selection": lambda d: d.select([3, 1]).add_column("new", ["x", None]),
    "batch": lambda d: d.batch(5),
    "batch whole ones": lambda d: d.batch(5, drop_last_batch=True),
    "batch a selection": lambda d: d.select([5, 4, 9]).batch(2),
    "batch by a column": lambda d: d.sort("label").batch(by_column="label"),
    "batch by two": lambda d: d.sort(["flag", "label"]).batch(by_column=["flag", "label"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rows_and_columns_change_as_in_the_reference(name):
    ours, theirs = both()
    same(CHANGES[name](ours), CHANGES[name](theirs))
    same(ours, theirs)


@pytest.mark.parametrize("name", ["select a list", "sort", "shuffle", "split", "split stratified", "flatten indices"])
def test_orders_of_files_are_kept_in_files_and_found_again(name, tmp_path):
    ours, theirs = both(on_disk=tmp_path)
    first = CHANGES[name](ours)
    same(first, CHANGES[name](theirs))
    again = CHANGES[name](Dataset.load_from_disk(tmp_path / "data"))
    same(again, CHANGES[name](theirs))
    pairs = [(first, again)] if isinstance(first, Dataset) else [(first[part], again[part]) for part in first]
    for one, other in pairs:
        assert one._fingerprint == other._fingerprint
        assert one.cache_files == other.cache_files


KEYS = [
    0,
    -1,
    22,
    np.int64(3),
    slice(None),
    slice(2, 9),
    slice(20, 99),
    slice(-3, None),
    slice(1, 20, 4),
    slice(9, 2, -3),
]
KEYS += [range(3, 8), range(8, 3, -2), range(0), [1], [5, -1, 0], [], (2, 4), np.array([7, 1]), np.array([3], np.uint8)]
KEYS += [pd.Series([4, 2]), {3: 1}.keys(), "text", "meta"]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("order", [None, [4, 4, 0, 9, 1, 2, 3, 5, 6, 7, 8, *range(10, 22)]])
def test_keys_read_what_the_reference_reads(key, order):
    ours, theirs = both()
    if order is not None:
        ours, theirs = ours.select(order), theirs.select(order)
        if isinstance(key, list) and -1 in key:
            key = [row % 23 for row in key]  # the reference fails on them
    if isinstance(key, str):
        assert list(ours[key]) == list(theirs[key])
    else:
        assert ours[key] == theirs[key]
        assert list(ours[key]) == list(theirs[key])


@pytest.mark.parametrize("key", [23, -24, [0, 23], range(20, 25), np.array([-24])], ids=str)
def test_rows_that_are_not_there_are_refused(key):
    ours, theirs = both()
    for data in (ours, theirs):
        with pytest.raises(IndexError):
            data[key]
        with pytest.raises(IndexError):
            data.select(key if not isinstance(key, int) else [key])


@pytest.mark.parametrize("key", [True, 1.5, None, [0.5], [[1]], b"text"], ids=str)
def test_what_names_no_row_is_refused(key):
    with pytest.raises(TypeError):
        both()[0][key]


def test_columns_are_read_when_looked_at():
    ours, theirs = both()
    column, other = ours["meta"], theirs["meta"]
    assert len(column) == 23
    assert column[3] == other[3]
    assert column[-1] == other[-1]
    assert column[2:4] == other[2:4]
    assert column[[1, 0]] == other[[1, 0]]
    assert list(column["deep"]["n"]) == list(other["deep"]["n"])
    assert column["url"][2] == other["url"][2]
    assert column["url"][:2] == other["url"][:2]
    assert repr(ours["id"]) == repr(theirs["id"])
    assert repr(ours.take(2)["id"]) == repr(theirs.take(2)["id"])
    assert ours["id"] == list(range(23))
    assert ours["id"] != ours["label"]
    with pytest.raises(KeyError):
        ours["absent"]
    with pytest.raises(ValueError):
        ours["meta"]["absent"]


def test_iteration_and_batches():
    for change in (lambda d: d, lambda d: d.select([3, 1, 2]), lambda d: d.select(range(4, 11))):
        ours, theirs = map(change, both())
        assert list(ours) == list(theirs)
        for size in (1, 4, 50):
            for drop in (False, True):
                assert list(ours.iter(size, drop)) == list(theirs.iter(size, drop))
        assert ours.__getitems__([1, 0, 1]) == theirs.__getitems__([1, 0, 1])


def test_exceptions_of_the_reference_are_raised():
    ours, theirs = both()
    for call in [
        lambda d: d.remove_columns("absent"),
        lambda d: d.rename_column("text", "id"),
        lambda d: d.rename_column("absent", "x"),
        lambda d: d.rename_columns({"id": ""}),
        lambda d: d.rename_columns({"id": "x", "text": "x"}),
        lambda d: d.select_columns(["absent"]),
        lambda d: d.cast(type(d.features)({"id": d.features["id"]})),
        lambda d: d.class_encode_column("tokens"),
        lambda d: d.class_encode_column("absent"),
        lambda d: d.align_labels_with_mapping({"a": 0}, "text"),
        lambda d: d.add_column("id", list(range(23))),
        lambda d: d.add_column("new", [1]),
        lambda d: d.sort("absent"),
        lambda d: d.sort("id", reverse=[True, False]),
        lambda d: d.sort("id", null_placement="middle"),
        lambda d: d.shuffle(seed=1, generator=np.random.default_rng()),
        lambda d: d.shuffle(generator=np.random.RandomState()),
        lambda d: d.shard(3, 3),
        lambda d: d.train_test_split(test_size=1.5),
        lambda d: d.train_test_split(test_size=0.6, train_size=0.6),
        lambda d: d.train_test_split(test_size=40),
        lambda d: d.train_test_split(test_size=20, train_size=20),
        lambda d: d.train_test_split(train_size=0.01),
        lambda d: d.train_test_split(train_size="half"),
        lambda d: d.train_test_split(stratify_by_column="text"),
        lambda d: d.train_test_split(stratify_by_column="label", test_size=2),
        lambda d: d.train_test_split(stratify_by_column="label", shuffle=False),
        lambda d: d.take(4).train_test_split(stratify_by_column="label"),
        lambda d: d.repeat(None),
        lambda d: d.batch(),
        lambda d: d.set_format(columns=["absent"]),
        lambda d: d.map(lambda x: x, num_proc=-1),
        lambda d: d.map(lambda x: x, suffix_template="_{rank}"),
        lambda d: d.map(lambda x: x, remove_columns="absent"),
        lambda d: d.map(lambda x: x, input_columns="absent"),
        lambda d: d.map(lambda x: x, new_fingerprint="a/b"),
        lambda d: d.map(lambda x: x, cache_file_name="no_extension"),
    ]:
        with pytest.raises(Exception) as theirs_raised:
            call(theirs)
        with pytest.raises(EnfoldError) as ours_raised:
            call(ours)
        assert isinstance(ours_raised.value, ValueError), theirs_raised.value


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(2, 400),
    seed=st.integers(0, 2**40),
    share=st.floats(0.01, 0.99),
    classes=st.integers(1, 6),
    weights=st.lists(st.integers(1, 20), min_size=6, max_size=6),
)
def test_permutations_are_those_of_the_reference(size, seed, share, classes, weights):
    labels = np.random.default_rng(seed).choice(
        classes, size=size, p=np.array(weights[:classes]) / sum(weights[:classes])
    )
    theirs = reference.Dataset.from_dict({"id": np.arange(size), "label": labels})
    theirs = theirs.cast_column("label", reference.ClassLabel(num_classes=classes))
    ours = Dataset(theirs.data.table)
    assert ours.shuffle(seed=seed)["id"] == list(theirs.shuffle(seed=seed)["id"])
    for options in ({}, {"stratify_by_column": "label"}):
        try:
            expected = theirs.train_test_split(share, seed=seed, **options)
        except ValueError:
            with pytest.raises(ArgumentError):
                ours.train_test_split(share, seed=seed, **options)
        else:
            same(ours.train_test_split(share, seed=seed, **options), expected)


def test_the_global_state_of_numpy_decides_where_nothing_else_does():
    ours, theirs = both()
    np.random.seed(5)
    first, second = ours.shuffle()["id"][:], ours.shuffle()["id"][:]
    np.random.seed(5)
    assert (first, second) == (theirs.shuffle()["id"][:], theirs.shuffle()["id"][:])
    assert first != second


def test_constructors():
    columns = {"n": [1, None, 3], "t": ["a", "b", None], "l": [[1.5], [], None]}
    rows = [{"n": 1, "t": "a"}, {"n": 2}, {"t": "c", "extra": 1}]
    frame = pd.DataFrame({"n": [1, 2], "t": ["a", None]}, index=[4, 7])
    polar = pl.DataFrame({"n": [1, 2], "t": ["a", None]})
    features = {"n": Value("int32"), "t": Value("string")}
    theirs = {"n": reference.Value("int32"), "t": reference.Value("string")}
    R = reference.Dataset
    same(Dataset.from_dict(columns), R.from_dict(columns))
    same(Dataset.from_list(rows), R.from_list(rows))
    same(Dataset.from_list(rows, Features(features)), R.from_list(rows, reference.Features(theirs)))
    same(Dataset.from_pandas(frame), R.from_pandas(frame))
    same(Dataset.from_pandas(frame, preserve_index=False), R.from_pandas(frame, preserve_index=False))
    same(
        Dataset.from_pandas(frame, Features(features), preserve_index=False),
        R.from_pandas(frame, reference.Features(theirs), preserve_index=False),
    )
    same(Dataset.from_polars(polar), R.from_polars(polar))
    same(Dataset.from_polars(polar.lazy(), Features(features)), R.from_polars(polar.lazy(), reference.Features(theirs)))
    same(Dataset.from_dict({}), R.from_dict({}))
    same(Dataset.from_dict({"a": []}), R.from_dict({"a": []}))
    with pytest.raises(DatasetError):
        Dataset.from_dict({"a": [1], "b": [1, 2]})
    with pytest.raises(DatasetError):
        Dataset(pa.table([[1], [2]], names=["a", "a"]))


def test_nulls_are_equal_to_each_other_alone():
    data = Dataset.from_dict({"t": [None, None, "a", "a", None], "n": [1, 2, 3, 4, 5]})
    assert data.batch(by_column="t")["n"] == [[1, 2], [3, 4], [5]]


def test_casts():
    ours, theirs = both()
    change = {"id": "int8", "flag": "string", "score": "float32"}
    same(
        ours.cast(Features({**ours.features, **{name: Value(kind) for name, kind in change.items()}})),
        theirs.cast(reference.Features({**theirs.features, **{n: reference.Value(k) for n, k in change.items()}})),
    )
    ours, theirs = both()
    same(ours.cast_column("id", Value("string")), theirs.cast_column("id", reference.Value("string")))
    assert ours.features["id"] == Value("int64")
    listed = ours.cast_column("tokens", List(Value("large_string")))
    assert listed.features["tokens"] == List(Value("large_string"))
    with pytest.raises(DatasetError, match=r"id"):
        ours.cast_column("id", ClassLabel(names=["only"]))


def test_an_item_is_added():
    ours, theirs = both({"a": [1, 2], "t": ["x", None]})
    for item in ({"a": 3, "t": "y"}, {"a": 4}, {"t": "z"}):
        same(ours.add_item(item), theirs.add_item(item))
    added = ours.select([1, 0]).add_item({"a": 5, "t": "w", "more": 1.5})
    assert added.to_dict() == {"a": [2, 1, 5], "t": [None, "x", "w"], "more": [None, None, 1.5]}


def test_unique_values():
    ours, theirs = both()
    for name in ("flag", "text", "label"):
        assert ours.unique(name) == theirs.unique(name)
        assert ours.select([5, 3, 3]).unique(name) == theirs.select([5, 3, 3]).unique(name)


def test_formats_pass_on_and_are_taken_back():
    ours, theirs = both()
    for data in (ours, theirs):
        data.set_format("numpy", columns=["id", "label"])
    for change in [
        lambda d: d,
        lambda d: d.select([2, 1]),
        lambda d: d.map(lambda x: {"twice": x["id"] * 2}),
        lambda d: d.rename_column("id", "number"),
        lambda d: d.remove_columns("id"),
        lambda d: d.sort("id", reverse=True),
        lambda d: d.add_column("c", list(range(23))),
    ]:
        left, right = change(ours), change(theirs)
        assert {**left.format, "columns": sorted(left.format["columns"])} == {
            **right.format,
            "columns": sorted(right.format["columns"]),
        }
        assert equal(left[0], right[0])
        assert equal(left[:3], right[:3])
    with (
        ours.formatted_as(None, columns=["text"], output_all_columns=True),
        theirs.formatted_as(None, columns=["text"], output_all_columns=True),
    ):
        assert ours[0] == theirs[0]
        assert next(iter(ours)) == next(iter(theirs))
    assert ours.format == theirs.format
    transformed = [d.with_transform(lambda b: {"n": [len(t or "") for t in b["text"]]}) for d in both()]
    assert transformed[0][1] == transformed[1][1]
    assert transformed[0][:4] == transformed[1][:4]
    assert list(transformed[0])[:3] == list(transformed[1])[:3]


def test_what_the_objects_say():
    ours, theirs = both()
    assert repr(ours) == repr(theirs)
    parts = ours.train_test_split(seed=1), theirs.train_test_split(seed=1)
    assert repr(parts[0]) == repr(parts[1])
    with pytest.raises(KeyError, match="Choose a split"):
        parts[0][0]


def test_equal_content_has_equal_fingerprints():
    one, other = Dataset.from_dict({"a": [1, 2]}), Dataset.from_dict({"a": [1, 2]})
    assert one._fingerprint == other._fingerprint
    assert one._fingerprint != Dataset.from_dict({"a": [1, 3]})._fingerprint
    assert one.select([1])._fingerprint != one.select([0])._fingerprint
    assert one.shuffle(seed=1)._fingerprint == other.shuffle(seed=1)._fingerprint
