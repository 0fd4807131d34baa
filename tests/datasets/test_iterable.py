"""`IterableDataset` beside the reference, and what it adds."""

import io
import json
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import datasets as reference
import enfold.datasets as enfold_datasets
from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets import ClassLabel, Dataset, Features, IterableDataset, IterableDatasetDict, List, Value

COLUMNS = {"a": list(range(7)), "t": [f"row {i}" for i in range(7)], "l": [[i, i + 1] for i in range(7)]}


def streams(columns=COLUMNS, shards=2):
    """The same rows by the reference and by us."""
    theirs = reference.Dataset.from_dict(columns).to_iterable_dataset(num_shards=shards)
    return (reference, theirs), (enfold_datasets, IterableDataset.from_dict(columns, num_shards=shards))


def plain(value):
    """Values and their types, of whatever library, as something that compares."""
    if isinstance(value, torch.Tensor):
        return "torch", str(value.dtype), value.tolist()
    if isinstance(value, np.ndarray | np.generic):
        # Text is a numpy string by some of the reference's paths, and a Python one by others.
        return value.tolist() if value.dtype.kind in "UO" else ("numpy", str(value.dtype), value.tolist())
    if isinstance(value, pd.DataFrame):
        return "pandas", plain(value.to_dict("list"))
    if isinstance(value, pl.DataFrame):
        return "polars", value.to_dicts()
    if isinstance(value, pa.Table):
        return "arrow", value.to_pydict()
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


