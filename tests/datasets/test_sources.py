"""Shards of rows."""

import pyarrow as pa
import pytest

from enfold.base.errors import ArgumentError
from enfold.datasets.sources import FileSource, GeneratorSource, TableSource


def rows_of(source, skip: int = 0) -> list:
    return [
        row for shard in range(source.num_shards) for table in source.read(shard, skip) for row in table.to_pylist()
    ]


def test_a_table_is_cut_into_even_shards():
    table = pa.table({"x": range(10)})
    source = TableSource.of(table, 4)
    assert [part.num_rows for part in source.tables] == [3, 3, 2, 2]
    assert rows_of(source) == table.to_pylist()
    assert rows_of(source.subset([3, 0])) == table.slice(8).to_pylist() + table.slice(0, 3).to_pylist()
    assert rows_of(source, skip=2) == [{"x": 2}, {"x": 5}]
    with pytest.raises(ArgumentError):
        TableSource.of(table, 11)


def test_lists_among_a_generator_s_arguments_are_its_shards():
    def rows(names, offset):
        for name in names:
            for number in range(2):
                yield {"name": name, "number": number + offset}

    source = GeneratorSource(rows, {"names": ["a", "b", "c"], "offset": 10})
    assert source.num_shards == 3
    assert list(source.examples(1, 1)) == [{"name": "b", "number": 11}]
    assert list(source.subset([2]).examples(0)) == [{"name": "c", "number": 10}, {"name": "c", "number": 11}]
    assert list(source.examples(0, 5)) == []
    with pytest.raises(ArgumentError, match="lengths differ"):
        GeneratorSource(rows, {"names": ["a"], "offset": [1, 2]})
    with pytest.raises(ArgumentError, match="uncalled"):
        GeneratorSource(rows([], 0), {})


def test_files_are_shards():
    source = FileSource(("a", "b"), lambda file, skip: [pa.table({"x": [file] * 3}).slice(skip)])
    assert rows_of(source, skip=2) == [{"x": "a"}, {"x": "b"}]
    assert rows_of(source.subset([1])) == [{"x": "b"}] * 3
    assert FileSource(tuple("abcde"), source.reader).describe() == "a, b, c and 2 more"
