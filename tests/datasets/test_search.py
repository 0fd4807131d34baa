"""Nearest rows by faiss, beside the reference on the same vectors."""

import faiss
import numpy as np
import pytest

import datasets as reference
from enfold.base.errors import ArgumentError, DatasetError, NotBuiltError
from enfold.datasets.dataset import Dataset

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(300, 8)).astype(np.float32)
QUERIES = RANDOM.normal(size=(5, 8)).astype(np.float32)
COLUMNS = {"name": [f"row {index}" for index in range(300)], "vector": VECTORS.tolist()}


@pytest.fixture
def ours():
    return Dataset.from_dict(COLUMNS)


@pytest.fixture
def theirs():
    return reference.Dataset.from_dict(COLUMNS)


def compare(ours, theirs, name="vector", k=7):
    for query in QUERIES:
        scores, indices = ours.search(name, query, k)
        wanted, rows = theirs.search(name, query, k)
        np.testing.assert_array_equal(indices, rows)
        np.testing.assert_allclose(scores, wanted, rtol=1e-6)
        scores, examples = ours.get_nearest_examples(name, query, k)
        wanted, others = theirs.get_nearest_examples(name, query, k)
        np.testing.assert_allclose(scores, wanted, rtol=1e-6)
        assert examples == others
    scores, indices = ours.search_batch(name, QUERIES, k)
    wanted, rows = theirs.search_batch(name, QUERIES, k)
    np.testing.assert_array_equal(indices, rows)
    assert (
        ours.get_nearest_examples_batch(name, QUERIES, k).total_examples
        == theirs.get_nearest_examples_batch(name, QUERIES, k).total_examples
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric_type": 0},
        {"string_factory": "Flat"},
        {"string_factory": "HNSW8"},
        {"string_factory": "IVF4,Flat", "train_size": 200},
        {"batch_size": 7},
        {"dtype": np.float64},
        {"index_name": "other"},
    ],
    ids=str,
)
def test_the_same_rows_are_found(ours, theirs, options):
    assert ours.add_faiss_index("vector", **options) is ours
    theirs.add_faiss_index("vector", **options)
    name = options.get("index_name", "vector")
    assert ours.list_indexes() == theirs.list_indexes() == [name]
    compare(ours, theirs, name)


def test_arrays_from_elsewhere(ours, theirs, tmp_path):
    for one in (ours, theirs):
        one.add_faiss_index_from_external_arrays(VECTORS[::-1].copy(), index_name="far")
    compare(ours, theirs, "far")
    ours.save_faiss_index("far", tmp_path / "far.faiss")
    theirs.save_faiss_index("far", tmp_path / "theirs.faiss")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far.faiss", "theirs.faiss"]
    again, other = Dataset.from_dict(COLUMNS), reference.Dataset.from_dict(COLUMNS)
    again.load_faiss_index("x", tmp_path / "theirs.faiss")
    other.load_faiss_index("x", tmp_path / "far.faiss")
    compare(again, other, "x")


def test_an_index_made_already(ours):
    index = faiss.IndexFlat(8, faiss.METRIC_INNER_PRODUCT)
    ours.add_faiss_index("vector", custom_index=index)
    assert ours.get_index("vector").faiss_index is index
    best = ours.search("vector", QUERIES[0], 1).indices[0]
    assert best == int((VECTORS @ QUERIES[0]).argmax())


def test_fewer_rows_than_asked_for():
    few = Dataset.from_dict({"vector": VECTORS[:3].tolist()}).add_faiss_index("vector")
    assert len(few.get_nearest_examples("vector", QUERIES[0], 10).scores) == 3
    assert few.search("vector", QUERIES[0], 10).indices[3:].tolist() == [-1] * 7


def test_a_choice_of_rows_is_indexed_in_its_order(ours, theirs):
    rows = list(range(50, 20, -1))
    compare(ours.select(rows).add_faiss_index("vector"), theirs.select(rows).add_faiss_index("vector"))


def test_what_is_refused(ours, tmp_path):
    with pytest.raises(ArgumentError, match=r"'name' is .*string"):
        ours.add_faiss_index("name")
    with pytest.raises(ArgumentError, match="no index 'vector'"):
        ours.search("vector", QUERIES[0])
    with pytest.raises(ArgumentError, match="train_size"):
        ours.add_faiss_index("vector", string_factory="IVF4,Flat")
    with pytest.raises(ArgumentError, match="'Nonsense' makes no"):
        ours.add_faiss_index("vector", string_factory="Nonsense")
    with pytest.raises(ArgumentError, match="custom_index"):
        ours.add_faiss_index("vector", custom_index=faiss.IndexFlat(8), device=0)
    with pytest.raises(ArgumentError, match="holds vectors of 3"):
        ours.add_faiss_index("vector", custom_index=faiss.IndexFlat(3))
    with pytest.raises(ArgumentError, match="CPU only"):
        ours.add_faiss_index("vector", device=0)
    with pytest.raises(ArgumentError, match="300 rows"):
        ours.add_faiss_index_from_external_arrays(VECTORS[:10], index_name="x")
    with pytest.raises(NotBuiltError, match="Elasticsearch"):
        ours.add_elasticsearch_index("name")
    ours.add_faiss_index("vector")
    for query in (QUERIES, QUERIES[0][:3]):
        with pytest.raises(ArgumentError, match=r"\(5, 8\)|\(1, 3\)"):
            ours.search("vector", query)
    with pytest.raises(ArgumentError, match="k=0"):
        ours.search("vector", QUERIES[0], 0)
    ours.save_faiss_index("vector", tmp_path / "a")
    with pytest.raises(DatasetError, match="300 vectors, the data set 2 rows"):
        Dataset.from_dict({"x": [1, 2]}).load_faiss_index("x", tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:100])
    with pytest.raises(DatasetError, match="torn"):
        ours.load_faiss_index("x", tmp_path / "a")
    ours.drop_index("vector")
    assert not ours.is_index_initialized("vector")
    ragged = Dataset.from_dict({"vector": [[1.0, 2.0], [3.0], [4.0, 5.0]]})
    with pytest.raises(DatasetError, match=r"'vector', row 1: .*\(1,\)"):
        ragged.add_faiss_index("vector")
