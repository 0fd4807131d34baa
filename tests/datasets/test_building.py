"""What `load_dataset` builds in the cache: found again, whole or not there, and never out of a hostile archive."""

import bz2
import gzip
import lzma
import multiprocessing
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pytest

import datasets as reference
from enfold.base.errors import (
    DatasetError,
    UnsafePathError,
)
from enfold.datasets import (
    Dataset,
    load_dataset,
    load_dataset_builder,
)
from enfold.datasets.features import Features

from .loading import ROWS, tarred, zipped
from .loading import caches as caches
from .loading import folder as folder

reference.disable_progress_bars()


@pytest.mark.parametrize("name", ["../x.csv", "/x.csv", "a/../../x.csv"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_with_names_that_leave_them_are_refused(name, pack, folder):
    with pytest.raises(UnsafePathError, match="leaves the archive"):
        load_dataset("csv", data_files=folder({"a.bin": pack({name: ROWS})}) + "/a.bin")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives_are_refused(kind, folder):
    archive = tarred({"x.csv": ""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(UnsafePathError, match=r"x\.csv is a"):
        load_dataset("csv", data_files=folder({"a.tar": archive}) + "/a.tar")


def test_bombs_are_stopped(folder, monkeypatch):
    import enfold.datasets.opening as opening

    monkeypatch.setattr(opening, "_HARMLESS_BYTES", 1 << 16)
    rows = b"a\n" + b"1\n" * (1 << 18)
    for name, data in {
        "a.gz": gzip.compress(rows),
        "a.zst": pa.compress(rows, "zstd", asbytes=True),
        "a.xz": lzma.compress(rows),
    }.items():
        path = folder({name: data}) + "/" + name
        with pytest.raises(DatasetError, match="may be a bomb"):
            load_dataset("csv", data_files=path)
        assert len(load_dataset("csv", data_files=path, max_expansion=None, split="train")) == 1 << 18


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped({"a.csv": data})])
def test_torn_archives_say_so(pack, folder):
    whole = pack(("a,b\n" + "".join(f"{row},{row * row}\n" for row in range(5000))).encode())
    with pytest.raises(DatasetError, match=r"a\.bin"):
        load_dataset("csv", data_files=folder({"a.bin": whole[: len(whole) // 2]}) + "/a.bin")


def test_what_was_built_is_found_again(folder, monkeypatch):
    root = folder({"train.csv": ROWS})
    first = load_dataset(root, split="train")
    monkeypatch.setattr("enfold.datasets.builder.write_splits", lambda *_, **__: pytest.fail("read again"))
    again = load_dataset(root, split="train")
    assert again.cache_files == first.cache_files
    assert again._fingerprint == first._fingerprint
    assert again.info.splits["train"].num_examples == 2
    for change in (
        lambda: load_dataset(
            root, split="train", features=Features.from_dict({"a": {"_type": "Value", "dtype": "string"}})
        ),
        lambda: load_dataset(root, split="train", sep=";"),
        lambda: load_dataset(root, split="train", download_mode="force_redownload"),
        lambda: Path(root, "train.csv").write_text(ROWS + "3,z\n") and load_dataset(root, split="train"),
    ):
        with pytest.raises(pytest.fail.Exception, match="read again"):
            change()


def test_the_cache_is_readable_by_the_reference(folder):
    data = load_dataset(folder({"train.jsonl": '{"a": [{"b": 1}], "c": "x"}\n'}), split="train")
    (file,) = data.cache_files
    theirs = reference.Dataset.from_file(file["filename"])
    assert theirs.features.to_dict() == data.features.to_dict()
    assert theirs.to_list() == data.to_list()


def test_a_build_that_fails_leaves_nothing(folder, tmp_path):
    root = folder({"train.csv": ROWS, "test.csv": "a,b\n1,x,2\n1,2\n"})
    with pytest.raises(DatasetError):
        load_dataset(root)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def _load_in_child(root: str, queue) -> None:
    queue.put(load_dataset(root, split="train")["a"][:])


def test_processes_that_want_the_same_build_it_once(folder, tmp_path):
    root = folder({f"train-{index}.csv": ROWS for index in range(4)})
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_load_in_child, args=(root, queue)) for _ in range(3)]
    for child in children:
        child.start()
    answers = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert answers == [[1, 2] * 4] * 3
    assert len(list((tmp_path / "cache").rglob("dataset_info.json"))) == 1


def test_files_are_shared_by_processes(folder, tmp_path):
    root = folder({f"train-{index}.csv": f"a\n{index}\n{index * 10}\n" for index in range(5)})
    one = load_dataset(root, split="train")
    two = load_dataset(root, split="train", num_proc=2, cache_dir=tmp_path / "two")
    assert two["a"][:] == one["a"][:]
    assert len(two.cache_files) == 2
    assert two.info.splits["train"].original_shard_lengths == [2] * 5
    assert load_dataset(root, split="train[3:7]", cache_dir=tmp_path / "two")["a"][:] == one["a"][3:7]


def test_long_splits_end_up_in_several_files(folder):
    root = folder({"train.csv": "a\n" + "".join(f"{row}\n" for row in range(50_000))})
    builder = load_dataset_builder(root)
    builder.download_and_prepare(max_shard_size="100KB")
    data = builder.as_dataset("train")
    assert isinstance(data, Dataset)
    assert len(data.cache_files) > 1
    assert data["a"][:] == list(range(50_000))
    assert builder.as_dataset("train[20000:20010]")["a"][:] == list(range(20_000, 20_010))


def test_a_build_that_a_power_cut_may_have_torn_is_built_again(folder, monkeypatch):
    monkeypatch.setattr("enfold.datasets.builder.sync_later", lambda *_: None)
    root = folder({"train.csv": ROWS})
    data = load_dataset(root, split="train")
    (file,) = (Path(entry["filename"]) for entry in data.cache_files)
    mark = file.parent / ".unsynced"
    assert mark.is_file()
    written = file.stat().st_ino
    assert load_dataset(root, split="train").cache_files == data.cache_files
    assert file.stat().st_ino == written
    file.write_bytes(bytes(file.stat().st_size))
    mark.write_text("another start of the machine")
    assert load_dataset(root, split="train")["a"][:] == [1, 2]


def test_builds_reach_the_disk_in_their_own_time(folder, monkeypatch):
    monkeypatch.setattr("enfold.datasets.cache._PAUSE_SECONDS", 0.05)
    data = load_dataset(folder({"train.csv": ROWS}), split="train")
    mark = Path(data.cache_files[0]["filename"]).parent / ".unsynced"
    deadline = time.monotonic() + 30
    while mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not mark.exists()


def test_keep_in_memory_reads_the_files(folder):
    data = load_dataset(folder({"train.csv": ROWS}), split="train", keep_in_memory=True)
    assert data.cache_files == []
    assert data["a"][:] == [1, 2]
