"""Rows of a table by number, and tables on disk."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfold.base.errors import DatasetError
from enfold.datasets.table import Blocks, open_mapped, pieces, read_buffer

SIZES = [3, 1, 0, 5, 2]
CHUNKS = [
    pa.table({"n": list(range(sum(SIZES[:i]), sum(SIZES[: i + 1])))}, pa.schema({"n": "int64"})) for i in range(5)
]
TABLE = pa.concat_tables(CHUNKS)


def rows(table):
    return table.column("n").to_pylist()


def test_slices_are_views_of_any_run():
    blocks = Blocks(TABLE)
    for start in range(12):
        for length in range(12 - start):
            assert rows(blocks.slice(start, length)) == list(range(11))[start : start + length]
    assert rows(blocks.slice(9, 100)) == [9, 10]


@given(st.lists(st.integers(0, 10), max_size=20))
def test_rows_are_taken_in_the_order_asked_for(indices):
    assert rows(Blocks(TABLE).take(np.array(indices, np.int64))) == indices


@given(st.integers(1, 12), st.booleans())
def test_pieces_have_the_size_asked_for(size, drop_last):
    found = [rows(piece) for piece in pieces(CHUNKS, size, drop_last=drop_last)]
    expected = [list(range(i, min(i + size, 11))) for i in range(0, 11, size)]
    assert found == [part for part in expected if not drop_last or len(part) == size]


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_streams_and_files_are_mapped_whole_or_refused(tmp_path, new):
    path = tmp_path / "rows.arrow"
    with new(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE)
    before = pa.total_allocated_bytes()
    table = open_mapped(path)
    assert table.equals(TABLE)
    assert pa.total_allocated_bytes() - before < 4096
    assert read_buffer(pa.py_buffer(path.read_bytes())).equals(TABLE)
    whole = path.read_bytes()
    for keep in (0, 5, 100, len(whole) // 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(DatasetError, match="no whole Arrow file"):
            open_mapped(path)


@given(st.lists(st.integers(0, 199), min_size=60, max_size=120))
def test_many_rows_of_few_batches_are_taken_together(indices):
    table = pa.concat_tables([pa.table({"n": list(range(start, start + 50))}) for start in range(0, 200, 50)])
    assert rows(Blocks(table).take(np.array(indices, np.int64))) == indices
