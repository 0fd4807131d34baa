"""Rows into a repository: what is uploaded, what the card says beside the reference's; the reference loads it."""

import io

import fsspec
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from datasets.arrow_dataset import _get_updated_dataset_card
from fsspec.implementations.dirfs import DirFileSystem

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, HubError
from enfold.datasets.dataset import Dataset
from enfold.datasets.dataset_dict import DatasetDict
from enfold.datasets.features import ClassLabel, Features, Image, List, Value
from enfold.datasets.iterable_dict import IterableDatasetDict
from enfold.datasets.publish import Pushed, updated_card
from enfold.datasets.splits import SplitInfo
from tests.hub.conftest import cache, hub  # noqa: F401

FEATURES = {"text": Value("string"), "label": ClassLabel(names=["no", "yes"]), "ids": List(Value("int32"))}


def rows(count: int, start: int = 0) -> Dataset:
    columns = {
        "text": [f"row {start + index}" for index in range(count)],
        "label": [index % 2 for index in range(count)],
        "ids": [[index] * (index % 3) for index in range(count)],
    }
    return Dataset.from_dict(columns, Features(FEATURES))


def files_of(hub, repo_id="ada/data", branch="main") -> dict[str, bytes]:  # noqa: F811
    repo = hub.repos[repo_id]
    return repo.commits[repo.refs[branch]]


def loaded(hub, tmp_path, name=None, **where):  # noqa: F811
    """The repository as the reference loads it."""
    folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
    for path, content in files_of(hub, **where).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return reference.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache-of-reference"))


