"""Modules: rows added in any form, options, names, what is refused, and that loading touches nothing."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enfold import evaluate
from enfold.base.errors import ArgumentError
from enfold.evaluate import columns, registry
from enfold.evaluate import rows as buffer


def test_nothing_heavy_is_imported():
    program = (
        "import sys; from enfold import evaluate; import enfold.evaluate; evaluate.metrics; "
        "print([m for m in ('torch', 'numpy', 'sklearn', 'pyarrow', 'scipy') if m in sys.modules]); "
        "evaluate.load('accuracy').compute(predictions=[0, 1], references=[0, 1]); "
        "print([m for m in ('torch', 'sklearn', 'pyarrow', 'scipy', 'nltk') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stderr


FORMS = {
    "lists": lambda values: values,
    "tuples": tuple,
    "arrays": np.array,
    "tensors": torch.tensor,
    "bfloat16": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "series": pd.Series,
    "generators": iter,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_come_in_any_form(form):
    metric = evaluate.load("accuracy")
    assert metric.compute(predictions=form([0, 1, 1]), references=form([0, 1, 0])) == {"accuracy": pytest.approx(2 / 3)}
    assert len(metric) == 0


def test_add_and_add_batch():
    metric = evaluate.load("f1")
    metric.add(prediction=0, reference=1)
    metric.add(predictions=1, references=1)
    metric.add_batch(predictions=np.array([1, 0]), references=torch.tensor([1, 0]))
    assert len(metric) == 4
    expected = evaluate.metrics.f1([0, 1, 1, 0], [1, 1, 1, 0])
    assert metric.compute() == expected
    with pytest.raises(ArgumentError, match="has no rows"):
        metric.compute()  # what was added is gone


def test_an_array_is_copied():
    metric, batch = evaluate.load("accuracy"), np.array([1, 1])
    metric.add_batch(predictions=batch, references=[1, 1])
    batch[:] = 0
    assert metric.compute() == {"accuracy": 1.0}


def test_many_rows_go_to_a_file_and_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(buffer, "HELD", 50)
    metric = evaluate.load("rouge", cache_dir=tmp_path, seed=1)
    texts = [f"line {i} of \u2028 many \ud800 words\n" for i in range(300)]
    for first in range(0, 300, 7):
        metric.add_batch(
            predictions=texts[first : first + 7], references=[[text, "x"] for text in texts[first : first + 7]]
        )
    assert sum(len(batch["predictions"]) for batch in metric._rows._batches) <= 57
    assert metric._rows._file is not None
    assert metric.compute()["rougeL"] == 1.0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    kept = evaluate.load("rouge", keep_in_memory=True)
    kept.add_batch(predictions=texts, references=texts)
    assert kept._rows._file is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(values, max_size=4))
def test_a_line_gives_back_what_was_written(column):
    line = columns.to_line({"predictions": column})
    assert "\n" not in line
    assert columns.from_line(line) == {"predictions": column}


@pytest.mark.parametrize("dtype", ["int32", "float16", "float64", "bool", "uint8"])
def test_arrays_keep_their_type(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = columns.from_line(columns.to_line({"a": array, "b": [array[0]]}))
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["b"][0], array[0])
    assert np.isnan(columns.from_line(columns.to_line({"a": [float("nan")]}))["a"][0])
    with pytest.raises(ArgumentError, match="numbers"):
        columns.from_line('{"ndarray": "AAAA", "dtype": "|O", "shape": [1]}')


REFUSED = [
    ("accuracy", {"predictions": [0, 1], "references": [0]}, "2 predictions and 1 references"),
    ("accuracy", {"predictions": [0.5], "references": [0]}, "row 0 of predictions is 0.5"),
    ("accuracy", {"predictions": np.array([0.5]), "references": [0]}, "array of float64"),
    ("accuracy", {"predictions": [0]}, "references missing"),
    ("accuracy", {"predictions": "01", "references": "01"}, "as a column"),
    ("accuracy", {"predictions": [], "references": []}, "has no rows"),
    ("accuracy", {"predictions": [0], "references": [0], "normalise": True}, "did you mean 'normalize'"),
    ("wer", {"predictions": [1], "references": ["a"]}, "row 0 of predictions is 1"),
    ("bleu", {"predictions": ["a"], "references": [[1]]}, "expected a list of texts"),
    ("mse", {"predictions": ["1"], "references": [1]}, "expected a number"),
    (
        "squad",
        {"predictions": ["a"], "references": [{"id": "1", "answers": {}}]},
        "dictionary with id, prediction_text",
    ),
    ("seqeval", {"predictions": ["B-PER"], "references": ["B-PER"]}, "expected a list of texts"),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED, ids=[f"{r[0]}-{r[2][:20]}" for r in REFUSED])
def test_wrong_inputs_are_refused(name, given, message):
    metric = evaluate.load(name)
    with pytest.raises(ArgumentError, match=message):
        metric.compute(**given)
    assert len(metric) == 0


def test_a_refused_batch_leaves_the_rows_as_they_were():
    metric = evaluate.load("accuracy")
    metric.add(prediction=1, reference=1)
    with pytest.raises(ArgumentError, match="row 1 of predictions is None"):
        metric.add_batch(predictions=["a", None], references=[0, 1])
    assert metric.compute() == {"accuracy": 1.0}


def test_names():
    assert evaluate.load("evaluate-metric/accuracy").name == "accuracy"
    assert evaluate.load("metrics/accuracy").module_type == "metric"
    assert evaluate.load("exact_match").module_type == "metric"
    other = evaluate.load("exact_match", module_type="comparison")
    assert isinstance(other, evaluate.Comparison)
    assert other.compute(predictions1=[1, 2], predictions2=[1, 0], references=[0, 0]) == {"exact_match": 0.5}
    assert isinstance(evaluate.load("word_count"), evaluate.Measurement)
    for name, message in (
        ("acuracy", "did you mean accuracy"),
        ("./accuracy.py", "never runs code"),
        ("lvwerra/my_metric", "never runs code"),
        ("nothing like it", "There are accuracy"),
    ):
        with pytest.raises(ArgumentError, match=message):
            evaluate.load(name)
    with pytest.raises(ArgumentError, match="comparison is called 'accuracy'"):
        evaluate.load("accuracy", module_type="comparison")
    assert "mcnemar" in evaluate.list_evaluation_modules("comparison")
    detailed = evaluate.list_evaluation_modules(with_details=True)
    assert {"name": "accuracy", "type": "metric", "community": False, "likes": None} in detailed


def test_configurations_and_defaults():
    assert evaluate.load("glue", "mrpc").compute(predictions=[0, 1], references=[0, 1]) == {"accuracy": 1.0, "f1": 1.0}
    with pytest.raises(ArgumentError, match="needs a config_name, one of sst2"):
        evaluate.load("glue")
    with pytest.raises(ArgumentError, match="no configuration 'many'"):
        evaluate.load("f1", "many")
    strict = evaluate.load("seqeval", mode="strict", scheme="IOB2")
    assert strict.compute(predictions=[["I-A"]], references=[["I-A"]])["overall_f1"] == 0.0
    with pytest.raises(ArgumentError, match="no option 'schema'"):
        evaluate.load("seqeval", schema="IOB2")
    several = evaluate.load("f1", "multilabel")
    given = {"predictions": [[0, 1, 1], [1, 1, 0]], "references": [[0, 1, 1], [0, 1, 0]]}
    assert several.compute(**given, average="macro") == {"f1": pytest.approx(2 / 3)}


@pytest.mark.parametrize("row", registry.ROWS.values(), ids=lambda row: f"{row.kind}-{row.name}")
def test_every_module_describes_itself(row):
    module = evaluate.load(row.name, row.configs[0] if "config_name" in row.options else None, row.kind)
    assert module.description.endswith((".", "`"))
    assert len(module.description) > 30
    assert module.inputs_description.startswith(module.description)
    assert set(module.column_names()) <= set(__import__("inspect").signature(row.function).parameters)
    assert row.name in repr(module)


def test_combined():
    ours, truth = [0, 1, 0], [0, 1, 1]
    both = evaluate.combine(["accuracy", "f1", "precision"])
    assert both.compute(predictions=ours, references=truth, zero_division=0) == {
        "accuracy": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "precision": 1.0,
    }
    both.add(prediction=0, reference=0)
    both.add_batch(predictions=[1], references=[0])
    assert both.compute()["accuracy"] == 0.5
    with pytest.raises(ArgumentError, match="none of accuracy, f1, precision knows foo"):
        both.compute(predictions=ours, references=truth, foo=1)
    named = evaluate.combine({"a": "accuracy", "b": evaluate.load("accuracy")})
    assert set(named.compute(predictions=ours, references=truth)) == {"a_accuracy", "b_accuracy"}
    twice = evaluate.combine(["accuracy", "accuracy"], force_prefix=True)
    assert set(twice.compute(predictions=ours, references=truth)) == {"accuracy_0_accuracy", "accuracy_1_accuracy"}


class MeanLength(evaluate.Measurement):
    """A module of a user's own."""

    def _info(self):
        return evaluate.MeasurementInfo(description="Mean length.", features={"data": "string"})

    def _compute(self, data, scale=1):
        return {"mean_length": scale * sum(map(len, data)) / len(data)}


def test_modules_of_ones_own():
    mine = MeanLength()
    mine.add_batch(data=["a", "bbb"])
    assert mine.compute(scale=2) == {"mean_length": 4.0}
    assert (mine.name, mine.module_type) == ("mean_length", "measurement")
    with pytest.raises(ArgumentError, match="row 0 of data is 1"):
        mine.compute(data=[1])
    with pytest.raises(ArgumentError, match="no option 'skale'"):
        mine.compute(data=["a"], skale=1)
    assert evaluate.combine([mine]).compute(data=["ab"]) == {"mean_length": 2.0}


def test_results_are_saved(tmp_path):
    path = evaluate.save(tmp_path / "results", accuracy=np.float64(0.5), matrix=np.eye(2), model="m")
    written = json.loads(path.read_text())
    assert path.name.startswith("result-")
    assert (written["accuracy"], written["matrix"], written["model"]) == (0.5, [[1, 0], [0, 1]], "m")
    assert {"_timestamp", "_git_commit_hash", "_python_version"} <= written.keys()
    assert evaluate.save(tmp_path / "one.json", a=1) == tmp_path / "one.json"
    with pytest.raises(ArgumentError, match="results hold a object"):
        evaluate.save(tmp_path / "two.json", a=object())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.json", "results"]
