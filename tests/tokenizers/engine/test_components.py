"""Each component of the format alone and in random sequences, against the reference library."""

import json
import random

import pytest

import tokenizers
from enfold.base.errors import TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.compare import assert_same, unless_panicking
from tests.tokenizers.engine.components import (
    DECODERS,
    NORMALIZERS,
    PRE_TOKENIZERS,
    random_decoder,
    random_normalizer,
    random_pre_tokenizer,
)
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz
from tokenizers import models, pre_tokenizers

TEXTS = [*NASTY, *PROSE, *fuzz(700, seed=3)]


def character_level(normalizer=None, pre_tokenizer=None) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """Every character a token and unknown ones <unk>, so that every offset shows."""
    alphabet = sorted({c for text in TEXTS[:400] for c in text})
    vocab = {c: i for i, c in enumerate([*alphabet, "<unk>"])}
    theirs = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    if normalizer:
        theirs.normalizer = normalizer
    if pre_tokenizer:
        theirs.pre_tokenizer = pre_tokenizer
    return Tokenizer.from_str(theirs.to_str()), theirs


def assert_equal_on(pair, texts=TEXTS) -> None:
    ours, theirs = pair
    assert_same(ours.encode_batch(texts), theirs.encode_batch(texts), texts)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizer(name):
    assert_equal_on(character_level(NORMALIZERS[name]))


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizer(name):
    assert_equal_on(character_level(None, PRE_TOKENIZERS[name]))


@pytest.mark.parametrize("seed", range(60))
def test_random_sequences(seed):
    rng = random.Random(seed)
    ours, theirs = character_level(random_normalizer(rng), random_pre_tokenizer(rng))
    texts = rng.sample(TEXTS, 150)
    # The reference panics where characters were inserted at the very start.
    expected = unless_panicking(theirs.encode_batch, texts)
    made = ours.encode_batch(texts)
    if expected is not None:
        assert_same(made, expected, texts)


WORDS = {"a": 0, "the": 1, "ing": 2, "中": 3, "12": 4, "[UNK]": 5, "": 6}


def test_whole_words():
    theirs = tokenizers.Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    for pre_tokenizer in (None, pre_tokenizers.Whitespace(), pre_tokenizers.UnicodeScripts()):
        theirs.pre_tokenizer = pre_tokenizer  # type: ignore[assignment]
        ours = Tokenizer.from_str(theirs.to_str())
        assert_equal_on((ours, theirs))
        assert tokenizers.Tokenizer.from_str(ours.to_str()).to_str() == theirs.to_str()


def test_an_unknown_word_without_the_unknown_token_is_an_error():
    theirs = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))
    ours = Tokenizer.from_str(theirs.to_str())
    assert ours.encode("a").ids == [0]
    with pytest.raises(TokenizerError, match=r"unknown token '\[UNK\]'"):
        ours.encode("b")


@pytest.mark.parametrize(
    "options",
    [
        {"unk_token": "[UNK]", "max_input_chars_per_word": 5},
        {"unk_token": "[UNK]", "continuing_subword_prefix": ""},
        {"unk_token": "a", "continuing_subword_prefix": "中"},
        {"unk_token": "[UNK]", "max_input_chars_per_word": 0},
    ],
)
def test_word_pieces(options):
    pieces = ["a", "b", "ab", "##b", "##c", "##bc", "中", "中文", "中b", "##", "[UNK]", "é", "##\u0301", "e", "c"]
    theirs = tokenizers.Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, **options))
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ours = Tokenizer.from_str(theirs.to_str())
    rng = random.Random(2)
    texts = ["".join(rng.choices("abc中文éde\u0301 #", k=rng.randrange(12))) for _ in range(1500)]
    assert_equal_on((ours, theirs), texts)


@pytest.mark.parametrize("fuse_unk", [False, True])
@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("ignore_merges", [False, True])
@pytest.mark.parametrize("unk_token", [None, "<unk>"])
@pytest.mark.parametrize(("prefix", "suffix"), [(None, None), ("@", None), (None, "$"), ("@", "$"), ("é", "中")])
def test_byte_pairs(fuse_unk, byte_fallback, ignore_merges, unk_token, prefix, suffix):
    p, s = prefix or "", suffix or ""
    letters = "abcé "
    symbols = [a + letter + z for letter in letters for a in {"", p} for z in {"", s}]
    pairs = [
        ("a", p + "b"),
        ("b", p + "c" + s),
        (p + "b", p + "c"),
        ("a", p + "bc"),
        (p + "a", p + "b"),
        ("c", p + "é"),
    ]
    known = set(symbols)
    merges = []
    for left, right in pairs:
        if {left, right} <= known:
            known.add(left + right[len(p) :])
            merges.append((left, right))
    tokens = sorted(known | {"abcab", "cc", "<unk>", *(f"<0x{b:02X}>" for b in range(0x40, 0xF0))})
    options = {"unk_token": unk_token, "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    model = models.BPE(
        {token: i for i, token in enumerate(tokens)},
        merges,
        **{key: value for key, value in options.items() if value},
        fuse_unk=fuse_unk,
        byte_fallback=byte_fallback,
        ignore_merges=ignore_merges,
    )
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("-")
    ours = Tokenizer.from_str(theirs.to_str())
    rng = random.Random(4)
    texts = ["".join(rng.choices("aaabbbcccé zw中😀-", k=rng.randrange(14))) for _ in range(250)]
    texts += ["abcab", "cc", "zzzz" * 20, "abc" * 60, "é" * 100]
    assert_equal_on((ours, theirs), texts)


PIECES = [
    "▁a",
    "b",
    "##c",
    "@@d",
    "e</w>",
    "Ġf",
    "é",
    "Ã",
    "©",
    "<0xC3>",
    "<0xA9>",
    "<0xFF>",
    "<0xe2>",
    "<0x2G>",
    "<0x41>",
    "▁",
    "▁▁x▁",
    " do not",
    "n't",
    " .",
    "12a3",
    "日",
    "[UNK]",
    " 's",
    "it",
    "</w>",
    "<0x+1>",
    "\ufffd",
]


def assert_decodes_alike(decoder, seed: int) -> None:
    theirs = tokenizers.Tokenizer(models.BPE({p: i for i, p in enumerate(PIECES)}, []))
    theirs.decoder = decoder
    ours = Tokenizer.from_str(theirs.to_str())
    rng = random.Random(seed)
    batch = [[], *([i] for i in range(len(PIECES)))]
    batch += [[rng.randrange(len(PIECES) + 2) for _ in range(rng.randrange(1, 12))] for _ in range(400)]
    for ids in batch:
        # The reference panics where Strip's two ends claim the same characters.
        expected = unless_panicking(theirs.decode, ids)
        assert ours.decode(ids) == expected or expected is None


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name):
    assert_decodes_alike(DECODERS[name], 5)


@pytest.mark.parametrize("seed", range(30))
def test_random_decoders(seed):
    assert_decodes_alike(random_decoder(random.Random(seed)), seed)


def test_without_a_decoder_tokens_are_joined_by_spaces():
    ours, theirs = character_level()
    ids = theirs.encode("a b  c").ids
    assert ours.decode(ids) == theirs.decode(ids) == "a   b     c"


@pytest.mark.parametrize("section", ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model"])
def test_unknown_components_are_refused_by_name(section):
    ours, _ = character_level()
    tree = json.loads(ours.to_str())
    tree[section] = {"type": "Frobnicate"}
    with pytest.raises(TokenizerError, match="Frobnicate"):
        Tokenizer.from_str(json.dumps(tree))
