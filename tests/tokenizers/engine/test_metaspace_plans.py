"""The fast plan for sentencepiece's families (Unigram, and BPE with ▁ for spaces) against the reference library."""

import collections
import functools
import json
import math
import random
import re

import pytest
from tools.unicode.charsmap import charsmap

import tokenizers
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import llama2, training_text
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz

MAP = {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)} | {
    **dict.fromkeys("\t\n\r\u00a0\u3000\u2003", " "),
    **dict.fromkeys(["\u200b", "\u00ad", "\x01", "\ufeff", "\u200d"], ""),
    "ﬁ": "fi",
    "…": "...",
    "½": "1\u20442",
    "②": "2",
    "\u00a8": " \u0308",
    "\ufdfa": "صلى الله عليه وسلم",
    "e\u0301": "é",
    "か\u3099": "が",
    "\r\n": " ",
    "ﾊﾟ": "パ",
}
SEQUENCE = {
    "normalizer": lambda *steps: {"type": "Sequence", "normalizers": list(steps)},
    "pre_tokenizer": lambda *steps: {"type": "Sequence", "pretokenizers": list(steps)},
}
PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": charsmap(MAP)}
COLLAPSE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
WORDS = {"type": "WhitespaceSplit"}
PUNCTUATION = {"type": "Punctuation", "behavior": "Isolated"}


def replace(what: str, by: str) -> dict:
    return {"type": "Replace", "pattern": {"String": what}, "content": by}


def regex(what: str, by: str) -> dict:
    return {"type": "Replace", "pattern": {"Regex": what}, "content": by}


def strip(left: bool, right: bool) -> dict:
    return {"type": "Strip", "strip_left": left, "strip_right": right}


def metaspace(scheme: str = "always", split: bool = True) -> dict:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


