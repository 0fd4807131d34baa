"""The Unigram model against the reference library."""

import json
import random

import pytest

import tokenizers
from enfold.base.errors import TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz

BYTES = [(f"<0x{b:02X}>", -9.0) for b in range(256)]


def document(vocab, unk_id: int | None = 0, byte_fallback: bool = False, **parts) -> str:
    model = {"type": "Unigram", "unk_id": unk_id, "vocab": vocab, "byte_fallback": byte_fallback}
    return json.dumps({"version": "1.0", "added_tokens": [], "model": model} | parts)


def random_vocabulary(seed: int, scores) -> list[tuple[str, float]]:
    draw = random.Random(seed)
    tokens = ["<unk>", *"▁abcdehilnorstu .", "中", "文", "é", "▁the", "ing"]
    tokens += ["".join(draw.choices("▁abcdehilnorstu中文é", k=draw.randint(2, 6))) for _ in range(600)]
    return [(token, draw.choice(scores)) for token in dict.fromkeys(tokens)]


def both(spec: str) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    return Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)


def texts(seed: int, count: int = 1500) -> list[str]:
    draw = random.Random(seed)
    alphabet = "▁abcdehilnorstu中文é " * 3 + "xyzÿ語🙂"
    made = ["".join(draw.choices(alphabet, k=draw.randint(1, 40))) for _ in range(count)]
    return [*NASTY, *PROSE, *made, *fuzz(200, seed=seed)]


VOCABULARIES = {
    "scores": random_vocabulary(1, [-1.25, -2.5, -3.75, -7.1, -11.3]),
    "ties": random_vocabulary(2, [-1.0, -2.0, -3.0]),
    "positive": random_vocabulary(3, [30.0, 12.5, -1.0, 0.0]),
    "sums that round": random_vocabulary(4, [-0.1, -0.2, -0.3, -0.7, -1e-17]),
    "twice": [*random_vocabulary(5, [-2.0, -3.0]), ("▁the", -1.0), ("a", -9.0), ("", -1.0), ("<unk>", -4.0)],
    "nothing but unknown": [("<unk>", 0.0)],
}


@pytest.mark.parametrize("byte_fallback", [False, True, "some"])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_encodes_and_decodes_like_the_reference(name, byte_fallback):
    vocab = VOCABULARIES[name] + (BYTES if byte_fallback is True else BYTES[:0xE0] if byte_fallback else [])
    ours, theirs = both(document(vocab, byte_fallback=bool(byte_fallback)))
    samples = texts(len(name))
    expected = theirs.encode_batch(samples)
    assert_same(ours.encode_batch(samples), expected, samples)
    ids = [e.ids for e in expected]
    assert ours.decode_batch(ids) == theirs.decode_batch(ids)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_vocab_size() == theirs.get_vocab_size()
    count = len(vocab)
    assert [ours.id_to_token(i) for i in range(count + 1)] == [theirs.id_to_token(i) for i in range(count + 1)]


def test_an_unknown_run_that_is_a_token_has_its_id():
    """With scores above zero unknown characters may beat the token that they are."""
    vocab = [("<unk>", 50.0), ("xyz", 40.5), ("a", 40.0)]
    ours, theirs = both(document(vocab))
    samples = ["xyz", "axyz", "xyzxyz", "<unk>", "x<unk>", "<unk>xyz<unk>a", "xy", "xyza"]
    assert_same(ours.encode_batch(samples), theirs.encode_batch(samples), samples)


def test_what_is_saved_loads_in_the_reference_and_encodes_alike():
    vocab = [*VOCABULARIES["sums that round"], ("e1", 1e-300), ("e2", -1e21), ("whole", -7.0)]
    ours = Tokenizer.from_str(document(vocab, unk_id=0))
    theirs = tokenizers.Tokenizer.from_str(ours.to_str())
    assert json.loads(ours.to_str())["model"] == json.loads(theirs.to_str())["model"]
    samples = texts(9, 300)
    assert_same(ours.encode_batch(samples), theirs.encode_batch(samples), samples)


def test_the_type_of_the_model_may_be_missing():
    spec = json.loads(document(VOCABULARIES["ties"]))
    del spec["model"]["type"]
    ours, theirs = both(json.dumps(spec))
    assert ours.encode("the singing").ids == theirs.encode("the singing").ids


