"""Which class a folder gets, what the files say, and what is wrong with those that can't be read."""

import json
import shutil
import subprocess
import sys

import pytest
import transformers

import enfold
from enfold import AutoTokenizer, PreTrainedTokenizerFast
from enfold.base.errors import ArgumentError, HubError, NotBuiltError, TokenizerError

from .folders import LLAMA3_SPLIT, bert_vocab_folder, sample_texts, train_byte_level, write_json
from .test_pretrained_attributes import same_attributes

TEXTS = sample_texts()


@pytest.fixture
def byte_level_folder(tmp_path):
    """A tokenizer.json that a family would build otherwise, under a declaration to be chosen."""

    def make(model_type=None, tokenizer_class=None, **config):
        folder = tmp_path / f"{model_type}-{tokenizer_class}"
        folder.mkdir()
        train_byte_level(["<|endoftext|>", "<s>", "</s>"], split=LLAMA3_SPLIT, size=500).save(
            str(folder / "tokenizer.json")
        )
        write_json(folder / "config.json", {"model_type": model_type} if model_type else {})
        if tokenizer_class:
            config["tokenizer_class"] = tokenizer_class
        write_json(folder / "tokenizer_config.json", config)
        return folder

    return make


@pytest.mark.parametrize(
    ("model_type", "declared"),
    [
        ("gpt2", "GPT2Tokenizer"),
        ("gpt2", "GPT2TokenizerFast"),
        ("gpt2", None),
        ("gpt2", "PreTrainedTokenizerFast"),
        ("llama", "GPT2Tokenizer"),
        ("llama", "LlamaTokenizer"),
        ("llama", "PreTrainedTokenizerFast"),
        ("llama", None),
        ("mistral", "LlamaTokenizerFast"),
        ("granite", "GPT2Tokenizer"),
        ("qwen2", "GPT2Tokenizer"),
        ("qwen3", "PreTrainedTokenizerFast"),
        ("phi3", "LlamaTokenizerFast"),
        ("gpt_neox", "GPTNeoXTokenizerFast"),
        ("unheard", "BloomTokenizerFast"),
        ("unheard", "CodeGenTokenizer"),
        ("cohere", None),
        ("opt", None),
        ("smolvlm", "GPT2Tokenizer"),
        ("phi", None),
    ],
)
def test_the_class_is_the_one_transformers_takes(byte_level_folder, model_type, declared):
    folder = byte_level_folder(model_type, declared)
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert type(ours).__name__ == type(theirs).__name__.replace("TokenizersBackend", "PreTrainedTokenizerFast")
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
        assert ours(text).word_ids() == theirs(text).word_ids(), text
    assert ours.padding_side == theirs.padding_side
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.get_vocab() == theirs.get_vocab()


def test_a_class_that_is_not_built_is_refused(byte_level_folder):
    folder = byte_level_folder("layoutlmv3", "LayoutLMv3Tokenizer")
    with pytest.raises(NotBuiltError, match=r"LayoutLMv3Tokenizer.*takes its tokenizer\.json as it is"):
        AutoTokenizer.from_pretrained(folder)
    assert PreTrainedTokenizerFast.from_pretrained(folder)("a")["input_ids"]


def test_an_unknown_class_takes_the_file_as_it_is(byte_level_folder, tmp_path):
    ours = AutoTokenizer.from_pretrained(byte_level_folder("unheard", "OwnTokenizer"))
    theirs = transformers.AutoTokenizer.from_pretrained(byte_level_folder("unheard-of", "OwnTokenizer"))
    assert ours(TEXTS)["input_ids"] == theirs(TEXTS)["input_ids"]
    ours.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "OwnTokenizer"


def test_the_classes_are_under_their_names(tokenizer_folders):
    assert type(AutoTokenizer.from_pretrained(tokenizer_folders["bert-vocab"])) is enfold.BertTokenizer
    assert type(AutoTokenizer.from_pretrained(tokenizer_folders["distilbert"])) is enfold.DistilBertTokenizer
    assert type(AutoTokenizer.from_pretrained(tokenizer_folders["gpt2"])) is enfold.GPT2Tokenizer
    assert type(AutoTokenizer.from_pretrained(tokenizer_folders["chat"])) is PreTrainedTokenizerFast
    for name in ("Bert", "DistilBert", "GPT2", "Llama", "T5"):
        assert getattr(enfold, f"{name}TokenizerFast") is getattr(enfold, f"{name}Tokenizer")
    direct = enfold.BertTokenizer.from_pretrained(tokenizer_folders["distilbert"])
    assert "token_type_ids" in direct("a")
    assert AutoTokenizer.from_pretrained(tokenizer_folders["bert-json"], tokenizer_type="distilbert").family is not None
    with pytest.raises(ArgumentError, match="tokenizer_type='berd'"):
        AutoTokenizer.from_pretrained(tokenizer_folders["gpt2"], tokenizer_type="berd")
    with pytest.raises(ArgumentError, match="from_pretrained"):
        AutoTokenizer()


