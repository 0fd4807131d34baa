"""Metrics by models: the definition, computed by transformers one text at a time; and real weights where they are."""

import math

import numpy as np
import pytest
import torch
import transformers

from enfold import evaluate
from enfold.base.errors import ArgumentError, LengthError
from enfold.evaluate import metrics
from enfold.evaluate.metrics import divergence
from tests.pipelines.conftest import SENTENCES

OURS = ["Marie Curie lived in Paris", "The lazy dog", "Paris", "naïve façades cost", "The lazy dog"]
TRUTH = ["Pierre lived at the Sorbonne", "a quick brown dog jumps", "Paris", "", "She sells sea shells"]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("start", [True, False])
def test_perplexity(zoo, name, start):
    found = metrics.perplexity(SENTENCES, zoo(name), add_start_token=start, batch_size=4, device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(zoo(name))
    model = transformers.AutoModelForCausalLM.from_pretrained(zoo(name)).eval()
    for text, ours in zip(SENTENCES, found["perplexities"], strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[tokenizer.bos_token_id, *ids] if start else ids])
        with torch.no_grad():
            assert ours == pytest.approx(math.exp(model(ids, labels=ids).loss.item()), rel=1e-4)
    assert found["mean_perplexity"] == pytest.approx(np.mean(found["perplexities"]))
    cut = metrics.perplexity(SENTENCES[:1], zoo(name), add_start_token=start, max_length=5, device="cpu")
    assert cut["mean_perplexity"] != pytest.approx(found["perplexities"][0])


def test_perplexity_as_a_module_and_what_it_refuses(zoo):
    folder = zoo("llama")
    expected = metrics.perplexity(SENTENCES[:2], folder, device="cpu")
    for kind, column in (("metric", "predictions"), ("measurement", "data")):
        module = evaluate.load("perplexity", module_type=kind)
        module.add_batch(**{column: SENTENCES[:2]})
        assert module.compute(model_id=folder, device="cpu") == expected
    with pytest.raises(ArgumentError, match="text 1 has too few tokens"):
        metrics.perplexity(["a b", ""], folder)
    with pytest.raises(LengthError, match="pass max_length"):
        metrics.perplexity(["a b " * 200], zoo("gpt2"))
    assert metrics.perplexity(["a b " * 200], zoo("gpt2"), max_length=64)["mean_perplexity"] > 1
    with pytest.raises(ArgumentError, match="no beginning-of-sequence token"):
        metrics.perplexity(["a b"], zoo("gpt2"), tokenizer=_without_start(zoo("gpt2")))
    with pytest.raises(ArgumentError, match="pass tokenizer="):
        metrics.perplexity(["a b"], object())


def _without_start(folder):
    from enfold import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = None
    return tokenizer


