"""`map` and `filter` on whole data sets: results, types, files, caches and processes, beside the reference."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections import UserDict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.cache import disable_caching, enable_caching
from enfold.datasets.dataset import Dataset
from enfold.datasets.features import Features, Value

from .pairs import both, same


def doubled(row):
    return {"id": row["id"] * 2, "extra": str(row["id"])}


def as_int32(row):
    return {"label": 2 - row["label"], "score": 1.0 if row["score"] is None else row["score"]}


async def later(row):
    await asyncio.sleep(0.001)
    return {"later": row["id"]}


def more_rows(batch):
    return {"id": [i for i in batch["id"] for _ in range(2)]}


def fewer_rows(batch):
    return {"id": batch["id"][:1]}


MAPS = {
    "row": (doubled, {}),
    "identity": (None, {}),
    "identity without columns": (None, {"remove_columns": ["text"]}),
    "types are kept": (as_int32, {}),
    "types change": (lambda x: {"label": str(x["label"]), "flag": 1.5}, {}),
    "types are not tried": (as_int32, {"batched": False, "try_original_type": False}),
    "nested": (lambda x: {"meta": {"url": x["meta"]["url"], "other": [x["id"]]}}, {}),
    "batch": (lambda b: {"sum": [i + j for i, j in zip(b["id"], b["label"], strict=True)]}, {"batched": True}),
    "small batches": (lambda b: {"n": [len(b["id"])] * len(b["id"])}, {"batched": True, "batch_size": 4}),
    "whole batches": (
        lambda b: {"n": [len(b["id"])] * len(b["id"])},
        {"batched": True, "batch_size": 4, "drop_last_batch": True},
    ),
    "one batch": (lambda b: {"n": [len(b["id"])] * len(b["id"])}, {"batched": True, "batch_size": None}),
    "batch of none": (lambda b: {"n": [len(b["id"])] * len(b["id"])}, {"batched": True, "batch_size": -1}),
    "more rows": (more_rows, {"batched": True, "remove_columns": "*", "batch_size": 5}),
    "fewer rows": (fewer_rows, {"batched": True, "remove_columns": "*", "batch_size": 5}),
    "some batches are empty": (
        lambda b: {"odd": [i for i in b["id"] if i > 11]},
        {"batched": True, "remove_columns": "*", "batch_size": 5},
    ),
    "indices": (lambda x, i: {"i": i}, {"with_indices": True}),
    "batch indices": (lambda x, i: {"i": i}, {"with_indices": True, "batched": True, "batch_size": 4}),
    "columns": (lambda i, t: {"s": f"{i}{t}"}, {"input_columns": ["id", "text"]}),
    "a column": (lambda i: {"s": i + 1}, {"input_columns": "id"}),
    "batch columns": (lambda i, t: {"s": i}, {"input_columns": ["id", "text"], "batched": True}),
    "removed": (lambda x: {"new": x["id"]}, {"remove_columns": ["id", "meta"]}),
    "removed and returned": (lambda x: {"new": x["id"], "text": "t"}, {"remove_columns": ["text", "id"]}),
    "keywords": (lambda x, add: {"id": x["id"] + add}, {"fn_kwargs": {"add": 5}}),
    "features": (
        lambda x: {"id": x["id"]},
        {"remove_columns": "*", "features": "id as int8"},
    ),
    "table": (lambda b: pa.table({"a": b["id"]}), {"batched": True, "batch_size": 7}),
    "frame": (lambda b: pd.DataFrame({"a": b["id"]}), {"batched": True, "batch_size": 7}),
    "polars": (lambda b: pl.DataFrame({"a": b["id"]}), {"batched": True, "batch_size": 7}),
    "arrays": (lambda b: {"a": np.ones((len(b["id"]), 3), np.float32)}, {"batched": True}),
    "ragged arrays": (lambda x: {"a": np.arange(x["id"] % 3)}, {}),
    "tensors": (lambda b: {"a": torch.arange(len(b["id"]))}, {"batched": True}),
    "a mapping": (lambda x: UserDict(new=x["id"]), {}),
    "tokens": (lambda x: {"input_ids": [1, 2], "attention_mask": [1, 1], "token_type_ids": [0, 0]}, {}),
    "mixed types": (lambda x: {"any": x["id"] if x["id"] % 2 else {"n": x["id"]}}, {}),
    "coroutine": (later, {}),
    "small record batches": (doubled, {"writer_batch_size": 3}),
    "nothing": (lambda x: None, {}),
}


def call(data, function, options, library):
    options = dict(options)
    if options.get("remove_columns") == "*":
        options["remove_columns"] = data.column_names
    if options.get("features") == "id as int8":
        options["features"] = library["Features"]({"id": library["Value"]("int8")})
    return data.map(function, **options)


OURS = {"Features": Features, "Value": Value}
THEIRS = {"Features": reference.Features, "Value": reference.Value}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("order", [None, [5, 2, 9, 9, 0, 14]], ids=["rows", "selected"])
def test_map_gives_what_the_reference_gives(name, order):
    ours, theirs = both()
    if order is not None:
        ours, theirs = ours.select(order), theirs.select(order)
    function, options = MAPS[name]
    same(call(ours, function, options, OURS), call(theirs, function, options, THEIRS))


@pytest.mark.parametrize("name", ["row", "batch indices", "more rows", "features", "coroutine"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_processes_give_what_one_gives(name, on_disk, tmp_path):
    ours, theirs = both(on_disk=tmp_path if on_disk else None)
    function, options = MAPS[name]
    found = call(ours, function, {**options, "num_proc": 3}, OURS)
    # The reference cuts batches within a process's rows, as we do.
    same(found, call(theirs, function, {**options, "num_proc": 3}, THEIRS))
    assert len(found.cache_files) == (3 if on_disk else 0)


FILTERS = {
    "row": (lambda x: x["id"] % 3, {}),
    "none left": (lambda x: False, {}),
    "all left": (None, {}),
    "batch": (lambda b: [i % 2 == 0 for i in b["id"]], {"batched": True, "batch_size": 4}),
    "array": (lambda b: np.array(b["id"]) > 10, {"batched": True}),
    "arrow": (lambda b: pa.array([i > 3 or None for i in b["id"]]), {"batched": True}),
    "indices": (lambda x, i: i > 7, {"with_indices": True}),
    "batch indices": (lambda x, i: [j > 7 for j in i], {"with_indices": True, "batched": True, "batch_size": 5}),
    "columns": (lambda i, t: t and i > 2, {"input_columns": ["id", "text"]}),
    "keywords": (lambda x, over: x["id"] > over, {"fn_kwargs": {"over": 12}}),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("num_proc", [None, 2])
def test_filter_gives_what_the_reference_gives(name, num_proc):
    function, options = FILTERS[name]
    for change in (lambda d: d, lambda d: d.select([5, 2, 9, 9, 0, 14]), lambda d: d.select(range(3, 19))):
        ours, theirs = map(change, both())
        expected = theirs.filter(function, **options)
        same(ours.filter(function, num_proc=num_proc, **options), expected)


def test_a_coroutine_filters():
    async def odd(row):
        await asyncio.sleep(0.001)
        return row["id"] % 2

    ours, theirs = both()
    same(ours.filter(odd), theirs.filter(odd))


@pytest.mark.parametrize("format", ["numpy", "pandas", "arrow", "torch", "polars"])
def test_functions_see_the_format_that_is_set(format):
    ours, theirs = (d.select_columns(["id", "score", "label"]).with_format(format) for d in both())
    functions = {
        "numpy": lambda b: {"n": b["id"] * 2},
        "torch": lambda b: {"n": b["id"] * 2},
        "pandas": lambda b: b.assign(n=b["id"] * 2),
        "arrow": lambda b: b.append_column("n", b["id"]),
        "polars": lambda b: b.with_columns(n=pl.col("id") * 2),
    }
    same(ours.map(functions[format], batched=True), theirs.map(functions[format], batched=True))
    same(ours.map(functions[format]), theirs.map(functions[format]))
    if format in ("numpy", "torch"):
        same(ours.filter(lambda x: x["id"] > 5), theirs.filter(lambda x: x["id"] > 5))


@pytest.fixture
def stored(tmp_path):
    """A data set in a file of its own."""
    Dataset.from_dict({"n": list(range(10)), "t": [str(i) for i in range(10)]}).save_to_disk(tmp_path / "data")
    return Dataset.load_from_disk(tmp_path / "data")


def counting(counter):
    def function(row):
        with open(counter, "a") as file:
            file.write(".")
        return {"m": row["n"] + 1}

    return function


def test_a_result_is_found_again(stored, tmp_path):
    counter = tmp_path / "count"
    first = stored.map(counting(counter))
    again = Dataset.load_from_disk(tmp_path / "data").map(counting(counter))
    assert counter.read_text() == "." * 10
    assert first.cache_files == again.cache_files
    assert os.path.dirname(first.cache_files[0]["filename"]) == str(tmp_path / "data")
    assert again.to_dict() == first.to_dict()
    assert again._fingerprint == first._fingerprint
    stored.map(counting(counter), load_from_cache_file=False)
    stored.map(counting(counter), batched=False, writer_batch_size=3)
    assert counter.read_text() == "." * 20
    stored.select([1, 0]).map(counting(counter))
    assert counter.read_text() == "." * 22


def test_another_format_is_another_result(stored):
    def kind(batch):
        return {"kind": [type(batch["n"]).__name__] * len(batch["n"])}

    assert stored.map(kind, batched=True)["kind"][0] == "list"
    assert stored.with_format("numpy").map(kind, batched=True).with_format(None)["kind"][0] == "ndarray"
    assert len(stored.filter(lambda b: [type(b["n"]) is list] * 10, batched=True)) == 10
    assert len(stored.with_format("numpy").filter(lambda b: [type(b["n"]) is list] * 10, batched=True)) == 0


def test_a_result_made_by_other_processes_is_found_again(stored, tmp_path):
    counter = tmp_path / "count"
    made = stored.map(counting(counter), num_proc=3)
    assert [os.path.basename(f["filename"])[-21:] for f in made.cache_files] == [
        f"_{rank:05d}_of_00003.arrow" for rank in range(3)
    ]
    for processes in (None, 2, 3):
        again = stored.map(counting(counter), num_proc=processes)
        assert again.to_dict() == made.to_dict()
    assert counter.read_text() == "." * 10
    # One that is missing is made again, and only that one.
    os.unlink(made.cache_files[1]["filename"])
    assert stored.map(counting(counter), num_proc=2).to_dict() == made.to_dict()
    assert counter.read_text() == "." * 13


def test_without_caching_nothing_is_found(stored, tmp_path):
    counter = tmp_path / "count"
    disable_caching()
    try:
        for _ in range(2):
            made = stored.map(counting(counter))
            assert str(tmp_path / "data") not in made.cache_files[0]["filename"]
    finally:
        enable_caching()
    assert counter.read_text() == "." * 20


def test_names_and_places_of_files(stored, tmp_path):
    named = stored.map(lambda x: {"m": 1}, cache_file_name=str(tmp_path / "named.arrow"))
    assert named.cache_files == [{"filename": str(tmp_path / "named.arrow")}]
    assert Dataset.from_file(tmp_path / "named.arrow").to_dict() == named.to_dict()
    assert reference.Dataset.from_file(str(tmp_path / "named.arrow")).to_dict() == named.to_dict()
    several = stored.map(
        lambda x: {"m": 1},
        num_proc=2,
        cache_file_name=str(tmp_path / "several.arrow"),
        suffix_template="-{rank}-{num_proc}",
    )
    assert [os.path.basename(f["filename"]) for f in several.cache_files] == ["several-0-2.arrow", "several-1-2.arrow"]
    assert stored.map(lambda x: {"m": 2}, keep_in_memory=True).cache_files == []
    printed = stored.map(lambda x: {"m": 3}, new_fingerprint="mine")
    assert printed._fingerprint == "mine"
    assert os.path.basename(printed.cache_files[0]["filename"]) == "cache-mine.arrow"
    kept = stored.filter(lambda x: x["n"] > 4)
    assert len(kept.cache_files) == 2
    assert Dataset.from_file(
        kept.cache_files[0]["filename"], indices_filename=kept.cache_files[1]["filename"]
    ).to_dict() == (kept.to_dict())
    before = len(list((tmp_path / "data").glob("cache-*")))
    assert before == 2
    assert kept.cleanup_cache_files() == 1
    with pytest.raises(ArgumentError, match="not both"):
        stored.map(lambda x: x, keep_in_memory=True, cache_file_name="a.arrow")


def test_a_function_that_changes_nothing_leaves_no_file(stored, tmp_path):
    seen = []
    same_rows = stored.map(lambda x: seen.append(x["n"]))
    assert same_rows._fingerprint == stored._fingerprint
    assert seen == list(range(10))
    assert not list((tmp_path / "data").glob("cache-*"))
    assert stored.map(lambda x: None, num_proc=2)._fingerprint == stored._fingerprint


def test_an_error_names_process_and_row_and_leaves_nothing(stored, tmp_path):
    def function(row):
        if row["n"] == 7:
            raise KeyError("seven")
        return {"m": 1}

    with pytest.raises(KeyError, match="seven") as caught:
        stored.map(function)
    assert "row 7" in caught.value.__notes__
    with pytest.raises(KeyError, match="seven") as caught:
        stored.map(function, num_proc=2, load_from_cache_file=False)
    notes = "\n".join(caught.value.__notes__)
    assert "row 7" in notes
    assert "process 1 of 2" in notes
    assert "raise KeyError" in notes

    class StubbornError(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    def fails(row):
        raise StubbornError(1, 2)

    with pytest.raises(DatasetError, match="StubbornError"):
        stored.map(fails, num_proc=2)
    left = [
        path.name for path in (tmp_path / "data").iterdir() if "cache" in path.name and not path.name.endswith(".lock")
    ]
    assert all("00000_of_00002" in name for name in left)


@pytest.mark.parametrize("how", ["killed", "exited"])
def test_a_process_that_dies_is_told(stored, how):
    def function(row):
        if row["n"] == 6:
            os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else os._exit(3)
        return {"m": 1}

    started = time.monotonic()
    with pytest.raises(DatasetError, match="SIGKILL" if how == "killed" else "exit code 3") as caught:
        stored.map(function, num_proc=2)
    assert "process 1 of 2" in str(caught.value)
    assert time.monotonic() - started < 5
    assert not multiprocessing.active_children()


def test_ranks():
    data = Dataset.from_dict({"n": list(range(6))})
    assert data.map(lambda x, rank: {"r": rank}, with_rank=True, num_proc=3)["r"] == [0, 0, 1, 1, 2, 2]
    assert data.map(lambda x, rank: {"r": rank is None}, with_rank=True)["r"] == [True] * 6
    assert data.map(lambda x, i, rank: {"r": [i, rank]}, with_rank=True, with_indices=True, num_proc=2)["r"][3:5] == [
        [3, 1],
        [4, 1],
    ]


def test_more_processes_than_rows():
    data = Dataset.from_dict({"n": [1, 2]})
    assert data.map(lambda x: {"m": x["n"]}, num_proc=9)["m"] == [1, 2]


def test_types_come_from_the_first_value_that_has_one():
    data = Dataset.from_dict({"n": list(range(3000))})
    found = data.map(lambda x: {"late": [x["n"]] if x["n"] > 2500 else None, "never": None})
    assert str(found.features["late"]) == "List(Value('int64'))"
    assert found["late"][2499:2503] == [None, None, [2501], [2502]]
    assert found.features["never"] == Value("null")
    apart = data.map(lambda x: {"late": 1.5 if x["n"] > 2500 else None}, num_proc=3)
    assert apart.features["late"] == Value("float64")
    assert apart["late"][2500:2502] == [None, 1.5]
    with pytest.raises(DatasetError, match="late"):
        data.map(lambda x: {"late": 1 if x["n"] < 1500 else "one"}, num_proc=2)
    with pytest.raises(DatasetError, match="row"):
        data.map(lambda x: {"late": 1 if x["n"] < 1500 else "one"})


def test_lengths_that_differ_are_refused():
    data = Dataset.from_dict({"n": [1, 2, 3]})
    with pytest.raises(DatasetError, match="number of rows"):
        data.map(lambda b: {"m": [1]}, batched=True)
    with pytest.raises(DatasetError, match="None for some"):
        data.map(lambda x: None if x["n"] == 2 else {"m": 1}, writer_batch_size=1)


def test_nulls_can_be_forbidden(tmp_path):
    data = Dataset.from_dict({"n": [1, None]})
    with pytest.raises(DatasetError, match="disable_nullable"):
        data.map(lambda x: {"m": x["n"]}, disable_nullable=True)
    made = data.take(1).map(
        lambda x: {"m": x["n"]}, disable_nullable=True, cache_file_name=str(tmp_path / "whole.arrow")
    )
    assert made.to_dict() == {"n": [1], "m": [1]}


def test_an_empty_data_set_stays_empty():
    for data in (Dataset.from_dict({"n": [], "t": []}), Dataset.from_dict({"n": [1], "t": ["a"]}).select([])):
        assert data.map(lambda x: {"m": 1}).num_rows == 0
        assert data.map(lambda x: {"m": 1}, remove_columns="t").column_names == ["n"]
        assert data.filter(lambda x: True).num_rows == 0
        assert data.sort("n").num_rows == 0
        assert data.shuffle(seed=1).num_rows == 0


def test_splits_are_mapped_one_by_one():
    ours, theirs = both()
    left, right = ours.train_test_split(0.3, seed=1), theirs.train_test_split(0.3, seed=1)
    same(
        left.map(lambda x, i, split: {"s": split, "i": i}, with_split=True, with_indices=True),
        right.map(lambda x, i, split: {"s": split, "i": i}, with_split=True, with_indices=True),
    )
    same(left.filter(lambda x: x["id"] > 5), right.filter(lambda x: x["id"] > 5))
    same(left.shuffle(seed=3).sort("label"), right.shuffle(seed=3).sort("label"))
    same(left.shuffle({"train": 1, "test": 2}), right.shuffle({"train": 1, "test": 2}))
    same(left.remove_columns("id").rename_column("text", "t"), right.remove_columns("id").rename_column("text", "t"))
    assert left.unique("label") == right.unique("label")
    assert left.num_rows == right.num_rows
    assert left.shape == right.shape
    assert left.column_names == right.column_names


def build_slowly(folder, counter):
    data = Dataset.load_from_disk(folder)

    def function(row):
        with open(counter, "a") as file:
            file.write(".")
        time.sleep(0.02)
        return {"m": row["n"]}

    data.map(function, new_fingerprint="slow")


def test_two_processes_that_want_the_same_make_it_once(stored, tmp_path):
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=build_slowly, args=(tmp_path / "data", tmp_path / "count")) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
    assert (tmp_path / "count").read_text() == "." * 10


def test_killed_in_the_middle_nothing_torn_is_read(stored, tmp_path):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=build_slowly, args=(tmp_path / "data", tmp_path / "count"))
    process.start()
    while not (tmp_path / "count").exists():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "data" / "cache-slow.arrow").exists()
    build_slowly(tmp_path / "data", tmp_path / "count")
    assert Dataset.from_file(tmp_path / "data" / "cache-slow.arrow")["m"] == list(range(10))
    assert not list((tmp_path / "data").glob("*unfinished*")) + list((tmp_path / "data").glob(".*unfinished*"))