SAME = {
    "map": lambda d, _: d.map(lambda row: {"b": row["a"] + 1}),
    "map of some columns": lambda d, _: d.map(lambda a, t: {"b": f"{a}{t}"}, input_columns=["a", "t"]),
    "map that removes": lambda d, _: d.map(lambda row: {"b": row["a"]}, remove_columns=["a", "t"]),
    "map with index": lambda d, _: d.map(lambda row, index: {"i": index}, with_indices=True),
    "map with arguments": lambda d, _: d.map(lambda row, n: {"b": row["a"] * n}, fn_kwargs={"n": 3}),
    "map by batch": lambda d, _: d.map(
        lambda rows: {"b": [len(rows["a"])] * len(rows["a"])}, batched=True, batch_size=3
    ),
    "map that drops": lambda d, _: d.map(lambda rows: rows, batched=True, batch_size=3, drop_last_batch=True),
    "map that multiplies": lambda d, _: d.map(
        lambda rows: {"b": [1] * 2 * len(rows["a"])}, batched=True, remove_columns=["a", "t", "l"]
    ),
    "map of objects": lambda d, _: d.map(lambda row: {"o": complex(row["a"], 1), "s": {row["a"]}}),
    "map of arrays": lambda d, _: d.with_format("numpy").map(lambda row: {"b": row["l"] * 2}),
    "map of tables": lambda d, _: d.with_format("arrow").map(
        lambda table: table.append_column("b", table.column("a")), batched=True
    ),
    "keys that differ": lambda d, _: d.map(lambda row: {"odd": 1} if row["a"] % 2 else {}),
    "filter": lambda d, _: d.filter(lambda row: row["a"] % 2),
    "filter by batch": lambda d, _: d.filter(lambda rows: [a > 2 for a in rows["a"]], batched=True, batch_size=2),
    "filter of arrays": lambda d, _: d.with_format("numpy").filter(lambda row: row["l"].sum() > 5),
    "batch": lambda d, _: d.batch(3),
    "batch that drops": lambda d, _: d.batch(3, drop_last_batch=True),
    "batch by column": lambda d, _: d.map(lambda row: {"k": row["a"] // 3}).batch(by_column="k"),
    "batch of objects": lambda d, _: d.map(lambda row: {"o": row["a"]}).batch(2),
    "batch of batches": lambda d, _: d.map(lambda rows: {"b": rows["a"]}, batched=True).batch(3),
    "select": lambda d, _: d.select_columns(["t", "a"]),
    "rename": lambda d, _: d.rename_columns({"a": "b", "t": "u"}),
    "remove": lambda d, _: d.remove_columns("a"),
    "add": lambda d, _: d.add_column("z", list(range(10, 17))),
    "cast": lambda d, m: d.cast_column("a", m.Value("int32")).with_format("numpy"),
    "repeat nothing": lambda d, _: d.repeat(0),
    "take nothing": lambda d, _: d.take(-1),
    "numpy": lambda d, _: d.with_format("numpy"),
    "torch": lambda d, _: d.with_format("torch"),
    "arrow": lambda d, _: d.with_format("arrow"),
    "pandas": lambda d, _: d.with_format("pandas"),
    "polars": lambda d, _: d.with_format("polars"),
    "torch of objects": lambda d, _: d.map(lambda row: {"b": [row["a"], 2], "s": "x"}).with_format("torch"),
    "arrow of objects": lambda d, _: d.map(lambda row: {"b": [row["a"], 2]}).with_format("arrow"),
}


@pytest.mark.parametrize("name", SAME)
def test_as_the_reference(name):
    (theirs, theirs_rows), (ours, ours_rows) = streams()
    one, other = SAME[name](theirs_rows, theirs), SAME[name](ours_rows, ours)
    assert plain(list(other)) == plain(list(one))
    assert plain(list(other.iter(3))) == plain(list(one.iter(3)))
    # A column that is added is one shard: rows beside each other are read together.
    assert other.num_shards == (1 if name == "add" else one.num_shards)


@pytest.mark.parametrize("name", ["select", "rename", "batch", "cast", "filter", "map"])
def test_what_it_is(name):
    (theirs, theirs_rows), (ours, ours_rows) = streams()
    one, other = SAME[name](theirs_rows, theirs), SAME[name](ours_rows, ours)
    assert repr(other) == repr(one)
    assert other.column_names == one.column_names
    assert (None if other.features is None else other.features.to_dict()) == (
        None if one.features is None else one.features.to_dict()
    )
    assert other._resolve_features().features.to_dict() == one._resolve_features().features.to_dict()


def test_what_is_known_of_it():
    info = enfold_datasets.DatasetInfo(description="rows", license="mit", version="1.2.0", dataset_size=5)
    dataset = IterableDataset.from_dict({"a": [1]}, info=info, split="test").filter(lambda row: True)
    known = (dataset.description, dataset.license, str(dataset.version), dataset.dataset_size, dataset.split)
    assert known == ("rows", "mit", "1.2.0", 5, "test")
    assert dataset.info.features == Features({"a": Value("int64")})


def test_values_become_what_features_say():
    features = Features({"a": Value("float32"), "c": ClassLabel(names=["no", "yes"])})
    dataset = IterableDataset.from_dict({"a": [1, 2]}).map(lambda row: {"c": "yes"}, features=features)
    assert list(dataset) == [{"a": 1.0, "c": 1}, {"a": 2.0, "c": 1}]
    batched = IterableDataset.from_dict({"a": [1, 2]}).map(
        lambda rows: {"c": ["no", 1]}, batched=True, features=features
    )
    assert list(batched) == [{"a": 1.0, "c": 0}, {"a": 2.0, "c": 1}]
    assert list(dataset["c"]) == [1, 1]

    def rows():
        yield {"a": "3", "c": "no"}

    assert list(IterableDataset.from_generator(rows, features)) == [{"a": 3.0, "c": 0}]


def test_functions_are_called_when_rows_are_wanted():
    called = []

    def note(row):
        called.append(row["a"])
        return row

    iterator = iter(IterableDataset.from_dict({"a": list(range(100))}).map(note))
    assert called == []
    next(iterator)
    next(iterator)
    assert called == [0, 1]


def test_arrow_passes_by_untouched():
    dataset = IterableDataset.from_dict(COLUMNS).rename_column("t", "u").filter(lambda row: row["a"] > 1)
    dataset = dataset.shuffle(seed=1).skip(1).take(3)
    assert all(isinstance(block.rows, pa.Table) for block in dataset._node.open(None))

    def more(rows):
        return {"b": pa.array([1] * len(rows["a"]))}

    mapped = IterableDataset.from_dict(COLUMNS).map(more, batched=True)
    assert all(isinstance(block.rows, pa.Table) for block in mapped._node.open(None))


def test_objects_of_a_generator_pass_as_they_are():
    marker = object()

    def rows(parts):
        for part in parts:
            yield {"o": marker, "part": part}

    dataset = IterableDataset.from_generator(rows, gen_kwargs={"parts": [1, 2, 3]})
    assert dataset.num_shards == 3
    batches = list(dataset.shuffle(seed=1).map(lambda row: {"x": 1}).batch(2))
    assert [len(batch["o"]) for batch in batches] == [2, 1]
    assert all(value is marker for batch in batches for value in batch["o"])

    def broken():
        yield {"a": 1}
        yield [1]

    with pytest.raises(DatasetError, match="row 1 of shard 0"):
        list(IterableDataset.from_generator(broken))


def test_columns():
    dataset = IterableDataset.from_dict({"a": [1, 2], "d": [{"x": 1}, {"x": 2}]})
    assert list(dataset["a"]) == [1, 2]
    assert list(dataset["d"]["x"]) == [1, 2]
    with pytest.raises(ArgumentError, match="skip"):
        dataset[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d: d.remove_columns("q"), "'q'"),
        (lambda d: d.rename_column("a", "t"), "two columns"),
        (lambda d: d.select_columns(["q"]), "'q'"),
        (lambda d: d.map(len, remove_columns=["q"]), "'q'"),
        (lambda d: d.batch(), "by_column"),
        (lambda d: d.batch(0), "at least one row"),
        (lambda d: d.shuffle(buffer_size=0), "at least one row"),
        (lambda d: d.shard(3, 3), "0 to 2"),
        (lambda d: d.add_column("a", [1]), "already"),
        (lambda d: d.filter(), "function"),
        (lambda d: d.with_format("nonsense"), "nonsense"),
        (lambda d: list(d.iter(0)), "at least one row"),
        (lambda d: d.load_state_dict({}), "state"),
        (lambda d: d.cast(Features({"a": Value("int8")})), "columns"),
    ],
)
def test_what_is_wrong_is_said(wrong, said):
    with pytest.raises(ArgumentError, match=said):
        wrong(streams()[1][1])