def by_definition(folder, ours, truth, layer, idf):
    """BERTScore of one pair after the other: section 3 of the paper, marks weighing nothing as in the authors' code."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    sets = [set(tokenizer(text)["input_ids"]) for text in truth]

    def weight(token):
        if idf:
            return math.log((len(sets) + 1) / (sum(token in found for found in sets) + 1))
        return float(token not in (tokenizer.cls_token_id, tokenizer.sep_token_id))

    rows = []
    for pair in zip(ours, truth, strict=True):
        if not all(pair):
            rows.append((0.0, 0.0, 0.0))
            continue
        states, weights = [], []
        for text in pair:
            inputs = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                hidden = model(**inputs, output_hidden_states=True).hidden_states[layer][0]
            states.append(hidden / hidden.norm(dim=-1, keepdim=True))
            weights.append(torch.tensor([weight(token) for token in inputs["input_ids"][0].tolist()]))
        cosines = states[0] @ states[1].T
        p = float((cosines.max(1).values * weights[0]).sum() / weights[0].sum())
        r = float((cosines.max(0).values * weights[1]).sum() / weights[1].sum())
        rows.append((p, r, 2 * p * r / (p + r)))
    return np.array(rows).T


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [1, 2])
def test_bertscore(zoo, layer, idf):
    found = metrics.bertscore(
        OURS, TRUTH, model_type=zoo("bert"), num_layers=layer, idf=idf, batch_size=2, device="cpu"
    )
    expected = by_definition(zoo("bert"), OURS, TRUTH, layer, idf)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
        np.testing.assert_allclose(found[name], values, atol=2e-5)
    assert f"L{layer}_{'idf' if idf else 'no-idf'}" in found["hashcode"]


def test_bertscore_of_several_references_layers_and_baselines(zoo, tmp_path):
    given = {"model_type": zoo("bert"), "device": "cpu"}
    other = TRUTH[::-1]
    both = metrics.bertscore(OURS, [list(pair) for pair in zip(TRUTH, other, strict=True)], num_layers=2, **given)
    single = [metrics.bertscore(OURS, side, num_layers=2, **given) for side in (TRUTH, other)]
    for name in ("precision", "recall", "f1"):
        np.testing.assert_allclose(both[name], np.maximum(single[0][name], single[1][name]), atol=1e-6)
    every = metrics.bertscore(OURS, TRUTH, all_layers=True, **given)["f1"]
    np.testing.assert_allclose(every[2], single[0]["f1"], atol=1e-6)
    assert len(every) == 3
    table = tmp_path / "bert.tsv"
    table.write_text("LAYER,P,R,F\n1,0.1,0.1,0.1\n2,0.3,0.4,0.5\n")
    scaled = metrics.bertscore(OURS, TRUTH, num_layers=2, rescale_with_baseline=True, baseline_path=table, **given)
    np.testing.assert_allclose(scaled["f1"], (np.array(single[0]["f1"]) - 0.5) / 0.5, atol=1e-6)
    for wrong, message in (
        ({}, "needs lang"),
        ({"model_type": zoo("bert"), "rescale_with_baseline": True}, "needs baseline_path"),
        ({"model_type": zoo("bert"), "num_layers": 9}, "num_layers is 9; the model has 2"),
    ):
        with pytest.raises(ArgumentError, match=message):
            metrics.bertscore(OURS, TRUTH, **wrong)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_bertscore_runs_no_layer_that_it_doesn_t_need(zoo, name):
    """A stack without a norm of its own ends at the layer; one with a norm runs one layer more."""
    from enfold.models.auto import AutoModel
    from enfold.tokenizers.auto import AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(zoo(name)), AutoTokenizer.from_pretrained(zoo(name))
    given = {"model_type": model, "tokenizer": tokenizer, "batch_size": 10}
    every = metrics.bertscore(OURS[:3], TRUTH[:3], all_layers=True, **given)["f1"]
    ran = []
    for layer in model.stack.layers:
        layer.register_forward_pre_hook(lambda module, inputs: ran.append(module))
    for layer in range(len(every)):
        ran.clear()
        found = metrics.bertscore(OURS[:3], TRUTH[:3], num_layers=layer, **given)["f1"]
        np.testing.assert_allclose(found, every[layer], atol=1e-6)
        assert len(ran) == min(layer + (name == "gpt2"), len(every) - 1)
    assert len(model(torch.tensor([[1, 2]]), output_hidden_states=True).hidden_states) == len(every)


@pytest.mark.weights
def test_real_models_know_what_is_alike():
    ours = ["A cat sits on the mat.", "A cat sits on the mat."]
    truth = ["A kitten rests on the rug.", "Interest rates rose again."]
    found = metrics.bertscore(
        ours, truth, model_type="sentence-transformers/all-MiniLM-L6-v2", num_layers=6, device="cpu"
    )
    assert found["f1"][0] > found["f1"][1] + 0.2
    said = ["The capital of France is Paris.", "Paris the is of France capital."]
    surprise = metrics.perplexity(said, "HuggingFaceTB/SmolLM2-135M-Instruct", device="cpu")["perplexities"]
    assert surprise[0] * 5 < surprise[1]


def test_mauve_of_vectors():
    draw = np.random.RandomState(0)
    ours, near, far = draw.randn(120, 8), draw.randn(120, 8), draw.randn(120, 8) + 4
    same = metrics.mauve(p_features=ours, q_features=near)
    other = metrics.mauve(p_features=ours, q_features=far)
    assert same["mauve"] > 0.8
    assert other["mauve"] < 0.1
    assert same["frontier_integral"] < other["frontier_integral"]
    assert (same["num_buckets"], len(same["divergence_curve"])) == (12, 27)
    again = metrics.mauve(p_features=ours, q_features=near)
    assert again["mauve"] == same["mauve"]
    with pytest.raises(ArgumentError, match="one of both"):
        metrics.mauve(["a"], None)


def test_what_mauve_text_gives():
    draw = np.random.RandomState(0)
    ours, near, wide = draw.randn(300, 16), draw.randn(300, 16) + 0.7, draw.randn(250, 16) * 2
    # Of mauve-text 0.4.0; clusters differ a little between versions of faiss.
    for truth, score, integral in ((near, 0.140847, 0.423191), (wide, 0.950233, 0.041027)):
        found = metrics.mauve(p_features=ours, q_features=truth)
        assert found["mauve"] == pytest.approx(score, abs=0.02)
        assert found["frontier_integral"] == pytest.approx(integral, abs=0.02)


def test_divergence_by_hand():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    curve = divergence.divergence_curve(p, q, np.array([0.5]), 1.0)
    middle = (p + q) / 2
    expected = [np.sum(q * np.log(q / middle)), np.sum(p[:2] * np.log(p[:2] / middle[:2]))]
    np.testing.assert_allclose(curve, [[1, 0], np.exp(-np.array(expected)), [0, 1]])
    grid = np.linspace(0, 1, 20001)[1:-1]
    mixed = [
        w * divergence._divergence(q, w * q + (1 - w) * p) + (1 - w) * divergence._divergence(p, w * q + (1 - w) * p)
        for w in grid
    ]
    assert divergence.frontier_integral(p, q) == pytest.approx(2 * np.trapezoid(mixed, grid), abs=1e-3)


def test_mauve_of_texts(zoo):
    texts = [f"{sentence[:n]} word" for sentence in SENTENCES for n in (9, 17, 26)]
    found = metrics.mauve(texts, texts[::-1], featurize_model_name=zoo("gpt2-base"), num_buckets=3, device="cpu")
    assert found["mauve"] == pytest.approx(1.0, abs=1e-6)
    model = transformers.AutoModel.from_pretrained(zoo("gpt2-base")).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(zoo("gpt2-base"))
    from enfold import AutoModel, AutoTokenizer
    from enfold.evaluate.metrics import neural

    ours = neural._last_states(
        texts, AutoModel.from_pretrained(zoo("gpt2-base")), AutoTokenizer.from_pretrained(zoo("gpt2-base")), 4, 64
    )
    with torch.no_grad():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1].numpy() for text in texts]
    np.testing.assert_allclose(ours, states, atol=2e-4)
