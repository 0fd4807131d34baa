"""Vectors of texts as `modules.json` says, beside the same computed with the reference's model."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F

from enfold.base.errors import ArgumentError, ConfigError, LengthError, NotBuiltError
from enfold.pipelines import pipeline

from .conftest import SENTENCES, same

WIDTH = 32
SWITCHES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@pytest.fixture
def repository(zoo, tmp_path):
    """`repository(poolings, modules, settings, pooling entries)` → a folder as sentence-transformers writes it."""

    def make(poolings=("mean",), modules=("Normalize",), *, model="bert", settings=None, length=None, **pooling):
        folder = tmp_path / "repository"
        shutil.copytree(zoo(model), folder)
        names = ["Transformer", "Pooling", *modules]
        paths = ["", *(f"{i}_{name.rpartition('.')[2]}" for i, name in enumerate(names) if i)]
        prefix = "sentence_transformers.models."
        entries = [
            {"idx": i, "name": str(i), "path": path, "type": name if "." in name else prefix + name}
            for i, (name, path) in enumerate(zip(names, paths, strict=True))
        ]
        (folder / "modules.json").write_text(json.dumps(entries))
        (folder / "1_Pooling").mkdir()
        switches = {switch: name in poolings for name, switch in SWITCHES.items()} | pooling
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(switches))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length, "do_lower_case": True}))
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings or {}))
        for name, path in zip(names, paths, strict=True):
            if name == "Dense":
                (folder / path).mkdir()
                entries = {
                    "in_features": WIDTH,
                    "out_features": 7,
                    "activation_function": "torch.nn.modules.activation.Tanh",
                }
                (folder / path / "config.json").write_text(json.dumps(entries))
                torch.manual_seed(5)
                weights = {"linear.weight": torch.randn(7, WIDTH) / 4, "linear.bias": torch.randn(7)}
                save_file(weights, folder / path / "model.safetensors")
        return folder

    return make


def states(folder, texts):
    """The reference's states of each text's tokens, [T, D]."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in texts]


BY_HAND = {
    "cls": lambda x: x[0],
    "max": lambda x: x.max(0).values,
    "mean": lambda x: x.sum(0) / len(x),
    "mean_sqrt_len_tokens": lambda x: x.sum(0) / len(x) ** 0.5,
    "weightedmean": lambda x: sum((i + 1) * row for i, row in enumerate(x)) / (len(x) * (len(x) + 1) / 2),
    "lasttoken": lambda x: x[-1],
}


@pytest.mark.parametrize("pooling", BY_HAND)
def test_every_pooling(repository, pooling):
    folder = repository([pooling])
    wanted = [F.normalize(BY_HAND[pooling](x), dim=0).tolist() for x in states(folder, SENTENCES)]
    ours = pipeline("feature-extraction", folder)
    same(ours(SENTENCES), wanted)
    same(ours(SENTENCES[0]), wanted[0])
    same(list(ours(iter(SENTENCES), batch_size=2)), wanted)
    plain = [BY_HAND[pooling](x).tolist() for x in states(folder, SENTENCES)]
    same(ours(SENTENCES, normalize=False), plain)
    tensor = ours(SENTENCES[0], return_tensors=True)
    assert tensor.shape == (WIDTH,)
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_several_poolings_and_a_map(repository):
    folder = repository(["max", "cls"], ["Dropout"])
    wanted = [torch.cat([x[0], x.max(0).values]).tolist() for x in states(folder, SENTENCES)]
    same(pipeline("feature-extraction", folder)(SENTENCES), wanted)
    shutil.rmtree(folder)
    folder = repository(["mean"], ["Dense", "Normalize"])
    torch.manual_seed(5)
    weight, bias = torch.randn(7, WIDTH) / 4, torch.randn(7)
    wanted = [F.normalize(torch.tanh(weight @ x.mean(0) + bias), dim=0).tolist() for x in states(folder, SENTENCES)]
    same(pipeline("feature-extraction", folder)(SENTENCES), wanted)


def test_tokens_when_asked_or_when_nothing_is_said(repository, zoo, peer):
    folder = repository()
    wanted = peer("feature-extraction", zoo("bert"))(SENTENCES)
    same(pipeline("feature-extraction", zoo("bert"))(SENTENCES), wanted)
    same(pipeline("feature-extraction", folder)(SENTENCES, pooling="none"), wanted)
    same(pipeline("feature-extraction", folder, pooling="none")(SENTENCES), wanted)
    mean = [torch.tensor(x[0]).mean(0).tolist() for x in wanted]
    same(pipeline("feature-extraction", zoo("bert"))(SENTENCES, pooling="mean"), mean)