def test_a_column_that_is_too_short():
    with pytest.raises(DatasetError, match="equally many rows"):
        list(IterableDataset.from_dict({"a": [1, 2, 3]}).add_column("b", [1, 2]))


def test_a_state_is_loaded_once_and_keeps_its_epoch():
    dataset = IterableDataset.from_dict({"a": list(range(20))}, num_shards=4).shuffle(seed=1, buffer_size=5)
    dataset.set_epoch(2)
    whole = list(dataset)
    iterator = iter(dataset)
    first = [next(iterator) for _ in range(7)]
    state = json.loads(json.dumps(dataset.state_dict()))
    again = IterableDataset.from_dict({"a": list(range(20))}, num_shards=4).shuffle(seed=1, buffer_size=5)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert again.epoch == 2
    assert first + list(again) == whole
    assert list(again) == whole
    again.load_state_dict(state)
    again.set_epoch(0)
    assert sorted(row["a"] for row in again) == list(range(20))


def twice(row):
    return {"b": row["a"] * 2}


def test_it_can_be_sent_to_another_process_while_it_is_read():
    dataset = IterableDataset.from_dict(COLUMNS, num_shards=2).map(twice).shuffle(seed=1).with_format("numpy")
    iterator = iter(dataset)
    next(iterator)
    assert plain(list(pickle.loads(pickle.dumps(dataset)))) == plain(list(dataset))


def test_batches_resume():
    dataset = IterableDataset.from_dict({"a": list(range(20))}, num_shards=3).filter(lambda row: row["a"] % 3)
    whole = list(dataset.iter(4))
    iterator = dataset.iter(4)
    first = [next(iterator), next(iterator)]
    dataset.load_state_dict(dataset.state_dict())
    assert first + list(dataset.iter(4)) == whole


def test_the_state_of_a_buffer_is_small():
    dataset = IterableDataset.from_dict({"a": ["x" * 1000] * 20_000}, num_shards=2).shuffle(seed=1, buffer_size=5000)
    iterator = iter(dataset)
    for _ in range(12_000):
        next(iterator)
    assert len(json.dumps(dataset.state_dict())) < 2000


