"""The same seed, epoch, rank and worker give the reference's order."""

import itertools

import pytest
from datasets.distributed import split_dataset_by_node as reference_split

import datasets as reference
from enfold.datasets import IterableDataset, concatenate_datasets, interleave_datasets
from enfold.datasets.distributed import split_dataset_by_node


def theirs(count, shards, start=0, name="a"):
    table = reference.Dataset.from_dict({name: list(range(start, start + count))})
    return table.to_iterable_dataset(num_shards=shards)


def ours(count, shards, start=0, name="a"):
    return IterableDataset.from_dict({name: list(range(start, start + count))}, num_shards=shards)


BOTH = [
    (theirs, reference.interleave_datasets, reference.concatenate_datasets, reference_split),
    (ours, interleave_datasets, concatenate_datasets, split_dataset_by_node),
]


def same(make, epochs=(0, 5), most=300):
    """`make(dataset, interleave, concatenate, split)` gives the same rows by both libraries."""
    one, other = (make(*library) for library in BOTH)
    for epoch in epochs:
        one.set_epoch(epoch)
        other.set_epoch(epoch)
        assert list(itertools.islice(other, most)) == list(itertools.islice(one, most)), f"epoch {epoch}"


@pytest.mark.parametrize("shards", [1, 13])
@pytest.mark.parametrize("size", [1, 7, 30, 1000])
@pytest.mark.parametrize("inputs", [1, 10])
def test_shuffle(shards, size, inputs):
    options = {"seed": 7, "buffer_size": size, "max_buffer_input_shards": inputs}
    same(lambda rows, *_: rows(97, shards).shuffle(**options))
    same(lambda rows, *_: rows(97, shards).map(lambda row: {"b": row["a"]}).shuffle(**options), epochs=(0, 2))


def test_shuffle_of_counted_rows():
    same(lambda rows, *_: rows(50, 4).take(15).shuffle(seed=3, buffer_size=4))
    same(lambda rows, *_: rows(50, 4).skip(5).shuffle(seed=3, buffer_size=4))
    same(lambda rows, *_: rows(50, 4).filter(lambda row: row["a"] % 3 > 0).shuffle(seed=3, buffer_size=40))
    same(lambda rows, *_: rows(50, 4).rename_column("a", "b").shuffle(seed=3, buffer_size=40))
    same(lambda rows, *_: rows(6, 3).shuffle(seed=1, buffer_size=3).repeat(2))
    same(lambda rows, *_: rows(6, 3).repeat(2).shuffle(seed=1, buffer_size=3))


@pytest.mark.parametrize("stopping", ["first_exhausted", "all_exhausted", "all_exhausted_without_replacement"])
@pytest.mark.parametrize("probabilities", [None, [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
@pytest.mark.parametrize("shuffled", [False, True])
def test_interleave(stopping, probabilities, shuffled):
    def mixed(rows, interleave, *_):
        parts = [rows(10, 2), rows(23, 3, 100), rows(7, 1, 500)]
        if shuffled:
            parts = [part.shuffle(seed=2, buffer_size=5) for part in parts]
        return interleave(parts, probabilities=probabilities, seed=42, stopping_strategy=stopping)

    same(mixed)
    same(lambda *library: mixed(*library).shuffle(seed=4, buffer_size=6))
    same(lambda *library: mixed(*library).batch(3))


def test_concatenated():
    same(lambda rows, _, join, __: join([rows(10, 3), rows(8, 2, 100)]).shuffle(seed=1, buffer_size=4))
    same(lambda rows, _, join, __: join([rows(10, 3), rows(10, 2, 0, "b")], axis=1), epochs=(0,))
    same(lambda rows, _, join, __: join([rows(4, 2), rows(4, 2, 9, "b")]))


@pytest.mark.parametrize("contiguous", [True, False])
def test_shards(contiguous):
    for index in range(3):
        same(lambda rows, *_: rows(97, 13).shard(3, index, contiguous))  # noqa: B023
        same(lambda rows, _, join, __: join([rows(9, 2), rows(7, 3, 50)]).shard(3, index, contiguous))  # noqa: B023


@pytest.mark.parametrize("strategy", ["auto", "shards", "examples"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks(strategy, ranks):
    for rank in range(ranks):
        same(lambda rows, *tools: tools[-1](rows(40, 4), rank, ranks, strategy))  # noqa: B023
        same(
            lambda rows, *tools: tools[-1](
                rows(41, 5).shuffle(seed=5, buffer_size=10),
                rank,  # noqa: B023
                ranks,
                strategy,
            )
        )
    nested = [
        [split_dataset_by_node(split_dataset_by_node(ours(16, 4), i, 2), j, 2) for j in range(2)] for i in range(2)
    ]
    theirs_nested = [[reference_split(reference_split(theirs(16, 4), i, 2), j, 2) for j in range(2)] for i in range(2)]
    assert [[list(part) for part in parts] for parts in nested] == [
        [list(part) for part in parts] for parts in theirs_nested
    ]
