"""METEOR (Banerjee and Lavie 2005): words matched as they are, by stems and by synonyms, and in how many runs."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.base.logging import get_logger
from enfold.evaluate.metrics.checks import EXTRA, reference_lists
from enfold.evaluate.metrics.summaries import stemmer
from enfold.evaluate.metrics.wordnet import find_wordnet

logger = get_logger(__name__)
Same = Callable[[str], frozenset[str]]


def meteor(
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    alpha: float = 0.9,
    beta: float = 3,
    gamma: float = 0.5,
    tokenizer: Callable[[str], list[str]] | None = None,
    wordnet: str | Path | bool | None = None,
) -> dict[str, float]:
    """The mean METEOR score, from 0 to 1: `{"meteor"}`.

    Args:
        references: a text for each prediction, or a list of them, of which the best counts.
        alpha: how much of the mean is recall.
        beta, gamma: the shape and the most of the penalty for matches that lie apart.
        tokenizer: text → words; by default those of the Penn Treebank, sentence by sentence as NLTK's Punkt finds them,
            or by a rule where its data aren't installed (a warning says so).
        wordnet: its folder; by default where it is usually installed. False matches no synonyms.

    Raises:
        MissingDependencyError: no WordNet is installed.
    """
    texts = reference_lists(predictions, references)
    if wordnet is True:
        raise ArgumentError(
            "wordnet=True; expected the folder of a WordNet, None to look for it, or False for no synonyms"
        )
    same: Same | None = None
    if wordnet is not False:
        same = find_wordnet(None if wordnet is None else str(wordnet)).synonyms
    split = tokenizer or treebank_words()
    total = 0.0
    for prediction, answers in zip(predictions, texts, strict=True):
        ours = [word.lower() for word in split(prediction)]
        truths = ([word.lower() for word in split(answer)] for answer in answers)
        total += max(score_words(ours, truth, same, alpha, beta, gamma) for truth in truths)
    return {"meteor": total / len(predictions)}


def score_words(
    ours: Sequence[str], truth: Sequence[str], same: Same | None, alpha: float, beta: float, gamma: float
) -> float:
    """The score of words against words, both in lower case."""
    pairs = align(ours, truth, same)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(ours), len(pairs) / len(truth)
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    runs = 1 + sum(b != (a[0] + 1, a[1] + 1) for a, b in pairwise(pairs))
    return (1 - gamma * (runs / len(pairs)) ** beta) * mean


def align(ours: Sequence[str], truth: Sequence[str], same: Same | None) -> list[tuple[int, int]]:
    """Places in either text that match, sorted: equal words first, then stems, then synonyms, each from the end.

    Synonyms are looked up by stems: so NLTK does, whose results these are.
    """
    stem = stemmer()
    left, right = dict(enumerate(ours)), dict(enumerate(truth))
    pairs = _matched(left, right, lambda word: (word,))
    left, right = ({place: stem(word) for place, word in words.items()} for words in (left, right))
    pairs += _matched(left, right, lambda word: (word,))
    if same is not None:
        pairs += _matched(left, right, same)
    return sorted(pairs)


def _matched(
    left: dict[int, str], right: dict[int, str], equals: Callable[[str], Iterable[str]]
) -> list[tuple[int, int]]:
    """Pairs of places that match, taken out of both; a word takes the last place that is left of those it equals."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in right.items():
        places[word].append(place)
    pairs = []
    for place in sorted(left, reverse=True):
        found = [word for word in equals(left[place]) if places.get(word)]
        if found:
            other = places[max(found, key=lambda word: places[word][-1])].pop()
            pairs.append((place, other))
            del left[place], right[other]
    return pairs


@lru_cache(maxsize=1)
def treebank_words() -> Callable[[str], list[str]]:
    """Text → words as `nltk.word_tokenize` finds them."""
    nltk = require("nltk.tokenize", extra=EXTRA, purpose="the default tokenizer of meteor")
    try:
        nltk.sent_tokenize("Is it there?")
    except LookupError:
        logger.warning(
            "meteor: NLTK's data punkt_tab aren't installed, so sentences are taken to end at . ! ? before a space "
            "and a capital letter; pass tokenizer=… for another rule"
        )
        split = nltk.NLTKWordTokenizer().tokenize
        return lambda text: [word for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text) for word in split(sentence)]
    return nltk.word_tokenize