def test_media_are_decoded_when_looked_at():
    from PIL import Image

    def picture(red):
        data = io.BytesIO()
        Image.new("RGB", (4, 4), (red, 0, 0)).save(data, "PNG")
        return {"bytes": data.getvalue(), "path": None}

    features = Features({"image": enfold_datasets.Image(), "a": Value("int64")})
    dataset = IterableDataset.from_dict({"image": [picture(i) for i in range(5)], "a": list(range(5))}, features)
    assert [row["image"].getpixel((0, 0))[0] for row in dataset] == [0, 1, 2, 3, 4]
    assert [row["b"] for row in dataset.map(lambda row: {"b": row["image"].getpixel((0, 0))[0]})] == [0, 1, 2, 3, 4]
    batched = dataset.map(lambda rows: {"b": [a * 2 for a in rows["a"]]}, batched=True)
    assert [row["image"].getpixel((0, 0))[0] for row in batched] == [0, 1, 2, 3, 4]
    assert set(next(iter(dataset.decode(False)))["image"]) == {"bytes", "path"}
    threaded = dataset.decode(num_threads=2)
    iterator = iter(threaded)
    first = [next(iterator)["a"] for _ in range(2)]
    threaded.load_state_dict(threaded.state_dict())
    assert first + [row["a"] for row in threaded] == [0, 1, 2, 3, 4]


def test_out_again(tmp_path):
    (_, one), (_, other) = streams()
    one, other = one.filter(lambda row: row["a"] != 3), other.filter(lambda row: row["a"] != 3)
    for name, options in (("csv", {}), ("json", {}), ("json", {"batch_size": 2})):
        for dataset, file in ((one, "one"), (other, "other")):
            getattr(dataset, f"to_{name}")(tmp_path / file, **options)
        assert (tmp_path / "other").read_bytes() == (tmp_path / "one").read_bytes()
    other.to_parquet(tmp_path / "rows.parquet", batch_size=4)
    assert pq.read_table(tmp_path / "rows.parquet").to_pydict() == other.to_dict()
    assert other.to_dict() == one.to_dict()
    assert other.to_list() == one.to_list()
    assert plain(other.to_pandas()) == plain(one.to_pandas())
    assert plain(other.to_polars()) == plain(one.to_polars())
    assert [len(part) for part in other.to_pandas(batch_size=4, batched=True)] == [4, 2]
    assert list(other.to_dict(batch_size=4, batched=True)) == list(one.to_dict(batch_size=4, batched=True))
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        assert other.select_columns(["a", "t"]).to_sql("rows", connection, batch_size=2) == 6
        assert connection.execute("select count(*) from rows").fetchone() == (6,)
    buffer = io.BytesIO()
    assert other.to_json(buffer, lines=False) == len(buffer.getvalue())
    assert json.loads(buffer.getvalue())[0]["a"] == 0


def test_from_frames_and_lists():
    rows = [{"a": 1, "t": "x"}, {"a": 2, "t": "y"}]
    assert list(IterableDataset.from_list(rows)) == rows
    assert list(IterableDataset.from_pandas(pd.DataFrame(rows), num_shards=2)) == rows
    assert list(IterableDataset.from_polars(pl.DataFrame(rows))) == rows
    assert list(IterableDataset.from_polars(pl.DataFrame(rows).lazy())) == rows
    typed = IterableDataset.from_list(rows, Features({"a": Value("string"), "t": Value("string")}))
    assert list(typed["a"]) == ["1", "2"]
    assert list(IterableDataset.from_dict({"l": [[1], []]}, Features({"l": List(Value("int8"))})))[1] == {"l": []}


def test_of_a_dataset():
    rows = Dataset.from_dict(COLUMNS)
    stream = rows.shuffle(seed=3).to_iterable_dataset(num_shards=3)
    assert [row["a"] for row in stream] == rows.shuffle(seed=3)["a"][:]
    assert stream.num_shards == 3
    assert next(iter(rows.with_format("numpy").to_iterable_dataset()))["l"].dtype == np.int64


def test_reads_ahead_and_stops():
    import threading

    dataset = IterableDataset.from_dict({"a": list(range(5000))}, num_shards=5).prefetch(2)
    iterator = iter(dataset)
    assert [next(iterator)["a"] for _ in range(3)] == [0, 1, 2]
    iterator.close()
    assert not any(thread.name == "enfold-prefetch" for thread in threading.enumerate())

    def broken():
        yield {"a": 1}
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(IterableDataset.from_generator(broken).prefetch())


