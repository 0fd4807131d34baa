"""The Precompiled normalizer (sentencepiece's maps of characters) against the reference library."""

import base64
import json
import random
import struct

import pytest
from tools.unicode.charsmap import charsmap

import tokenizers
from enfold.base.errors import TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz

# What the maps of real models hold, in small: widths, ligatures, white space, removals, sequences, growth.
MAP = {
    "Ａ": "A",
    "，": ",",
    "ﬁ": "fi",
    "…": "...",
    "\u3000": " ",
    "\n": " ",
    "\r": " ",
    "\t": " ",
    "\u200b": "",
    "\u00ad": "",
    "\x01": "",
    "a\u0301": "á",
    "か\u3099": "が",
    "é": "e\u0301",
    "\u0301": "",
    "②": "2",
    "½": "1\u20442",
    "e": "E",
    "\u1160": "V",
    "\U0001f469": "woman",
    "\u0600": "n",
    "क": "k",
}
PIECES = [
    *MAP,
    *"abcz 中한カ\u0308\u200d\ufe0f\u093e\u094d\u0915\u1100\u11a8가각©☀🇩🇪\u0903\u0e33\x00\u0d4e",
    "\r\n",
    "  ",
]


def document(spec: str, **parts) -> str:
    normalizer = {"type": "Precompiled", "precompiled_charsmap": spec}
    # Every character is a token of its own, so that no offset hides in a longer one.
    model = {"type": "BPE", "vocab": {}, "merges": [], "unk_token": None}
    vocab = sorted({c for text in (*MAP.values(), *PIECES, "".join(map(chr, range(32, 127)))) for c in text})
    model["vocab"] = {c: i for i, c in enumerate(vocab)}
    return json.dumps({"version": "1.0", "added_tokens": [], "normalizer": normalizer, "model": model} | parts)


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(count)]


def both(spec: str) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    return Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)


def test_normalises_like_the_reference():
    ours, theirs = both(document(charsmap(MAP)))
    samples = [*NASTY, *PROSE, *texts(8000, 1), *fuzz(1000, seed=2)]
    assert_same(ours.encode_batch(samples), theirs.encode_batch(samples), samples)


def test_behind_other_normalizers_and_added_tokens():
    steps = [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Precompiled", "precompiled_charsmap": charsmap(MAP)},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    added = {"id": 500, "content": "<x>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False}
    ours, theirs = both(
        document("", normalizer={"type": "Sequence", "normalizers": steps}, added_tokens=[added | {"special": True}])
    )
    samples = [a + "<x>" + b for a, b in zip(texts(2000, 3), texts(2000, 4), strict=True)]
    assert_same(ours.encode_batch(samples), theirs.encode_batch(samples), samples)


def test_graphemes_end_where_the_reference_ends_them():
    """A grapheme of up to five bytes is replaced whole by what stands for its shortest prefix: cuts show."""
    ours, theirs = both(document(charsmap(dict.fromkeys(["a", "©", "\u0301", "\u1160", "\u11a8", "\u0915"], "Z"))))
    draw = random.Random(5)
    marks = ["a", "©", "\u0301", "\u1160", "\u11a8", "\u0915", "\u200d", "\u094d"]
    samples = []
    for c in (*range(0x300, 0x2000, 3), *range(0x2000, 0xD800, 101), *range(0xE000, 0x110000, 997)):
        samples.append("".join(draw.choices([chr(c), *marks], k=8)) + chr(c) + "\u0301")
    for ours_text, theirs_text in zip(ours.encode_batch(samples), theirs.encode_batch(samples), strict=True):
        assert ours_text.offsets == theirs_text.offsets
        assert ours_text.tokens == theirs_text.tokens


def torn(trie: bytes, texts: bytes = b"", size: int | None = None) -> str:
    return base64.b64encode(struct.pack("<I", len(trie) if size is None else size) + trie + texts).decode()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "size of its trie"),
        ("AAA", "size of its trie"),
        ("A", "ends within a byte"),
        ("AB", "ends within a byte"),
        ("%%%%", "base64"),
        ("AAAA AAAA", "base64"),
        (torn(b""), "size of its trie"),
        (torn(bytes(8), size=2**32 - 4), "size of its trie"),
        (torn(bytes(6), size=6), "multiple of 4"),
        (torn(struct.pack("<I", 5 << 10)), "points to 5"),
        (torn(struct.pack("<I", 0x7FFFFFFF & ~0x100)), "points to"),
        (torn(struct.pack("<2I", 1 << 10 | 1 << 8, 1 << 31 | 9), b"abc\0"), "byte 9 of the texts"),
        (torn(struct.pack("<2I", 1 << 10 | 1 << 8, 1 << 31 | 1), "é\0".encode()), "none begins"),
        (torn(struct.pack("<I", 0), b"\xff\0"), "UTF-8"),
    ],
)
def test_torn_maps_are_refused(spec, says):
    with pytest.raises(TokenizerError, match=says):
        Tokenizer.from_str(document(spec))


def test_a_cyclic_trie_ends():
    # Every byte of the label 'a' leads back to the same node.
    units = [0] * 256
    units[0] = 0x61 << 10
    units[0x61 ^ 0x61] = 0x61 << 10
    units[0x61] = 0x61
    spec = document(torn(struct.pack("<256I", *units)))
    assert Tokenizer.from_str(spec).encode("aaaaa" + "a\u0301" * 9).tokens[:2] == ["a", "a"]


def test_random_maps_never_read_out_of_bounds():
    draw = random.Random(6)
    loaded = 0
    for _ in range(300):
        units = [draw.choice([0, draw.getrandbits(32), draw.getrandbits(16), draw.randrange(256)]) for _ in range(256)]
        units[0] &= 0x7FFFFFFF
        try:
            made = Tokenizer.from_str(document(torn(struct.pack("<256I", *units), b"ab\0cd\0" * 50000)))
        except TokenizerError:
            continue
        loaded += 1
        made.encode_batch(["".join(map(chr, range(1, 300))), "aaaa", "ÿÿÿÿ"])
    # Most point out of bounds; those that don't give an answer.
    assert loaded < 300
