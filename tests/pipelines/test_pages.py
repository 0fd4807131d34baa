"""Each line of the page of tasks runs, with small models in the place of the defaults."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from enfold import Conversation, pipeline
from enfold.pipelines import PIPELINES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
LINES = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()  # type: ignore[index]
MODELS = {
    "conversational": "llama",
    "feature-extraction": "bert",
    "fill-mask": "bert-mlm",
    "question-answering": "bert-qa",
    "sentence-similarity": "bert",
    "summarization": "t5",
    "table-question-answering": "tapas-wtq",
    "text-classification": "bert-class",
    "text-generation": "llama",
    "text-ranking": "bert-one",
    "text2text-generation": "t5",
    "token-classification": "bert-tags",
    "translation": "t5",
    "zero-shot-classification": "bert-nli",
}


@pytest.mark.parametrize("line", LINES)
def test_every_line_runs(line, zoo, monkeypatch):
    monkeypatch.setattr("enfold.hub.cache.cached_snapshots", lambda repo, revision, cache: iter(()))
    for task, model in MODELS.items():
        monkeypatch.setitem(PIPELINES, task, replace(PIPELINES[task], model=zoo(model)))
    answer = eval(line, {"pipeline": pipeline, "Conversation": Conversation})
    assert len(answer) > 0


def test_every_task_is_on_the_page():
    assert set(PIPELINES) == set(MODELS)
    for task in PIPELINES:
        assert f'pipeline("{task}' in "\n".join(LINES) or task in ("token-classification", "translation")
        assert re.search(rf"^\|.*\b{task}\b", PAGE, re.MULTILINE)
