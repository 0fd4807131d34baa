import numpy as np
import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError
from enfold.pipelines import pipeline

from .conftest import same


@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2-base"])
def test_the_same_as_the_reference(zoo, peer, texts, name):
    folder = zoo(name)
    ours, theirs = pipeline("feature-extraction", folder), peer("feature-extraction", folder)
    same(ours("Paris is the capital"), theirs("Paris is the capital"))
    same(ours(texts), theirs(texts))
    same(ours(texts, batch_size=3), theirs(texts))
    same(ours(["Paris"]), theirs(["Paris"]))


def test_tensors(zoo, peer):
    ours, theirs = (make("feature-extraction", zoo("bert")) for make in (pipeline, peer))
    found, wanted = ours("Paris is", return_tensors=True), theirs("Paris is", return_tensors=True)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)
    both = ours(["Paris is", "the capital of France"], return_tensors=True)
    assert [t.shape[0] for t in both] == [1, 1]
    assert both[0].untyped_storage().nbytes() == both[0].nbytes  # not a view of the whole batch
    assert not both[0].is_inference()  # may take part in a loss


def test_half_precision(zoo, texts):
    folder = zoo("bert")
    whole = pipeline("feature-extraction", folder)(texts)
    half = pipeline("feature-extraction", folder, dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    for a, b in zip(whole, half(texts), strict=True):
        a, b = np.ravel(a), np.ravel(b)
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.995


def test_truncation(zoo, peer, texts):
    ours, theirs = (make("feature-extraction", zoo("bert")) for make in (pipeline, peer))
    long = " ".join(texts)
    same(ours(long, truncation=True), theirs(long, truncation=True))
    cut = {"truncation": True, "max_length": 7}
    same(ours([long, "Paris"], tokenize_kwargs=cut), theirs([long, "Paris"], tokenize_kwargs=dict(cut)))
    same(ours(long, tokenizer_kwargs=cut), theirs(long, tokenize_kwargs=dict(cut)))
    assert len(ours(long, **cut)[0]) == 7
    # Where the tokenizer knows no length, the model's positions are the limit.
    assert len(pipeline("feature-extraction", zoo("distilbert"))(long, truncation=True)[0]) == 48


def test_rows_of_one_length(zoo):
    ours = pipeline("feature-extraction", zoo("bert"))
    plain = ours("Paris is")[0]
    padded = ours(["Paris is", "the capital of France"], padding="max_length", max_length=12, truncation=True)
    assert [len(rows[0]) for rows in padded] == [12, 12]
    same(padded[0][0][: len(plain)], plain)
    assert not np.any(padded[0][0][len(plain) :])
    assert len(ours("Paris is", padding=True)[0]) == len(plain)


def test_a_model_with_a_head_says_what_its_head_says(zoo, texts):
    from enfold.models.auto import AutoModelForMaskedLM, AutoModelForSequenceClassification

    for name, auto in (("bert-class", AutoModelForSequenceClassification), ("bert-mlm", AutoModelForMaskedLM)):
        folder = zoo(name)
        ours = pipeline("feature-extraction", auto.from_pretrained(folder))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = getattr(transformers, auto.__name__).from_pretrained(folder)
        same(ours(texts), transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer)(texts), 1e-4)


def test_an_encoder_with_a_decoder_is_refused_and_the_encoder_alone_is_not(zoo):
    from enfold.models.t5 import T5Config, T5EncoderModel, T5Model

    config = T5Config(vocab_size=200, d_model=16, d_kv=4, d_ff=24, num_layers=1, num_heads=2)
    with pytest.raises(ArgumentError, match="reads one stack, and T5Model has two: take its encoder"):
        pipeline("feature-extraction", T5Model(config), tokenizer=zoo("bert"))
    ours = pipeline("feature-extraction", T5EncoderModel(config), tokenizer=zoo("bert"))
    assert np.shape(ours("Paris is")[0])[1] == 16
