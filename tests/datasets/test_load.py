"""load_dataset beside the reference: the same folders, cards and options; splits, features, values, order."""

import bz2
import gzip
import json
import lzma
import os
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

import datasets as reference
from enfold.base.errors import (
    ArgumentError,
    DataFilesNotFoundError,
    DatasetError,
    NotBuiltError,
    OfflineError,
    RepositoryNotFoundError,
    TornFileError,
    UnsafePathError,
)
from enfold.datasets import (
    Dataset,
    get_dataset_config_info,
    get_dataset_config_names,
    get_dataset_default_config_name,
    get_dataset_infos,
    get_dataset_split_names,
    load_dataset,
)

from ..hub.conftest import cache as cache
from ..hub.conftest import hub as hub
from .loading import ROWS, picture, plain, same, tarred, zipped
from .loading import caches as caches
from .loading import folder as folder

reference.disable_progress_bars()

LAYOUTS = [
    {"train.csv": ROWS, "test.csv": ROWS},
    {"data.csv": ROWS},
    {"data/train-00000-of-00002.csv": ROWS, "data/train-00001-of-00002.csv": ROWS, "data/x-00000-of-00001.csv": ROWS},
    {"train/a.csv": ROWS, "dev/b.csv": ROWS, "evaluation/c.csv": ROWS},
    {"my_train_file.csv": ROWS, "my_val.csv": ROWS, "x-test-1.csv": ROWS},
    {"a/train/1.csv": ROWS, "b/test/2.csv": ROWS},
    {"__pycache__/train.csv": ROWS, "x.csv": ROWS, ".hidden/test.csv": ROWS},
    {"Train.csv": ROWS, "contest.csv": ROWS},
    {"val.csv": ROWS, "validation.csv": ROWS, "dev.csv": ROWS},
    {"train_files/a.csv": ROWS, "eval-files/b.csv": ROWS},
    {"x.tsv": "a\tb\n1\t2\n"},
    {"train.txt": "a\nb\n"},
    {"a.txt": "a\n", "b.csv": ROWS, "c.csv": ROWS},
    {"train.csv.gz": gzip.compress(ROWS.encode()), "test.csv.bz2": bz2.compress(ROWS.encode())},
    {"train.csv.xz": lzma.compress(ROWS.encode())},
    {"train.csv.zst": pa.compress(ROWS.encode(), "zstd", asbytes=True)},
    {"train.zip": zipped({"b/x.csv": ROWS, "a.csv": ROWS, ".h.csv": ROWS})},
    {"train/cat/1.png": picture(1), "train/dog/2.png": picture(2), "test/cat/3.png": picture(3)},
    {"1.png": picture(1), "2.png": picture(2)},
    {"cat/1.png": picture(1), "cat/2.png": picture(2)},
    {"cat/1.png": picture(1), "x/dog/2.png": picture(2)},
    {"1.JPG": picture(1)},
    {"1.png": picture(1), "2.png": picture(2), "metadata.csv": "file_name,cap\n2.png,two\n1.png,one\n"},
    {"train/s/2.png": picture(2), "train/metadata.jsonl": '{"file_name":"s/2.png","o":{"x":[1]}}\n'},
    {"1.png": picture(1), "metadata.jsonl": '{"left_file_name":"1.png","more_file_names":["1.png","1.png"]}\n'},
    {"train.tar": tarred({"d/1.txt": "hello", "d/1.png": picture(1), "d/2.txt": "bye", "d/2.png": picture(2)})},
]  # fmt: skip


@pytest.mark.parametrize("files", LAYOUTS, ids=lambda files: " ".join(files))
def test_a_folder_is_loaded_as_by_the_reference(files, folder, tmp_path):
    same(tmp_path, folder(files))


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("train", 5),
        ("train[:50%]", 2),
        ("train[1:3]+test", 4),
        ("test+train[-1:]", 3),
        ("train[:1]+train[1:]", 5),
        (reference.ReadInstruction("train", from_=1, unit="abs").to_spec(), 4),
        ("all", 7),
    ],
)
def test_expressions_choose_the_rows_that_they_do_in_the_reference(split, rows, folder, tmp_path):
    root = folder({"train.csv": "a\n" + "".join(f"{row}\n" for row in range(5)), "test.csv": "a\n10\n11\n"})
    data = load_dataset(root, split=split)
    theirs = reference.load_dataset(root, split=split, cache_dir=str(tmp_path / "theirs"))
    assert data["a"][:] == theirs["a"][:]
    assert len(data) == rows
    assert str(data.split) == str(theirs.split)
    both = load_dataset(root, split=["test", "train[:1]"])
    assert [part["a"][:] for part in both] == [[10, 11], [0]]


