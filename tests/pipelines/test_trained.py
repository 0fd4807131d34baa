"""Pipelines on small models that were trained for their task: answers that are right more often than a stated floor.

Floors lie a few points below what the recipes reach, since threads and processors round differently.
"""

import json

import numpy as np
import pytest
from tools.starter_weights.layout import present
from tools.trained_models.recipes import RECIPES

from enfold import evaluate, pipeline
from enfold.hub import resolve_file
from enfold.hub.cache import default_cache_dir

pytestmark = pytest.mark.weights
REVISIONS = {recipe.repo_id: recipe.revision for recipe in RECIPES}


def held_out(name: str):
    """What the model was not trained on."""
    if not present(default_cache_dir(), name, REVISIONS[name]):
        pytest.skip(f"{name} is not in the cache (make trained trains it)")
    return json.loads(resolve_file(name, "held_out.json", local_files_only=True).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "count", "floor"), [("news", 400, 0.92), ("spam", 1000, 0.96)])
def test_classes(name, count, floor):
    texts, labels = zip(*held_out(f"enfold-trained/{name}")[:count], strict=True)
    ours = pipeline("text-classification", f"enfold-trained/{name}", truncation=True, max_length=96)
    found = ours(list(texts))
    right = [answer["label"] == label for answer, label in zip(found, labels, strict=True)]
    most = max(map(labels.count, labels)) / count
    assert most < 0.75
    assert np.mean(right) >= floor
    sure = sorted(range(count), key=lambda i: found[i]["score"])  # scores mean something: the surest are right
    assert np.mean([right[i] for i in sure[count // 2 :]]) > np.mean([right[i] for i in sure[: count // 2]]) - 1e-9
    streamed = list(ours(iter(texts[:50]), batch_size=8, top_k=None))
    assert [answer[0]["label"] for answer in streamed] == [answer["label"] for answer in found[:50]]


def test_answers():
    """Every question asks for one of several facts about somebody; an answer counts if it is the same text."""
    asked = held_out("enfold-trained/answers")
    ours = pipeline("question-answering", "enfold-trained/answers")
    found = ours([{"question": item["question"], "context": item["context"]} for item in asked])
    right = [answer["answer"] == item["answer"] for answer, item in zip(found, asked, strict=True)]
    assert np.mean(right) >= 0.88
    for answer, item in zip(found, asked, strict=True):
        assert item["context"][answer["start"] : answer["end"]] == answer["answer"]
    # Read in windows of a few tokens, most of which don't hold the answer.
    before = "The weather was fine on that day. " * 8
    long = [{"question": item["question"], "context": before + item["context"]} for item in asked[:100]]
    windows = ours(long, max_seq_len=64)
    assert np.mean([answer["answer"] == item["answer"] for answer, item in zip(windows, asked, strict=False)]) >= 0.5


@pytest.mark.parametrize(("language", "other"), [("deu", "fra"), ("fra", "deu")])
def test_translations(language, other):
    """Two thousand short texts teach no language: those that were learnt come back, new ones resemble it."""
    name = "enfold-trained/interface-de-fr"
    pairs = held_out(name)[language]
    english, wanted = zip(*pairs["seen"], strict=True)
    ours = pipeline("translation", name, num_beams=2, max_new_tokens=40)

    def translated(texts, **options):
        return [record["translation_text"] for record in ours(list(texts), **options)]

    found = translated(english, tgt_lang=language)
    assert np.mean([a == b for a, b in zip(found, wanted, strict=True)]) >= 0.9
    assert np.mean([a == b for a, b in zip(translated(english, tgt_lang=other), wanted, strict=True)]) < 0.3


def test_summaries():
    """Three facts about one person, told among others: shared words and their order, beside the first two sentences."""
    reports, wanted = zip(*held_out("enfold-trained/reports"), strict=True)
    ours = pipeline("summarization", "enfold-trained/reports")
    found = [record["summary_text"] for record in ours(list(reports))]
    lead = [". ".join(report.split(". ")[:2]) for report in reports]
    rouge = evaluate.load("rouge")
    ours_score, lead_score = (rouge.compute(predictions=x, references=wanted)["rougeL"] for x in (found, lead))
    assert lead_score < 0.5
    assert ours_score >= 0.7
