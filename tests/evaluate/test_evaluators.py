"""Evaluators: scores of real pipelines on data of every form, beside the reference library where it still runs."""

import sys

import numpy as np
import pandas as pd
import pytest
import transformers

import datasets
import enfold
import enfold.datasets
import evaluate as reference
from enfold import evaluate
from enfold.base.errors import ArgumentError, NotBuiltError
from tests.pipelines.conftest import SENTENCES

TEXTS = [*SENTENCES, *(sentence[:30] for sentence in SENTENCES)]
LABELS = [0, 1, 2] * 4
NAMES = {"bad": 0, "so-so": 1, "good": 2}


class Accuracy(reference.Metric):
    """The reference's module, which it would fetch as a script."""

    def _info(self):
        kind = datasets.Value("int32")
        return reference.MetricInfo(
            description="",
            citation="",
            inputs_description="",
            features=datasets.Features(predictions=kind, references=kind),
        )

    def _compute(self, predictions, references):
        return {"accuracy": float(np.mean(np.array(predictions) == np.array(references)))}


def still_there(monkeypatch):
    """The reference asks transformers for a class that its version 5 has no more."""
    theirs = sys.modules["evaluate.evaluator.base"].transformers
    monkeypatch.setattr(theirs, "TFPreTrainedModel", transformers.PreTrainedModel, raising=False)


class Words(reference.Metric):
    """Gives back the labels of words, to compare them."""

    def _info(self):
        kind = datasets.Sequence(datasets.Value("string"))
        return reference.MetricInfo(
            description="",
            citation="",
            inputs_description="",
            features=datasets.Features(predictions=kind, references=kind),
        )

    def _compute(self, predictions, references):
        return {"labels": [list(row) for row in predictions]}


@pytest.fixture(scope="module")
def classifier(zoo):
    return enfold.pipeline("text-classification", zoo("bert-class"), device="cpu")


FORMS = {
    "ours": lambda columns: enfold.datasets.Dataset.from_dict(columns),
    "dataset": lambda columns: datasets.Dataset.from_dict(columns),
    "splits": lambda columns: datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"text": ["a"], "label": [0]}), test=datasets.Dataset.from_dict(columns)
    ),
    "stream": lambda columns: iter(datasets.Dataset.from_dict(columns)),
    "columns": lambda columns: columns,
    "arrays": lambda columns: {name: np.array(column) for name, column in columns.items()},
    "rows": lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    "frame": pd.DataFrame,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_data_of_any_form(form, classifier):
    found = evaluate.evaluator("text-classification").compute(classifier, form({"text": TEXTS, "label": LABELS}))
    answers = [NAMES[answer["label"]] for answer in classifier(TEXTS, truncation=True)]
    assert found["accuracy"] == np.mean(np.array(answers) == LABELS)
    assert found["samples_per_second"] * found["latency_in_seconds"] == pytest.approx(1)
    assert found["total_time_in_seconds"] == pytest.approx(found["latency_in_seconds"] * len(TEXTS))


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl", "rows.parquet", "rows.csv.gz"])
def test_data_from_files(name, classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    frame, path = pd.DataFrame({"text": TEXTS, "label": LABELS}), tmp_path / name
    if "jsonl" in name:
        frame.to_json(path, orient="records", lines=True)
    elif "parquet" in name:
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    judge = evaluate.evaluator("text-classification")
    found, expected = judge.run(classifier, str(path)), judge.run(classifier, frame)
    assert found.columns == expected.columns
    with pytest.raises(ArgumentError, match="no known format"):
        judge.run(classifier, __file__)


def test_the_reference_gives_the_same(zoo, classifier, monkeypatch):
    still_there(monkeypatch)
    columns = {"text": TEXTS, "label": LABELS}
    pipe = transformers.pipeline("text-classification", zoo("bert-class"), device="cpu")
    given = {"label_mapping": NAMES, "strategy": "bootstrap", "n_resamples": 50, "random_state": 3}
    theirs = reference.evaluator("text-classification").compute(
        pipe, datasets.Dataset.from_dict(columns), metric=Accuracy(), **given
    )
    for model in (classifier, pipe, zoo("bert-class")):
        ours = evaluate.evaluator("sentiment-analysis").compute(model, columns, metric="accuracy", **given)
        assert ours["accuracy"]["score"] == theirs["accuracy"]["score"]
        assert ours["accuracy"]["confidence_interval"] == pytest.approx(theirs["accuracy"]["confidence_interval"])
        assert ours["accuracy"]["standard_error"] == pytest.approx(theirs["accuracy"]["standard_error"])
        assert list(ours) == list(theirs)


def test_words_have_the_labels_that_the_reference_gives_them(zoo, monkeypatch):
    still_there(monkeypatch)
    words = [sentence.split() for sentence in SENTENCES]
    tags = [["O", "B-PER"] + ["O"] * (len(row) - 2) for row in words]
    data = datasets.Dataset.from_dict({"tokens": words, "ner_tags": tags})
    pipe = transformers.pipeline("token-classification", zoo("bert-tags"), device="cpu")
    theirs = reference.evaluator("token-classification").compute(pipe, data, metric=Words())["labels"]
    judge = evaluate.evaluator("ner")
    outcome = judge.run(zoo("bert-tags"), data)
    assert outcome.columns["predictions"] == theirs
    found = judge.compute(zoo("bert-tags"), data, metric="poseval", metric_options={"zero_division": 0})
    assert found["accuracy"] == np.mean(
        [a == b for r, s in zip(theirs, tags, strict=True) for a, b in zip(r, s, strict=True)]
    )
    numbered = datasets.Dataset.from_dict(
        {"tokens": [["a", "b"]], "ner_tags": [[1, 0]]},
        features=datasets.Features(
            tokens=datasets.List(datasets.Value("string")),
            ner_tags=datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        ),
    )
    assert judge.run(zoo("bert-tags"), numbered).columns["references"] == [["B-PER", "O"]]
    mapped = {"tokens": [["a", "b"]], "ner_tags": [[1, 0]]}
    assert judge.run(zoo("bert-tags"), mapped, label_mapping={"O": 0, "B-PER": 1}).columns["references"] == [
        ["B-PER", "O"]
    ]
    with pytest.raises(ArgumentError, match="nothing names them"):
        judge.run(zoo("bert-tags"), mapped)
    with pytest.raises(ArgumentError, match="must hold lists"):
        judge.run(zoo("bert-tags"), {"tokens": ["a b"], "ner_tags": [["O", "O"]]})


def test_names_of_classes(zoo, classifier):
    judge, answers = evaluate.evaluator("text-classification"), classifier(TEXTS)
    named = {"text": TEXTS, "label": [answer["label"] for answer in answers]}
    assert judge.compute(classifier, named)["accuracy"] == 1.0
    # The data number their classes in another way than the model does.
    order = ["good", "bad", "so-so"]
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=order))
    numbers = [order.index(answer["label"]) for answer in answers]
    numbered = datasets.Dataset.from_dict({"text": TEXTS, "label": numbers}, features=features)
    assert judge.compute(classifier, numbered)["accuracy"] == 1.0
    with pytest.raises(ArgumentError, match="label_mapping lacks"):
        judge.compute(classifier, numbered, label_mapping={"x": 1})


