import shutil

import pytest
import torch
import transformers

from enfold.base.errors import ArgumentError, LengthError
from enfold.models.auto import AutoModelForSequenceClassification
from enfold.pipelines import pipeline

from .conftest import SENTENCES, same

QUERY = "Who lived in Paris?"


def reference(folder: str, query: str, documents: list[str], function=torch.sigmoid) -> list[dict]:
    """What a cross-encoder does, with the reference's model."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = tokenizer([query] * len(documents), documents, padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = function(model(**encoded).logits[:, 0]).tolist()
    order = sorted(range(len(documents)), key=lambda i: -scores[i])
    return [{"index": i, "score": scores[i], "text": documents[i]} for i in order]


def test_the_same_as_the_reference(zoo):
    folder = zoo("bert-one")
    ours, wanted = pipeline("text-ranking", folder), reference(folder, QUERY, SENTENCES)
    same(ours(query=QUERY, documents=SENTENCES), wanted)
    same(ours(QUERY, SENTENCES), wanted)
    same(ours({"query": QUERY, "texts": SENTENCES}), wanted)
    same(ours(QUERY, SENTENCES, top_k=2), wanted[:2])
    same(ours(QUERY, SENTENCES, return_documents=False), [{n: x[n] for n in ("index", "score")} for x in wanted])
    plain = reference(folder, QUERY, SENTENCES, function=lambda x: x)
    same(ours(QUERY, SENTENCES, function_to_apply="none"), plain)


def test_several_queries_share_batches(zoo):
    ours = pipeline("text-ranking", zoo("bert-one"))
    asked = [{"query": QUERY, "documents": SENTENCES}, {"query": "Any dog?", "documents": SENTENCES[1:3]}]
    wanted = [ours(**one) for one in asked]
    same(ours(asked), wanted)
    same(list(ours(iter(asked), batch_size=3)), wanted)


@pytest.mark.parametrize("where", ["sentence_transformers", "sbert_ce_default_activation_function"])
def test_the_repository_says_what_is_applied(zoo, tmp_path, where):
    shutil.copytree(zoo("bert-one"), tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    name = "torch.nn.modules.linear.Identity"
    model.config.update({where: {"activation_fn": name} if where == "sentence_transformers" else name})
    same(pipeline("text-ranking", model)(QUERY, SENTENCES), reference(zoo("bert-one"), QUERY, SENTENCES, lambda x: x))
    model.config.update({where: {"activation_fn": "my.Own"} if where == "sentence_transformers" else "my.Own"})
    with pytest.raises(ArgumentError, match=r"applies my\.Own to its scores; pass function_to_apply="):
        pipeline("text-ranking", model)
    assert pipeline("text-ranking", model, function_to_apply="sigmoid")(QUERY, SENTENCES)


def test_what_is_refused(zoo, texts):
    ours = pipeline("text-ranking", zoo("bert-one"))
    with pytest.raises(LengthError, match="the model knows 64 positions: pass truncation=True"):
        ours(QUERY, ["Paris", " ".join(texts)])
    assert len(ours(QUERY, ["Paris", " ".join(texts)], truncation=True)) == 2
    with pytest.raises(ArgumentError, match="whose one score says how well two texts fit; this model has 3 labels"):
        pipeline("text-ranking", zoo("bert-class"))
    for given, message in (
        ({"query": QUERY}, "takes dictionaries"),
        ({"query": QUERY, "documents": []}, "expected a list of texts"),
        ({"query": QUERY, "documents": ["a", 3]}, "input 0 holds 3"),
        ("Paris", "takes dictionaries"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ours(given)
    with pytest.raises(ArgumentError, match="give a query and documents"):
        ours(documents=SENTENCES)
    with pytest.raises(ArgumentError, match="top_k is 0"):
        ours(QUERY, SENTENCES, top_k=0)
    with pytest.raises(ArgumentError, match="expected one of sigmoid, none"):
        ours(QUERY, SENTENCES, function_to_apply="softmax")
