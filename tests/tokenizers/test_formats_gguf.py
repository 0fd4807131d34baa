"""Vocabularies out of GGUF files, beside transformers' reading of the same files."""

import json
import struct

import gguf
import pytest
import transformers

import tokenizers
from enfold import AutoTokenizer
from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.formats import patterns
from enfold.tokenizers.formats.gguf import read_metadata
from enfold.tokenizers.formats.gguf_vocabulary import byte_alphabet
from enfold.tokenizers.formats.tiktoken import ranks_document

from .folders import FOREIGN, sample_texts, train_byte_level, train_wordpiece

TEXTS = [*sample_texts(), "user <|im_start|>said<|im_end|> <user1>x", "½ Ⅷ 12 345"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write(
    path, *, kind="gpt2", pre="smollm", tokens=None, merges=None, types=None, architecture="llama", scores=None, **ids
):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    if kind:
        writer.add_tokenizer_model(kind)
    if pre:
        writer.add_tokenizer_pre(pre)
    if tokens is not None:
        writer.add_token_list(tokens)
    if merges is not None:
        writer.add_token_merges(merges)
    if types is not None:
        writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    for name, value in ids.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def vocabulary():
    model = json.loads(train_byte_level([*CONTROL, "<user1>"], size=900).to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    types = [3 if token in CONTROL else 4 if token == "<user1>" else 1 for token in tokens]
    return {"tokens": tokens, "merges": [" ".join(pair) for pair in model["merges"]], "types": types}


@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "llama-bpe", "qwen2", "gpt-4o", "tekken", "qwen35", None])
def test_byte_level_vocabularies(tmp_path, vocabulary, pre):
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    write(
        tmp_path / "m.gguf",
        pre=pre,
        **vocabulary,
        bos_token_id=1,
        eos_token_id=2,
        unk_token_id=0,
        pad_token_id=2,
        add_bos_token=pre == "qwen2",
        chat_template=template,
    )
    ours = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text in TEXTS:
        made, like = ours(text, return_offsets_mapping=True), theirs(text, return_offsets_mapping=True)
        assert dict(made) == dict(like), text
        assert ours.decode(made["input_ids"]) == theirs.decode(like["input_ids"])
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.chat_template == theirs.chat_template == template
    assert ours.added_tokens_encoder == theirs.added_tokens_encoder
    assert ours.get_vocab() == theirs.get_vocab()
    single = AutoTokenizer.from_pretrained(tmp_path / "m.gguf", padding_side="left")
    assert single.padding_side == "left"
    ours.save_pretrained(tmp_path / "saved")
    again = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "saved")
    assert [again(text)["input_ids"] for text in TEXTS] == [ours(text)["input_ids"] for text in TEXTS]


def test_an_unknown_split_is_told(tmp_path, vocabulary, monkeypatch):
    from enfold.tokenizers.formats import gguf_vocabulary as ours

    heard = []
    monkeypatch.setattr(ours.logger, "warning", lambda text, *args: heard.append(text % args))
    write(tmp_path / "m.gguf", pre="martian", **vocabulary)
    AutoTokenizer.from_pretrained(tmp_path / "m.gguf")
    assert "'martian' is not known" in heard[0]


def test_sentencepiece_vocabularies(tmp_path):
    """With merges derived from scores, and bytes for what is missing."""
    words = sorted({word for text in TEXTS + FOREIGN for word in text.split()})
    pieces = sorted({"▁" + word for word in words} | {c for word in words for c in word if c.isascii()} | {"▁"})
    pieces += sorted(
        {piece[:n] for piece in pieces for n in range(2, len(piece)) if piece.isascii() or n < 4} - set(pieces)
    )
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [2, 3, 3, *[6] * 256, *[1] * len(pieces)]
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    write(
        tmp_path / "m.gguf",
        kind="llama",
        pre=None,
        tokens=tokens,
        types=types,
        scores=scores,
        bos_token_id=1,
        eos_token_id=2,
        unk_token_id=0,
    )
    ours = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text in TEXTS:
        assert dict(ours(text)) == dict(theirs(text)), text
        assert ours.decode(ours(text)["input_ids"]) == theirs.decode(theirs(text)["input_ids"])
    assert ours.added_tokens_encoder == theirs.added_tokens_encoder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": None}, "carries no vocabulary"),
        ({"tokens": None, "types": None}, "carries no vocabulary"),
        ({"merges": None}, "needs tokenizer.ggml.merges"),
        ({"merges": ["ab"]}, "'ab' is no merge"),
        ({"merges": ["ab "]}, "'ab ' is no merge"),
        ({"types": [1, 2]}, "token_type has 2 entries"),
        ({"eos_token_id": 10**6}, "eos_token_id is 1000000"),
        ({"merges": ["qq zz"]}, "qq"),
    ],
)
def test_contradictory_files_are_refused(tmp_path, vocabulary, changes, reason):
    write(tmp_path / "m.gguf", **{**vocabulary, **changes})
    with pytest.raises(TokenizerError, match=reason):
        AutoTokenizer.from_pretrained(tmp_path / "m.gguf")


