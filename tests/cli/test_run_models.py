"""`enfold run` as a process, with the starter models."""

import json
import os
import subprocess
import sys

import pytest
from tools.starter_weights.layout import present
from tools.starter_weights.sources import SOURCES

from enfold.hub.cache import default_cache_dir

pytestmark = pytest.mark.weights


@pytest.fixture(autouse=True, scope="module")
def _weights():
    missing = [s.repo_id for s in SOURCES if not present(default_cache_dir(), s.repo_id, s.revision)]
    if missing:
        pytest.skip(f"not in the cache: {', '.join(missing)} (make weights fetches them)")


def run(*arguments, given=None):
    done = subprocess.run(
        [sys.executable, "-m", "enfold.cli.main", "run", *arguments],
        input=given if given is not None else "",
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fill_mask():
    model = ["--model", "enfold-starter/splade-tiny", "--option", "top_k=2"]
    lines = run("fill-mask", "Paris is the [MASK] of France.", *model).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("city\t0.1")


def test_feature_extraction_of_a_pipe():
    model = ["--model", "sentence-transformers/all-MiniLM-L6-v2", "--batch-size", "2", "--json"]
    lines = run("feature-extraction", *model, given="one\ntwo words\nand three words\n").splitlines()
    vectors = [json.loads(line) for line in lines]
    assert [len(vector) for vector in vectors] == [384] * 3


def test_objects():
    asked = {"source_sentence": "A man is eating food.", "sentences": ["A man eats a meal.", "The stock market fell."]}
    close, far = json.loads(run("sentence-similarity", json.dumps(asked), "--json"))
    assert close > 0.9
    assert far < 0.1
    words = [sys.executable, "-m", "enfold.cli.main", "run", "sentence-similarity", "A man eats."]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode
    assert "takes JSON objects" in done.stderr


def test_token_classification():
    out = run("token-classification", "I has a apple .", "--model", "enfold-starter/gector-distilbert-cased", "--json")
    (words,) = [json.loads(line) for line in out.splitlines()]
    assert {"has": "$REPLACE_have"}.items() <= {word["word"]: word["entity"] for word in words}.items()


def test_text_generation():
    model = ["--model", "HuggingFaceTB/SmolLM2-135M-Instruct"]
    out = run(
        "text-generation",
        "The capital of France is",
        *model,
        "--option",
        "max_new_tokens=4",
        "--option",
        "do_sample=false",
    )
    assert out.startswith("The capital of France is Paris")