def test_data_files_in_every_form(folder, tmp_path):
    root = folder({"train.csv": ROWS, "test.csv": ROWS, "deep/er/x.csv": ROWS})
    for files in (
        f"{root}/train.csv",
        [f"{root}/train.csv", f"{root}/test.csv"],
        {"train": f"{root}/train.csv", "held_out": [f"{root}/test.csv"]},
        f"{root}/**/*.csv",
        {"train": f"{root}/t*.csv"},
        f"file://{root}/train.csv",
        [{"split": "train", "path": f"{root}/train.csv"}, {"split": "x", "path": [f"{root}/test.csv"]}],
    ):
        same(tmp_path, "csv", data_files=files)
    same(tmp_path, "csv", data_dir=root)
    same(tmp_path, root, data_files="deep/**")
    same(tmp_path, root, data_dir="deep")
    packed = folder({"a.tar.gz": tarred({"b/x.csv": ROWS, "a.csv": ROWS}, "w:gz")})
    same(tmp_path, "csv", data_files=f"{packed}/a.tar.gz")
    packed = folder({"a.zip": zipped({"b/x.csv": ROWS})})
    for pattern in ("b/x.csv", "b/*.csv"):
        assert load_dataset("csv", data_files=f"zip://{pattern}::{packed}/a.zip", split="train")["a"][:] == [1, 2]


def test_stores_that_fsspec_knows(folder):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/enfold-load/train/a.csv", ROWS.encode())
    store.pipe("/enfold-load/train/b.csv.gz", gzip.compress(ROWS.encode()))
    files = "memory://enfold-load/train/*"
    assert len(load_dataset("csv", data_files=files, split="train")) == 4
    store.pipe("/enfold-load/train/a.csv", (ROWS + "3,z\n").encode())
    assert len(load_dataset("csv", data_files=files, split="train")) == 5
    with pytest.raises(DataFilesNotFoundError, match="nothing"):
        load_dataset("csv", data_files="memory://enfold-load/nothing.csv")
    store.rm("/enfold-load", recursive=True)


CARDS = {
    "patterns": "configs:\n- config_name: one\n  data_files: 'a/*.csv'\n- config_name: two\n  default: true\n"
    "  data_files:\n  - split: train\n    path: b/x.csv\n  - split: dev\n    path:\n    - b/y.csv\n  sep: ';'\n",
    "folders": "configs:\n- config_name: one\n  data_dir: a\n- config_name: two\n  data_dir: b\n",
    "one": "configs:\n- config_name: one\n  data_files: a/1.csv\n  features:\n  - name: a\n    dtype: string\n"
    "  - name: b\n    dtype: string\n",
}


@pytest.mark.parametrize("card", CARDS)
def test_cards_describe_configurations(card, folder, tmp_path):
    files = {"a/1.csv": ROWS, "a/2.csv": ROWS, "b/x.csv": "q;r\n1;2\n", "b/y.csv": "q;r\n3;4\n"}
    root = folder({"README.md": f"---\n{CARDS[card]}---\n# Data\n", **files})
    names = get_dataset_config_names(root)
    assert names == reference.get_dataset_config_names(root)
    default = get_dataset_default_config_name(root)
    assert default == reference.get_dataset_default_config_name(root)
    for name in names:
        same(tmp_path, root, name)
        assert get_dataset_split_names(root, name) == reference.get_dataset_split_names(root, name)
    if default is None:
        with pytest.raises(ArgumentError, match="several configurations"):
            load_dataset(root)
    else:
        same(tmp_path, root)
    with pytest.raises(ArgumentError, match="no configuration 'three'"):
        load_dataset(root, "three")
    assert list(get_dataset_infos(root)) == names


INFO = """---
dataset_info:
  features:
  - name: a
    dtype: float32
  - name: b
    dtype:
      class_label:
        names:
          '0': x
          '1': y
  splits:
  - name: train
    num_bytes: 3
    num_examples: 2
---
"""


