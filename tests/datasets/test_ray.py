"""Functions over rows on a real Ray cluster, on loopback."""

import os
from pathlib import Path

import numpy as np
import pytest

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets import Dataset, Features, List, Value, load_from_disk

ROWS = 103
# The machine that a task runs on tells who called.
DRIVER = os.getpid()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    ray = pytest.importorskip("ray", reason="ray is too large for the packages for development (issue 5)")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=100 << 20,
        log_to_driver=False,
    )
    yield ray
    ray.shutdown()


@pytest.fixture
def data(tmp_path):
    columns = {"id": list(range(ROWS)), "text": [f"row {i}" if i % 5 else None for i in range(ROWS)]}
    Dataset.from_dict({**columns, "ids": [[i] * (i % 3) for i in range(ROWS)]}).save_to_disk(tmp_path / "data")
    return load_from_disk(tmp_path / "data")


def test_the_same_as_here(cluster, data, tmp_path):
    offset = 7
    steps = {
        "map": lambda rows, **how: rows.map(
            lambda row, index, rank: {"n": index + offset, "rank": rank}, with_indices=True, with_rank=True, **how
        ),
        "batched": lambda rows, **how: rows.map(
            lambda batch: {"twice": [np.array(ids * 2, np.int64) for ids in batch["ids"]]},
            batched=True,
            batch_size=10,
            remove_columns=["ids"],
            **how,
        ),
        "unchanged": lambda rows, **how: rows.map(lambda row: None, **how),
        "filter": lambda rows, **how: rows.filter(lambda row, index: index % 3 == 1, with_indices=True, **how),
    }
    for rows in (data, data.shuffle(seed=3), data.with_format("numpy"), data.select(range(20, 90))):
        for name, step in steps.items():
            ours = step(rows, num_proc=2, executor="ray", load_from_cache_file=False)
            here = step(rows, num_proc=2, load_from_cache_file=False)
            assert ours._fingerprint == here._fingerprint, name
            assert ours.features == here.features, name
            assert ours.with_format(None).to_list() == here.with_format(None).to_list(), name
            assert ours.cache_files == here.cache_files, name
            in_memory = step(rows, num_proc=3, executor="ray", keep_in_memory=True, load_from_cache_file=False)
            assert in_memory.with_format(None).to_list()[:5] == here.with_format(None).to_list()[:5] or name == "map"


def test_results_are_found_again(cluster, data, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()

    def marked(row):
        Path(marks, str(row["id"])).write_text(str(os.getpid()))
        return {"twice": row["id"] * 2}

    first = data.map(marked, num_proc=2, executor="ray")
    makers = {mark.read_text() for mark in marks.iterdir()}
    assert len(list(marks.iterdir())) == ROWS
    assert str(DRIVER) not in makers
    for mark in marks.iterdir():
        mark.unlink()
    for how in ({"executor": "ray"}, {}):
        again = data.map(marked, num_proc=2, **how)
        assert again.cache_files == first.cache_files
        assert again["twice"][:] == [2 * i for i in range(ROWS)]
    assert not list(marks.iterdir())
    # One file that is lost is made again alone.
    Path(first.cache_files[1]["filename"]).unlink()
    assert data.map(marked, num_proc=2, executor="ray")["twice"][:] == [2 * i for i in range(ROWS)]
    assert len(list(marks.iterdir())) == ROWS // 2
    assert len(data.map(lambda row: {"b": 1}, executor="ray").cache_files) == 2  # as many as there are CPUs


def test_errors_come_back(cluster, data):
    def broken(row):
        if row["id"] == 77:
            raise KeyError("seventy-seven")
        return {"b": 1}

    with pytest.raises(KeyError, match="seventy-seven") as raised:
        data.map(broken, num_proc=2, executor="ray")
    assert any("process 1 of 2" in note for note in raised.value.__notes__)
    with pytest.raises(DatasetError, match="of 2 of the Ray cluster failed"):
        data.map(lambda row: os._exit(1), num_proc=2, executor="ray")
    # The part that was made is kept for the next try, and nothing that is torn.
    folder = Path(data.cache_files[0]["filename"]).parent
    assert not list(folder.glob("cache-*_00001_of_00002.arrow"))
    assert not list(folder.glob(".*unfinished*"))


def test_what_is_no_executor_is_refused():
    with pytest.raises(ArgumentError, match="executor='dask'"):
        Dataset.from_dict({"a": [1]}).map(lambda row: row, executor="dask")


def test_rows_of_ray_data(cluster, tmp_path, monkeypatch):
    import pandas as pd
    import pyarrow as pa

    from enfold.datasets import IterableDataset, load_dataset

    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "cache"))
    held = cluster.data.from_items(
        [{"n": i, "ids": [1] * i, "at": {"x": f"x{i}"}, "v": np.full((2, 3), i, np.float32)} for i in range(20)],
        override_num_blocks=3,
    ).materialize()
    wanted = [
        {"n": i, "ids": [1] * i, "at": {"x": f"x{i}"}, "v": [[float(i)] * 3] * 2}
        for i in (row["n"] for row in held.take_all())
    ]
    data = Dataset.from_ray(held)
    assert data.to_list() == wanted
    # The first block's only list is empty: its type is that of the others.
    assert data.features["ids"] == List(Value("int64"))
    assert data.features["v"] == List(List(Value("float32")))
    assert Dataset.from_ray(held).cache_files != data.cache_files
    assert not (tmp_path / "cache").exists()
    stream = IterableDataset.from_ray(held)
    assert stream.num_shards == 3
    assert list(stream.skip(5)) == wanted[5:]
    # A plan that nobody has run yet is read while it runs.
    plan = held.filter(lambda row: row["n"] % 2).map_batches(lambda batch: {"n": batch["n"], "w": batch["v"][:, 0]})
    kept = [{"n": row["n"], "w": row["v"][0]} for row in wanted if row["n"] % 2]
    assert sorted(load_dataset("ray", ds=plan, split="all").to_list(), key=str) == sorted(kept, key=str)
    features = Features({"n": Value("int8"), "w": List(Value("float64"))})
    found = Dataset.from_ray(plan, features=features, fingerprint="x")
    assert found.features == features
    assert Dataset.from_ray(plan, features=features, fingerprint="x").cache_files == found.cache_files
    frame = pd.DataFrame({"a": [1, 2], "s": ["x", None]})
    assert Dataset.from_ray(cluster.data.from_pandas(frame)).to_list() == [{"a": 1, "s": "x"}, {"a": 2, "s": None}]
    shapes = [{"v": np.ones((rows, 2), np.int16)} for rows in (1, 3)]
    data = Dataset.from_ray(cluster.data.from_items(shapes, override_num_blocks=1))
    assert data["v"][:] == [[[1, 1]], [[1, 1]] * 3]
    empty = cluster.data.from_arrow(pa.table({"a": [1]})).filter(lambda row: row["a"] > 1)
    assert len(Dataset.from_ray(empty)) == 0
    with pytest.raises(DatasetError, match=r"'o' .* pickled"):
        Dataset.from_ray(cluster.data.from_items([{"o": object()}]))
    with pytest.raises(ArgumentError, match=r"ray\.data\.Dataset"):
        Dataset.from_ray([{"a": 1}])
    with pytest.raises(ArgumentError, match="num_proc"):
        load_dataset("ray", ds=held, num_proc=2)