def test_a_registered_class_is_used(tokenizer_folders, tmp_path, monkeypatch):
    from enfold.tokenizers import auto

    monkeypatch.setattr(auto, "_REGISTERED", {})

    class OwnTokenizer(PreTrainedTokenizerFast):
        pass

    folder = tmp_path / "own"
    shutil.copytree(tokenizer_folders["chat"], folder)
    write_json(folder / "config.json", {"model_type": "own-model"})
    AutoTokenizer.register("own-model", OwnTokenizer)
    assert type(AutoTokenizer.from_pretrained(folder)) is OwnTokenizer
    with pytest.raises(ArgumentError, match="exist_ok"):
        AutoTokenizer.register("own-model", OwnTokenizer)
    with pytest.raises(ArgumentError, match="subclass"):
        AutoTokenizer.register("other", dict)


def test_single_files(tokenizer_folders):
    whole = AutoTokenizer.from_pretrained(tokenizer_folders["chat"] / "tokenizer.json")
    assert whole("Hello")["input_ids"] == AutoTokenizer.from_pretrained(tokenizer_folders["chat"])("Hello")["input_ids"]
    bare = AutoTokenizer.from_pretrained(tokenizer_folders["bert-vocab"] / "vocab.txt")
    assert type(bare) is enfold.BertTokenizer
    with pytest.raises(HubError, match="unknown kind"):
        AutoTokenizer.from_pretrained(tokenizer_folders["chat"] / "config.json")