QUOTES = [replace("``", '"'), replace("''", '"')]
ALBERT = [*QUOTES, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, PRECOMPILED, COLLAPSE]
BREAKS = [regex("\\s{2,}|[\\n\\r\\t]", " "), {"type": "NFC"}, strip(False, True)]
SEAMLESS = [
    regex("[\\n\\r\\t]", " "),
    {"type": "NFKC"},
    strip(False, True),
    regex(" +▁", "▁"),
    regex("^▁+$", ""),
    regex(" {2,}", "▁"),
]
FAMILIES: dict[str, tuple[list, list]] = {
    "t5": ([PRECOMPILED], [WORDS, metaspace()]),
    "mbart": ([PRECOMPILED, COLLAPSE], [metaspace()]),
    "stripped": ([PRECOMPILED, strip(False, True), COLLAPSE | {"content": "▁"}], [metaspace()]),
    "stripped after": ([PRECOMPILED, strip(True, True)], [metaspace()]),
    "deberta": ([strip(True, True), PRECOMPILED, COLLAPSE], [metaspace()]),
    "albert": (ALBERT, [metaspace()]),
    "xlnet": ([*QUOTES, PRECOMPILED, COLLAPSE], [WORDS, metaspace()]),
    "lines": ([replace("\n", " "), {"type": "Lowercase"}], [metaspace()]),
    "composed": ([{"type": "NFC"}, {"type": "StripAccents"}], [metaspace()]),
    "compatible": ([{"type": "NFKC"}], [WORDS, metaspace("never")]),
    "first": ([PRECOMPILED], [metaspace("first")]),
    "first stripped": ([strip(True, False), PRECOMPILED], [metaspace("first")]),
    "first word": ([PRECOMPILED], [WORDS, metaspace("first")]),
    "never": ([PRECOMPILED], [metaspace("never")]),
    "whole": ([PRECOMPILED], [metaspace(split=False)]),
    "nothing": ([], [metaspace()]),
    "breaks": (BREAKS, [metaspace()]),
    "lower breaks": ([{"type": "Lowercase"}, *BREAKS], [metaspace("first")]),
    "lines by pattern": ([regex("\\n", " "), COLLAPSE], [metaspace()]),
    "seamless": (SEAMLESS, [metaspace("first")]),
    "nmt": ([{"type": "Nmt"}, {"type": "NFKC"}, COLLAPSE], [metaspace()]),
    "nmt alone": ([{"type": "Nmt"}], [metaspace("first", split=False)]),
    "punctuation": (BREAKS, [PUNCTUATION, metaspace()]),
    "punctuation first": ([PRECOMPILED], [PUNCTUATION, metaspace("first")]),
    "punctuation never": ([{"type": "NFC"}], [PUNCTUATION, metaspace("never")]),
    "marked": ([{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")], []),
}


@functools.cache
def vocabulary(byte_fallback: bool) -> list[tuple[str, float]]:
    """Pieces of the training text's words, likelier if they are more frequent."""
    counts: collections.Counter[str] = collections.Counter()
    for word in re.findall(r"\S+", " ".join(training_text()).lower() + " ".join(training_text())):
        marked = "▁" + word[:12]
        counts.update(marked[i:k] for i in range(len(marked)) for k in range(i + 1, min(i + 7, len(marked)) + 1))
    counts.update({"▁": 9, "é": 9, "中文": 5, "ing▁": 5, "▁▁": 4})
    total = sum(counts.values())
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(piece, math.log(n / total)) for piece, n in counts.most_common(3000)]
    return pieces + [(f"<0x{b:02X}>", -20.0) for b in range(256 if byte_fallback else 0)]


@functools.cache
def unigram(family: str, byte_fallback: bool = False, normalized: bool = False) -> str:
    pieces = vocabulary(byte_fallback)
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": pieces[i][0], "lstrip": False} | flags for i in range(3)]
    added.append({"id": len(pieces), "content": "<mask>", "lstrip": True} | flags | {"normalized": normalized})
    steps = {"normalizer": FAMILIES[family][0], "pre_tokenizer": FAMILIES[family][1]}
    parts = {key: SEQUENCE[key](*value) if value else None for key, value in steps.items()}
    model = {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": byte_fallback}
    decoder = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return json.dumps({"version": "1.0", "added_tokens": added, "model": model, "decoder": decoder} | parts)


def texts(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    pools = [
        "▁  ",
        " \t\n\r",
        "\u00a0\u3000 \x0b\u2000",
        ",.!¿",
        "\x01\x8f\ufffd\ufeff",
        "aeThin.",
        [*MAP],
        "\u0301\u0308\u093e\u094d\u0915\u0600\u3099\uff9e",
        "``''",
        "éÀİẞ",
    ]
    pools += ["中文日本語カ", "\u1100\u1161\u11a8가각", ["<mask>", "</s>", " <s> ", "🙂👩"], ["the", " of", "print("]]
    made = []
    for _ in range(count):
        chosen = draw.sample(pools, draw.randint(1, 5))
        made.append("".join(draw.choice(draw.choice(chosen)) for _ in range(draw.randint(0, 24))))
    return [*NASTY, *PROSE, *made, *fuzz(count // 2, seed=seed)]


def compare(spec: str, samples: list) -> None:
    ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
    assert ours._has_plan
    expected = theirs.encode_batch(samples)
    assert_same(ours.encode_batch(samples), expected, samples)
    assert_same(ours._without_plan().encode_batch(samples), expected, samples)
    ids = [e.ids for e in expected]
    assert ours.decode_batch(ids) == theirs.decode_batch(ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_unigram_families_like_the_reference(family):
    compare(unigram(family), texts(len(family), 1200))


@pytest.mark.parametrize("family", ["t5", "mbart", "marked", "whole", "breaks", "punctuation"])
def test_unigram_with_bytes_and_tokens_in_normalised_text(family):
    compare(unigram(family, byte_fallback=True), texts(21, 800))
    if family != "marked":
        compare(unigram(family, normalized=True), texts(22, 800))


@pytest.mark.parametrize("family", ["t5", "first", "deberta"])
def test_pairs_and_words_like_the_reference(family):
    ours, theirs = Tokenizer.from_str(unigram(family)), tokenizers.Tokenizer.from_str(unigram(family))
    samples = texts(23, 300)
    pairs = list(zip(samples, reversed(samples), strict=True))
    assert_same(ours.encode_batch(pairs), theirs.encode_batch(pairs), pairs)
    words = [text.split(" ") for text in samples]
    cut = {"is_pretokenized": True}
    assert_same(ours.encode_batch(words, **cut), theirs.encode_batch(words, **cut), words)


PRE_TOKENIZERS = {
    "gemma": tokenizers.pre_tokenizers.Split(" ", "merged_with_previous"),
    **{
        f"{scheme}-{split}": tokenizers.pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
        for scheme in ("always", "first", "never")
        for split in (True, False)
    },
}


@functools.cache
def bpe(form: str) -> str:
    if form == "llama":
        return llama2().to_str()
    tokenizer = llama2(PRE_TOKENIZERS[form])
    if form == "gemma":
        tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    return tokenizer.to_str()


@pytest.mark.parametrize("fused", [True, False], ids=["a token for a run", "a token each"])
def test_bpe_with_unknown_characters(fused):
    model = json.loads(bpe("always-True"))
    model["model"] |= {"byte_fallback": False, "fuse_unk": fused}
    compare(json.dumps(model), [*texts(3, 1200), "日本語" * 30, "ab日本cd" * 20, "的 的的 的"])


@pytest.mark.parametrize("form", ["llama", *PRE_TOKENIZERS])
def test_bpe_forms_like_the_reference(form):
    compare(bpe(form), [*texts(len(form), 1200), "<s>a</s> b</s>", "a" * 300, "the  of " * 40])


def test_tokens_in_normalised_text_with_marks():
    tokenizer = tokenizers.Tokenizer.from_str(bpe("llama"))
    tokenizer.add_tokens([tokenizers.AddedToken("<tool>", normalized=True), tokenizers.AddedToken("x y")])
    samples = ["<tool> a", "a <tool>", "a<tool>b", "x y", "an x y.", "<s><tool>", "nothing of it"]
    ours = Tokenizer.from_str(tokenizer.to_str())
    assert_same(ours.encode_batch(samples), tokenizer.encode_batch(samples), samples)


@pytest.mark.parametrize("family", ["t5", "breaks", "punctuation", "nothing"])
def test_tokens_in_normalised_text_with_white_space_of_their_own(family):
    tokenizer = tokenizers.Tokenizer.from_str(unigram(family))
    # A token of which the normaliser leaves nothing hangs the reference.
    tokenizer.add_tokens(["a\tb", "x.\u00a0y", *(["\n\n"] if family in ("t5", "nothing") else [])])
    samples = ["\n\n", "the\n\nof", " \n\n ", "a\tb", "ba\tbe", "x.\u00a0y", "x. y", "a b", "\n"]
    samples += texts(5, 200)
    ours = Tokenizer.from_str(tokenizer.to_str())
    assert_same(ours.encode_batch(samples), tokenizer.encode_batch(samples), samples)


@pytest.mark.parametrize("change", ["dropout", "nothing for unknown characters", "ignored merges", "another mark"])
def test_what_the_plan_does_not_know_goes_the_literal_path(change):
    spec = json.loads(bpe("always-True"))
    model = spec["model"]
    if change == "dropout":
        model["dropout"] = 0.5
    elif change == "nothing for unknown characters":
        model |= {"byte_fallback": False, "unk_token": None}
    elif change == "ignored merges":
        model["ignore_merges"] = True
    else:
        spec["pre_tokenizer"]["replacement"] = "_"
    assert not Tokenizer.from_str(json.dumps(spec))._has_plan


@pytest.mark.parametrize("spec", [unigram("mbart"), unigram("whole"), bpe("llama")], ids=["split", "whole", "bpe"])
@pytest.mark.parametrize("text", ["中" * 100_000, "the" * 330_000, " " * 200_000, "e\u0301" * 60_000, "``" * 60_000])
def test_long_words_take_linear_time(spec, text):
    ours = Tokenizer.from_str(spec)
    encoding = ours.encode(text, add_special_tokens=False)
    assert encoding.offsets[-1][1] >= len(text) - 1  # of two characters that became one the first counts
    start = text[:3000]
    theirs = tokenizers.Tokenizer.from_str(spec).encode(start, add_special_tokens=False)
    assert ours.encode(start, add_special_tokens=False).offsets == theirs.offsets


def test_many_threads_fill_the_same_tables():
    samples = [text * 40 for text in texts(31, 400)]
    assert sum(map(len, samples)) > 400_000
    spec = unigram("albert")
    parallel, one_by_one = Tokenizer.from_str(spec), Tokenizer.from_str(spec)
    assert_same(parallel.encode_batch(samples), [one_by_one.encode(text) for text in samples], samples)
