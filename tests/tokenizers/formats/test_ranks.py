"""tiktoken and tekken files, beside transformers' converters and a plain merging by rank."""

import base64
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import transformers
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.integrations.mistral.tokenizer import MistralConverter

from enfold import AutoTokenizer
from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.formats import patterns, tekken, tiktoken

from ..folders import sample_texts
from . import ranks as made

TEXTS = [*sample_texts(), "a<|x|>b", "a\n\n  b\t c", "naïve 😀😀 12345"]
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"]


@pytest.fixture
def tiktoken_reader(monkeypatch):
    """Lets transformers' converter read a file without the tiktoken package."""

    def read(path):
        rows = (line.split() for line in Path(path).read_text().splitlines())
        return {base64.b64decode(token): int(rank) for token, rank in rows}

    monkeypatch.setattr(TikTokenConverter, "load_tiktoken_bpe", staticmethod(read))


def merged(word: bytes, ranks: dict[bytes, int]) -> list[int]:
    """BPE by ranks as its definition says: the lowest pair first, the leftmost of equals."""
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        pairs = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_tiktoken_documents_are_the_converters(small_ranks, tmp_path, tiktoken_reader):
    path = tmp_path / "tokenizer.model"
    path.write_text(made.tiktoken_text(small_ranks))
    ranks = tiktoken.read_tiktoken(path)
    assert ranks == small_ranks
    document = tiktoken.tiktoken_document(ranks, patterns.CL100K, ["<|x|>", "<|y|>"])
    theirs = TikTokenConverter(str(path), extra_special_tokens=["<|x|>", "<|y|>"]).converted()
    assert json.loads(document.to_json()) == json.loads(theirs.to_str())
    ours = document.build()
    for text in TEXTS:
        made_ids, like = ours.encode(text), theirs.encode(text)
        assert (made_ids.ids, made_ids.offsets) == (like.ids, like.offsets)
        assert ours.decode(made_ids.ids, skip_special_tokens=False) == text


def test_ids_are_those_of_merging_by_rank(small_ranks):
    ours = tiktoken.tiktoken_document(small_ranks, r"\S+|\s+").build()
    for text in TEXTS:
        words = re.findall(r"\S+|\s+", text)
        expected = [index for word in words for index in merged(word.encode(), small_ranks)]
        assert ours.encode(text).ids == expected, text


def test_special_tokens_keep_their_ids_over_gaps(small_ranks, tmp_path):
    size = len(small_ranks)
    encoding = tiktoken.Encoding(patterns.GPT2, {"<|a|>": size + 3, "<|b|>": size + 9})
    ours = tiktoken.encoding_document(small_ranks, encoding).build()
    assert ours.encode("<|b|>x<|a|>").ids == [size + 9, small_ranks[b"x"], size + 3]
    with pytest.raises(TokenizerError, match="which the vocabulary gives to another token"):
        tiktoken.encoding_document(small_ranks, tiktoken.Encoding(patterns.GPT2, {"<|a|>": 5}))


def folder_with(folder, file, text, config=None, model_type="llama"):
    made.write_json(folder / "config.json", {"model_type": model_type})
    if config is not None:
        made.write_json(folder / "tokenizer_config.json", config)
    (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize("file", ["tokenizer.model", "tiktoken.model"])
@pytest.mark.parametrize("extra", [{}, {"extra_special_tokens": ["<|x|>", "<|y|>"]}, {"added_tokens_decoder": True}])
def test_folders_with_a_tiktoken_file(small_ranks, tmp_path, tiktoken_reader, file, extra):
    size = len(small_ranks)
    if "added_tokens_decoder" in extra:
        flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
        extra = {"added_tokens_decoder": {str(size + n): {"content": f"<|{n}|>", **flags} for n in (1, 4)}}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|x|>", **extra}
    folder = folder_with(tmp_path / "f", file, made.tiktoken_text(small_ranks), config)
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert json.loads(ours.backend_tokenizer.to_str()) == json.loads(theirs.backend_tokenizer.to_str())
    for text in TEXTS:
        assert dict(ours(text, return_offsets_mapping=True)) == dict(theirs(text, return_offsets_mapping=True))


def test_named_and_unnamed_tiktoken_files(small_ranks, tmp_path):
    path = tmp_path / "mine.tiktoken"
    path.write_text(made.tiktoken_text(small_ranks))
    assert AutoTokenizer.from_pretrained(path)("a1234")["input_ids"]
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "qwen.tiktoken").write_text(made.tiktoken_text(small_ranks))
    ours = AutoTokenizer.from_pretrained(folder)
    assert ours.eos_token == "<|endoftext|>"
    assert ours("<|im_start|>a")["input_ids"] == [151644, small_ranks[b"a"]]
    assert [path.rpartition("/")[2] for path in ours.save_vocabulary(tmp_path)] == ["qwen.tiktoken"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "", "empty"),
        (lambda text: text[:-7], "line 900"),
        (lambda text: text.replace("IQ== 0", "IQ== x"), "line 1"),
        (lambda text: text.replace("IQ== 0", "I?== 0"), "line 1"),
        (lambda text: text.replace("IQ== 0", "IQ== 99999999999"), "line 1"),
        (lambda text: text.replace("IQ== 0", "IQ== 1"), "same rank"),
        (lambda text: text + "IQ== 5000\n", "comes twice"),
        (lambda text: text.replace("IQ== 0\n", ""), "1 bytes are no tokens"),
    ],
)
def test_damaged_tiktoken_files_are_refused(small_ranks, tmp_path, change, reason):
    text = made.tiktoken_text(dict(sorted(small_ranks.items(), key=lambda entry: entry[1])))
    assert text.startswith("IQ== 0\n")
    path = tmp_path / "x.tiktoken"
    path.write_text(change(text))
    with pytest.raises(TokenizerError, match=reason):
        tiktoken.read_tiktoken(path)


