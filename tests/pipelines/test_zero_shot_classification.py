import logging

import pytest

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines import pipeline

from .conftest import SENTENCES, same

LABELS = ["sport", "politics", "the sea"]


@pytest.mark.parametrize("name", ["bert-nli", "bert-turned"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multi_label": True},
        {"candidate_labels": "sport, dog,"},
        {"candidate_labels": ["Paris"]},
        {"hypothesis_template": "It is about {}."},
    ],
    ids=str,
)
def test_the_same_as_the_reference(zoo, peer, name, options):
    ours, theirs = (make("zero-shot-classification", zoo(name)) for make in (pipeline, peer))
    given = {"candidate_labels": LABELS, **options}
    same(ours(SENTENCES, **given), theirs(SENTENCES, **given))
    same(ours(SENTENCES[0], **given), theirs(SENTENCES[0], **given))
    same(ours(SENTENCES[:1], **given), theirs(SENTENCES[:1], **given))
    same(ours(SENTENCES, batch_size=2, **given), ours(SENTENCES, **given))


def test_labels_as_an_argument_and_as_a_default(zoo):
    folder = zoo("bert-nli")
    ours = pipeline("zero-shot-classification", folder)
    wanted = ours(SENTENCES, candidate_labels=LABELS)
    same(ours(SENTENCES, LABELS), wanted)
    same(ours(SENTENCES, multi_class=True, candidate_labels=LABELS), ours(SENTENCES, LABELS, multi_label=True))
    same(list(pipeline("zero-shot-classification", folder, candidate_labels=LABELS)(iter(SENTENCES))), wanted)


def test_a_model_that_names_no_entailment_is_warned_of(zoo, peer, caplog):
    logging.getLogger("enfold").addHandler(caplog.handler)
    ours = pipeline("zero-shot-classification", zoo("bert-class"))
    logging.getLogger("enfold").removeHandler(caplog.handler)
    assert "none of the labels bad, so-so, good begins with 'entail'" in caplog.text
    theirs = peer("zero-shot-classification", zoo("bert-class"))
    same(ours(SENTENCES, LABELS), theirs(SENTENCES, LABELS))


def test_long_text_is_never_cut_silently(zoo, peer, texts):
    ours, theirs = (make("zero-shot-classification", zoo("bert-nli")) for make in (pipeline, peer))
    long = " ".join(texts)
    with pytest.raises(LengthError, match=r"input 1 .* the model knows 64 positions: pass truncation=True"):
        ours(["Paris", long], LABELS)
    same(ours(long, LABELS, truncation=True), theirs(long, LABELS))  # the hypothesis stays whole on both sides


def test_what_is_refused(zoo):
    ours = pipeline("zero-shot-classification", zoo("bert-nli"))
    with pytest.raises(ArgumentError, match="got no candidate_labels"):
        ours("Paris")
    with pytest.raises(ArgumentError, match="expected one text or more"):
        ours("Paris", [])
    with pytest.raises(ArgumentError, match="has no place for a label: write"):
        ours("Paris", LABELS, hypothesis_template="It is so.")
    with pytest.raises(ArgumentError, match="takes texts; input 1 is ''"):
        ours(["Paris", ""], LABELS)
    with pytest.raises(ArgumentError, match="tells entailment from contradiction"):
        pipeline("zero-shot-classification", zoo("bert-one"))
