"""Rows out and back: files, frames, databases, folders, beside the reference."""

import io
import json
import os
import sqlite3

import fsspec
import numpy as np
import pandas as pd
import polars.testing
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, NotBuiltError
from enfold.datasets import Dataset, DatasetDict, load_from_disk
from enfold.datasets.disk import file_size
from enfold.datasets.features import Features, Image, Json, Value

from .pairs import both, same

PLAIN = {
    "n": [1, None, 3, 4, 5],
    "t": ["a", 'b,"c"', "ü\n", None, ""],
    "f": [0.1, 2.0, None, -3.5, 1e300],
    "b": [True, False, None, True, False],
}
CHANGES = [lambda d: d, lambda d: d.select([4, 0, 2]), lambda d: d.select(range(1, 4)), lambda d: d.select([])]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("to_csv", {}),
        ("to_csv", {"sep": "\t", "header": False, "batch_size": 2}),
        ("to_csv", {"index": True, "index_label": "i"}),
        ("to_csv", {"columns": ["t", "n"], "batch_size": 1, "num_proc": 2}),
        ("to_json", {}),
        ("to_json", {"force_ascii": False, "batch_size": 2}),
        ("to_json", {"lines": False}),
        ("to_json", {"orient": "split", "lines": False}),
        ("to_json", {"batch_size": 1, "num_proc": 3}),
    ],
    ids=str,
)
def test_text_files_are_the_reference_s_byte_for_byte(method, options, change, tmp_path):
    ours, theirs = map(change, both(PLAIN))
    left, right = tmp_path / "ours", tmp_path / "theirs"
    assert getattr(ours, method)(left, **options) == getattr(theirs, method)(str(right), **options)
    assert left.read_bytes() == right.read_bytes()
    buffers = io.BytesIO(), io.BytesIO()
    getattr(ours, method)(buffers[0], **options)
    getattr(theirs, method)(buffers[1], **options)
    assert buffers[0].getvalue() == buffers[1].getvalue()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_nested_columns_dates_and_json():
    for columns in (None, {"any": [1, "two", {"three": [3]}]}):
        buffers = io.BytesIO(), io.BytesIO()
        if columns is None:
            ours, theirs = (d.remove_columns("raw") for d in both())
        else:
            theirs = reference.Dataset.from_dict(columns, on_mixed_types="use_json")
            ours = Dataset.from_dict(columns, on_mixed_types="use_json")
            assert ours.features == {"any": Json()}
            assert ours.to_list() == theirs.to_list() == [{"any": 1}, {"any": "two"}, {"any": {"three": [3]}}]
            assert ours.to_dict() == theirs.to_dict() == columns
            assert ours.to_pandas().equals(theirs.to_pandas())
        ours.to_json(buffers[0])
        theirs.to_json(buffers[1])
        assert buffers[0].getvalue() == buffers[1].getvalue()


def test_compression_follows_the_name(tmp_path):
    ours, theirs = both(PLAIN)
    ours.to_json(tmp_path / "a.jsonl.gz")
    theirs.to_json(str(tmp_path / "b.jsonl.gz"))
    assert pd.read_json(tmp_path / "a.jsonl.gz", lines=True).equals(pd.read_json(tmp_path / "b.jsonl.gz", lines=True))
    ours.to_json(tmp_path / "plain.gz", compression=None)
    assert json.loads((tmp_path / "plain.gz").read_text().splitlines()[0])["n"] == 1
    with pytest.raises(NotBuiltError):
        ours.to_json(tmp_path / "a", compression="zip")
    with pytest.raises(ArgumentError):
        ours.to_json(io.BytesIO(), compression="gzip")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("before")
    with pytest.raises(TypeError):
        both(PLAIN)[0].to_csv(path, no_such_option=1)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["rows.csv"]


