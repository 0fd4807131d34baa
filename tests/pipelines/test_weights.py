"""The pipelines on real models: the same answers as the reference, and answers that make sense."""

import numpy as np
import pytest

from enfold.hub.cache import cached_snapshots, default_cache_dir
from enfold.pipelines import pipeline

from .conftest import same

pytestmark = pytest.mark.weights
MINILM, SPLADE = "sentence-transformers/all-MiniLM-L6-v2", "enfold-starter/splade-tiny"
GECTOR, SMOLLM2 = "enfold-starter/gector-distilbert-cased", "HuggingFaceTB/SmolLM2-135M-Instruct"
SENTENCES = ["I has a apple .", "She go to school every days .", "This sentence is fine ."]


def cached(name: str) -> str:
    """The folder of a starter model, as a path: the reference library asks the network about ids."""
    here = next(cached_snapshots(name, "main", default_cache_dir()), None)
    if here is None:
        pytest.skip(f"{name} is not in the cache (make weights fetches it)")
    return str(here.folder)


def test_features(peer):
    folder = cached(MINILM)
    texts = ["A man is eating food.", "A man eats a meal.", "The stock market fell.", "word " * 200]
    ours = pipeline("feature-extraction", MINILM)
    same(ours(texts, pooling="none"), peer("feature-extraction", folder)(texts))
    vectors = np.array(ours(texts[:3]))
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(vectors @ vectors[0], [1.0, 0.908, -0.0365], atol=5e-4)
    found = pipeline("sentence-similarity")(source_sentence=texts[0], sentences=texts[1:3])
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], atol=1e-5)


def test_a_default_is_taken_from_the_cache_without_asking():
    cached(MINILM)
    pipe = pipeline("feature-extraction")
    assert pipe.model.name_or_path == MINILM
    assert np.shape(pipe("Hello")) == (384,)
    assert np.shape(pipe("Hello", pooling="none")) == (1, 3, 384)


def test_masks(peer):
    ours, theirs = pipeline("fill-mask", SPLADE), peer("fill-mask", cached(SPLADE))
    texts = ["Paris is the [MASK] of France.", "The [MASK] fell by three [MASK] on Monday."]
    same(ours(texts), theirs(texts), 1e-4)
    assert ours(texts[0], targets=["city", "banana"])[0]["token_str"] == "city"


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_tags(peer, strategy):
    ours, theirs = pipeline("ner", GECTOR), peer("ner", cached(GECTOR))
    given = {"aggregation_strategy": strategy, "ignore_labels": ["$KEEP"]}
    same(ours(SENTENCES, **given), theirs(SENTENCES, **given), 1e-4)
    if strategy == "none":
        assert ("has", "$REPLACE_have") in [(found["word"], found["entity"]) for found in ours(SENTENCES[0])]


def test_chat():
    cached(SMOLLM2)
    pipe = pipeline("text-generation", SMOLLM2)
    ask = [{"role": "user", "content": "What is the capital of France?"}]
    given = {"do_sample": False, "max_new_tokens": 24}
    assert "Paris" in pipe(ask, **given)[0]["generated_text"][-1]["content"]
    assert "Paris" in "".join(pipe.stream(ask, **given))
    several = [ask, "Once upon a time", [*ask, {"role": "assistant", "content": "It is"}], "def add(a, b):\n"]
    assert pipe(several, **given) == [pipe(one, **given) for one in several]
