"""Byte-pair training: the vocabulary and the merges of the reference library, for every option."""

import random
from collections import Counter
from typing import Any

import pytest

import enfold.tokenizers as ours

from .algorithm import byte_pairs
from .texts import both, lines, random_words, reference, trained

BYTES = {"pre_tokenizer": lambda p: p.ByteLevel()}
SPACES = {"pre_tokenizer": lambda p: p.WhitespaceSplit()}


def special(*tokens):
    return list(tokens)


@pytest.mark.parametrize(
    "options",
    [
        {"setting": BYTES, "vocab_size": 1500, "special_tokens": special("<s>", "</s>")},
        {"setting": BYTES, "vocab_size": 800, "min_frequency": 4, "initial_alphabet": ["Ā", "zz", ""]},
        {"setting": SPACES, "vocab_size": 2000, "special_tokens": special("<unk>", "e", "th")},
        {"setting": SPACES, "vocab_size": 2000, "max_token_length": 5},
        {"setting": SPACES, "vocab_size": 10},
        {"vocab_size": 900},
        {
            "setting": {"pre_tokenizer": lambda p: p.Metaspace(), "normalizer": lambda n: n.NFKC()},
            "vocab_size": 2500,
            "model_options": {"unk_token": "<unk>", "byte_fallback": True, "continuing_subword_prefix": "@@"},
        },
    ],
)
def test_like_the_reference(options):
    made, expected = both("BPE", lines(), **options)
    assert made == expected


def test_random_words_like_the_reference():
    """Tie rules, tokens that two merges spell, symbols beside themselves."""
    for seed in range(120):
        rng = random.Random(seed)
        words = random_words(rng, "abcdeж中😀"[: rng.randint(1, 8)], rng.choice([5, 40, 150]))
        options: dict[str, Any] = {"vocab_size": rng.choice([5, 50, 300]), "min_frequency": rng.choice([0, 1, 3])}
        if rng.random() < 0.3:
            options["max_token_length"] = rng.randint(0, 8)
        if rng.random() < 0.3:
            options["special_tokens"] = rng.sample(["<s>", "a", "bc", "cd", "ab"], 2)
        made, expected = both("BPE", [" ".join(words)], setting=SPACES, **options)
        assert made == expected, (seed, options)


@pytest.mark.parametrize(("prefix", "suffix"), [("##", None), (None, "</w>"), ("##", "</w>")])
def test_marked_symbols(prefix, suffix):
    """The reference numbers marked characters in no fixed order. Under its own order a plain account of the algorithm
    gives its merges, so under ours it must give ours."""
    words = Counter(random_words(random.Random(7), "abcdef", 120))
    texts = [" ".join(word for word, count in words.items() for _ in range(count))]
    marks = {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    given = {name: mark for name, mark in marks.items() if mark is not None}
    made, theirs = both("BPE", texts, setting=SPACES, vocab_size=150, **given)
    for document, order in ((theirs, list(theirs["model"]["vocab"])), (made, None)):
        tokens, merges = byte_pairs(words, 150, prefix, suffix, order)
        assert tokens == list(document["model"]["vocab"])
        assert merges == [tuple(merge) for merge in document["model"]["merges"]]
    assert {name: made["model"][name] for name in marks} == marks


def test_limited_alphabet():
    """Characters beyond the limit vanish; their neighbours become neighbours."""
    texts = ["abab abxab " * 4 + "aab"]
    made, expected = both("BPE", texts, setting=SPACES, limit_alphabet=2, vocab_size=20)
    assert made == expected
    assert "abab" in made["model"]["vocab"]
    assert "x" not in made["model"]["vocab"]


def test_equally_rare_characters_are_left_out_from_the_end():
    made = trained(ours, "BPE", ["aaa bbb ccc"], setting=SPACES, limit_alphabet=2, vocab_size=2)
    assert made.get_vocab() == {"a": 0, "b": 1}


def test_trained_models_load_in_the_reference():
    made = trained(ours, "BPE", lines(), setting=BYTES, vocab_size=1000, special_tokens=special("<s>"))
    other = reference.Tokenizer.from_str(made.to_str())
    for text in lines()[::7]:
        assert made.encode(text).ids == other.encode(text).ids


def test_added_tokens_stay():
    made = []
    for library in (ours, reference):
        made.append(library.Tokenizer(library.models.BPE()))
        made[-1].add_tokens(["abc"])
        trainer = library.trainers.BpeTrainer(show_progress=False, special_tokens=["<s>"])
        made[-1].train_from_iterator(["abc abd"], trainer)
    assert made[0].to_str() == made[1].to_str()


def test_one_word_of_a_million_characters():
    rng = random.Random(0)
    text = "".join(rng.choice("abcd") for _ in range(1_000_000))
    made = trained(ours, "BPE", [text], vocab_size=300)
    assert made.get_vocab_size() == 300
