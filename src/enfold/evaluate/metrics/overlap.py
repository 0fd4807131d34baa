"""Translations against references by the words and characters they share. sacrebleu does most of the arithmetic."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, choose, reference_lists

Words = Sequence[Hashable]
References = Sequence[str] | Sequence[Sequence[str]]


def bleu(
    predictions: Sequence[str],
    references: References,
    *,
    tokenizer: Callable[[str], list[str]] | None = None,
    max_order: int = 4,
    smooth: bool = False,
) -> dict[str, Any]:
    """BLEU of a corpus, from 0 to 1 (Papineni et al. 2002).

    Args:
        references: a text for each prediction, or a list of them.
        tokenizer: text → words; by default mteval-v13a's rules.
        max_order: the longest n-grams that count.
        smooth: add one to matches and possible matches (Lin and Och 2004).

    Returns:
        `{"bleu", "precisions", "brevity_penalty", "length_ratio", "translation_length", "reference_length"}`, lengths
        in words, of the shortest reference each.
    """
    texts = reference_lists(predictions, references)
    if max_order < 1:
        raise ArgumentError(f"max_order is {max_order}; expected 1 or more")
    split = tokenizer or words_13a()
    matches, possible = [0] * max_order, [0] * max_order
    ours_length = truth_length = 0
    for prediction, answers in zip(predictions, texts, strict=True):
        ours, truths = split(prediction), [split(answer) for answer in answers]
        ours_length += len(ours)
        truth_length += min(len(truth) for truth in truths)
        for order in range(1, max_order + 1):
            most: Counter = Counter()
            for truth in truths:
                most |= ngrams(truth, order)
            matches[order - 1] += (ngrams(ours, order) & most).total()
            possible[order - 1] += max(len(ours) - order + 1, 0)
    if smooth:
        precisions = [(match + 1.0) / (all_ + 1.0) for match, all_ in zip(matches, possible, strict=True)]
    else:
        precisions = [match / all_ if all_ else 0.0 for match, all_ in zip(matches, possible, strict=True)]
    mean = math.exp(sum(map(math.log, precisions)) / max_order) if min(precisions) > 0 else 0.0
    ratio = ours_length / truth_length if truth_length else 0.0
    penalty = 0.0 if not ratio else 1.0 if ratio > 1 else math.exp(1 - 1 / ratio)
    return {
        "bleu": mean * penalty,
        "precisions": precisions,
        "brevity_penalty": penalty,
        "length_ratio": ratio,
        "translation_length": ours_length,
        "reference_length": truth_length,
    }


def google_bleu(
    predictions: Sequence[str],
    references: References,
    *,
    tokenizer: Callable[[str], list[str]] | None = None,
    min_len: int = 1,
    max_len: int = 4,
) -> dict[str, float]:
    """The lower of n-gram precision and recall over a corpus (Wu et al. 2016): `{"google_bleu"}`.

    Args:
        references: a text for each prediction, or a list of them, of which the best counts.
        tokenizer: as of `bleu`.
        min_len, max_len: the shortest and longest n-grams.
    """
    texts = reference_lists(predictions, references)
    if not 1 <= min_len <= max_len:
        raise ArgumentError(f"min_len={min_len} and max_len={max_len}; expected 1 ≤ min_len ≤ max_len")
    split = tokenizer or words_13a()

    def counted(words: Words) -> Counter:
        return sum((ngrams(words, order) for order in range(min_len, max_len + 1)), Counter())

    matches = most = 0
    for prediction, answers in zip(predictions, texts, strict=True):
        ours = counted(split(prediction))
        found = []
        for answer in answers:
            truth = counted(split(answer))
            larger = max(ours.total(), truth.total())
            if larger:
                found.append(((ours & truth).total(), larger))
        if found:
            match, larger = max(found, key=lambda pair: pair[0] / pair[1])
            matches, most = matches + match, most + larger
    return {"google_bleu": matches / most if most else 0.0}


def ngrams(words: Words, order: int) -> Counter:
    """How often each n-gram of an order occurs."""
    return Counter(words) if order == 1 else Counter(zip(*(words[i:] for i in range(order)), strict=False))


@lru_cache(maxsize=1)
def words_13a() -> Callable[[str], list[str]]:
    """Text → words by the rules of mteval-v13a, as WMT uses them."""
    rules = require(
        "sacrebleu.tokenizers.tokenizer_13a", extra=EXTRA, purpose="the default tokenizer of bleu"
    ).Tokenizer13a()
    return lambda text: rules(text).split()


def sacrebleu(
    predictions: Sequence[str],
    references: References,
    *,
    smooth_method: str = "exp",
    smooth_value: float | None = None,
    force: bool = False,
    lowercase: bool = False,
    tokenize: str | None = None,
    use_effective_order: bool = False,
) -> dict[str, Any]:
    """BLEU as it can be compared between papers (Post 2018), from 0 to 100.

    Args:
        references: a text for each prediction, or equally many of them.
        smooth_method: "exp", "floor", "add-k" or "none"; `smooth_value` is the constant of the two in the middle.
        force: don't warn about texts that look tokenised already.
        lowercase: upper case doesn't count.
        tokenize: "13a" (the default), "intl", "zh", "ja-mecab", "ko-mecab", "flores101", "flores200", "char" or "none".
        use_effective_order: leave out orders without a match, for single sentences.

    Returns:
        `{"score", "counts", "totals", "precisions", "bp", "sys_len", "ref_len"}`.
    """
    choose("smooth_method", smooth_method, ("exp", "floor", "add-k", "none"))
    library = require("sacrebleu", extra=EXTRA, purpose="sacrebleu")
    options: dict[str, Any] = {} if tokenize is None else {"tokenize": tokenize}
    measure = library.metrics.BLEU(
        lowercase=lowercase,
        force=force,
        smooth_method=smooth_method,
        smooth_value=smooth_value,
        effective_order=use_effective_order,
        **options,
    )
    found = measure.corpus_score(list(predictions), _columns(predictions, references))
    names = ("score", "counts", "totals", "precisions", "bp", "sys_len", "ref_len")
    return {name: getattr(found, name) for name in names}


def chrf(
    predictions: Sequence[str],
    references: References,
    *,
    char_order: int = 6,
    word_order: int = 0,
    beta: int = 2,
    lowercase: bool = False,
    whitespace: bool = False,
    eps_smoothing: bool = False,
) -> dict[str, Any]:
    """F-score of character n-grams (Popović 2015), from 0 to 100: `{"score", "char_order", "word_order", "beta"}`.

    Args:
        references: a text for each prediction, or equally many of them.
        char_order: the longest character n-grams.
        word_order: the longest word n-grams; 2 is chrF++.
        beta: how much more recall counts than precision.
        lowercase: upper case doesn't count.
        whitespace: spaces are characters too.
        eps_smoothing: as NLTK and Moses smooth, instead of leaving out orders without n-grams.
    """
    library = require("sacrebleu", extra=EXTRA, purpose="chrf")
    measure = library.metrics.CHRF(char_order, word_order, beta, lowercase, whitespace, eps_smoothing)
    found = measure.corpus_score(list(predictions), _columns(predictions, references))
    return {name: getattr(found, name) for name in ("score", "char_order", "word_order", "beta")}


def ter(
    predictions: Sequence[str],
    references: References,
    *,
    normalized: bool = False,
    ignore_punct: bool = False,
    support_zh_ja_chars: bool = False,
    case_sensitive: bool = False,
) -> dict[str, Any]:
    """Edits and shifts of words that make the reference, for each of its words (Snover et al. 2006), in percent.

    Args:
        references: a text for each prediction, or equally many of them.
        normalized: split off punctuation and resolve entities first.
        ignore_punct: punctuation is removed.
        support_zh_ja_chars: the two before treat Asian characters too.
        case_sensitive: upper case counts.

    Returns:
        `{"score", "num_edits", "ref_length"}`; the length is the mean of a prediction's references, added up.
    """
    library = require("sacrebleu", extra=EXTRA, purpose="ter")
    measure = library.metrics.TER(normalized, ignore_punct, support_zh_ja_chars, case_sensitive)
    found = measure.corpus_score(list(predictions), _columns(predictions, references))
    return {"score": found.score, "num_edits": found.num_edits, "ref_length": found.ref_length}


def _columns(predictions: Sequence[str], references: References) -> list[list[str]]:
    """References as sacrebleu takes them: the first of each prediction, the second of each, …"""
    texts = reference_lists(predictions, references)
    counts = {len(answers) for answers in texts}
    if len(counts) > 1:
        raise ArgumentError(
            f"predictions have between {min(counts)} and {max(counts)} references; expected equally many"
        )
    return [list(column) for column in zip(*texts, strict=True)]
