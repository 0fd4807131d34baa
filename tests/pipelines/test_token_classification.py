import pytest

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines import pipeline

from .conftest import SENTENCES, same

STRATEGIES = ["none", "simple", "first", "average", "max"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["bert-tags", "distilbert-tags", "gpt2-tags"])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_the_same_as_the_reference(zoo, peer, texts, name, strategy):
    folder = zoo(name)
    ours, theirs = pipeline("token-classification", folder), peer("token-classification", folder)
    inputs = [*texts[:12], *SENTENCES, "unknown 漢字 letters, naïve café", ""][: -1 if name == "gpt2-tags" else None]
    given = {"aggregation_strategy": strategy}
    same(ours(inputs, **given), theirs(inputs, **given))
    same(ours(inputs[0], **given), theirs(inputs[0], **given))
    same(ours([inputs[1]], batch_size=1, **given), theirs([inputs[1]], **given))
    same(
        ours(inputs, ignore_labels=["B-PER", "MISC", "LOC"], **given),
        theirs(inputs, ignore_labels=["B-PER", "MISC", "LOC"], **given),
    )
    same(ours(inputs, ignore_labels=[], **given), theirs(inputs, ignore_labels=[], **given))


def test_offsets_count_characters(zoo):
    ours = pipeline("ner", zoo("bert-tags"), ignore_labels=[])
    text = "Ångström 😀 naïve München"
    for entity in ours(text):
        assert 0 <= entity["start"] < entity["end"] <= len(text)
    whole = ours(text, aggregation_strategy="first")
    assert whole[0]["start"] == 0
    assert whole[-1]["end"] == len(text)


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("stride", [0, 7, 20])
def test_windows_over_long_text(zoo, peer, texts, strategy, stride):
    ours, theirs = (make("token-classification", zoo("bert-tags")) for make in (pipeline, peer))
    inputs = [" ".join(texts), "Paris", " ".join(texts[:20])]
    given = {"aggregation_strategy": strategy, "stride": stride}
    same(ours(inputs, **given), [theirs(text, **given) for text in inputs])
    same(ours(inputs, batch_size=1, **given), ours(inputs, **given))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_words(zoo, peer, strategy):
    ours, theirs = (make("token-classification", zoo("bert-tags")) for make in (pipeline, peer))
    words = SENTENCES[0].split()
    given = {"is_split_into_words": True, "aggregation_strategy": strategy, "ignore_labels": []}
    same(ours(words, **given), theirs(words, **given))
    same(ours([words, words[:3]], **given), theirs([words, words[:3]], **given))
    same(ours([words], delimiter=" - ", **given), theirs([words], delimiter=" - ", **given))


def test_long_text_is_never_cut_silently(zoo, peer, texts):
    ours, theirs = (make("token-classification", zoo("bert-tags")) for make in (pipeline, peer))
    long = " ".join(texts)
    with pytest.raises(LengthError, match=r"input 1 .* the model knows 64 positions: pass truncation=True .*stride="):
        ours(["Paris", long])
    same(ours(long, truncation=True), theirs(long))  # the reference cuts without a word


def test_what_is_refused(zoo):
    ours = pipeline("token-classification", zoo("bert-tags"))
    with pytest.raises(ArgumentError, match="aggregation_strategy is 'mean'"):
        ours("Paris", aggregation_strategy="mean")
    with pytest.raises(ArgumentError, match="choose an aggregation_strategy"):
        ours("Paris", stride=3)
    with pytest.raises(ArgumentError, match="stride=62 leaves no step forward in windows of 64"):
        ours("Paris", stride=62, aggregation_strategy="simple")
    with pytest.raises(ArgumentError, match="for words, pass is_split_into_words=True"):
        ours([["Paris", "is"]])
    with pytest.raises(ArgumentError, match="takes lists of words; input 0 is none"):
        ours("Paris", is_split_into_words=True)
    with pytest.raises(ArgumentError, match="expected a list of labels"):
        ours("Paris", ignore_labels="O")