def test_old_files_for_special_and_added_tokens(tokenizer_folders, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(tokenizer_folders["gpt2"], folder)
    write_json(folder / "added_tokens.json", {"<extra>": 1201, "<pad>": 1200})
    end = {"content": "<|endoftext|>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": True}
    write_json(
        folder / "special_tokens_map.json",
        {"eos_token": end, "pad_token": "<pad>", "additional_special_tokens": ["<one>", "<two>"]},
    )
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    same_attributes(ours, theirs)
    text = "a <extra> b <pad> c <one><|endoftext|>"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_added_tokens_decoder_of_the_configuration(tokenizer_folders, tmp_path):
    folder = tmp_path / "decoder"
    shutil.copytree(tokenizer_folders["bert-vocab"], folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    flags = {"lstrip": True, "rstrip": False, "single_word": False, "normalized": False, "special": False}
    config["added_tokens_decoder"] = {
        "1501": {"content": "<later>", **flags},
        "1500": {"content": "<first>", **flags},
        "2": {"content": "[CLS]", **flags, "special": True},
    }
    config["extra_special_tokens"] = {"image_token": "<img>"}
    write_json(folder / "tokenizer_config.json", config)
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    same_attributes(ours, theirs)
    assert ours.image_token_id == theirs.image_token_id
    assert ours("x  <later> <first>y[CLS]<img>")["input_ids"] == theirs("x  <later> <first>y[CLS]<img>")["input_ids"]


def test_versioned_tokenizer_files(tokenizer_folders, tmp_path):
    folder = tmp_path / "versions"
    shutil.copytree(tokenizer_folders["chat"], folder)
    train_byte_level(["<new>"], size=400).save(str(folder / "tokenizer.4.0.0.json"))
    shutil.copy(folder / "tokenizer.4.0.0.json", folder / "tokenizer.99.0.json")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["fast_tokenizer_files"] = ["tokenizer.json", "tokenizer.4.0.0.json", "tokenizer.99.0.json"]
    write_json(folder / "tokenizer_config.json", config)
    assert AutoTokenizer.from_pretrained(folder).vocab_size == 400


def test_a_space_before_the_text_can_be_asked_for(byte_level_folder, tokenizer_folders):
    folder = tokenizer_folders["gpt2"]
    for loader in (AutoTokenizer, transformers.AutoTokenizer):
        tokenizer = loader.from_pretrained(folder, add_prefix_space=True)
        assert tokenizer.tokenize("self") == tokenizer.tokenize(" self")
    generic = AutoTokenizer.from_pretrained(byte_level_folder("unheard"), add_prefix_space=True)
    assert generic.tokenize("self")[0].startswith("Ġ")
    with pytest.raises(TokenizerError, match="no meaning"):
        PreTrainedTokenizerFast.from_pretrained(tokenizer_folders["bert-json"], add_prefix_space=True)


def test_unknown_overrides_are_refused(tokenizer_folders):
    with pytest.raises(ArgumentError, match=r"'paddingside' \(did you mean 'padding_side'\?\)"):
        AutoTokenizer.from_pretrained(tokenizer_folders["chat"], paddingside="left")
    with pytest.raises(ArgumentError, match="do_lower_case"):
        AutoTokenizer.from_pretrained(tokenizer_folders["chat"], do_lower_case=True)
    with pytest.raises(ArgumentError, match="padding_side"):
        AutoTokenizer.from_pretrained(tokenizer_folders["chat"], padding_side="top")


def test_code_of_a_repository_is_never_run(tokenizer_folders, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(tokenizer_folders["chat"], folder)
    (folder / "own.py").write_text("raise SystemExit('was run')")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    write_json(folder / "tokenizer_config.json", config)
    for trust in (None, False, True):
        with pytest.raises(TokenizerError, match="never runs code"):
            AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    assert PreTrainedTokenizerFast.from_pretrained(folder)("a")["input_ids"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("tokenizer.json", b'{"version": "1.0", "model"', "tokenizer.json"),
        ("tokenizer.json", b"[]", "tokenizer.json"),
        ("tokenizer.json", b'{"model": {"type": "Unheard", "vocab": {}}}', "tokenizer.json"),
        ("tokenizer.json", b"\xff\xfe\x00", "tokenizer.json"),
        ("tokenizer.json", b"[" * 100_000, "tokenizer.json"),
        ("tokenizer_config.json", b'{"a": ', "tokenizer_config.json: not valid JSON"),
        ("tokenizer_config.json", b"[1]", "expected a JSON dict, found list"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {"content": "a"}}}', "'x' is no token id"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"1": {"special": true}}}', "needs its text"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"1": {"content": "a", "special": 3}}}', "true or false"),
        ("tokenizer_config.json", b'{"tokenizer_class": 5}', "tokenizer_class must be a name"),
        ("added_tokens.json", b'{"a": -1}', "-1 is no token id"),
        ("special_tokens_map.json", b'{"pad_token": {"lstrip": 1}}', "needs its text"),
        ("chat_template.jinja", b"\xff", "not UTF-8"),
    ],
)
def test_damaged_files_are_named(tokenizer_folders, tmp_path, file, content, reason):
    folder = tmp_path / "damaged"
    shutil.copytree(tokenizer_folders["chat"], folder)
    (folder / file).write_bytes(content)
    with pytest.raises((TokenizerError, ArgumentError), match=reason):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("vocab.json", b'{"a": "b"}', "token 'a' has id 'b'"),
        ("vocab.json", b'{"a": 1e9}', "token 'a' has id 1000000000.0"),
        ("vocab.json", b"{}", "not empty"),
        ("merges.txt", b"#version: 0.2\na b\nabc\n", "merges.txt, line 3: expected two symbols"),
        ("merges.txt", b"#version: 0.2\nqqqq zzzz\n", "qqqq"),
        ("merges.txt", None, "merges.txt"),
    ],
)
def test_damaged_bare_vocabularies_are_named(tokenizer_folders, tmp_path, file, content, reason):
    folder = tmp_path / "damaged"
    shutil.copytree(tokenizer_folders["gpt2"], folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(TokenizerError, match=reason):
        AutoTokenizer.from_pretrained(folder)


def test_damaged_parts_of_a_tokenizer_json_that_a_family_rebuilds(tokenizer_folders, tmp_path):
    whole = json.loads((tokenizer_folders["bert-json"] / "tokenizer.json").read_text())
    for change, reason in [
        ({"model": 3}, "no model"),
        ({"model": {"type": "WordPiece", "vocab": 5}}, "must be an object or a list"),
        ({"model": {"type": "WordPiece", "vocab": {"[UNK]": -4}}}, "has id -4"),
        ({"added_tokens": [7]}, "must be an object"),
        ({"added_tokens": [{"id": 1}]}, "needs its text"),
    ]:
        folder = tmp_path / reason.replace(" ", "-")
        shutil.copytree(tokenizer_folders["bert-json"], folder)
        write_json(folder / "tokenizer.json", {**whole, **change})
        with pytest.raises(TokenizerError, match=reason):
            AutoTokenizer.from_pretrained(folder)


def test_empty_and_missing_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match=r"no vocabulary found: expected tokenizer\.json"):
        AutoTokenizer.from_pretrained(tmp_path / "empty")
    with pytest.raises((HubError, ArgumentError, ValueError)):
        AutoTokenizer.from_pretrained(str(tmp_path / "missing"), local_files_only=True)


def test_odd_lines_of_vocab_txt(tmp_path):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a ", "b\r", "c\x1c", "d\u3000", "##e", "f\rg"]
    folder = bert_vocab_folder(tmp_path / "odd", vocab)
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.get_vocab() == theirs.get_vocab()


def test_tokenising_loads_no_torch(tokenizer_folders):
    code = (
        "import sys; from enfold import AutoTokenizer; "
        f"t = AutoTokenizer.from_pretrained({str(tokenizer_folders['chat'])!r}); "
        "t(['a', 'b c'], padding=True, return_tensors='np'); t.decode([1, 2]); "
        "t.apply_chat_template([{'role': 'user', 'content': 'x'}]); assert 'torch' not in sys.modules; "
        "assert 'transformers' not in sys.modules and 'tokenizers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