def test_a_card_s_features_and_sizes_hold(folder, tmp_path):
    root = folder({"README.md": INFO, "train.csv": ROWS})
    same(tmp_path, root)
    assert get_dataset_config_info(root).splits["train"].num_examples == 2
    wrong = folder({"README.md": INFO.replace("num_examples: 2", "num_examples: 3"), "train.csv": ROWS})
    with pytest.raises(DatasetError, match="2 rows, announced 3"):
        load_dataset(wrong)
    same(tmp_path, wrong, verification_mode="no_checks")


@pytest.mark.parametrize("options", [{"drop_labels": True}, {"drop_labels": False}, {"drop_metadata": True}])
def test_options_of_image_folders(options, folder, tmp_path):
    same(tmp_path, "imagefolder", data_dir=folder({"cat/1.png": picture(1), "dog/2.png": picture(2)}), **options)


def test_image_folders_in_archives(folder):
    labelled = load_dataset(folder({"train.zip": zipped({"cat/1.png": picture(1), "dog/2.png": picture(2)})}))["train"]
    assert labelled.features["label"].names == ["cat", "dog"]
    assert labelled["label"][:] == [0, 1]
    described = {"1.png": picture(1), "s/2.png": picture(9), "metadata.csv": "file_name,c\ns/2.png,2\n1.png,1\n"}
    data = load_dataset(folder({"train.zip": zipped(described)}))["train"]
    assert data["c"][:] == [2, 1]
    assert data[0]["image"].getpixel((0, 0)) == 9


def test_audio_folders_have_labels_too(folder):
    data = load_dataset(folder({"a/1.wav": b"RIFF1", "b/2.wav": b"RIFF2"}), split="train")
    assert data.features["label"].names == ["a", "b"]
    assert [os.path.basename(row["audio"]["path"]) for row in data.data.to_pylist()] == ["1.wav", "2.wav"]


def test_metadata_can_not_point_out_of_its_folder(folder):
    for name in ("../x.png", "/etc/passwd", "file:///etc/passwd", "a/../../x.png"):
        root = folder({"1.png": picture(1), "metadata.csv": f"file_name,c\n{name},1\n"})
        with pytest.raises(UnsafePathError, match="leaves the folder"):
            load_dataset(root)


