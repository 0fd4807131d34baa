"""Datasets joined and mixed, beside the reference."""

import pytest
from datasets.distributed import split_dataset_by_node as reference_split

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets import Dataset, IterableDataset, concatenate_datasets, interleave_datasets
from enfold.datasets.combine import interleaved
from enfold.datasets.distributed import split_dataset_by_node


def numbers(count, start=0, name="a"):
    """The same rows by the reference and by us."""
    columns = {name: list(range(start, start + count))}
    return reference.Dataset.from_dict(columns), Dataset.from_dict(columns)


@pytest.mark.parametrize("stopping", ["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"])
@pytest.mark.parametrize("probabilities", [None, [0.5, 0.3, 0.2], [0.05, 0.05, 0.9]])
def test_interleave(stopping, probabilities):
    theirs, ours = zip(*(numbers(count, start) for count, start in ((5, 0), (23, 100), (2, 200))), strict=True)
    options = {"probabilities": probabilities, "seed": 3, "stopping_strategy": stopping}
    assert (
        interleave_datasets(list(ours), **options)["a"][:]
        == reference.interleave_datasets(list(theirs), **options)["a"][:]
    )


def test_many_draws_are_those_of_the_reference():
    theirs, ours = zip(*(numbers(count) for count in (3000, 10, 4000)), strict=True)
    for stopping in ("first_exhausted", "all_exhausted", "all_exhausted_without_replacement"):
        options = {"probabilities": [0.4, 0.001, 0.599], "seed": 1, "stopping_strategy": stopping}
        assert (
            interleave_datasets(list(ours), **options)["a"][:]
            == reference.interleave_datasets(list(theirs), **options)["a"][:]
        )


def test_rows_one_after_the_other():
    (theirs, ours), (their_more, our_more) = numbers(5), numbers(3, 10)
    theirs, ours = theirs.shuffle(seed=1), ours.shuffle(seed=1)
    joined = concatenate_datasets([ours, our_more], split="train")
    assert joined["a"][:] == reference.concatenate_datasets([theirs, their_more])["a"][:]
    assert joined.split == "train"
    other = numbers(2, 0, "b")
    mixed = concatenate_datasets([ours, other[1]])
    assert mixed[:] == reference.concatenate_datasets([theirs, other[0]])[:]
    assert mixed.features.to_dict() == reference.concatenate_datasets([theirs, other[0]]).features.to_dict()
    nulls = Dataset.from_dict({"a": [None, None], "l": [[], []]})
    assert concatenate_datasets([nulls, Dataset.from_dict({"a": ["x"], "l": [[1]]})])["a"][:] == [None, None, "x"]
    formatted = concatenate_datasets([ours.with_format("numpy"), our_more.with_format("numpy")])
    assert formatted.format["type"] == "numpy"
    assert concatenate_datasets([ours.with_format("numpy"), our_more]).format["type"] is None


def test_columns_side_by_side():
    (theirs, ours), (their_other, our_other) = numbers(5), numbers(5, 10, "b")
    joined = concatenate_datasets([ours.shuffle(seed=2), our_other], axis=1)
    assert joined[:] == reference.concatenate_datasets([theirs.shuffle(seed=2), their_other], axis=1)[:]
    with pytest.raises(DatasetError, match="equally many"):
        concatenate_datasets([ours, numbers(4, 0, "b")[1]], axis=1)
    with pytest.raises(DatasetError, match="one name"):
        concatenate_datasets([ours, ours], axis=1)


def test_info_is_merged():
    first, second = numbers(2)[1], numbers(2)[1]
    first._info.description, second._info.description = "one", "two"
    assert concatenate_datasets([first, second]).info.description == "one\n\ntwo"
    assert concatenate_datasets([first, second], info=first.info).info.description == "one"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d, s: concatenate_datasets([]), "no datasets"),
        (lambda d, s: concatenate_datasets([d, s]), "to_iterable_dataset"),
        (lambda d, s: concatenate_datasets([{"train": d}]), "splits"),
        (lambda d, s: concatenate_datasets([d, 3]), "number 1 is int"),
        (lambda d, s: concatenate_datasets([d], axis=2), "axis=2"),
        (lambda d, s: concatenate_datasets([d, d.cast_column("a", reference_value())]), "column 'a'"),
        (lambda d, s: interleave_datasets([d, d], stopping_strategy="never"), "first_exhausted"),
        (lambda d, s: interleave_datasets([d, d], probabilities=[0.5, 0.6]), "sum to 1"),
        (lambda d, s: interleave_datasets([d, d], probabilities=[1.0]), "2 numbers"),
        (lambda d, s: interleave_datasets([s, s], [1.0, 0.0], stopping_strategy="all_exhausted"), "never end"),
        (lambda d, s: interleave_datasets([d, d.select([])], stopping_strategy="all_exhausted"), "no rows"),
        (lambda d, s: interleave_datasets([s, split_dataset_by_node(s, 0, 2)]), "ranks"),
        (lambda d, s: split_dataset_by_node(d, 2, 2), "0 to 1"),
        (lambda d, s: split_dataset_by_node(d, 0, 2, "shards"), "neighbours"),
        (lambda d, s: split_dataset_by_node(s, 0, 9, "shards"), "9 ranks"),
        (lambda d, s: split_dataset_by_node(s, 0, 2, strategy="some"), "auto"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_wrong_is_said(wrong, said):
    data = numbers(5)[1]
    with pytest.raises((ArgumentError, DatasetError), match=said):
        wrong(data, data.to_iterable_dataset(num_shards=2))


def reference_value():
    from enfold.datasets import Value

    return Value("string")


def test_ranks_of_rows_with_numbers():
    theirs, ours = numbers(10)
    for rank in range(3):
        assert split_dataset_by_node(ours, rank, 3)["a"][:] == reference_split(theirs, rank, 3)["a"][:]


def test_row_numbers():
    assert interleaved([3, 4, 3], None, None, "first_exhausted").tolist() == [0, 3, 7, 1, 4, 8, 2, 5, 9]
    assert interleaved([1, 0, 2], None, None, "all_exhausted_without_replacement").tolist() == [0, 1, 2]
    assert interleaved([0, 2], None, None, "first_exhausted").tolist() == []


def test_streams_of_unknown_columns_are_aligned():
    streams = [IterableDataset.from_dict({"a": [1, 2]}).map(lambda row, name=name: {name: 1}) for name in "xy"]
    joined = concatenate_datasets(streams)
    assert joined.column_names == ["a", "x", "y"]
    assert list(joined)[2] == {"a": 1, "x": None, "y": 1}