def test_without_unk_id_an_unknown_character_is_an_error():
    ours, theirs = both(document([("ab", -1.0), ("a", -2.0), ("xb", -1.0), ("abc", -3.0)], unk_id=None))
    for text in ("aaa", "ab", "aab"):
        assert ours.encode(text).ids == theirs.encode(text).ids
    for text in ("ax", "x", "xb", "ba"):  # the second character of a token may have to be one too
        with pytest.raises(TokenizerError, match="unk_id"):
            ours.encode(text)
        with pytest.raises(Exception, match="unk_id"):
            theirs.encode(text)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"unk_id": 0, "vocab": []}, "unk_id is 0, but the vocabulary has 0"),
        ({"unk_id": 2, "vocab": [["a", -1.0], ["b", -1.0]]}, "unk_id is 2"),
        ({"unk_id": -1, "vocab": [["a", -1.0]]}, "unk_id is -1"),
        ({"unk_id": 0, "vocab": [["a"]]}, "entry 0"),
        ({"unk_id": 0, "vocab": [["a", -1.0], 5]}, "entry 1"),
        ({"unk_id": 0, "vocab": [["a", "b"]]}, "score"),
        ({"unk_id": 0, "vocab": [[1, 1.0]]}, "token"),
        ({"unk_id": 0, "vocab": {"a": 1}}, "model.vocab"),
        ({"unk_id": 0}, "vocab"),
    ],
)
def test_bad_models_are_refused(model, says):
    with pytest.raises(TokenizerError, match=says):
        Tokenizer.from_str(json.dumps({"version": "1.0", "model": {"type": "Unigram"} | model}))


@pytest.mark.parametrize("score", ["NaN", "1e999", "-1e999", "Infinity"])
def test_scores_are_numbers(score):
    spec = document([("a", -1.0), ("b", 12345.0)]).replace("12345.0", score)
    with pytest.raises(TokenizerError):
        Tokenizer.from_str(spec)


def test_scores_are_read_with_the_reference_s_rounding():
    """Its reader scales up to 64 bits of digits by a power of ten, which is not always the nearest double."""
    draw = random.Random(12)
    written = [repr(-draw.expovariate(0.1)) for _ in range(2000)] + [repr(draw.uniform(-1, 1)) for _ in range(500)]
    written += [f"{draw.uniform(-9, 9)}{draw.randrange(10**6)}e{draw.randint(-320, 300)}" for _ in range(2000)]
    written += ["18446744073709551615", "-18446744073709551616.5", "184467440737095516159999.25e-10", "-0", "-0.0"]
    written += ["1e-400", "0e999", "0.0e99999999999", "1e-99999999999", "-" + "1" * 60 + "." + "2" * 60, "3E+2"]
    spec = json.dumps({"version": "1.0", "added_tokens": [], "model": {"type": "Unigram", "unk_id": 0, "vocab": []}})
    entries = ",".join(f'["{i}",{score}]' for i, score in enumerate(written))
    ours, theirs = both(spec.replace('"vocab": []', f'"vocab": [{entries}]'))
    ours_vocab, theirs_vocab = (json.loads(t.to_str())["model"]["vocab"] for t in (ours, theirs))
    for score, mine, reference in zip(written, ours_vocab, theirs_vocab, strict=True):
        assert mine[1] == reference[1], score


def test_scores_may_be_given_exactly():
    scores = [-10.051029205322266, -9.596062660217285, 0.0, 1e-300, -1e21, 5e-324]
    spec = document([(str(i), score.hex()) for i, score in enumerate(scores)])
    assert [score for _, score in json.loads(Tokenizer.from_str(spec).to_str())["model"]["vocab"]] == scores
    for bad in ("1.5", "0x", "0x1p99999", "-0xg", "", "-", "nan", "0xnan", "0xinf"):
        with pytest.raises(TokenizerError, match="score"):
            Tokenizer.from_str(document([("a", -1.0), ("b", bad)]))


def test_an_empty_vocabulary_encodes_only_the_empty_text():
    ours = Tokenizer.from_str(document([], unk_id=None))
    assert ours.encode("").ids == []
    with pytest.raises(TokenizerError, match="unk_id"):
        ours.encode("a")


@pytest.mark.parametrize("text", ["中" * 100_000, "a" * 1_000_000, "é語x" * 50_000])
def test_long_words_take_linear_time(text):
    ours, theirs = both(document(VOCABULARIES["ties"]))
    x, y = ours.encode(text), theirs.encode(text)
    assert x.ids == y.ids
    assert x.offsets == y.offsets
