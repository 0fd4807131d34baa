"""`enfold run`: where texts come from, what reaches the pipeline, how results leave."""

import io
import json

import pytest

import enfold
from enfold.cli.main import main


@pytest.fixture
def made(monkeypatch):
    """A pipeline that answers with the text's length, and a record of how it was made and called."""
    record = {}

    def pipeline(task, **loading):
        record["made"] = (task, loading)

        def call(texts, **options):
            record["called"] = options
            record["taken"] = []
            for text in texts:
                record["taken"].append(text)
                yield {"label": text, "score": len(text) / 10}

        return call

    monkeypatch.setattr(enfold, "pipeline", pipeline, raising=False)
    return record


def test_arguments_reach_the_pipeline(made, capsys):
    options = ["--option", "top_k=3", "--option", "do-sample=False", "--option", 'stop=["a"]', "--option", "mode=max"]
    loading = ["--model", "org/m", "--device", "cpu", "--dtype", "bfloat16", "--batch-size", "4", "--revision", "v1"]
    assert main(["run", "text-classification", "one", "three", *loading, *options]) == 0
    expected = {"model": "org/m", "device": "cpu", "dtype": "bfloat16", "batch_size": 4, "revision": "v1"}
    assert made["made"] == ("text-classification", expected)
    assert made["called"] == {"top_k": 3, "do_sample": False, "stop": ["a"], "mode": "max"}
    assert capsys.readouterr().out == "one\t0.3000\nthree\t0.5000\n"


def test_what_was_not_given_is_not_passed(made):
    assert main(["run", "fill-mask", "x"]) == 0
    assert made["made"] == ("fill-mask", {"model": None})


def test_a_file_one_text_a_line(made, tmp_path, capsys):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffErste\r\n\nдва\nlast".encode())
    assert main(["run", "t", "--file", str(path), "--json"]) == 0
    assert made["taken"] == ["Erste", "", "два", "last"]
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["label"] for line in lines] == made["taken"]


def test_standard_input(made, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert main(["run", "t", "--file", "-"]) == 0
    assert made["taken"] == ["a", "b"]


def test_results_leave_as_they_come(made, monkeypatch, capsys):
    """The second text is read only after the first result was printed."""
    seen = []

    class Lines(io.BytesIO):
        def __next__(self):
            seen.append(capsys.readouterr().out)
            return super().__next__()

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr("enfold.cli.run.open", lambda *_: Lines(b"a\nb\n"), raising=False)
    assert main(["run", "t", "--file", "x"]) == 0
    assert seen == ["", "a\t0.1000\n", "b\t0.1000\n"]


def test_a_file_that_is_not_text(made, tmp_path, capsys):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"fine\n\xff\xfe\n")
    assert main(["run", "t", "--file", str(path)]) == 1
    err = capsys.readouterr().err
    assert "Line 2" in err
    assert "UTF-8" in err
    assert main(["run", "t", "--file", str(tmp_path / "none.txt")]) == 1
    assert "none.txt" in capsys.readouterr().err


def test_interrupted_is_130(made, monkeypatch, capsys):
    def pipeline(task, **loading):
        raise KeyboardInterrupt

    monkeypatch.setattr(enfold, "pipeline", pipeline, raising=False)
    assert main(["run", "t", "x"]) == 130
    assert "interrupted" in capsys.readouterr().err