def test_a_split_and_another_one(hub, tmp_path):  # noqa: F811
    commit = rows(10).push_to_hub("data", token="hf_good", commit_message="First", num_shards=3)
    assert commit.oid == hub.repos["ada/data"].refs["main"]
    assert [name for name in files_of(hub) if name.startswith("data/")] == [
        f"data/train-0000{index}-of-00003.parquet" for index in range(3)
    ]
    rows(4, 50).push_to_hub("ada/data", split="test", token="hf_good")
    theirs = loaded(hub, tmp_path)
    assert list(theirs) == ["train", "test"]
    assert theirs["train"][:] == rows(10)[:]
    assert theirs["test"]["text"][:] == ["row 50", "row 51", "row 52", "row 53"]
    assert theirs["train"].features.to_dict() == Features(FEATURES).to_dict()
    # fewer files in place of more: the old ones go
    rows(5).push_to_hub("ada/data", token="hf_good")
    assert sorted(files_of(hub)) == [
        ".gitattributes",
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    assert loaded(hub, tmp_path)["train"].num_rows == 5


def test_a_dict_and_configurations(hub, tmp_path):  # noqa: F811
    splits = DatasetDict({"train": rows(6), "validation": rows(2)})
    splits.push_to_hub("ada/data", token="hf_good", num_shards={"train": 2}, private=True, num_proc=2)
    assert hub.repos["ada/data"].private
    rows(3, 7).push_to_hub("ada/data", "other", token="hf_good", set_default=False)
    assert {name: len(data) for name, data in loaded(hub, tmp_path).items()} == {"train": 6, "validation": 2}
    assert loaded(hub, tmp_path, "other")["train"]["text"][0] == "row 7"
    # a dict is all that the configuration has
    DatasetDict({"test": rows(1)}).push_to_hub("ada/data", token="hf_good")
    assert list(loaded(hub, tmp_path)) == ["test"]
    assert [name for name in files_of(hub) if name.startswith(("data/", "other/"))] == [
        "other/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    ]
    with pytest.raises(ArgumentError, match="'default'"):
        rows(1).push_to_hub("ada/data", "third", token="hf_good", set_default=True)


def test_the_default_configuration(hub, tmp_path):  # noqa: F811
    rows(2).push_to_hub("ada/data", "one", token="hf_good", set_default=True)
    rows(3).push_to_hub("ada/data", "two", token="hf_good", set_default=True)
    assert loaded(hub, tmp_path)["train"].num_rows == 3


def test_images_travel_with_the_rows(hub, tmp_path):  # noqa: F811
    picture = PIL.Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    picture.save(tmp_path / "a.png")
    data = Dataset.from_dict({"image": [str(tmp_path / "a.png"), picture]}, Features({"image": Image()}))
    data.push_to_hub("ada/data", token="hf_good")
    (tmp_path / "a.png").unlink()
    theirs = loaded(hub, tmp_path)["train"]
    for row in theirs:
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(picture))
    stored = pq.read_table(io.BytesIO(files_of(hub)["data/train-00000-of-00001.parquet"]))
    assert stored["image"][0].as_py()["path"] == "a.png"
    data.push_to_hub("ada/data", "paths", token="hf_good", embed_external_files=False)
    stored = pq.read_table(io.BytesIO(files_of(hub)["paths/train-00000-of-00001.parquet"]))
    assert stored["image"][0].as_py() == {"bytes": None, "path": str(tmp_path / "a.png")}


def test_rows_that_are_streamed(hub, tmp_path):  # noqa: F811
    stream = rows(10).to_iterable_dataset(num_shards=2)
    stream.push_to_hub("ada/data", token="hf_good")
    assert [name for name in files_of(hub) if name.startswith("data/")] == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    theirs = loaded(hub, tmp_path)["train"]
    assert theirs[:] == rows(10)[:]
    assert theirs.info.splits["train"].num_examples == 10
    # the type is learned from the first rows; files end where they are large enough
    learned = (
        rows(3000).to_iterable_dataset().map(lambda row: {"twice": row["text"] * 2}, remove_columns=["ids", "label"])
    )
    both = IterableDatasetDict({"train": learned, "test": learned.take(5)})
    both.push_to_hub("ada/data", token="hf_good", max_shard_size=30_000)
    names = [name for name in files_of(hub) if name.startswith("data/train")]
    assert len(names) == 3
    theirs = loaded(hub, tmp_path)
    assert (theirs["train"].num_rows, theirs["test"].num_rows) == (3000, 5)
    assert theirs["train"][2999] == {"text": "row 2999", "twice": "row 2999row 2999"}
    stream.push_to_hub("ada/other", token="hf_good", num_shards=4)
    assert sorted(loaded(hub, tmp_path, repo_id="ada/other")["train"]["text"][:]) == sorted(rows(10)["text"][:])


def test_files_of_a_size(hub):  # noqa: F811
    data = rows(1000)
    data.push_to_hub("ada/data", token="hf_good", max_shard_size=data._estimated_bytes() // 3)
    shards = [name for name in files_of(hub) if name.startswith("data/")]
    assert len(shards) == 4


def test_branches_and_pull_requests(hub, tmp_path):  # noqa: F811
    rows(2).push_to_hub("ada/data", token="hf_good")
    rows(3).push_to_hub("ada/data", token="hf_good", revision="next")
    assert (loaded(hub, tmp_path)["train"].num_rows, loaded(hub, tmp_path, branch="next")["train"].num_rows) == (2, 3)
    commit = rows(4).push_to_hub("ada/data", token="hf_good", create_pr=True, commit_description="Why")
    assert commit.pr_revision == "refs/pr/1"
    assert (loaded(hub, tmp_path)["train"].num_rows, loaded(hub, tmp_path, branch="refs/pr/1")["train"].num_rows) == (
        2,
        4,
    )


def test_many_files_go_in_several_commits(hub, tmp_path):  # noqa: F811
    before = len(hub.requests)
    rows(60).push_to_hub("ada/data", token="hf_good", num_shards=60)
    assert sum("/commit/" in request for request in hub.requests[before:]) == 2
    assert loaded(hub, tmp_path)["train"].num_rows == 60


def test_somebody_else_commits_in_between(hub, tmp_path):  # noqa: F811
    rows(2).push_to_hub("ada/data", token="hf_good")
    other = {"README.md": files_of(hub)["README.md"] + b"\nWords of theirs.\n", "notes.txt": b"x"}
    hub.before_commit = [lambda repo: repo.push({**repo.commits[repo.refs["main"]], **other})]
    rows(3).push_to_hub("ada/data", split="test", token="hf_good")
    assert b"Words of theirs." in files_of(hub)["README.md"]
    assert "notes.txt" in files_of(hub)
    assert {name: len(data) for name, data in loaded(hub, tmp_path).items()} == {"train": 2, "test": 3}


def test_what_is_refused(hub):  # noqa: F811
    data = rows(3)
    for options, reason in (
        ({"config_name": "data"}, "'data'"),
        ({"split": "a-b"}, "'a-b'"),
        ({"max_shard_size": "1MB", "num_shards": 2}, "one of them"),
        ({"max_shard_size": "large"}, "'large'"),
    ):
        with pytest.raises(ArgumentError, match=reason):
            data.push_to_hub("ada/data", token="hf_good", **options)
    with pytest.raises(ArgumentError, match="bucket"):
        data.push_to_hub("buckets/ada/x", token="hf_good")
    with pytest.raises(ArgumentError, match="a dict"):
        DatasetDict({"train": data}).push_to_hub("ada/data", num_shards=2, token="hf_good")
    with pytest.raises(DatasetError, match="'test' has"):
        DatasetDict({"train": data, "test": data.remove_columns("ids")}).push_to_hub("ada/data", token="hf_good")
    data.push_to_hub("ada/data", token="hf_good")
    with pytest.raises(DatasetError, match=r"not those of the splits \['train'\]"):
        data.remove_columns("ids").push_to_hub("ada/data", split="test", token="hf_good")
    with pytest.raises(HubError, match="refused your token"):
        data.push_to_hub("ada/data", token="hf_bad")
    assert list(files_of(hub)) == [".gitattributes", "data/train-00000-of-00001.parquet", "README.md"]


CARDS = {
    "none": None,
    "words only": "# A title\n\nText with é.\n",
    "other metadata": "---\nlicense: mit\ntags:\n- a\n---\n\n# A title\n",
    "another configuration": (
        "---\nconfigs:\n- config_name: en\n  data_files: en/*.parquet\n  default: true\n"
        "dataset_info:\n  config_name: en\n  features:\n  - name: a\n    dtype: string\n  splits:\n"
        "  - name: train\n    num_bytes: 3\n    num_examples: 1\n  download_size: 4\n  dataset_size: 3\n---\nText\n"
    ),
    "the split itself": (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
        "  - split: dev\n    path: [data/dev-*]\n"
        "dataset_info:\n  features:\n  - name: text\n    dtype: string\n  splits:\n"
        "  - name: train\n    num_bytes: 300\n    num_examples: 10\n"
        "  - name: dev\n    num_bytes: 30\n    num_examples: 1\n  download_size: 400\n  dataset_size: 330\n---\nText\n"
    ),
}


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("config_name", "set_default"), [("default", None), ("fr", None), ("fr", True)])
@pytest.mark.parametrize("replace", [False, True])
def test_the_card_is_the_references(card, config_name, set_default, replace, tmp_path):
    if card == "the split itself" and set_default:
        return  # refused: there is a configuration named default
    text = CARDS[card]
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    theirs, _ = _get_updated_dataset_card(
        fs=DirFileSystem(fs=fsspec.filesystem("file"), path=str(tmp_path)),
        config_name=config_name,
        splits_info=[reference.SplitInfo(name="train", num_bytes=1000, num_examples=7)],
        features=reference.Features({"text": reference.Value("string")}),
        data_dir="data",
        set_default=set_default,
        uploaded_sizes=[600],
        deleted_sizes=[] if replace else [350],
        remove_other_splits=replace,
    )
    ours, legacy = updated_card(
        text,
        None,
        [],
        config_name,
        [Pushed(SplitInfo("train", 1000, 7), 600, 350)],
        Features({"text": Value("string")}),
        "data",
        set_default,
        replace=replace,
    )
    assert ours == str(theirs)
    assert legacy is None


def test_files_of_before_there_were_configurations():
    ours, legacy = updated_card(
        None,
        '{"default": {"features": {"text": {"dtype": "string", "_type": "Value"}}}}',
        ["data/train-00000-of-00002-abcdef.parquet", "data/train-00001-of-00002-abcdef.parquet"],
        "fr",
        [Pushed(SplitInfo("train", 10, 1), 20, 0)],
        Features({"text": Value("string")}),
        "fr",
        None,
        replace=False,
    )
    assert "- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n" in ours
    assert legacy is None