def test_pairs_and_several_metrics(classifier):
    rows = {"premise": TEXTS, "claim": TEXTS[::-1], "gold": LABELS}
    found = evaluate.evaluator("text-classification").compute(
        classifier,
        rows,
        input_column="premise",
        second_input_column="claim",
        label_column="gold",
        metric=["accuracy", "f1", "confusion_matrix"],
        metric_options={"average": "macro"},
    )
    pairs = [{"text": a, "text_pair": b} for a, b in zip(TEXTS, TEXTS[::-1], strict=True)]
    answers = [NAMES[answer["label"]] for answer in classifier(pairs)]
    assert found["f1"] == evaluate.metrics.f1(answers, LABELS, average="macro")["f1"]
    assert found["confusion_matrix"].sum() == len(TEXTS)


def test_questions(zoo):
    contexts = SENTENCES[:4]
    rows = {
        "id": [1, 2, 3, 4],
        "question": ["Who?", "What?", "Where?", "When?"],
        "context": contexts,
        "answers": [{"text": [text[:5]], "answer_start": [0]} for text in contexts],
    }
    judge, pipe = (
        evaluate.evaluator("question-answering"),
        enfold.pipeline("question-answering", zoo("bert-qa"), device="cpu"),
    )
    found = judge.compute(pipe, rows)
    answers = [pipe(question=q, context=c) for q, c in zip(rows["question"], contexts, strict=True)]
    expected = evaluate.metrics.squad(
        [{"id": i, "prediction_text": answer["answer"]} for i, answer in enumerate(answers)],
        [{"id": i, "answers": answer} for i, answer in enumerate(rows["answers"])],
    )
    assert found["f1"] == pytest.approx(expected["f1"])
    one = {name: column[:1] for name, column in rows.items()}
    assert judge.compute(pipe, one)["exact_match"] in (0.0, 100.0)
    rows["answers"][0] = {"text": [], "answer_start": []}
    second = judge.compute(pipe, rows, metric="squad_v2")
    assert (second["total"], second["NoAns_total"]) == (4, 1)
    assert all("no_answer_probability" in row for row in judge.run(pipe, rows).columns["predictions"])


