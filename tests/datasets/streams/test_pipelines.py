"""Random pipelines give what the same steps over a list give, go on from any row, and can be divided among workers."""

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.datasets.streams.pipelines import ORDERED, STEPS, Pipeline, moments, pipelines

ROW_BY_ROW = ["even", "longer", "later", "take", "skip", "repeat", "select", "rename", "ahead", "more", "shuffle"]


def key(row):
    return sorted(row.items(), key=str)


@settings(max_examples=40, deadline=None)
@given(pipelines(ORDERED))
def test_the_same_rows_as_a_list_gives(pipeline: Pipeline):
    assert list(pipeline.stream()) == pipeline.expected()


@settings(max_examples=40, deadline=None)
@given(pipelines(list(STEPS)), st.integers(0, 5), st.integers(0, 2))
def test_resumes_at_any_row(pipeline: Pipeline, seed: int, epoch: int):
    dataset = pipeline.stream()
    dataset.set_epoch(epoch)
    rows = list(dataset)
    for stop in moments(len(rows), 3, seed):
        first = pipeline.stream()
        first.set_epoch(epoch)
        iterator = iter(first)
        assert list(itertools.islice(iterator, stop)) == rows[:stop]
        state = json.loads(json.dumps(first.state_dict()))
        del iterator
        second = pipeline.stream()
        second.load_state_dict(state)
        assert list(second) == rows[stop:]


@settings(max_examples=15, deadline=None)
@given(pipelines(list(STEPS)), st.integers(0, 5))
def test_resumes_again_and_again(pipeline: Pipeline, seed: int):
    rows = list(pipeline.stream())
    got, state, stops = [], None, moments(len(rows), 5, seed)
    for start, stop in itertools.pairwise(stops):
        dataset = pipeline.stream()
        if state is not None:
            dataset.load_state_dict(state)
        iterator = iter(dataset)
        got += itertools.islice(iterator, stop - start)
        state = dataset.state_dict()
    assert got == rows


@settings(max_examples=40, deadline=None)
@given(pipelines(ROW_BY_ROW), st.integers(1, 6))
def test_workers_read_every_row_once(pipeline: Pipeline, workers: int):
    dataset = pipeline.stream()
    rows = sorted(dataset, key=key)
    parts = []
    for worker in range(workers):
        for block in dataset._part((worker, workers)).open(None):
            parts += block.rows if isinstance(block.rows, list) else block.rows.to_pylist()
    assert sorted(parts, key=key) == rows
