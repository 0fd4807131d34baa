"""The regular expressions of Split and Replace against the reference library's, which are Oniguruma's."""

import json
import random

import pytest

import tokenizers
from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.components import BEHAVIORS
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz
from tests.tokenizers.engine.patterns import MALFORMED, NOT_BUILT, WRITTEN, random_pattern, random_subject
from tokenizers import Regex, models, pre_tokenizers

EMPTY = json.loads(tokenizers.Tokenizer(models.BPE({"<unk>": 0}, [], unk_token="<unk>", fuse_unk=True)).to_str())
TEXTS = [text for text in (*NASTY, *PROSE, *fuzz(300, seed=11)) if text]


def splitter(pattern: str, behavior: str = "Removed", invert: bool = True) -> Tokenizer:
    """Cuts by the pattern; each piece is one token."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
    return Tokenizer.from_str(json.dumps(EMPTY | {"pre_tokenizer": split}))


def assert_splits_alike(pattern: str, texts, behavior: str = "removed", invert: bool = True) -> None:
    theirs = pre_tokenizers.Split(Regex(pattern), behavior, invert)
    ours = splitter(pattern, behavior.title().replace("_", ""), invert)
    for text, encoding in zip(texts, ours.encode_batch(texts), strict=True):
        assert encoding.offsets == [span for _, span in theirs.pre_tokenize_str(text)], (pattern, text)


@pytest.mark.parametrize("pattern", WRITTEN)
def test_written_patterns(pattern):
    assert_splits_alike(pattern, TEXTS)
    for i, behavior in enumerate(BEHAVIORS):
        assert_splits_alike(pattern, TEXTS[:150], behavior, i % 2 == 1)


@pytest.mark.parametrize("seed", range(8))
def test_random_patterns(seed):
    rng = random.Random(seed)
    compared = 0
    for _ in range(150):
        pattern = random_pattern(rng)
        try:
            splitter(pattern)
            Regex(pattern)
        except Exception:
            continue  # what only one of the two refuses is the business of the tests below
        assert_splits_alike(pattern, [random_subject(rng) for _ in range(12)])
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("pattern", MALFORMED)
def test_what_the_reference_refuses_is_refused(pattern):
    with pytest.raises(Exception, match="Oniguruma"):
        Regex(pattern)
    with pytest.raises((TokenizerError, NotBuiltError), match="regular expression"):
        splitter(pattern)


@pytest.mark.parametrize("pattern", NOT_BUILT)
def test_what_is_not_built_is_refused_by_name(pattern):
    with pytest.raises(NotBuiltError, match="uses"):
        splitter(pattern)


def test_every_character_in_every_kind_of_set():
    everything = "".join(chr(c) for c in range(1, 0x3400) if not 0xD800 <= c < 0xE000)
    everything += "".join(chr(c) for c in range(0xA000, 0x20000) if not 0xD800 <= c < 0xE000)
    for pattern in (
        r"\w+",
        r"[\w]+",
        r"\s+",
        r"\p{L}+",
        r"\p{Common}+",
        r"[[:punct:]]+",
        r"\p{Punct}+",
        r"(?i)[a-zß]+",
    ):
        assert_splits_alike(pattern, [everything])


@pytest.mark.parametrize(
    ("pattern", "text", "slow"),
    [
        (r"(a*)*b", "a" * 5000, True),
        (r"(a|a)*b", "a" * 60, True),
        (r"(\w+\s?)+$", "word " * 2000 + "!", True),
        (r"(?:(?:.*?)*?){3}é", "x" * 300, True),
        (r"(?<=a*)b|(.*)\1c", "ab" * 4000, True),
        (r"(?:a+)+(?:b+)+c", "a" * 3000 + "b" * 3000, False),
        (r"(?:(?:a*)*)*|b", "ab" * 3000, False),
    ],
)
def test_catastrophic_patterns_meet_a_step_limit(pattern, text, slow):
    tokenizer = splitter(pattern, "Isolated", False)
    if slow:
        with pytest.raises(TokenizerError, match="too many steps"):
            tokenizer.encode(text)
    else:
        assert tokenizer.encode(text).ids


def test_one_pattern_does_not_fit_for_ever():
    for pattern in ("(?:ab|c)" * 20_000, "(?:" * 400 + ")" * 400, "[" * 400 + "a" + "]" * 400, "(?i)" * 400):
        with pytest.raises(TokenizerError):
            splitter(pattern)
    classes = "".join(f"[\\x{{{c:x}}}b]" for c in range(0x1000, 0x1000 + 2100))
    with pytest.raises(TokenizerError, match="too many different classes"):
        splitter(classes)


def test_many_quantifiers_are_no_nesting():
    pattern = "|".join(f"a{i}+b?" for i in range(300))
    assert_splits_alike(pattern, ["a1b a299 a7 a77777"])
