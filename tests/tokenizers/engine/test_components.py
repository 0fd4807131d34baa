"""Each component of the format alone and in random sequences, against the reference library."""

import json
import random

import pytest

import tokenizers
from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import CLIP, O200K
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

TEXTS = [*NASTY, *PROSE, *fuzz(1500, seed=3)]

NORMALIZERS = {
    "nfc": normalizers.NFC(),
    "nfd": normalizers.NFD(),
    "nfkc": normalizers.NFKC(),
    "nfkd": normalizers.NFKD(),
    "lowercase": normalizers.Lowercase(),
    "strip": normalizers.Strip(),
    "lstrip": normalizers.Strip(left=True, right=False),
    "rstrip": normalizers.Strip(left=False, right=True),
    "strip_accents": normalizers.StripAccents(),
    "nfd+strip_accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "bert": normalizers.BertNormalizer(),
    "bert-cased": normalizers.BertNormalizer(lowercase=False),
    "bert-accents": normalizers.BertNormalizer(lowercase=True, strip_accents=False),
    "bert-clean": normalizers.BertNormalizer(handle_chinese_chars=False, strip_accents=False, lowercase=False),
    "bert-chinese": normalizers.BertNormalizer(clean_text=False, strip_accents=True, lowercase=False),
    "prepend": normalizers.Prepend("▁"),
    "prepend-long": normalizers.Prepend("»é "),
    "replace": normalizers.Replace(" ", "▁▁"),
    "replace-away": normalizers.Replace("e", ""),
    "replace-regex": normalizers.Replace(Regex(r"\s+"), " "),
    "replace-empty-match": normalizers.Replace(Regex(r"x*"), "-"),
}
PRE_TOKENIZERS = {
    "bert": pre_tokenizers.BertPreTokenizer(),
    "whitespace": pre_tokenizers.Whitespace(),
    "whitespace_split": pre_tokenizers.WhitespaceSplit(),
    "digits": pre_tokenizers.Digits(),
    "digits-each": pre_tokenizers.Digits(individual_digits=True),
    "char_delimiter": pre_tokenizers.CharDelimiterSplit("e"),
    "metaspace": pre_tokenizers.Metaspace(),
    "metaspace-first": pre_tokenizers.Metaspace(prepend_scheme="first"),
    "metaspace-never": pre_tokenizers.Metaspace(prepend_scheme="never", replacement="_"),
    "metaspace-whole": pre_tokenizers.Metaspace(split=False),
    "byte_level": pre_tokenizers.ByteLevel(),
    "byte_level-plain": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    "split-string": pre_tokenizers.Split("e", "merged_with_next"),
    "split-empty": pre_tokenizers.Split("", "isolated"),
}
BEHAVIORS = ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
PATTERNS = (
    r"\s+",
    r"[^\s]+",
    r"\w+|[^\w\s]+",
    r"(?<=\p{L})\d",
    r"(?<!a|bc)x?",
    r"\p{Lu}\p{Ll}*",
    r"[a-z&&[^aeiou]]+",
    r"(?i:the|K)+",
    r"a*",
    r"(a|b)*c?",
    r"^\s|\s$",
    r"\bto",
    r"x{2,3}",
    r"(?>a+)b|.",
    r"[\p{P}\p{S}]+",
    r"[一-龥぀-ゟ]+",
    r"(?=[A-Z])",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r".{3}",
    r"(?:..)*?e",
    r"(?i)[a-f]+k",
    r"\h+",
    r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|.",
    r"(?:a|ab)(?:c|bcd)?",
    r"[\w\-]+",
    r"\W+",
    r"(?:a|)+",
    r"\A\p{L}|\p{L}\z",
    r"[^[a-m]n]",
    r"[[:space:]x]",
    r"a{,2}b{1,}",
    r"\x{4e2d}|\u65e5|\x41",
    r"(?m:.)+",
    CLIP,
    O200K,
)


def character_level(normalizer=None, pre_tokenizer=None) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """Every character a token and unknown ones dropped into <unk>, so that every offset shows."""
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


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_punctuation(behavior):
    assert_equal_on(character_level(None, pre_tokenizers.Punctuation(behavior)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_split_patterns(pattern):
    for i, behavior in enumerate(BEHAVIORS):
        assert_equal_on(character_level(None, pre_tokenizers.Split(Regex(pattern), behavior, i % 2 == 1)), TEXTS[:700])


@pytest.mark.parametrize("seed", range(25))
def test_random_sequences(seed):
    rng = random.Random(seed)
    # A transform after an insertion at the very start meets a panic of the reference's.
    usable = [n for n in NORMALIZERS if n != "replace-empty-match"]
    chosen = normalizers.Sequence([NORMALIZERS[n] for n in rng.sample(usable, 3)])
    cutters = pre_tokenizers.Sequence([PRE_TOKENIZERS[n] for n in rng.sample(sorted(PRE_TOKENIZERS), 3)])
    assert_equal_on(character_level(chosen, cutters), TEXTS[:500])


DECODERS = {
    "byte_level": decoders.ByteLevel(),
    "wordpiece": decoders.WordPiece(),
    "wordpiece-plain": decoders.WordPiece(prefix="@@", cleanup=False),
    "metaspace": decoders.Metaspace(),
    "metaspace-never": decoders.Metaspace(prepend_scheme="never"),
    "bpe": decoders.BPEDecoder(),
    "fuse": decoders.Fuse(),
    "strip": decoders.Sequence([decoders.Fuse(), decoders.Strip("▁", 1, 0)]),
    "replace": decoders.Replace("▁", " "),
    "replace-regex": decoders.Replace(Regex(r"[0-9]+"), "#"),
    "byte_fallback": decoders.ByteFallback(),
    "byte_fallback+fuse": decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]),
}
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


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name):
    theirs = tokenizers.Tokenizer(models.BPE({p: i for i, p in enumerate(PIECES)}, []))
    theirs.decoder = DECODERS[name]
    ours = Tokenizer.from_str(theirs.to_str())
    rng = random.Random(5)
    batch = [[], *([i] for i in range(len(PIECES)))]
    batch += [[rng.randrange(len(PIECES) + 2) for _ in range(rng.randrange(1, 12))] for _ in range(800)]
    assert ours.decode_batch(batch) == theirs.decode_batch(batch)


def test_without_a_decoder_tokens_are_joined_by_spaces():
    ours, theirs = character_level()
    ids = theirs.encode("a b  c").ids
    assert ours.decode(ids) == theirs.decode(ids) == "a   b     c"


@pytest.mark.parametrize(
    ("section", "spec", "name"),
    [
        ("normalizer", {"type": "Nmt"}, "Nmt"),
        ("pre_tokenizer", {"type": "UnicodeScripts"}, "UnicodeScripts"),
        ("decoder", {"type": "CTC"}, "CTC"),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"(a)\1"}, "behavior": "Isolated"}, "back-reference"),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"\p{Greek}"}, "behavior": "Isolated"}, "Greek"),
    ],
)
def test_what_is_not_built_is_refused_by_name(section, spec, name):
    ours, _ = character_level()
    tree = json.loads(ours.to_str())
    tree[section] = spec
    with pytest.raises(NotBuiltError, match=name):
        Tokenizer.from_str(json.dumps(tree))


@pytest.mark.parametrize("section", ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model"])
def test_unknown_components_are_refused_by_name(section):
    ours, _ = character_level()
    tree = json.loads(ours.to_str())
    tree[section] = {"type": "Frobnicate"}
    with pytest.raises(TokenizerError, match="Frobnicate"):
        Tokenizer.from_str(json.dumps(tree))