@pytest.mark.parametrize("pools", [True, False])
def test_prompts(repository, pools):
    settings = {"prompts": {"query": "the dog of ", "passage": ""}, "default_prompt_name": "query"}
    folder = repository(settings=settings, include_prompt=pools)
    ours = pipeline("feature-extraction", folder)
    (prompted,), (plain,) = states(folder, ["the dog of Paris"]), states(folder, ["Paris"])
    skipped = 0 if pools else 1 + len(ours.tokenizer("the dog of", add_special_tokens=False)["input_ids"])
    wanted = F.normalize(prompted[skipped:].mean(0), dim=0).tolist()
    same(ours("Paris"), wanted)
    same(ours("Paris", prompt_name="query"), wanted)
    same(ours("Paris", prompt="the dog of "), wanted)
    same(ours("Paris", prompt_name="passage"), F.normalize(plain.mean(0), dim=0).tolist())
    with pytest.raises(ArgumentError, match="the repository has query, passage"):
        ours("Paris", prompt_name="other")


def test_the_repositorys_length(repository, texts):
    ours = pipeline("feature-extraction", repository(length=9))
    with pytest.raises(LengthError, match=r"and .* 9 .*pass truncation=True"):
        ours(SENTENCES)
    cut = ours(SENTENCES, truncation=True)
    (first,) = states(ours.model.name_or_path, [SENTENCES[0]])
    assert len(first) > 9
    assert len(ours(SENTENCES[0], pooling="none")[0]) == len(first)  # the model itself knows more
    ids = ours.tokenizer(SENTENCES[0], truncation=True, max_length=9)["input_ids"]
    model = transformers.AutoModel.from_pretrained(ours.model.name_or_path).eval()
    with torch.no_grad():
        state = model(torch.tensor([ids])).last_hidden_state[0]
    same(cut[0], F.normalize(state.mean(0), dim=0).tolist())


@pytest.mark.parametrize("kind", [None, "cosine", "dot", "euclidean", "manhattan"])
def test_similarity(repository, kind):
    folder = repository(modules=(), settings={"similarity_fn_name": kind} if kind else None)
    ours = pipeline("sentence-similarity", folder)
    one, *others = [x.mean(0) for x in states(folder, SENTENCES)]
    compare = {
        "cosine": lambda a, b: F.cosine_similarity(a, b, dim=0),
        "dot": lambda a, b: a @ b,
        "euclidean": lambda a, b: -(a - b).norm(),
        "manhattan": lambda a, b: -(a - b).abs().sum(),
    }[kind or "cosine"]
    wanted = [float(compare(one, other)) for other in others]
    same(ours({"source_sentence": SENTENCES[0], "sentences": SENTENCES[1:]}), wanted)
    same(ours(source_sentence=SENTENCES[0], sentences=SENTENCES[1:]), wanted)
    same(ours(SENTENCES[0], SENTENCES[1:]), wanted)
    both = [{"source_sentence": SENTENCES[0], "sentences": SENTENCES[n:]} for n in (1, 3)]
    same(ours(both), [wanted, wanted[2:]])
    same(list(ours(iter(both))), [wanted, wanted[2:]])
    same(pipeline("sentence-similarity", folder)(SENTENCES[0], SENTENCES[1:], similarity=kind), wanted)


def test_what_is_refused(repository, zoo):
    folder = repository(modules=["sentence_transformers.models.CNN"])
    with pytest.raises(NotBuiltError, match=r"makes its vectors with sentence_transformers\.models\.CNN"):
        pipeline("feature-extraction", folder)
    assert len(pipeline("feature-extraction", folder, pooling="none")("Paris")) == 1
    shutil.rmtree(folder)
    folder = repository(settings={"similarity_fn_name": "own"})
    with pytest.raises(ConfigError, match="compares by 'own'; expected one of cosine"):
        pipeline("sentence-similarity", folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(ConfigError, match="is torn or not JSON"):
        pipeline("feature-extraction", folder)
    ours = pipeline("sentence-similarity", zoo("bert"))  # whose tokens are averaged, with a warning
    for given, message in (
        ("Paris", "takes dictionaries"),
        ({"source_sentence": "a", "sentences": []}, "expected a list of texts"),
        ({"source_sentence": "a", "sentences": ["b", 3]}, "input 0 holds 3"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ours(given)
    with pytest.raises(ArgumentError, match="pooling is 'median'"):
        pipeline("feature-extraction", zoo("bert"), pooling="median")
    with pytest.raises(ArgumentError, match="compares one vector a sentence"):
        ours("a", ["b"], pooling="none")