@pytest.mark.parametrize("task", ["text2text-generation", "summarization", "translation"])
def test_written_texts(task, zoo):
    pipe = enfold.pipeline(task, zoo("t5"), device="cpu")
    rows = {"source": SENTENCES[:3], "target": ["She lived in Paris.", "a fox", "words"]}
    given = {"input_column": "source", "label_column": "target", "metric": "rouge", "random_state": 0}
    how = {"max_new_tokens": 6, "num_beams": 1}
    found = evaluate.evaluator(task).compute(pipe, rows, generation_kwargs=how, **given)
    key = {"text2text-generation": "generated", "summarization": "summary", "translation": "translation"}[task]
    texts = [answer[f"{key}_text"] for answer in pipe(SENTENCES[:3], truncation=True, **how)]
    expected = evaluate.metrics.rouge(texts, rows["target"], use_aggregator=False)
    assert found["rouge1"] == pytest.approx(np.mean(expected["rouge1"]), abs=0.1)


def test_continuations(zoo):
    judge, how = evaluate.evaluator("text-generation"), {"max_new_tokens": 4, "do_sample": False}
    found = judge.compute(zoo("llama"), {"text": SENTENCES[:2]}, generation_kwargs=how)
    assert found["total_word_count"] >= found["unique_words"] > 0
    rows = {"text": SENTENCES[:2], "gold": ["a", "b"]}
    scored = judge.compute(zoo("llama"), rows, label_column="gold", metric="bleu", generation_kwargs=how)
    assert 0 <= scored["bleu"] <= 1


def test_any_function_is_a_pipeline():
    found = evaluate.evaluator("text-classification").compute(
        lambda texts, truncation: [{"label": len(text) % 2} for text in texts], {"text": ["a", "bb"], "label": [1, 1]}
    )
    assert found["accuracy"] == 0.5
    with pytest.raises(ArgumentError, match="1 answers to 2 inputs"):
        evaluate.evaluator("text-classification").compute(
            lambda texts, truncation: [{"label": 0}], {"text": ["a", "bb"], "label": [1, 1]}
        )


def test_refusals(classifier):
    judge, rows = evaluate.evaluator("text-classification"), {"text": ["a"], "label": [0]}
    for given, message in (
        ({"data": None}, "data is missing"),
        ({"data": {"text": [], "label": []}}, "no rows"),
        ({"data": [{"text": "a"}, {"label": 1}]}, "row 1 of data"),
        ({"data": 5}, "data is a int"),
        ({"data": rows, "input_column": "review"}, "input_column is 'review', and the data has text, label"),
        ({"data": rows, "colour": 1}, "no option colour"),
        ({"data": rows, "strategy": "guess"}, "strategy is 'guess'"),
        ({"data": rows, "metric": "squad_v3"}, "did you mean squad"),
        ({"data": rows, "metric": "word_count"}, "word_count takes data, and text-classification gives predictions"),
        ({"data": rows, "tokenizer": "x"}, "leave tokenizer out"),
        ({"data": rows, "device": 0}, "the pipeline is on cpu"),
        ({"data": rows, "split": "test"}, "no splits"),
    ):
        with pytest.raises(ArgumentError, match=message):
            judge.compute(classifier, **given)
    columns = {"id": ["1"], "question": ["a"], "context": ["b"], "answers": [{"text": ["b"]}]}
    with pytest.raises(ArgumentError, match="expected one for question-answering"):
        evaluate.evaluator("question-answering").compute(classifier, columns)
    for task in ("image-classification", "automatic-speech-recognition"):
        with pytest.raises(NotBuiltError):
            evaluate.evaluator(task)
    with pytest.raises(ArgumentError, match="has no evaluator"):
        evaluate.evaluator("fill-mask")


def test_suites(classifier, tmp_path):
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    other = {"args_for_task": {"metric": "f1", "metric_options": {"average": "macro"}}}
    suite = evaluate.EvaluationSuite(
        "mine",
        [
            evaluate.SubTask("text-classification", rows, name="plain"),
            evaluate.SubTask(
                "text-classification", rows, data_preprocessor=lambda row: row | {"text": row["text"].upper()}, **other
            ),
        ],
    )
    plain, upper = suite.run(classifier)
    assert plain["task_name"] == "plain"
    assert plain["data_preprocessor"] is None
    assert plain["accuracy"] == evaluate.evaluator("text-classification").compute(classifier, rows)["accuracy"]
    assert "f1" in upper
    assert "lambda" in upper["data_preprocessor"]
    with pytest.raises(ArgumentError, match="has no tasks"):
        evaluate.EvaluationSuite("none").run(classifier)
    with pytest.raises(ArgumentError, match="never run"):
        evaluate.EvaluationSuite.load("evaluate/evaluation-suite-ci")
    path = tmp_path / "suite.json"
    path.write_text(
        '{"name": "filed", "suite": [{"task_type": "text-classification", "data": "x.csv", "subset": "y"}]}'
    )
    assert evaluate.EvaluationSuite.load(path).suite[0].title == "x.csv/y"
    path.write_text('{"suite": [{"task": 1}]}')
    with pytest.raises(ArgumentError, match="describes no suite"):
        evaluate.EvaluationSuite.load(path)
