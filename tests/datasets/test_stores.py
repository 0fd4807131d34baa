"""S3 and Spark, with the real things on loopback."""

import gzip
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enfold.base.errors import DataFilesNotFoundError
from enfold.datasets import Dataset, load_dataset

ROWS = "a,b\n1,x\n2,y\n"


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def s3(monkeypatch):
    """A bucket on a server that speaks S3, and the options with which it is reached."""
    import fsspec
    from moto import server

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unused")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    options = {"key": "unused", "secret": "unused", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    store = fsspec.filesystem("s3", **options)
    store.mkdir("bucket")
    yield store, options
    running.stop()


def test_files_in_s3(s3, tmp_path):
    store, options = s3
    store.pipe("bucket/data/train-0.csv", ROWS.encode())
    store.pipe("bucket/data/train-1.csv.gz", gzip.compress(ROWS.encode()))
    pq.write_table(pa.table({"a": range(10)}), tmp_path / "t.parquet", row_group_size=3)
    store.pipe("bucket/t.parquet", (tmp_path / "t.parquet").read_bytes())
    for given in (options, {"s3": options}):
        data = load_dataset("csv", data_files="s3://bucket/data/*", split="train", storage_options=given)
        assert data["a"][:] == [1, 2, 1, 2]
        stream = load_dataset(
            "csv", data_files="s3://bucket/data/*", split="train", storage_options=given, streaming=True
        )
        assert [row["a"] for row in stream] == [1, 2, 1, 2]
    stream = load_dataset("parquet", data_files="s3://bucket/t.parquet", storage_options=options, streaming=True)
    assert [row["a"] for row in stream["train"].skip(5)] == [5, 6, 7, 8, 9]
    store.pipe("bucket/data/train-0.csv", (ROWS + "3,z\n").encode())
    data = load_dataset("csv", data_files="s3://bucket/data/*", split="train", storage_options=options)
    assert data["a"][:] == [1, 2, 3, 1, 2]
    with pytest.raises(DataFilesNotFoundError):
        load_dataset("csv", data_files="s3://bucket/nothing.csv", storage_options=options)


def test_a_spark_frame():
    pytest.importorskip("pyspark", reason="pyspark is not among the packages for development (issue 5)")
    if shutil.which("java") is None:
        pytest.skip("Spark needs a Java runtime (issue 5)")
    from pyspark.sql import SparkSession  # pyright: ignore[reportMissingImports]

    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    try:
        rows = [(row, f"s{row}", [row, row + 1], {"x": row}) for row in range(20)]
        frame = session.createDataFrame(rows, "a long, b string, c array<int>, d struct<x: int>").repartition(3, "a")
        data = load_dataset("spark", df=frame, split="train")
        assert sorted(data["a"][:]) == list(range(20))
        assert data[0]["c"] == [data[0]["a"], data[0]["a"] + 1]
        assert data[0]["d"] == {"x": data[0]["a"]}
        assert load_dataset("spark", df=frame, split="train").cache_files == data.cache_files
        assert Dataset.from_spark(frame).to_list() == data.to_list()
        stream = load_dataset("spark", df=frame, split="train", streaming=True)
        assert stream.num_shards == 3
        assert list(stream) == data.to_list()
    finally:
        session.stop()
