"""`enfold evaluate`: what reaches the evaluator, and how scores leave."""

import json

import numpy as np
import pytest

import enfold
from enfold import evaluate
from enfold.cli.main import main
from tests.pipelines.conftest import SENTENCES, zoo  # noqa: F401

NAMES = ["bad", "so-so", "good"]


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A file of texts and labels."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "reviews.jsonl"
    rows = ({"review": text, "stars": place % 3} for place, text in enumerate(SENTENCES))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def asked(reviews, zoo):  # noqa: F811
    columns = ["--input-column", "review", "--label-column", "stars"]
    return [
        "evaluate",
        "text-classification",
        "--model",
        zoo("bert-class"),
        "--device",
        "cpu",
        "--data",
        reviews,
        *columns,
    ]


def expected(zoo_folder) -> list[int]:
    answers = enfold.pipeline("text-classification", zoo_folder, device="cpu")(SENTENCES)
    return [NAMES.index(answer["label"]) for answer in answers]


def test_a_table(asked, capsys, zoo):  # noqa: F811
    options = ["--metric", "accuracy", "--metric", "f1", "--metric-option", "average=macro"]
    assert main([*asked, *options]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    right = np.mean(np.array(expected(zoo("bert-class"))) == [0, 1, 2, 0, 1, 2])
    assert lines["accuracy"] == f"{right:.4f}"
    assert set(lines) == {"accuracy", "f1", "total_time_in_seconds", "samples_per_second", "latency_in_seconds"}


def test_json_with_intervals_and_a_matrix(asked, capsys, tmp_path, zoo):  # noqa: F811
    saved = tmp_path / "results.json"
    options = ["--confidence", "0.9", "--resamples", "40", "--limit", "5", "--json", "--save", str(saved)]
    assert main([*asked, *options]) == 0
    out, error = capsys.readouterr()
    found = json.loads(out)
    ours, truth = expected(zoo("bert-class"))[:5], [0, 1, 2, 0, 1]
    interval = evaluate.metrics.confidence_interval(
        evaluate.metrics.accuracy,
        predictions=np.array(ours),
        references=np.array(truth),
        confidence_level=0.9,
        n_resamples=40,
        random_state=0,
    )["accuracy"]
    assert found["accuracy"]["confidence_interval"] == pytest.approx(interval["confidence_interval"])
    assert json.loads(saved.read_text())["accuracy"]["score"] == interval["score"]
    assert "saved" in error
    assert main([*asked, "--metric", "confusion_matrix"]) == 0
    assert capsys.readouterr().out.startswith("confusion_matrix[0]    ")


@pytest.mark.parametrize("kind", ["confusion", "reliability", "bars"])
def test_plots(asked, kind, tmp_path):
    path = tmp_path / f"{kind}.png"
    assert main([*asked, "--plot", str(path), "--plot-kind", kind]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_options_of_the_task(capsys, zoo, reviews):  # noqa: F811
    how = 'generation_kwargs={"max_new_tokens": 3, "num_beams": 1}'
    asked = ["evaluate", "summarization", "--model", zoo("t5"), "--data", reviews, "--option", how, "--metric", "wer"]
    assert main([*asked, "--input-column", "review", "--label-column", "review", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wer"] > 0


def test_what_is_refused(asked, capsys):
    assert main([*asked[:-1], "labels"]) == 1
    assert "label_column is 'labels', and the data has review, stars" in capsys.readouterr().err
    assert main([*asked, "--metric", "acuracy"]) == 1
    assert "did you mean accuracy" in capsys.readouterr().err
    assert main(["evaluate", "image-classification", "--data", "x.csv"]) == 1
    assert "not built yet" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "summarization", "--data", "x.csv", "--plot", "x.png", "--plot-kind", "confusion"])
    assert "is for text-classification" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "enfold evaluate token-classification" in capsys.readouterr().out
