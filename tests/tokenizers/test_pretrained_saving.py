"""What enfold saves transformers loads, and the other way round."""

import json

import pytest
import transformers

from enfold import AutoTokenizer
from enfold.base.errors import ArgumentError

from .folders import sample_texts
from .test_pretrained_attributes import same_attributes

KINDS = ["bert-vocab", "bert-cased", "bert-json", "distilbert", "gpt2", "llama", "chat"]
TEXTS = sample_texts()


def same_encodings(ours, theirs):
    for options in ({}, {"truncation": True, "max_length": 8}):
        assert dict(ours(TEXTS, **options)) == dict(theirs(TEXTS, **options))
        assert dict(ours(TEXTS, TEXTS[::-1])) == dict(theirs(TEXTS, TEXTS[::-1]))


def changed(tokenizer):
    tokenizer.add_tokens(["[new]", "<tag>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s1>", "<s2>"], "mask_token": "<sep>"})
    tokenizer.model_max_length = 33
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_ours_into_theirs_and_back(tokenizer_folders, tmp_path, kind):
    ours = changed(AutoTokenizer.from_pretrained(tokenizer_folders[kind]))
    ours.padding_side = "left"
    written = ours.save_pretrained(tmp_path / "saved")
    assert {path.rpartition("/")[2] for path in written} >= {"tokenizer.json", "tokenizer_config.json"}
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    same_attributes(again, theirs)
    same_encodings(again, theirs)
    same_encodings(ours, theirs)
    assert theirs.padding_side == "left"
    assert theirs.model_max_length == 33
    text = "a [new] <s2> b<tag> <sep>"
    assert ours(text)["input_ids"] == again(text)["input_ids"] == theirs(text)["input_ids"]
    assert type(again) is type(ours)


@pytest.mark.parametrize("kind", KINDS)
def test_theirs_into_ours(tokenizer_folders, tmp_path, kind):
    theirs = changed(transformers.AutoTokenizer.from_pretrained(tokenizer_folders[kind]))
    theirs.save_pretrained(tmp_path / "saved")
    ours = AutoTokenizer.from_pretrained(tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    same_attributes(ours, again)
    same_encodings(ours, again)


def test_chat_templates_keep_their_files(tokenizer_folders, tmp_path):
    ours = AutoTokenizer.from_pretrained(tokenizer_folders["chat"])
    ours.chat_template = {"default": "one\r\n{{ messages }}\n", "rag": "two", "tool_use": "three"}
    ours.save_pretrained(tmp_path / "several")
    assert (tmp_path / "several" / "additional_chat_templates" / "rag.jinja").read_text() == "two"
    assert "chat_template" not in json.loads((tmp_path / "several" / "tokenizer_config.json").read_text())
    ours.save_pretrained(tmp_path / "inside", save_jinja_files=False)
    ours.chat_template = "single"
    ours.save_pretrained(tmp_path / "single")
    for name in ("several", "inside", "single"):
        again = AutoTokenizer.from_pretrained(tmp_path / name)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        if name != "several":
            assert again.chat_template == theirs.chat_template, name
    assert again.chat_template == "single"
    assert AutoTokenizer.from_pretrained(tmp_path / "several").chat_template["tool_use"] == "three"
    ours.chat_template = {"../out": "x"}
    with pytest.raises(ArgumentError, match="leave its folder"):
        ours.save_pretrained(tmp_path / "bad")


def test_where_chat_templates_are_found(tokenizer_folders, tmp_path):
    """A file beats the configuration; a folder of templates adds names; chat_template.json is the last resort."""
    ours = AutoTokenizer.from_pretrained(tokenizer_folders["chat"])
    inside = ours.chat_template
    folder = tmp_path / "t"
    ours.save_pretrained(folder, save_jinja_files=False)

    def loaded():
        ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
        assert ours.chat_template == theirs.chat_template
        return ours.chat_template

    (folder / "chat_template.json").write_text('{"chat_template": "last"}')
    assert loaded() == inside
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("rag")
    assert loaded() == {"rag": "rag"}
    (folder / "chat_template.jinja").write_text("file")
    assert loaded() == {"default": "file", "rag": "rag"}
    (folder / "additional_chat_templates" / "rag.jinja").unlink()
    assert loaded() == "file"
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert AutoTokenizer.from_pretrained(folder).chat_template == "last"


@pytest.mark.parametrize("kind", ["bert-vocab", "gpt2"])
def test_bare_vocabularies(tokenizer_folders, tmp_path, kind):
    ours = AutoTokenizer.from_pretrained(tokenizer_folders[kind])
    names = [path.rpartition("/")[2] for path in ours.save_vocabulary(tmp_path, filename_prefix="x")]
    for name in names:
        original = tokenizer_folders[kind] / name.removeprefix("x-")
        made = (tmp_path / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            assert json.loads(made) == json.loads(original.read_text(encoding="utf-8"))
        else:
            assert made == original.read_text(encoding="utf-8")
    with pytest.raises(ArgumentError, match="not a folder"):
        ours.save_vocabulary(tmp_path / "nowhere")


def test_wrong_places_are_refused(tokenizer_folders, tmp_path):
    ours = AutoTokenizer.from_pretrained(tokenizer_folders["chat"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is a file"):
        ours.save_pretrained(tmp_path / "file")
    with pytest.raises(ArgumentError, match="push_to_hub=True"):
        ours.save_pretrained(tmp_path / "x", private=True)


def test_pushing_uploads_the_saved_folder(tokenizer_folders, monkeypatch):
    from pathlib import Path

    from enfold.hub import push

    seen = {}

    def upload(folder, repo_id, **options):
        seen.update(options, repo_id=repo_id, files=sorted(path.name for path in Path(folder).iterdir()))
        return "address"

    monkeypatch.setattr(push, "push_folder", upload)
    ours = AutoTokenizer.from_pretrained(tokenizer_folders["chat"])
    assert ours.push_to_hub("me/mine", private=True) == "address"
    assert seen["files"] == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    assert (seen["repo_id"], seen["private"], seen["commit_message"]) == ("me/mine", True, "Upload tokenizer")