def test_other_kinds_are_not_built(tmp_path, vocabulary):
    write(tmp_path / "m.gguf", **vocabulary, kind="rwkv")
    with pytest.raises(NotBuiltError, match="'rwkv'"):
        AutoTokenizer.from_pretrained(tmp_path / "m.gguf")
    write(tmp_path / "m.gguf", **vocabulary, pre="whitespace")
    with pytest.raises(NotBuiltError, match="'whitespace'"):
        AutoTokenizer.from_pretrained(tmp_path / "m.gguf")


@pytest.mark.parametrize("pre", sorted(patterns.GGUF))
def test_every_named_split_is_the_wheels(vocabulary, pre):
    """The patterns cut in the engine as they do in the original library."""
    document = ranks_document({"type": "BPE", "vocab": {}, "merges": []}, "")
    document.model["vocab"] = {letter: index for index, letter in enumerate(byte_alphabet())}
    document.sections["pre_tokenizer"] = patterns.splitting(patterns.GGUF[pre])
    theirs = tokenizers.Tokenizer.from_str(document.to_json())
    ours = document.build()
    for text in [*TEXTS, "IMGIMGABZ <sentinel:3>\r\n x", " " * 70 + "a", "1234567 ١٢٣٤٥"]:
        made, like = ours.encode(text), theirs.encode(text)
        assert (made.ids, made.word_ids, made.offsets) == (like.ids, like.word_ids, like.offsets), text


def spelled_out(gemma):
    """A sentencepiece vocabulary with bytes; Gemma's has runs of spaces, and other tokens first."""
    words = sorted({word for text in TEXTS + FOREIGN for word in text.split()})
    pieces = sorted({"▁" + word for word in words} | {c for word in words for c in word if c.isascii()} | {"▁"})
    pieces += sorted({piece[:n] for piece in pieces for n in range(2, len(piece)) if piece.isascii()} - set(pieces))
    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] if gemma else ["<unk>", "<s>", "</s>"]
    spaces = ["  ", "   ", "    "] if gemma else []
    tokens = [*first, *(f"<0x{byte:02X}>" for byte in range(256)), "<start_of_turn>", *spaces, *pieces]
    types = [3] * len(first) + [6] * 256 + [3] + [4] * len(spaces) + [1] * len(pieces)
    scores = [0.0] * (len(first) + 257) + [-float(i % 97) for i in range(len(spaces) + len(pieces))]
    return {"tokens": tokens, "types": types, "scores": scores}


@pytest.mark.parametrize(
    ("architecture", "kind"), [("gemma", "llama"), ("gemma2", "llama"), ("gemma3", "llama"), ("phi3", "llama")]
)
def test_gemma_and_phi(tmp_path, architecture, kind):
    gemma = architecture != "phi3"
    ids = {"bos_token_id": 2 if gemma else 1, "eos_token_id": 1 if gemma else 2, "unk_token_id": 3 if gemma else 0}
    write(tmp_path / "m.gguf", kind=kind, pre="default", architecture=architecture, **spelled_out(gemma), **ids)
    ours = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    theirs, config = their_reading(tmp_path / "m.gguf")
    assert json.loads(ours.backend_tokenizer.to_str())["model"] == json.loads(theirs.to_str())["model"]
    assert ours.add_bos_token is config["add_bos_token"] is True
    begin = [ids["bos_token_id"]]
    for text in [*TEXTS, "  two   three    four", " a", "<start_of_turn>x"]:
        made, like = ours(text)["input_ids"], theirs.encode(text, add_special_tokens=False).ids
        assert made == begin + like, text
        assert ours.decode(made[1:], skip_special_tokens=False) == theirs.decode(like, skip_special_tokens=False)


