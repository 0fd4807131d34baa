import pytest

from enfold.base.errors import ArgumentError
from enfold.pipelines import pipeline

from .conftest import same

MASKED = ["Paris is the [MASK] of France.", "[MASK]", "The quick brown [MASK] jumps over the lazy dog"]


@pytest.mark.parametrize("name", ["bert-mlm", "distilbert-mlm"])
def test_the_same_as_the_reference(zoo, peer, name):
    folder = zoo(name)
    ours, theirs = pipeline("fill-mask", folder), peer("fill-mask", folder)
    same(ours(MASKED[0]), theirs(MASKED[0]))
    same(ours([MASKED[0]]), theirs([MASKED[0]]))  # a list of one gives no list of one
    same(ours(MASKED), theirs(MASKED))
    same(ours(MASKED, top_k=2, batch_size=1), theirs(MASKED, top_k=2))


def test_several_masks(zoo, peer):
    ours, theirs = (make("fill-mask", zoo("bert-mlm")) for make in (pipeline, peer))
    several = "Paris [MASK] the [MASK] of [MASK]."
    same(ours(several), theirs(several))
    same(ours([MASKED[0], several, MASKED[2]], top_k=3), theirs([MASKED[0], several, MASKED[2]], top_k=3))


def test_targets(zoo, peer, caplog):
    ours, theirs = (make("fill-mask", zoo("bert-mlm")) for make in (pipeline, peer))
    words = ["paris", "the", "france"]
    for targets in (words, "paris", ["paris", "zebras"]):
        same(ours(MASKED, targets=targets), theirs(MASKED, targets=targets))
    same(ours(MASKED[0], targets=words, top_k=2), theirs(MASKED[0], targets=words, top_k=2))


def test_truncation(zoo, peer, texts):
    ours, theirs = (make("fill-mask", zoo("bert-mlm")) for make in (pipeline, peer))
    long = MASKED[0] + " ".join(texts)
    given = {"tokenizer_kwargs": {"truncation": True}}
    same(ours(long, **given), theirs(long, **given))
    same(ours(long, truncation=True), theirs(long, **given))
    with pytest.raises(ArgumentError, match="no mask"):  # cut off
        ours(" ".join(texts) + MASKED[0], truncation=True)


def test_what_is_refused(zoo):
    ours = pipeline("fill-mask", zoo("bert-mlm"))
    with pytest.raises(ArgumentError, match=r"input 1 \('Paris'\) has no mask: write \[MASK\]"):
        ours([MASKED[0], "Paris"])
    with pytest.raises(ArgumentError, match="names no token"):
        ours(MASKED[0], targets=[])
    with pytest.raises(ArgumentError, match="top_k is 0"):
        ours(MASKED[0], top_k=0)
