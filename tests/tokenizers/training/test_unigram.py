"""Unigram training: deterministic, and close to the reference, whose own result differs a little from run to run."""

import json
import random
from collections import Counter

import pytest

import enfold.tokenizers as ours
from enfold.base.errors import ArgumentError, TokenizerError

from .texts import both, lines, reference, trained

METASPACE = {"pre_tokenizer": lambda p: p.Metaspace()}
SPACES = {"pre_tokenizer": lambda p: p.WhitespaceSplit()}


def words(count: int, seed: int) -> list[str]:
    """Made-up words of a few hundred stems and endings, by a Zipf law."""
    rng = random.Random(0)
    parts = ["".join(rng.choice("aeiouklmnprst") for _ in range(rng.randint(2, 5))) for _ in range(300)]
    rng = random.Random(seed)
    stems = rng.choices(parts, [1 / (rank + 1) for rank in range(len(parts))], k=count)
    ends = rng.choices(parts[:20], k=count)
    return [" ".join(s + e * (i % 3 > 0) for i, (s, e) in enumerate(zip(stems, ends, strict=True)))]


@pytest.mark.parametrize(
    "options",
    [
        {"special_tokens": ["<unk>"], "unk_token": "<unk>"},
        {"special_tokens": ["<s>", "<unk>"], "unk_token": "<unk>"},
        {"special_tokens": ["<s>"], "unk_token": "<unk>"},
        {"special_tokens": ["<s>", "a"], "initial_alphabet": ["q"]},
        {},
    ],
)
def test_a_few_words_like_the_reference(options):
    """Small enough for the reference to give one answer, but for the order of equals."""
    made, expected = both("Unigram", ["abc abd abab ab"] * 5, setting=SPACES, vocab_size=20, **options)
    ours_, theirs = made["model"].pop("vocab"), expected["model"].pop("vocab")
    fixed = len(options.get("special_tokens", ())) + (options.get("unk_token") not in options.get("special_tokens", ()))
    assert ours_[: fixed - 1] == theirs[: fixed - 1]
    assert [score for _, score in ours_] == pytest.approx([score for _, score in theirs], rel=1e-6)
    assert Counter(text for text, _ in ours_) == Counter(text for text, _ in theirs)
    assert made["model"] == expected["model"]


def test_close_to_the_reference():
    texts, unseen = [*words(20_000, 1), *lines()], [*words(3_000, 2), *lines()[::3]]
    options = {"special_tokens": ["<unk>"], "unk_token": "<unk>", "vocab_size": 1600, "setting": METASPACE}
    made = {library: trained(library, "Unigram", texts, **options) for library in (ours, reference)}
    vocabularies = [set(tokenizer.get_vocab()) for tokenizer in made.values()]
    assert len(vocabularies[0]) == len(vocabularies[1]) == 1600
    assert len(vocabularies[0] & vocabularies[1]) > 0.9 * 1600
    tokens, likelihood = {}, {}
    for library, tokenizer in made.items():
        # The same engine for both: what is compared is the vocabulary.
        scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
        encoded = [reference.Tokenizer.from_str(tokenizer.to_str()).encode(text).tokens for text in unseen]
        tokens[library] = sum(map(len, encoded))
        likelihood[library] = sum(scores.get(token, -25.0) for row in encoded for token in row)
    assert tokens[ours] < 1.02 * tokens[reference]
    assert likelihood[ours] > 1.02 * likelihood[reference]


def test_the_same_every_time(monkeypatch):
    """Whatever the order of the texts and the number of threads."""
    texts = [*words(20_000, 1), *lines()]
    options = {"vocab_size": 1700, "setting": METASPACE, "unk_token": "<unk>"}
    first = trained(ours, "Unigram", texts, **options).to_str()
    assert trained(ours, "Unigram", [list(reversed(texts))], **options).to_str() == first
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    assert trained(ours, "Unigram", texts, **options).to_str() == first


def test_longest_piece_and_words():
    made = trained(ours, "Unigram", ["abcdefgh" * 3 + " abcdefgh"] * 9, vocab_size=60, max_piece_length=4)
    assert max(map(len, made.get_vocab())) <= 4
    # One word of many thousand characters: probabilities far below the smallest number.
    text = words(20_000, 3)[0].replace(" ", "")
    made = trained(ours, "Unigram", [text], vocab_size=300)
    assert made.get_vocab_size() == 300
    assert len(made.encode(text).ids) < len(text) / 2


def test_no_text():
    made = trained(ours, "Unigram", [], special_tokens=["<unk>"], unk_token="<unk>")
    assert made.get_vocab() == {"<unk>": 0}


@pytest.mark.parametrize("vocab_size", [0, 3, 5])
def test_a_vocabulary_without_room(vocab_size):
    with pytest.raises(TokenizerError, match=r"too small.*4 different characters.*3 special tokens"):
        trained(ours, "Unigram", ["ab c"], vocab_size=vocab_size, special_tokens=["x", "y"], unk_token="z")


@pytest.mark.parametrize("option", [{"shrinking_factor": 1.0}, {"max_piece_length": 0}, {"n_sub_iterations": 0}])
def test_options_out_of_range(option):
    with pytest.raises(ArgumentError, match=next(iter(option))):
        ours.trainers.UnigramTrainer(**option)
