"""ROUGE (Lin 2004): the words and runs of words that a summary shares with its reference.

The rules are those of the `rouge-score` package, whose results these are; longest common subsequences are found with
the bits of long integers (Hyyrö 2004) instead of tables.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, reference_lists
from enfold.evaluate.metrics.overlap import ngrams

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
Split = Callable[[str], list[str]]


class Score(NamedTuple):
    """Of one pair of texts."""

    precision: float
    recall: float
    fmeasure: float


def rouge(
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    rouge_types: Sequence[str] | None = None,
    use_aggregator: bool = True,
    use_stemmer: bool = False,
    tokenizer: Split | None = None,
    n_samples: int = 1000,
    seed: int | None = None,
) -> dict[str, Any]:
    """F1 of shared n-grams and subsequences, from 0 to 1: `{"rouge1", "rouge2", "rougeL", "rougeLsum"}`.

    Args:
        references: a text for each prediction, or a list of them, of which the best counts for each type.
        rouge_types: "rouge1" … "rouge9", "rougeL" (longest common subsequence), "rougeLsum" (of lines, each reference
            line against all of the prediction).
        use_aggregator: the median of the means of bootstrap samples; False gives a list with a score for each
            prediction.
        use_stemmer: compare stems (Porter) instead of words.
        tokenizer: text → words; by default runs of ASCII letters and digits, in lower case.
        n_samples: how many bootstrap samples.
        seed: of the samples, for the same result each time; None goes on with NumPy's global random numbers.
    """
    texts = reference_lists(predictions, references)
    types = list(TYPES if rouge_types is None else rouge_types)
    split = tokenizer or (stemmed_words if use_stemmer else words)
    rows = [
        score_pair(prediction, answers, types, split) for prediction, answers in zip(predictions, texts, strict=True)
    ]
    if not use_aggregator:
        return {kind: [row[kind].fmeasure for row in rows] for kind in types}
    draw = np.random.mtrand._rand if seed is None else np.random.RandomState(seed)
    aggregated = {}
    for kind in types:
        values = np.array([row[kind].fmeasure for row in rows])
        aggregated[kind] = float(np.median(bootstrap_means(values, n_samples, draw)))
    return aggregated


def bootstrap_means(values: np.ndarray, n_samples: int, draw: np.random.RandomState) -> np.ndarray:
    """Means of samples with replacement, [n_samples], drawn as `numpy.random.choice` draws them."""
    if n_samples < 1:
        raise ArgumentError(f"n_samples is {n_samples}; expected 1 or more")
    return np.array([values[draw.randint(0, len(values), len(values))].mean() for _ in range(n_samples)])


def score_pair(prediction: str, answers: Sequence[str], types: Sequence[str], split: Split) -> dict[str, Score]:
    """The best score of each type against one of the answers."""
    ours = Text(prediction, split)
    scores = [
        {kind: measure(kind)(ours, truth) for kind in types} for truth in (Text(answer, split) for answer in answers)
    ]
    return {kind: max((score[kind] for score in scores), key=lambda score: score.fmeasure) for kind in types}


class Text:
    """A text and its words, split when they are needed."""

    def __init__(self, text: str, split: Split):
        self._text, self._split = text, split

    @property
    def words(self) -> list[str]:
        if "found" not in self.__dict__:
            self.found = self._split(self._text)
        return self.found

    @property
    def lines(self) -> list[list[str]]:
        """The words of each line that isn't empty."""
        if "\n" not in self._text:
            return [self.words] if self._text else []
        return [self._split(line) for line in self._text.split("\n") if line]


def measure(kind: str) -> Callable[[Text, Text], Score]:
    """What scores a prediction against a reference.

    Raises:
        ArgumentError: no such type.
    """
    if kind == "rougeL":
        return _longest
    if kind == "rougeLsum":
        return _longest_of_lines
    if re.fullmatch("rouge[1-9]", str(kind)):
        return lambda ours, truth: _shared(ours, truth, int(kind[5:]))
    raise ArgumentError(f"rouge type {kind!r}; expected rouge1 … rouge9, rougeL or rougeLsum")


def _score(hits: int, ours: int, truth: int) -> Score:
    precision, recall = hits / max(ours, 1), hits / max(truth, 1)
    return Score(precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0)


def _shared(ours: Text, truth: Text, order: int) -> Score:
    left, right = ngrams(ours.words, order), ngrams(truth.words, order)
    return _score((left & right).total(), left.total(), right.total())


def _longest(ours: Text, truth: Text) -> Score:
    hits = common_length(truth.words, ours.words)
    return _score(hits, len(ours.words), len(truth.words))


def _longest_of_lines(ours: Text, truth: Text) -> Score:
    lines, others = ours.lines, truth.lines
    left, right = Counter(word for line in lines for word in line), Counter(word for line in others for word in line)
    ours_total, truth_total = left.total(), right.total()
    hits = 0
    for line in others:
        found = sorted(set().union(*(common_places(line, other) for other in lines)))
        for word in (line[i] for i in found):
            if left[word] > 0 and right[word] > 0:  # each word of either side counts once
                hits += 1
                left[word] -= 1
                right[word] -= 1
    return _score(hits, ours_total, truth_total)


def _rows(truth: Sequence[str], ours: Sequence[str]) -> list[int]:
    """Row i has a zero bit at each place of `ours` where the subsequence shared with `truth[:i]` grows by one."""
    where: dict[str, int] = defaultdict(int)
    for place, word in enumerate(ours):
        where[word] |= 1 << place
    everything = (1 << len(ours)) - 1
    rows = [everything]
    for word in truth:
        row = rows[-1]
        match = row & where.get(word, 0)
        rows.append(((row + match) | (row - match)) & everything)
    return rows


def common_length(truth: Sequence[str], ours: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    return len(ours) - _rows(truth, ours)[-1].bit_count()


def common_places(truth: Sequence[str], ours: Sequence[str]) -> list[int]:
    """Where in `truth` one longest common subsequence lies: the one that rouge-score would choose."""
    rows = _rows(truth, ours)

    def length(i: int, j: int) -> int:
        return j - (rows[i] & ((1 << j) - 1)).bit_count()

    i, j, found = len(truth), len(ours), []
    while i > 0 and j > 0:
        if truth[i - 1] == ours[j - 1]:
            found.append(i - 1)
            i, j = i - 1, j - 1
        elif length(i, j - 1) > length(i - 1, j):
            j -= 1
        else:
            i -= 1
    return found


_WORD = re.compile("[a-z0-9]+")


def words(text: str) -> list[str]:
    """Runs of ASCII letters and digits, in lower case."""
    return _WORD.findall(text.lower())


def stemmed_words(text: str) -> list[str]:
    """The same, words of more than three letters as stems."""
    stem = stemmer()
    return [stem(word) if len(word) > 3 else word for word in words(text)]


@lru_cache(maxsize=1)
def stemmer() -> Callable[[str], str]:
    """Porter's, with a memory: texts repeat their words."""
    porter = require("nltk.stem.porter", extra=EXTRA, purpose="use_stemmer").PorterStemmer()
    return lru_cache(maxsize=1 << 17)(porter.stem)