def test_sql_by_table_and_by_query(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t(a int, b text, c real)")
        connection.executemany("insert into t values(?, ?, ?)", [(row, f"s{row}", row / 2) for row in range(5)])
    theirs = reference.Dataset.from_sql("select * from t", f"sqlite:///{path}", cache_dir=str(tmp_path / "theirs"))
    for sql in ("select * from t", "t"):
        ours = load_dataset("sql", sql=sql, con=f"sqlite:///{path}", split="train")
        assert plain(ours) == plain(theirs)
    assert len(load_dataset("sql", sql="select a from t where a > 2", con=connection, split="train")) == 2
    with pytest.raises(DatasetError, match="failed"):
        load_dataset("sql", sql="select nothing from nowhere", con=f"sqlite:///{path}")
    with pytest.raises(ArgumentError, match="sql= and con="):
        load_dataset("sql", sql="t")


def repository(cache: Path, repo: str, files: dict[str, str]) -> None:
    """Lay out a dataset repository in the hub's cache, as the official client does."""
    storage = cache / f"datasets--{repo.replace('/', '--')}"
    commit = "c" * 40
    for name, content in files.items():
        path = storage / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(commit)


def test_a_repository_in_the_cache_needs_no_network(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {name}\n  data_files: {name[0]}/*.jsonl\n" for name in ("small", "big")
    )
    card += "---\n"
    line = json.dumps({"text": "good", "label": 1}) + "\n"
    repository(
        tmp_path / "hub", "Salesforce/wikitext", {"README.md": card, "s/train.jsonl": line, "b/train.jsonl": line * 2}
    )
    repository(tmp_path / "hub", "stanfordnlp/imdb", {"train.jsonl": line * 3, "test.jsonl": line})
    repository(tmp_path / "hub", "org/script", {"script.py": "raise SystemExit", "train.csv": ROWS})
    assert len(load_dataset("wikitext", "big")["train"]) == 2
    assert len(load_dataset("Salesforce/wikitext", "small", split="train")) == 1
    assert {split: len(part) for split, part in load_dataset("imdb").items()} == {"train": 3, "test": 1}
    assert len(load_dataset("json", data_files="hf://datasets/imdb/train.jsonl", split="train")) == 3
    assert load_dataset("hf://datasets/stanfordnlp/imdb", split="test")["text"][:] == ["good"]
    assert get_dataset_config_names("wikitext") == ["small", "big"]
    with pytest.raises(DatasetError, match="no script is ever run"):
        load_dataset("org/script")
    with pytest.raises(OfflineError):
        load_dataset("org/absent")


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        ({"path": "/nope/nope"}, DataFilesNotFoundError, "no folder"),
        ({"path": "csv", "data_files": "/nope.csv"}, FileNotFoundError, "no data file"),
        ({"path": "csv", "data_files": "/nope/*.csv"}, FileNotFoundError, "No data file"),
        ({"path": "pandas", "data_files": "x.pkl"}, DatasetError, "pickle"),
        ({"path": "hdf5", "data_files": "x.h5"}, NotBuiltError, "hdf5"),
        ({"path": "csv", "data_files": 3}, TypeError, "iterable"),
        ({"path": "csv", "data_files": {"a b": "x.csv"}}, ArgumentError, "split"),
        ({"path": "csv", "download_config": object()}, NotBuiltError, "download_config"),
        ({"path": "csv", "save_infos": True}, NotBuiltError, "save_infos"),
        ({"path": "csv", "streaming": True, "num_proc": 2}, NotBuiltError, "num_proc"),
        ({"path": "buckets/a/b"}, NotBuiltError, "buckets"),
    ],
)
def test_what_can_not_be_loaded_says_why(arguments, error, what):
    with pytest.raises(error, match=what):
        load_dataset(**arguments)


def test_trust_in_scripts_changes_nothing(folder, caplog):
    root = folder({"train.csv": ROWS})
    with caplog.at_level("WARNING", logger="enfold.datasets"):
        assert len(load_dataset(root, split="train", trust_remote_code=True)) == 2
    assert "no script is ever run" in caplog.text


def test_other_mistakes_are_named(folder, tmp_path):
    root = folder({"train.csv": ROWS, "x.py": "raise SystemExit"})
    with pytest.raises(DatasetError, match="no script is ever run"):
        load_dataset(f"{root}/x.py")
    with pytest.raises(ArgumentError, match="Name its format"):
        load_dataset(f"{root}/train.csv")
    with pytest.raises(ArgumentError, match="Unknown split 'nope'"):
        load_dataset(root, split="nope")
    with pytest.raises(DatasetError, match="load_from_disk"):
        load_dataset(folder({"state.json": "{}", "data-00000-of-00001.arrow": ""}))
    with pytest.raises(DatasetError, match="different formats"):
        load_dataset(folder({"train.txt": "a\n", "test.csv": ROWS}))
    with pytest.raises(DatasetError, match=r"configs: .* is a str"):
        load_dataset(folder({"README.md": "---\nconfigs: x\n---\n", "a.csv": ROWS}))


def numbers(parts, scale):
    for part in parts:
        for number in range(3):
            yield {"part": part, "number": number * scale}


def test_generators_are_built_once(tmp_path):
    ours = Dataset.from_generator(numbers, gen_kwargs={"parts": ["a", "b"], "scale": 2})
    theirs = reference.Dataset.from_generator(
        numbers, gen_kwargs={"parts": ["a", "b"], "scale": 2}, cache_dir=str(tmp_path / "theirs")
    )
    assert plain(ours) == plain(theirs)
    again = Dataset.from_generator(numbers, gen_kwargs={"parts": ["a", "b"], "scale": 2})
    assert again.cache_files == ours.cache_files
    other = Dataset.from_generator(numbers, gen_kwargs={"parts": ["a", "b"], "scale": 3}, split="held_out")
    assert other["number"][:] == [0, 3, 6] * 2
    assert str(other.split) == "held_out"
    shared = Dataset.from_generator(
        numbers, gen_kwargs={"parts": ["a", "b"], "scale": 2}, num_proc=2, cache_dir=str(tmp_path / "shared")
    )
    assert plain(shared) == plain(theirs)
    assert len(shared.cache_files) == 2
    with pytest.raises(ArgumentError, match="generator="):
        load_dataset("generator")


def test_streams_are_the_rows_of_a_build(folder, tmp_path):
    root = folder({"train-0.csv": ROWS, "train-1.csv.gz": gzip.compress(ROWS.encode()), "test.csv": ROWS})
    built, streamed = load_dataset(root), load_dataset(root, streaming=True)
    assert list(streamed) == list(built)
    for split in built:
        assert list(streamed[split]) == built[split].to_list()
    train = load_dataset(root, split="train", streaming=True)
    assert train.num_shards == 2
    assert list(train.skip(3)) == built["train"].to_list()[3:]
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    with pytest.raises(ArgumentError, match="no known length"):
        load_dataset(root, split="train[:2]", streaming=True)
    with pytest.raises(ArgumentError, match="Bad split"):
        load_dataset(root, split="nope", streaming=True)
    for layout in ({"cat/1.png": picture(1), "dog/2.png": picture(2)}, {"a.jsonl": '{"a": [1, "x"]}\n'}):
        root = folder(layout)
        rows = list(load_dataset(root, split="train", streaming=True))
        assert [sorted(row) for row in rows] == [sorted(row) for row in load_dataset(root, split="train")]


@pytest.fixture
def server(tmp_path):
    """A folder that an HTTP server on loopback serves, its address, and the requests that came."""
    import http.server
    import threading

    served, requests = tmp_path / "served", []
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(served))

        def log_message(self, format, *values):
            requests.append(values[0])

        def do_GET(self):
            if "cut" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"a,b\n1,x\n")
                self.close_connection = True
            else:
                super().do_GET()

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield served, f"http://127.0.0.1:{listening.server_address[1]}", requests
    listening.shutdown()
    listening.server_close()


def test_files_from_the_web(server, table_file):
    served, url, requests = server
    for name in ("a.csv", "cut.csv"):
        (served / name).write_text(ROWS)
    (served / "b.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    (served / "t.parquet").write_bytes(table_file.read_bytes())
    files = [f"{url}/a.csv", f"{url}/b.csv.gz?download=true"]
    assert len(load_dataset("csv", data_files=files, split="train")) == 4
    before = sum("GET" in request for request in requests)
    assert len(load_dataset("csv", data_files=files, split="train")) == 4
    assert sum("GET" in request for request in requests) == before
    assert len(list(load_dataset("csv", data_files=files, split="train", streaming=True))) == 4
    for streaming in (False, True):
        data = load_dataset("parquet", data_files=f"{url}/t.parquet", split="train", streaming=streaming)
        assert [row["a"] for row in data] == [1, 2, 3]
        with pytest.raises(TornFileError, match="cut short"):
            list(load_dataset("csv", data_files=f"{url}/cut.csv", split="train", streaming=streaming))
    with pytest.raises(DataFilesNotFoundError, match="404"):
        load_dataset("csv", data_files=f"{url}/nothing.csv")
    with pytest.raises(ArgumentError, match="list no files"):
        load_dataset("csv", data_files=f"{url}/*.csv")


@pytest.fixture
def table_file(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_a_repository_from_a_hub(hub):
    repo = hub.add("org/data", {"train.csv": ROWS.encode(), "test/x.csv": ROWS.encode(), "README.md": b"# Data"})
    data = load_dataset("org/data")
    assert {split: len(part) for split, part in data.items()} == {"test": 2}
    asked = len(hub.requests)
    assert len(load_dataset("org/data", split="test")) == 2
    assert len(hub.requests) == asked
    repo.push({"train.csv": (ROWS + "3,z\n").encode()})
    assert len(load_dataset("org/data", split="test")) == 2
    fresh = load_dataset("org/data", split="train", download_mode="force_redownload")
    assert fresh["a"][:] == [1, 2, 3]
    assert [row["a"] for row in load_dataset("org/data", split="train", streaming=True)] == [1, 2, 3]
    hub.add("org/secret", {"train.csv": ROWS.encode()}, private=True)
    with pytest.raises(RepositoryNotFoundError):
        load_dataset("org/secret")
    assert len(load_dataset("org/secret", split="train", token="hf_good")) == 2