@pytest.mark.parametrize("change", CHANGES)
def test_parquet(change, tmp_path):
    ours, theirs = map(change, both())
    written = ours.to_parquet(tmp_path / "ours"), theirs.to_parquet(str(tmp_path / "theirs"))
    # Rows picked one by one have a few bytes of masks more in the reference.
    assert written[0] == pytest.approx(written[1], rel=0.05)
    left, right = pq.read_table(tmp_path / "ours"), pq.read_table(tmp_path / "theirs")
    assert left.equals(right)
    assert left.schema.metadata[b"huggingface"] == right.schema.metadata[b"huggingface"]
    metadata = [pq.read_metadata(tmp_path / name) for name in ("ours", "theirs")]
    assert metadata[0].num_row_groups == metadata[1].num_row_groups
    assert metadata[0].metadata[b"content_defined_chunking"] == metadata[1].metadata[b"content_defined_chunking"]
    ours.to_parquet(tmp_path / "small", batch_size=2, compression="zstd", use_content_defined_chunking=False)
    assert pq.read_table(tmp_path / "small").equals(left)
    assert pq.read_metadata(tmp_path / "small").num_row_groups == -(-len(ours) // 2)


@pytest.mark.parametrize("change", CHANGES)
def test_frames_dicts_and_lists(change):
    ours, theirs = map(change, both())
    assert ours.to_dict() == theirs.to_dict()
    assert ours.to_list() == theirs.to_list()
    assert list(ours.to_dict(batch_size=2, batched=True)) == list(theirs.to_dict(batch_size=2, batched=True))
    for method, same_frames in (
        ("to_pandas", pd.testing.assert_frame_equal),
        ("to_polars", polars.testing.assert_frame_equal),
    ):
        same_frames(getattr(ours, method)(), getattr(theirs, method)())
        left = getattr(ours, method)(batch_size=2, batched=True)
        right = getattr(theirs, method)(batch_size=2, batched=True)
        for one, other in zip(left, right, strict=True):
            same_frames(one, other)


def test_databases(tmp_path):
    ours, theirs = both(PLAIN)
    tables = []
    for name, data in (("ours", ours), ("theirs", theirs)):
        with sqlite3.connect(tmp_path / name) as connection:
            assert data.to_sql("rows", connection, batch_size=2) == 5
            tables.append(pd.read_sql("SELECT * FROM rows", connection))
    assert tables[0].equals(tables[1])
    assert ours.to_sql("rows", f"sqlite:///{tmp_path}/url", batch_size=3) == 5
    with pytest.raises(NotBuiltError):
        ours.to_sql("rows", "sqlite://", num_proc=2)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("options", [{}, {"num_shards": 3}, {"max_shard_size": "1KB"}, {"num_proc": 2}], ids=str)
def test_folders_go_both_ways(change, options, tmp_path):
    ours, theirs = (change(d).with_format("numpy", columns=["id"], output_all_columns=True) for d in both())
    if len(ours) < 3 and "num_shards" in options:
        return
    ours.save_to_disk(tmp_path / "ours", **options)
    from_ours = reference.load_from_disk(str(tmp_path / "ours"))
    same(load_from_disk(tmp_path / "ours"), from_ours)
    assert from_ours.to_dict() == theirs.to_dict()
    assert from_ours.format == theirs.format
    assert load_from_disk(tmp_path / "ours")._fingerprint == ours._fingerprint
    if len(theirs):
        theirs.save_to_disk(str(tmp_path / "theirs"), **{**options, "num_proc": None})
        same(Dataset.load_from_disk(tmp_path / "theirs"), reference.load_from_disk(str(tmp_path / "theirs")))
        if "num_proc" not in options:
            assert sorted(os.listdir(tmp_path / "ours")) == sorted(os.listdir(tmp_path / "theirs"))


def test_folders_of_splits(tmp_path):
    ours, theirs = both()
    left, right = ours.train_test_split(0.3, seed=1), theirs.train_test_split(0.3, seed=1)
    left.save_to_disk(tmp_path / "ours", num_shards={"train": 2})
    right.save_to_disk(str(tmp_path / "theirs"))
    for folder in ("ours", "theirs"):
        found = load_from_disk(tmp_path / folder)
        assert isinstance(found, DatasetDict)
        same(found, reference.load_from_disk(str(tmp_path / folder)))
    with pytest.raises(FileNotFoundError, match="DatasetDict"):
        Dataset.load_from_disk(tmp_path / "ours")
    with pytest.raises(FileNotFoundError, match="one data set"):
        DatasetDict.load_from_disk(tmp_path / "ours" / "train")
    for load in (load_from_disk, Dataset.load_from_disk, DatasetDict.load_from_disk):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "absent")
    with pytest.raises(ArgumentError):
        left.save_to_disk(tmp_path / "x", num_shards=2)


def test_stores(tmp_path):
    ours, theirs = both()
    ours.save_to_disk("memory://enfold-disk/one", num_shards=2)
    same(Dataset.load_from_disk("memory://enfold-disk/one"), theirs)
    same(Dataset(reference.load_from_disk("memory://enfold-disk/one").data.table), theirs)
    splits = ours.train_test_split(0.3, seed=1)
    splits.save_to_disk("memory://enfold-disk/two")
    same(load_from_disk("memory://enfold-disk/two"), theirs.train_test_split(0.3, seed=1))
    ours.to_csv("memory://enfold-disk/rows.csv")
    assert fsspec.filesystem("memory").cat("/enfold-disk/rows.csv").startswith(b"id,text")


