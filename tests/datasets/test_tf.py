"""Rows as a `tf.data.Dataset`, beside the reference's."""

import numpy as np
import pytest

import datasets as reference
from enfold.base.errors import ArgumentError
from enfold.datasets import Dataset

COLUMNS = {
    "ids": [[i, i + 1, i + 2] for i in range(11)],
    "score": [i / 2 for i in range(11)],
    "label": [i % 2 for i in range(11)],
    "name": [f"n{i}" for i in range(11)],
}
ALL = ["ids", "score", "label", "name"]


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow", reason="tensorflow is too large to develop with (issue 5)")


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "cache"))


def padded(rows, side=1):
    longest = max(len(row["ids"]) for row in rows)
    ids = np.array([[*row["ids"], *[0] * (longest - len(row["ids"]))] for row in rows])
    return {"ids": ids, "mask": (ids > 0) * side, "labels": np.array([row["label"] for row in rows])}


def plain(made):
    if isinstance(made, tuple):
        return tuple(map(plain, made))
    if isinstance(made, dict):
        return {name: plain(value) for name, value in sorted(made.items())}
    return made.dtype.name, made.shape.as_list(), np.asarray(made.numpy()).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4},
        {"batch_size": 4, "drop_remainder": True},
        {},
        {"batch_size": 4, "columns": ["ids", "score"], "label_cols": "label"},
        {"batch_size": 4, "columns": "ids", "label_cols": ["label", "score"], "prefetch": False},
        {"batch_size": 3, "columns": ["ids"]},
        {"columns": "score", "label_cols": "label"},
    ],
)
def test_the_reference_makes_the_same(tf, options):
    ours = Dataset.from_dict(COLUMNS).to_tf_dataset(**options)
    theirs = reference.Dataset.from_dict(COLUMNS).to_tf_dataset(**options)
    assert ours.element_spec == theirs.element_spec
    assert len(ours) == len(theirs)
    for _ in range(2):
        assert list(map(plain, ours)) == list(map(plain, theirs))


@pytest.mark.parametrize("workers", [0, 2])
def test_collated_and_padded(tf, workers):
    columns = {"ids": [[1] * (i % 5 + 1) for i in range(40)], "label": [i % 3 for i in range(40)]}
    options = {"batch_size": 4, "columns": ["ids", "mask"], "label_cols": "label", "collate_fn": padded}
    options |= {"collate_fn_args": {"side": 2}}
    theirs = reference.Dataset.from_dict(columns).to_tf_dataset(**options)
    ours = Dataset.from_dict(columns).to_tf_dataset(**options, num_workers=workers)
    assert ours.element_spec == theirs.element_spec
    assert list(map(plain, ours)) == list(map(plain, theirs))


def test_shuffled_anew_each_epoch_under_a_seed(tf):
    def epochs():
        tf.random.set_seed(3)
        found = Dataset.from_dict({"n": range(50)}).to_tf_dataset(batch_size=8, columns="n", shuffle=True)
        return [[int(n) for batch in found for n in batch] for _ in range(2)]

    first, second = epochs()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != list(range(50))
    assert epochs() == [first, second]


def test_what_is_refused(tf):
    data = Dataset.from_dict({"ids": [[1], [1, 2]] * 5, "n": [1, None] * 5})
    for options, message in (
        ({"columns": "x"}, "name \\['x'\\]"),
        ({"label_cols": "n"}, "needs columns="),
        ({"columns": ["n", "n"]}, "twice"),
        ({"columns": "ids", "batch_size": 2}, "collate_fn="),
        ({"num_workers": 2}, "give batch_size="),
    ):
        with pytest.raises(ArgumentError, match=message):
            data.to_tf_dataset(**options)
    with pytest.raises(ArgumentError, match="without rows"):
        data.select([]).to_tf_dataset()
