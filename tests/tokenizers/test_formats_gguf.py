"""Vocabularies out of GGUF files, beside transformers' reading of the same files."""

import struct

import gguf
import pytest
import transformers

from enfold import AutoTokenizer
from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.formats.gguf import read_metadata

from .folders import FOREIGN, sample_texts, train_byte_level

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
    import json

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
    from enfold.tokenizers.formats import gguf as ours

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
    write(tmp_path / "m.gguf", **vocabulary, kind="bert")
    with pytest.raises(NotBuiltError, match="'bert'"):
        AutoTokenizer.from_pretrained(tmp_path / "m.gguf")


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