def test_a_folder_is_whole_or_not_there(tmp_path):
    ours, _ = both()
    ours.save_to_disk(tmp_path / "data", num_shards=4)

    class Failing(Dataset):
        def _tables(self, *args, **kwargs):
            yield from ()
            raise OSError("no space")

    failing = Failing(ours.data)
    with pytest.raises(OSError, match="no space"):
        failing.save_to_disk(tmp_path / "data", num_shards=1)
    assert load_from_disk(tmp_path / "data").to_dict() == ours.to_dict()
    assert not [name for name in os.listdir(tmp_path / "data") if "unfinished" in name]
    # Over itself, with fewer files: the old ones go, and rows that are mapped from them stay readable.
    data = load_from_disk(tmp_path / "data")
    data.select([3, 1]).save_to_disk(tmp_path / "data")
    assert sorted(os.listdir(tmp_path / "data")) == ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    assert load_from_disk(tmp_path / "data")["id"] == [3, 1]
    assert data["id"][22] == 22
    os.unlink(tmp_path / "data" / "state.json")
    with pytest.raises(FileNotFoundError, match=r"state\.json"):
        load_from_disk(tmp_path / "data")


def test_torn_and_hostile_folders_are_refused(tmp_path):
    both()[0].save_to_disk(tmp_path / "data")
    state = json.loads((tmp_path / "data" / "state.json").read_text())
    (tmp_path / "outside.arrow").write_bytes((tmp_path / "data" / "data-00000-of-00001.arrow").read_bytes())
    state["_data_files"] = [{"filename": "../outside.arrow"}]
    (tmp_path / "data" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DatasetError, match="outside"):
        load_from_disk(tmp_path / "data")
    state["_data_files"] = [{"filename": "data-00000-of-00001.arrow"}]
    (tmp_path / "data" / "state.json").write_text(json.dumps(state))
    rows = tmp_path / "data" / "data-00000-of-00001.arrow"
    rows.write_bytes(rows.read_bytes()[:-300])
    with pytest.raises(DatasetError, match="no whole Arrow file"):
        load_from_disk(tmp_path / "data")


def test_pictures_travel_with_the_folder(tmp_path):
    paths = []
    for shade in (0, 120):
        paths.append(str(tmp_path / f"{shade}.png"))
        Picture.new("RGB", (2, 3), (shade, 1, 2)).save(paths[-1])
    data = Dataset.from_dict({"image": paths, "n": [1, 2]}, Features({"image": Image(), "n": Value("int32")}))
    data.save_to_disk(tmp_path / "data")
    for path in paths:
        os.unlink(path)
    found = load_from_disk(tmp_path / "data")
    assert np.asarray(found[1]["image"])[0, 0].tolist() == [120, 1, 2]
    assert np.asarray(reference.load_from_disk(str(tmp_path / "data"))[1]["image"])[0, 0].tolist() == [120, 1, 2]
    assert [np.asarray(row["image"]).shape for row in found] == [(3, 2, 3)] * 2
    wide = found.map(lambda row: {"width": row["image"].width}, remove_columns="image")
    assert wide.to_dict() == {"n": [1, 2], "width": [2, 2]}


def test_sizes_of_files():
    assert [file_size(size) for size in ("500MB", "1GiB", "3 kb", 77)] == [500_000_000, 1 << 30, 375, 77]
    for size in ("MB", "5", "-1MB", "1.5GB"):
        with pytest.raises(ArgumentError):
            file_size(size)
    with pytest.raises(ArgumentError):
        both()[0].save_to_disk("x", max_shard_size="1MB", num_shards=2)


def test_files_and_buffers(tmp_path):
    ours, theirs = both()
    path = tmp_path / "rows.arrow"
    with pa.ipc.new_stream(str(path), theirs.data.table.schema) as writer:
        writer.write_table(theirs.data.table)
    same(Dataset.from_file(path), reference.Dataset.from_file(str(path)))
    same(Dataset.from_file(path, in_memory=True), theirs)
    assert Dataset.from_file(path, in_memory=True).cache_files == []
    assert Dataset.from_file(path).cache_files == [{"filename": str(path)}]
    same(Dataset.from_buffer(pa.py_buffer(path.read_bytes())), theirs)
    same(ours, theirs)
