"""Folders that hold a sentencepiece model and no tokenizer.json, beside transformers."""

import json
import logging

import pytest
import transformers

from enfold import AutoTokenizer
from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

from ..folders import sample_texts
from . import spm
from .ranks import write_json

TEXTS = [*sample_texts(), "  leading and   inner ", "<user>x [INST] y </s>", "<s>a</s>", "ﬁ ½ ＡＢ\tcd\n", "▁a ▁▁▁ b"]
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
FAIRSEQ = "sentencepiece.bpe.model"


def folder_of(folder, content, file="tokenizer.model", model_type="llama", config=None):
    spm.write(folder, file, content)
    write_json(folder / "config.json", {"model_type": model_type})
    if config is not None:
        write_json(folder / "tokenizer_config.json", config)
    return folder


def both(folder):
    return AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)


def sections(tokenizer):
    """The tokenizer.json, with scores as they survive the reference library's reading of numbers."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    if whole["model"]["type"] == "Unigram":
        whole["model"]["vocab"] = [[piece, pytest.approx(score, rel=1e-12)] for piece, score in whole["model"]["vocab"]]
    return whole


def same(ours, theirs):
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert list(map(str, ours.extra_special_tokens)) == list(map(str, theirs.extra_special_tokens))
    assert ours.added_tokens_encoder == theirs.added_tokens_encoder
    assert json.loads(ours.backend_tokenizer.to_str()) == sections(theirs)
    for text in TEXTS:
        made, like = ours(text, return_offsets_mapping=True), theirs(text, return_offsets_mapping=True)
        assert dict(made) == dict(like), text
        assert ours.decode(made["input_ids"]) == theirs.decode(like["input_ids"]), text


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("llama", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": False, "pad_token": "</s>"}),
        ("llama", {"tokenizer_class": "LlamaTokenizer", "legacy": True, "extra_special_tokens": ["<x>"]}),
        ("bpe", {"tokenizer_class": "LlamaTokenizer", "add_eos_token": True}),
        ("llama", None),
    ],
)
def test_llama(spm_models, tmp_path, kind, config):
    same(*both(folder_of(tmp_path / "f", spm_models[kind], config=config)))


@pytest.mark.parametrize("kind", ["llama", "bpe", "unigram", "bytes"])
def test_without_a_class(spm_models, tmp_path, kind):
    """The file is taken as it is; a placeholder may have been given a name."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, "pad_token": "</s>"}
    if kind == "llama":
        config["added_tokens_decoder"] = {
            "3": {"content": "<|role|>", **FLAGS},
            "5000": {"content": "<|new|>", **FLAGS, "rstrip": True},
        }
    folder = folder_of(tmp_path / "f", spm_models[kind], model_type="internlm2", config=config)
    same(*both(folder))


@pytest.mark.parametrize(
    ("kind", "name", "model_type", "file"),
    [
        ("llama", "GemmaTokenizer", "gemma", "tokenizer.model"),
        ("llama", "CodeLlamaTokenizer", "llama", "tokenizer.model"),
        ("bpe", "NllbTokenizer", "m2m_100", FAIRSEQ),
        ("bpe", "ReformerTokenizer", "reformer", "spiece.model"),
        ("t5", "T5Tokenizer", "t5", "spiece.model"),
        ("albert", "AlbertTokenizer", "albert", "spiece.model"),
        ("unigram", "XLMRobertaTokenizer", "xlm-roberta", FAIRSEQ),
        ("folded", "XLMRobertaTokenizer", "xlm-roberta", FAIRSEQ),
        ("unigram", "MBartTokenizer", "mbart", FAIRSEQ),
        ("unigram", "MBart50Tokenizer", "mbart", FAIRSEQ),
        ("unigram", "CamembertTokenizer", "camembert", FAIRSEQ),
        ("unigram", "BarthezTokenizer", "mbart", FAIRSEQ),
        ("t5", "PegasusTokenizer", "pegasus", "spiece.model"),
        ("unigram", "XLNetTokenizer", "xlnet", "spiece.model"),
        ("unigram", "DebertaV2Tokenizer", "deberta-v2", "spm.model"),
        ("unigram", "BigBirdTokenizer", "big_bird", "spiece.model"),
        ("albert", "RemBertTokenizer", "rembert", "sentencepiece.model"),
        ("albert", "FNetTokenizer", "fnet", "spiece.model"),
    ],
)
def test_families(spm_models, tmp_path, kind, name, model_type, file):
    folder = folder_of(tmp_path / "f", spm_models[kind], file, model_type, {"tokenizer_class": name})
    ours, theirs = both(folder)
    same(ours, theirs)
    written = ours.save_vocabulary(tmp_path)
    assert (tmp_path / file).read_bytes() == spm_models[kind]
    assert written == (str(tmp_path / file),)
    for tokenizer, home in ((ours, "ours"), (theirs, "theirs")):
        tokenizer.save_pretrained(tmp_path / home)
    again, like = (transformers.AutoTokenizer.from_pretrained(tmp_path / home) for home in ("ours", "theirs"))
    assert [again(text)["input_ids"] for text in TEXTS] == [like(text)["input_ids"] for text in TEXTS]


def test_one_file_is_enough(spm_models, tmp_path):
    path = spm.write(tmp_path, "any.model", spm_models["llama"])
    ours = AutoTokenizer.from_pretrained(path)
    assert ours.get_vocab() == PreTrainedTokenizerFast.from_pretrained(path).get_vocab()
    assert ours.bos_token == "<s>"
    assert ours.decode(ours("a b")["input_ids"]) == "a b"
    alone = tmp_path / "alone"
    spm.write(alone, "spiece.model", spm_models["llama"])
    assert AutoTokenizer.from_pretrained(alone).get_vocab() == ours.get_vocab()


def test_a_kept_model_is_copied_from_beside_tokenizer_json(spm_models, tmp_path):
    folder = folder_of(tmp_path / "f", spm_models["llama"], config={"tokenizer_class": "LlamaTokenizer"})
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert (folder / "tokenizer.json").exists()
    out = tmp_path / "out"
    out.mkdir()
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded.save_vocabulary(out, filename_prefix="x") == (str(out / "x-tokenizer.model"),)
    assert (out / "x-tokenizer.model").read_bytes() == spm_models["llama"]
    assert loaded.save_vocabulary(folder) == (str(folder / "tokenizer.model"),)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(ArgumentError, match="is gone"):
        loaded.save_vocabulary(out)


def test_missing_and_damaged_files_are_named(spm_models, tmp_path):
    empty = tmp_path / "empty"
    write_json(empty / "config.json", {"model_type": "t5"})
    write_json(empty / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer"})
    with pytest.raises(TokenizerError, match=r"expected tokenizer.json or spiece.model"):
        AutoTokenizer.from_pretrained(empty)
    (empty / "spiece.model").write_bytes(spm_models["t5"][:100])
    with pytest.raises(TokenizerError, match=r"spiece.model: not a sentencepiece model"):
        AutoTokenizer.from_pretrained(empty)
    write_json(empty / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    (empty / "spiece.model").unlink()
    with pytest.raises(TokenizerError, match=r"tekken.json, tokenizer.model, tiktoken.model"):
        AutoTokenizer.from_pretrained(empty)


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)
