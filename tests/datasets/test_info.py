"""DatasetInfo and Version, beside the reference, on the same files."""

import pytest

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets import DatasetInfo, Version

CASES = [
    {},
    {"description": "d", "license": "mit", "version": "1.2.3", "builder_name": "csv", "config_name": "default"},
    {"splits": {"train": {"name": "train", "num_bytes": 3, "shard_lengths": [1, 2]}}, "dataset_size": 0},
    {"supervised_keys": {"input": "a", "output": "b"}, "download_checksums": {"u": {"num_bytes": 1}}},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pretty", [False, True])
def test_files_are_interchangeable(case, pretty, tmp_path):
    ours, theirs = DatasetInfo(**case), reference.DatasetInfo(**case)
    for name, info in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).mkdir()
        info.write_to_directory(str(tmp_path / name), pretty_print=pretty)
    written = [
        sorted((path.name, path.read_text()) for path in (tmp_path / name).iterdir()) for name in ("ours", "theirs")
    ]
    assert written[0] == written[1]
    assert DatasetInfo.from_directory(tmp_path / "theirs") == ours
    assert repr(ours) == repr(theirs)
    assert ours._to_yaml_dict() == theirs._to_yaml_dict()
    assert list(ours._to_yaml_dict()) == list(theirs._to_yaml_dict())


def test_a_torn_file_says_so(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"description": "d')
    with pytest.raises(DatasetError, match=r"dataset_info\.json is torn"):
        DatasetInfo.from_directory(tmp_path)


def test_merging_keeps_each_text_once():
    cases = [{"description": "a", "license": "m"}, {"description": "a", "license": "n"}]
    ours = DatasetInfo.from_merge([DatasetInfo(**case) for case in cases])
    theirs = reference.DatasetInfo.from_merge([reference.DatasetInfo(**case) for case in cases])
    assert repr(ours) == repr(theirs)
    first = DatasetInfo(description="same", version="1.0.0")
    assert DatasetInfo.from_merge([first, None, first.copy()]) == first


def test_an_update_takes_what_is_said():
    info = DatasetInfo(description="old", license="mit")
    info.update(DatasetInfo(config_name="c"))
    assert (info.description, info.license, info.config_name) == ("", "", "c")
    info.update(DatasetInfo(), ignore_none=False)
    assert info.config_name is None


@pytest.mark.parametrize("text", ["1.2", "a", "1.2.3.4", "1.2.x", ""])
def test_versions_have_three_numbers(text):
    with pytest.raises(ArgumentError):
        Version(text)
    with pytest.raises(ValueError):
        reference.Version(text)


def test_versions_compare():
    assert Version("1.2.3") < Version("1.10.0")
    assert Version("1.2.3") == "1.2.3"
    assert Version("1.0.0") <= "2.0.0"
    assert len({Version("1.0.0"), Version("1.0.0")}) == 1
    assert Version("1.0.0") != "not a version"