@pytest.mark.parametrize(("special", "reserved", "spare"), [(SPECIAL, 6, 0), (SPECIAL, 10, 100), (None, 30, 7)])
def test_tekken_documents_are_the_converters(small_ranks, tmp_path, monkeypatch, special, reserved, spare):
    whole = made.tekken_whole(small_ranks, special, reserved, spare)
    path = made.write_json(tmp_path / "tekken.json", whole)
    document = tekken.read_tekken(path)
    if special is None:  # transformers asks mistral-common for the tokens of old files
        whole["special_tokens"] = [
            {"rank": rank, "token_str": token} for rank, token in enumerate(tekken.special_tokens(whole, path)[:20])
        ]
        assert whole["special_tokens"][19]["token_str"] == "[TOOL_CONTENT]"
        made.write_json(path, whole)
    theirs = MistralConverter(str(path)).converted()
    assert json.loads(document.to_json()) == json.loads(theirs.to_str())
    ours = document.build()
    for text in [*TEXTS, "<s>[INST]a[/INST]</s>"]:
        assert ours.encode(text).ids == theirs.encode(text).ids


def test_folders_with_a_tekken_file(small_ranks, tmp_path):
    folder = tmp_path / "mistral"
    made.write_json(folder / "tekken.json", made.tekken_whole(small_ranks, SPECIAL, 9))
    made.write_json(folder / "config.json", {"model_type": "mistral"})
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.special_tokens_map == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    single = AutoTokenizer.from_pretrained(folder / "tekken.json", bos_token="[INST]")
    assert single.get_vocab() == ours.get_vocab()
    assert single.bos_token == "[INST]"
    written = ours.save_pretrained(tmp_path / "native", save_format="mistral")
    assert (tmp_path / "native" / "tekken.json").read_bytes() == (folder / "tekken.json").read_bytes()
    assert len(written) == 1
    assert ours.save_vocabulary(tmp_path / "native")[0].endswith("tekken.json")
    ours.add_tokens(["new"])
    with pytest.raises(ArgumentError, match="other added tokens"):
        ours.save_pretrained(tmp_path / "native", save_format="mistral")
    with pytest.raises(ArgumentError, match="not known"):
        ours.save_pretrained(tmp_path / "native", save_format="gguf")
    ours.save_pretrained(tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert [again(text)["input_ids"] for text in TEXTS] == [ours(text)["input_ids"] for text in TEXTS]
    with pytest.raises(ArgumentError, match="was loaded from a tekken"):
        AutoTokenizer.from_pretrained(tmp_path / "saved").save_pretrained(tmp_path / "x", save_format="mistral")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("config"), "needs config.pattern"),
        (lambda w: w["config"].update(pattern=3), "needs config.pattern"),
        (lambda w: w["config"].update(default_vocab_size=10**9), "default_vocab_size is 1000000000"),
        (lambda w: w["config"].update(default_vocab_size="x"), "must be a number"),
        (lambda w: w["config"].update(default_num_special_tokens=2), "default_num_special_tokens is 2"),
        (lambda w: w["config"].update(default_num_special_tokens=10**12), "default_num_special_tokens is"),
        (lambda w: w.update(vocab={}), "vocab must be a list"),
        (lambda w: w["vocab"][3].update(rank=4), "token 3 of the vocabulary has rank 4"),
        (lambda w: w["vocab"][3].update(token_bytes="?"), "token 3 needs rank"),
        (lambda w: w["vocab"][3].pop("token_bytes"), "token 3 needs rank"),
        (lambda w: w["vocab"][300].update(token_bytes="IQ=="), "comes twice"),
        (lambda w: w["special_tokens"][1].update(rank=7), "without a gap"),
        (lambda w: w["special_tokens"][1].update(token_str="<unk>"), "special token comes twice"),
        (lambda w: w.update(special_tokens=["<s>"]), "needs rank and token_str"),
    ],
)
def test_damaged_tekken_files_are_refused(small_ranks, tmp_path, change, reason):
    whole = made.tekken_whole(small_ranks, SPECIAL, 6)
    change(whole)
    with pytest.raises(TokenizerError, match=reason):
        tekken.read_tekken(made.write_json(tmp_path / "tekken.json", whole))
