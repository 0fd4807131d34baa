"""Random segmentation under a Unigram model: every way by its probability, as far as it should be drawn."""

import math
import random
from collections import Counter

import pytest

import tokenizers
from enfold.tokenizers import Tokenizer, models

PIECES = [("<unk>", -9.0), ("a", -1.0), ("b", -2.0), ("ab", -2.5), ("abc", -4.0), ("c", -1.5), ("bc", -2.2)]
PIECES += [("cb", -3.0), ("abcb", -5.5)]
DRAWS = 4000


def ways(word):
    """Every way to write a word, with its score."""
    if not word:
        return [((), 0.0)]
    return [
        ((piece, *rest), score + more)
        for piece, score in PIECES[1:]
        if word.startswith(piece)
        for rest, more in ways(word[len(piece) :])
    ]


def drawn(word, **options):
    model = models.Unigram(PIECES, 0, **options)
    return Counter(tuple(token.value for token in model.tokenize(word)) for _ in range(DRAWS))


@pytest.mark.parametrize(
    ("alpha", "nbest", "counted"),
    [(1.0, None, 7), (0.3, None, 7), (0.5, 0, 7), (0.5, 3, 3), (2.0, 100, 7), (-1.0, None, 7)],
)
def test_ways_are_drawn_by_their_probability(alpha, nbest, counted):
    best = sorted(ways("abcb"), key=lambda way: -way[1])[:counted]
    found = drawn("abcb", alpha=alpha, nbest_size=nbest)
    weights = [math.exp(alpha * score) for _, score in best]
    # Ways of one score may stand for each other at the end of the best.
    assert sum(found.values()) == DRAWS
    assert len(found) <= counted
    for (way, score), weight in zip(best, weights, strict=True):
        tied = [w for w, s in ways("abcb") if s == score]
        share = sum(w for w, (_, s) in zip(weights, best, strict=True) if s == score) / sum(weights)
        error = 5 * math.sqrt(share * (1 - share) / DRAWS)
        assert abs(sum(found[one] for one in tied) / DRAWS - share) < error, (way, weight)


@pytest.mark.parametrize("options", [{}, {"nbest_size": 4}, {"alpha": 0.0}, {"alpha": 0.7, "nbest_size": 1}])
def test_without_chance_the_likeliest_is_taken(options):
    assert drawn("abcb", **options) == {("a", "bc", "b"): DRAWS}


@pytest.mark.parametrize("nbest", [None, 3])
def test_unknown_characters_in_a_row_are_one(nbest):
    assert drawn("axyb", alpha=0.5, nbest_size=nbest) == {("a", "xy", "b"): DRAWS}


def test_a_tokenizer_samples_until_it_is_told_not_to():
    ours = Tokenizer(models.Unigram(PIECES, 0, alpha=0.5, nbest_size=5))
    text = "abcb" * 30
    assert len({tuple(ours.encode(text).ids) for _ in range(60)}) > 2
    assert ours.decode(ours.encode(text).ids).replace(" ", "") == text
    ours.model.byte_fallback = False  # another option leaves it as it is
    assert (ours.model.alpha, ours.model.nbest_size) == (0.5, 5)
    ours.model.alpha = None
    assert len({tuple(ours.encode(text).ids) for _ in range(20)}) == 1
    assert Tokenizer.from_str(ours.to_str()).model.nbest_size is None
    for options, error in (
        ({"alpha": "a"}, TypeError),
        ({"nbest_size": -1}, OverflowError),
        ({"alpha": math.inf}, ValueError),
    ):
        with pytest.raises(error):
            models.Unigram(PIECES, 0, **options)


def test_scores_arrive_as_they_are():
    """Scores that no short decimal holds, where the last bit decides."""
    rng = random.Random(2)
    for _ in range(200):
        low = math.log(rng.random())
        pieces = [("<unk>", -20.0), ("a", low), ("b", low), ("ab", math.nextafter(2 * low, rng.choice([0.0, -99.0])))]
        ours = models.Unigram(pieces, 0).tokenize("ab")
        assert [t.value for t in ours] == [t.value for t in tokenizers.models.Unigram(pieces, 0).tokenize("ab")]
