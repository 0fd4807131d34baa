"""Old and odd spellings of tokenizer.json: what the reference reads is read alike, what it refuses is refused."""

import json

import pytest

import tokenizers
from enfold.base.errors import TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.compare import assert_same
from tokenizers import models

VOCAB = {"a": 0, "b": 1, "ab": 2, "▁a": 3, "▁": 4, "c": 5}
BASE = json.loads(tokenizers.Tokenizer(models.BPE(VOCAB, [("a", "b")])).to_str())
TEXTS = ["", "a", "ab ba", " aab  b", "▁ab", "abcab", "a b", "A é 12!"]

A, B = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
CLS = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
SPECIAL = {"[CLS]": {"id": "[CLS]", "ids": [0], "tokens": ["[CLS]"]}}
BERT = {"clean_text": True, "handle_chinese_chars": True, "lowercase": True}
ENDS = {"sep": ["b", 1], "cls": ["a", 0]}
TRIM = {"trim_offsets": True, "add_prefix_space": True}
X = {"pattern": {"String": "a"}}
ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}

SPECS = [
    *(
        ("normalizer", spec)
        for spec in (
            {"type": "BertNormalizer"},
            {"type": "BertNormalizer", **BERT},
            {**BERT, "strip_accents": None},
            {"type": "Strip"},
            {"type": "StripNormalizer", "strip_left": True, "strip_right": False},
            {"strip_left": False, "strip_right": True},
            {"prepend": "a"},
            {"type": "Prepend"},
            {"type": "Prepend", "prepend": 3},
            {**X, "content": "b"},
            {"type": "Replace", "pattern": "a", "content": "b"},
            {"type": "Replace", "pattern": {"String": "a", "Regex": "a"}, "content": "b"},
            {"type": "Replace", "pattern": {"Regex": "(a"}, "content": "b"},
            {"normalizers": [{"type": "Lowercase"}, {"prepend": "a"}]},
            {"type": "Sequence"},
            {"type": "Sequence", "normalizers": [None]},
            {"type": "NFC", "extra": 1},
            {"type": "nfc"},
            {"type": None},
            {},
            [],
            "NFC",
        )
    ),
    *(
        ("pre_tokenizer", spec)
        for spec in (
            {"type": "Metaspace"},
            {"type": "Metaspace", "replacement": "▁"},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False},
            {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True},
            {"type": "Metaspace", "str_rep": "▁", "add_prefix_space": True},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "prepend_scheme": "never"},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "prepend_scheme": "first"},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "prepend_scheme": "never"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": None},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "First"},
            {"type": "Metaspace", "replacement": "▁▁"},
            {"type": "Metaspace", "replacement": ""},
            {"type": "Metaspace", "replacement": "▁", "split": None},
            {"replacement": "▁"},
            {"type": "Punctuation"},
            {"type": "Punctuation", "behavior": "removed"},
            {"type": "Punctuation", "behavior": None},
            {"type": "Digits"},
            {"type": "CharDelimiterSplit", "delimiter": "ab"},
            {"type": "Split", **X, "behavior": "Removed"},
            {"type": "Split", **X, "behavior": "Removed", "invert": False},
            {"type": "Split", **X, "behavior": "removed", "invert": False},
            {"type": "Split", **X, "behavior": "Removed", "invert": None},
            {"type": "ByteLevel", "add_prefix_space": True},
            {"type": "ByteLevel", **TRIM},
            {"type": "ByteLevel", **TRIM, "use_regex": None},
            {"type": "FixedLength"},
            {"type": "FixedLength", "length": -1},
            {"type": "FixedLength", "length": 2.0},
            {"type": "Sequence", "pretokenizers": []},
            {"pretokenizers": []},
            {"type": "Whitespace", "extra": 1},
        )
    ),
    *(
        ("post_processor", spec)
        for spec in (
            ENDS,
            {**ENDS, **TRIM},
            {"type": "RobertaProcessing", **ENDS},
            {"type": "BertProcessing", "sep": ["b", 1]},
            {"type": "BertProcessing", "sep": [1, "b"], "cls": ["a", 0]},
            {"type": "BertProcessing", "sep": ["b", -1], "cls": ["a", 0]},
            {"type": "ByteLevel", "trim_offsets": False},
            TRIM,
            {"single": [CLS, A], "pair": [A, CLS, B], "special_tokens": SPECIAL},
            {"type": "TemplateProcessing", "single": "$A", "pair": "$A $B", "special_tokens": {}},
            {"type": "TemplateProcessing", "single": [A], "pair": [A, B]},
            {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}], "pair": [A, B], "special_tokens": {}},
            {"type": "Sequence", "processors": []},
            {"processors": []},
            {},
        )
    ),
    *(
        ("decoder", spec)
        for spec in (
            {"suffix": "b"},
            {"prefix": "a", "cleanup": True},
            {"pad_token": "a", "word_delimiter_token": "b", "cleanup": True},
            {"content": "a", "start": 1, "stop": 0},
            {"type": "CTC"},
            {"type": "BPEDecoder"},
            {"type": "WordPiece", "prefix": "##"},
            {"type": "ByteLevel"},
            {"type": "ByteLevel", **TRIM},
            {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False},
            {"type": "Metaspace", "replacement": "▁▁"},
            {"type": "Strip", "content": "ab", "start": 1, "stop": 0},
            {"type": "Strip", "content": "a", "start": -1, "stop": 0},
            {"decoders": []},
        )
    ),
    *(
        ("model", spec)
        for spec in (
            {"vocab": VOCAB, "merges": ["#version: 0.2", "a b"]},
            {"vocab": VOCAB, "merges": [["a", "b"]], "fuse_unk": None, "dropout": 0},
            {"vocab": VOCAB, "merges": ["a b", "a b"]},
            {"type": "BPE", "vocab": VOCAB, "merges": ["a b", ["a", "b"]]},
            {"type": "BPE", "vocab": VOCAB},
            {"type": "BPE", "vocab": VOCAB, "merges": ["ab"]},
            {"type": "BPE", "vocab": VOCAB, "merges": ["a  b"]},
            {"type": "BPE", "vocab": VOCAB, "merges": ["a x"]},
            {"type": "BPE", "vocab": VOCAB, "merges": [["a", "b", "c"]]},
            {"type": "BPE", "vocab": VOCAB, "merges": [], "dropout": 1.5},
            {"type": "BPE", "vocab": VOCAB, "merges": [], "unk_token": 3},
            {"type": "BPE", "vocab": VOCAB, "merges": [], "dropout": 1},
            {"vocab": VOCAB, "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
            {"type": "WordPiece", "vocab": VOCAB, "unk_token": "a"},
            {"type": "WordPiece", "vocab": VOCAB},
            {"vocab": VOCAB, "unk_token": "a"},
            {"type": "WordLevel", "vocab": VOCAB},
            {"type": "WordLevel", "vocab": VOCAB, "unk_token": None},
            {"vocab": VOCAB},
        )
    ),
    *(
        ("added_tokens", [spec])
        for spec in (
            {"id": 0, "content": "a", **ADDED},
            {"id": 9, "content": "zz", **ADDED},
            {"id": 0, "content": "", **ADDED},
            {"id": 0, "content": "a"},
            {"content": "a", **ADDED},
            {"id": -3, "content": "a", **ADDED},
            {"id": 0, "content": "a", **ADDED, "special": None},
            "a",
        )
    ),
]


@pytest.mark.parametrize(("section", "spec"), SPECS, ids=lambda part: json.dumps(part)[:60])
def test_read_alike_or_refused_alike(section, spec):
    text = json.dumps(BASE | {section: spec})
    try:
        theirs = tokenizers.Tokenizer.from_str(text)
    except Exception:
        with pytest.raises(TokenizerError):
            Tokenizer.from_str(text)
        return
    ours = Tokenizer.from_str(text)
    expected = theirs.encode_batch(TEXTS)
    assert_same(ours.encode_batch(TEXTS), expected, TEXTS)
    ids = [encoding.ids for encoding in expected]
    assert ours.decode_batch(ids) == theirs.decode_batch(ids)
    # What is saved names its types, and both libraries read it.
    again = tokenizers.Tokenizer.from_str(ours.to_str())
    assert_same(Tokenizer.from_str(again.to_str()).encode_batch(TEXTS), expected, TEXTS)