def test_splits_by_name():
    (_, one), (_, other) = streams()
    theirs = reference.IterableDatasetDict({"train": one, "test": one.take(2)})
    ours = IterableDatasetDict({"train": other, "test": other.take(2)})
    assert repr(ours) == repr(theirs)
    assert ours.column_names == theirs.column_names
    assert ours.num_columns == theirs.num_columns
    for change in (
        lambda d: d.map(lambda row, split: {"s": split}, with_split=True),
        lambda d: d.map(lambda rows, index, split: {"s": [split] * len(index)}, True, True, batched=True),
        lambda d: d.filter(lambda row: row["a"] < 1),
        lambda d: d.shuffle(seed=1),
        lambda d: d.rename_column("a", "b").remove_columns("t").select_columns("b"),
        lambda d: d.with_format("numpy").rename_columns({"a": "z"}),
    ):
        mine, other_one = change(ours), change(theirs)
        assert {name: plain(list(rows)) for name, rows in mine.items()} == {
            name: plain(list(rows)) for name, rows in other_one.items()
        }
    assert list(ours.cast_column("a", Value("string"))["test"]["a"]) == ["0", "1"]
    with pytest.raises(ArgumentError, match="'train'"):
        IterableDatasetDict({"train": 1}).shuffle()  # pyright: ignore[reportArgumentType]


def test_torch_knows_it_though_it_came_later():
    code = (
        "import sys; from enfold.datasets import IterableDataset; d = IterableDataset.from_dict({'a': [1, 2]});"
        "assert 'torch' not in sys.modules; list(d); assert 'torch' not in sys.modules;"
        "from torch.utils.data import DataLoader; print([b['a'].tolist() for b in DataLoader(d, batch_size=2)])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[[1, 2]]\n"
    )


FILES = {
    "csv": ("a,b\n1,x\n2,\n", {"sep": ","}),
    "json": ('{"rows": [{"a": 1, "b": [1, 2]}, {"a": 2, "b": []}]}', {"field": "rows"}),
    "text": ("one\ntwo\n\nthree\n", {"sample_by": "paragraph", "keep_linebreaks": True}),
    "parquet": (None, {"columns": ["a"]}),
}


@pytest.mark.parametrize("kind", FILES)
def test_from_files(kind, tmp_path):
    content, options = FILES[kind]
    paths = [str(tmp_path / f"{number}.{kind}") for number in range(3)]
    for number, path in enumerate(paths):
        if content is None:
            pq.write_table(
                pa.table({"a": range(10 * number, 10 * number + 10), "b": ["x"] * 10}), path, row_group_size=4
            )
        else:
            Path(path).write_text(content)
    for given in (paths[0], paths):
        ours = getattr(IterableDataset, f"from_{kind}")(given, split="held_out", **options)
        theirs = getattr(reference.IterableDataset, f"from_{kind}")(given, split="held_out", **options)
        assert list(ours) == list(theirs)
        assert str(ours.split) == str(theirs.split) == "held_out"
        assert ours.num_shards == theirs.num_shards
        finer = ours.reshard()
        assert finer.num_shards == theirs.reshard().num_shards
        assert list(finer) == list(ours)
        # What follows is divided as finely: a shard of the shards, in order, loses nothing.
        parts = [finer.map(lambda row: {"n": 1}).shard(finer.num_shards, index) for index in range(finer.num_shards)]
        assert [row for part in parts for row in part] == [{**row, "n": 1} for row in ours]
    with pytest.raises(ArgumentError, match="keep_in_memory"):
        getattr(IterableDataset, f"from_{kind}")(paths, keep_in_memory=True)


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_streams_of_rows_are_those_of_the_reference(shards):
    ours, theirs = Dataset.from_dict(COLUMNS), reference.Dataset.from_dict(COLUMNS)
    count = min(shards, len(ours))
    for change in (
        lambda rows: rows,
        lambda rows: rows.shuffle(seed=5).select(range(len(rows) - 1)) if len(rows) > count else rows,
        lambda rows: rows.with_format("numpy"),
    ):
        mine = change(ours).to_iterable_dataset(num_shards=count)
        others = change(theirs).to_iterable_dataset(num_shards=count)
        assert mine.num_shards == others.num_shards
        assert plain(list(mine)) == plain(list(others))
        assert plain(list(mine.shard(count, count - 1))) == plain(list(others.shard(count, count - 1)))
        mine, others = mine.shuffle(seed=3, buffer_size=2), others.shuffle(seed=3, buffer_size=2)
        assert plain(list(mine)) == plain(list(others))
    with pytest.raises(ArgumentError, match="shards"):
        ours.to_iterable_dataset(num_shards=len(ours) + 1)
