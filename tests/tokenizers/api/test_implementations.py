"""The tokenizers that are put together for the usual cases, against the reference library's."""

import json

import pytest
import tokenizers.implementations

import enfold.tokenizers.implementations

VOCAB = {w: i for i, w in enumerate(["<unk>", "[UNK]", "[CLS]", "[SEP]", "a", "b", "ab", "▁a", "▁", "ab</w>", "b</w>"])}
MERGES = [("a", "b"), ("▁", "a"), ("a", "b</w>")]
MADE = {
    "bert": lambda k: k.BertWordPieceTokenizer(VOCAB),
    "bert without a vocabulary": lambda k: k.BertWordPieceTokenizer(lowercase=False, strip_accents=True),
    "byte level": lambda k: k.ByteLevelBPETokenizer(VOCAB, MERGES, lowercase=True, unicode_normalizer="nfc"),
    "byte level without a vocabulary": lambda k: k.ByteLevelBPETokenizer(add_prefix_space=True, trim_offsets=True),
    "characters": lambda k: k.CharBPETokenizer(VOCAB, MERGES, lowercase=True, unicode_normalizer="nfkc"),
    "characters at spaces": lambda k: k.CharBPETokenizer(split_on_whitespace_only=True, bert_normalizer=False),
    "sentencepiece": lambda k: k.SentencePieceBPETokenizer(VOCAB, MERGES, fuse_unk=True),
    "sentencepiece without a prefix": lambda k: k.SentencePieceBPETokenizer(add_prefix_space=False),
    "unigram": lambda k: k.SentencePieceUnigramTokenizer([("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0)]),
}


@pytest.mark.parametrize("name", MADE)
def test_same_tokenizer(name):
    ours, theirs = (MADE[name](k) for k in (enfold.tokenizers.implementations, tokenizers.implementations))
    expected = json.loads(theirs.to_str())
    for part in ("continuing_subword_prefix", "end_of_word_suffix"):  # theirs writes an empty one as it is
        if not expected["model"].get(part, True):
            expected["model"][part] = None
    assert json.loads(ours.to_str()) == expected
    assert repr(ours) == repr(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    if "<unk>" in ours.get_vocab() and name != "unigram":
        assert ours.encode("ab a").ids == theirs.encode("ab a").ids
        assert ours.decode([4, 5]) == theirs.decode([4, 5])


def test_bert_needs_its_tokens():
    with pytest.raises(TypeError, match="sep_token not found"):
        enfold.tokenizers.implementations.BertWordPieceTokenizer({"a": 0})