def their_reading(path):
    """transformers' engine and options for a file, without a model's configuration."""
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, tokenizer, config = get_gguf_tokenizer(str(path))
    return convert_gguf_tokenizer(architecture, tokenizer)[0], config


@pytest.mark.parametrize(("kind", "pre"), [("gemma4", "gemma4"), ("gpt2", "sarvam-moe")])
def test_marked_text_with_merges(tmp_path, kind, pre):
    vocabulary = spelled_out(gemma=True)
    known = set(vocabulary["tokens"])
    merges = [
        f"{token[:n]} {token[n:]}"
        for token in vocabulary["tokens"]
        for n in range(1, len(token))
        if " " not in token and {token[:n], token[n:]} <= known
    ]
    write(tmp_path / "m.gguf", kind=kind, pre=pre, merges=merges, **vocabulary, bos_token_id=2)
    ours = AutoTokenizer.from_pretrained(tmp_path / "m.gguf")
    write(tmp_path / "like.gguf", kind="gemma4", pre="gemma4", merges=merges, **vocabulary, bos_token_id=2)
    theirs, _ = their_reading(tmp_path / "like.gguf")
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs.encode(text, add_special_tokens=False).ids, text


@pytest.mark.parametrize("lowercase", [None, True, False])
def test_bert_vocabularies(tmp_path, lowercase):
    """Spelled as llama.cpp's converter does: words behind a mark, continuations bare."""
    vocab = train_wordpiece()
    stored = [t if t[0] + t[-1] == "[]" else t[2:] if t.startswith("##") else "▁" + t for t in vocab]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bert")
    writer.add_tokenizer_model("bert")
    writer.add_token_list(stored)
    if lowercase is not None:
        writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    for key, name in (("unknown", "UNK"), ("seperator", "SEP"), ("padding", "PAD"), ("bos", "CLS"), ("mask", "MASK")):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", vocab.index(f"[{name}]"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    ours = AutoTokenizer.from_pretrained(tmp_path / "m.gguf")
    ids = {token: index for index, token in enumerate(vocab)}
    theirs = transformers.BertTokenizer(vocab=ids, do_lower_case=lowercase is not False)
    assert ours.special_tokens_map == theirs.special_tokens_map
    for text in [*TEXTS, "a [MASK] b"]:
        assert dict(ours(text, "B b")) == dict(theirs(text, "B b")), text
        assert ours.decode(ours(text)["input_ids"]) == theirs.decode(theirs(text)["input_ids"])


def test_split_models_are_read_from_their_first_file(tmp_path, vocabulary):
    first = write(tmp_path / "m-00001-of-00002.gguf", **vocabulary)
    write(tmp_path / "m-00002-of-00002.gguf", kind=None, pre=None)
    expected = AutoTokenizer.from_pretrained(first).get_vocab()
    for source, options in (
        (tmp_path, {}),
        (tmp_path, {"gguf_file": "m-00002-of-00002.gguf"}),
        (tmp_path / "m-00002-of-00002.gguf", {}),
    ):
        assert AutoTokenizer.from_pretrained(source, **options).get_vocab() == expected


def test_damaged_headers_are_refused(tmp_path, vocabulary):
    whole = write(tmp_path / "m.gguf", **vocabulary).read_bytes()
    damaged = {
        "empty": b"",
        "short": whole[:20],
        "magic": b"GGML" + whole[4:],
        "version": whole[:4] + struct.pack("<I", 1) + whole[8:],
        "keys": whole[:16] + struct.pack("<Q", 2**60) + whole[24:],
        "long string": whole[:24] + struct.pack("<Q", 2**62) + whole[32:],
        "kind": whole[:24] + struct.pack("<Q4sI", 4, b"abcd", 77) + whole[40:],
        "array": whole[:24] + struct.pack("<Q4sIIQ", 4, b"abcd", 9, 8, 2**60) + whole[52:],
        "numbers": whole[:24] + struct.pack("<Q4sIIQ", 4, b"abcd", 9, 5, 2**60) + whole[52:],
        "nested": whole[:24] + struct.pack("<Q4sI", 4, b"abcd", 9) + struct.pack("<IQ", 9, 1) * 50 + whole[52:],
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with pytest.raises(TokenizerError, match=name):
            read_metadata(path)
    for cut in range(0, min(len(whole), 3000), 61):
        (tmp_path / "cut.gguf").write_bytes(whole[:cut])
        with pytest.raises(TokenizerError):
            read_metadata(tmp_path / "cut.gguf")
