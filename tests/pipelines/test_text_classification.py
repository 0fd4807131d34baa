import pytest

from enfold.base.errors import ArgumentError
from enfold.pipelines import pipeline

from .conftest import same

PAIRS = [{"text": "Paris", "text_pair": "the capital of France"}, {"text": "Peter", "text_pair": "fox"}]
EVERY = ["bert-class", "bert-multi", "bert-regression", "bert-one", "distilbert-class", "gpt2-class", "gpt2-class-pad"]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("options", [{}, {"top_k": None}, {"top_k": 2}, {"top_k": 1}], ids=str)
def test_the_same_as_the_reference(zoo, peer, texts, name, options):
    folder = zoo(name)
    ours, theirs = pipeline("text-classification", folder), peer("text-classification", folder)
    same(ours(texts, **options), theirs(texts, **options))
    same(ours(texts[0], **options), theirs(texts[0], **options))
    same(ours([texts[1]], **options), theirs([texts[1]], **options))
    same(ours(texts, batch_size=4, **options), theirs(texts, **options))


@pytest.mark.parametrize("name", ["bert-class", "distilbert-class", "gpt2-class"])
def test_pairs(zoo, peer, texts, name):
    folder = zoo(name)
    ours, theirs = pipeline("text-classification", folder), peer("text-classification", folder)
    same(ours(PAIRS[0]), theirs(PAIRS[0]))
    mixed = [texts[0], PAIRS[0], texts[2], PAIRS[1]]
    same(ours(mixed, top_k=None), theirs(mixed, top_k=None))
    same(ours([[["Paris", "the capital"]]]), theirs([[["Paris", "the capital"]]]))


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none", "SOFTMAX"])
def test_functions(zoo, peer, texts, function):
    for name in ("bert-class", "bert-multi"):
        ours, theirs = (make("text-classification", zoo(name)) for make in (pipeline, peer))
        given = {"function_to_apply": function, "top_k": None}
        same(ours(texts[:5], **given), theirs(texts[:5], **given))


def test_options_of_the_pipeline_are_defaults_of_its_calls(zoo, peer, texts):
    folder = zoo("bert-class")
    ours = pipeline("sentiment-analysis", folder, top_k=None)
    theirs = peer("sentiment-analysis", folder, top_k=None)
    assert ours.task == theirs.task == "sentiment-analysis"
    same(ours(texts[0]), theirs(texts[0]))
    same(ours(texts[:3]), theirs(texts[:3]))
    same(ours(texts[0], top_k=1), theirs(texts[0], top_k=1))


def test_all_scores_in_the_order_of_the_labels(zoo):
    ours = pipeline("text-classification", zoo("bert-class"))
    found = ours("Paris", return_all_scores=True)
    assert [answer["label"] for answer in found[0]] == ["bad", "so-so", "good"]
    assert ours("Paris", return_all_scores=False) == ours("Paris")
    same(sorted(found[0], key=lambda answer: -answer["score"]), ours("Paris", top_k=None))


def test_truncation(zoo, peer, texts):
    ours, theirs = (make("text-classification", zoo("bert-class")) for make in (pipeline, peer))
    long = " ".join(texts)
    same(ours(long, truncation=True), theirs(long, truncation=True))
    same(ours([long, "a"], truncation=True, max_length=9), theirs([long, "a"], truncation=True, max_length=9))
    pair = {"text": "Paris", "text_pair": long}
    same(ours(pair, truncation="only_second"), theirs(pair, truncation="only_second"))


def test_what_is_refused(zoo):
    ours = pipeline("text-classification", zoo("bert-class"))
    with pytest.raises(ArgumentError, match="function_to_apply is 'tanh'; expected one of sigmoid, softmax, none"):
        ours("Paris", function_to_apply="tanh")
    with pytest.raises(ArgumentError, match="top_k is 0"):
        ours("Paris", top_k=0)
    with pytest.raises(ArgumentError, match=r"input 1 .*list"):
        ours(["Paris", ["Paris", "London"]])
    with pytest.raises(ArgumentError, match="input 0 has label"):
        ours({"text": "Paris", "label": 3})
    with pytest.raises(ArgumentError, match="did you mean 'top_k'"):
        ours("Paris", topk=2)
