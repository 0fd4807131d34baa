"""Merges derived from a vocabulary, beside transformers' way, and on vocabularies made to be slow."""

import random
import time

import pytest
from transformers.convert_slow_tokenizer import generate_merges

from enfold.base.errors import TokenizerError
from enfold.tokenizers.formats.merges import merges_from_vocab


def vocabulary(seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    alphabet = "abcdé▁漢字😀ß"
    tokens = {"".join(chance.choices(alphabet, k=chance.randint(1, 7))) for _ in range(1500)} | set(alphabet)
    ids = list(range(len(tokens)))
    chance.shuffle(ids)
    return dict(zip(sorted(tokens), ids, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_merges_are_transformers(seed):
    vocab = vocabulary(seed)
    chance = random.Random(seed)
    scores = {token: -float(chance.randint(0, 40)) for token in vocab}
    skip = set(chance.sample(sorted(vocab), 30))
    extra = {**scores, "abab": 1.0, "unknown to the vocabulary": 2.0}
    assert merges_from_vocab(vocab) == generate_merges(vocab, None)
    assert merges_from_vocab(vocab, skip=skip) == generate_merges(vocab, None, skip)
    assert merges_from_vocab(vocab, scores) == generate_merges(vocab, scores)
    assert merges_from_vocab(vocab, extra, skip) == generate_merges(vocab, extra, skip)


def test_odd_vocabularies():
    assert merges_from_vocab({}) == []
    assert merges_from_vocab({"": 0, "a": 1, "aa": 2}) == [("a", "a")]
    assert merges_from_vocab({"a": 3, "aa": 2, "aaa": 2}) == generate_merges({"a": 3, "aa": 2, "aaa": 2}, None)
    with pytest.raises(TokenizerError, match="not a number"):
        merges_from_vocab({"a": 0, "aa": 1}, {"a": 0.0, "aa": float("nan")})
    with pytest.raises(TypeError):
        merges_from_vocab({"a": 0, "\ud800": 1})
    with pytest.raises(TypeError):
        merges_from_vocab({"a": "x"})  # pyright: ignore[reportArgumentType]


def test_long_tokens_take_time_in_proportion():
    long = "ab" * 200_000
    vocab = {token: index for index, token in enumerate(["a", "b", long, long[1:], long[:-1], "ab"])}
    begun = time.process_time()
    merges = merges_from_vocab(vocab)
    assert time.process_time() - begun < 3
    assert merges[-1] == ("a", "b")
    assert ("a", long[1:]) in merges
    assert (long[:-1], "b") in merges
