"""Folders as repositories have them, loaded by both libraries."""

import json

import pytest
import transformers

import enfold
from tests.tokenizers.families.rows import ROWS
from tests.tokenizers.families.same import same_attributes, same_calls
from tests.tokenizers.families.vocabularies import vocabulary
from tests.tokenizers.folders import write_json

NAMES = [row.name for row in ROWS]


def saved_by_transformers(row, folder, **options):
    """tokenizer.json with tokenizer_config.json, as today's repositories are."""
    getattr(transformers, row.name)(**vocabulary(row), **options).save_pretrained(folder)
    write_json(folder / "config.json", {"model_type": row.model_type})
    return folder


def both(folder, **overrides):
    return (
        enfold.AutoTokenizer.from_pretrained(folder, **overrides),
        transformers.AutoTokenizer.from_pretrained(folder, **overrides),
    )


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_tokenizer_json(row, tmp_path):
    options = row.variants[0] if row.variants else {}
    folder = saved_by_transformers(row, tmp_path / "saved", model_max_length=70, **options)
    ours, theirs = both(folder)
    same_attributes(ours, theirs)
    same_calls(ours, theirs)
    ours.save_pretrained(tmp_path / "again")
    write_json(tmp_path / "again" / "config.json", {"model_type": row.model_type})
    for again in both(tmp_path / "again"):
        same_attributes(again, theirs)
        assert again("a text, and <s> a [SEP]")["input_ids"] == theirs("a text, and <s> a [SEP]")["input_ids"]


# transformers looks for no such files of Qwen 3.5's.
BARE = [row for row in ROWS if row.kind in ("wordpiece", "bytes", "words") and row.name != "Qwen3_5Tokenizer"]
FLAGGED = ["BertTokenizer", "RobertaTokenizer", "LlamaTokenizer", "MBartTokenizer", "XLNetTokenizer"]


@pytest.mark.parametrize("row", BARE, ids=lambda row: row.name)
def test_bare_vocabularies(row, tmp_path):
    """vocab.txt, or vocab.json with merges.txt, and what the configuration says."""
    given = vocabulary(row)
    if row.kind == "wordpiece":
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in given["vocab"]), encoding="utf-8")
    else:
        write_json(tmp_path / "vocab.json", given["vocab"])
        rows = "".join(f"{left} {right}\n" for left, right in given["merges"])
        (tmp_path / "merges.txt").write_text("#version: 0.2\n" + rows, encoding="utf-8")
    write_json(tmp_path / "config.json", {"model_type": row.model_type})
    options = row.variants[-1] if row.variants else {}
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": row.name, "model_max_length": 33, **options})
    ours, theirs = both(tmp_path)
    same_attributes(ours, theirs)
    same_calls(ours, theirs)
    ours, theirs = both(tmp_path, padding_side="left", additional_special_tokens=["<one>", "<two>"])
    same_attributes(ours, theirs)


@pytest.mark.parametrize("name", FLAGGED)
def test_flags_that_files_give_to_special_tokens(name, tmp_path):
    row = next(row for row in ROWS if row.name == name)
    folder = saved_by_transformers(row, tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    mask = {"content": "<other>", "lstrip": True, "rstrip": True, "normalized": True, "single_word": False}
    config |= {"mask_token": {"__type": "AddedToken", **mask}, "extra_special_tokens": ["<a>", "<b>"], "x_token": "<x>"}
    write_json(folder / "tokenizer_config.json", config)
    ours, theirs = both(folder)
    same_attributes(ours, theirs)
    assert ours.x_token_id == theirs.x_token_id
    text = "a <other> b<x><a> c"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


EXTRAS = [
    {"additional_special_tokens": None},
    {"extra_special_tokens": []},
    {"additional_special_tokens": ["<x>", "<y>"]},
    {"extra_special_tokens": {"a_token": "<a>"}},
    {"extra_special_tokens": None},
]


@pytest.mark.parametrize("name", ["T5Tokenizer", "NllbTokenizer", "CodeLlamaTokenizer", "MBart50Tokenizer"])
def test_extra_special_tokens_of_the_configuration(name, tmp_path):
    folder = saved_by_transformers(next(row for row in ROWS if row.name == name), tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {key: value for key, value in config.items() if "special_tokens" not in key}
    for extra in EXTRAS:
        write_json(folder / "tokenizer_config.json", {**config, **extra})
        ours, theirs = both(folder)
        assert ours.all_special_tokens == theirs.all_special_tokens, extra
        assert ours.get_vocab() == theirs.get_vocab(), extra
