"""Byte-pair encoding that is fair to several languages: each merge goes to the one that is worst off.

Source: Foroutan et al. 2025, Parity-Aware Byte-Pair Encoding, https://arxiv.org/abs/2508.04796.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.progress import advance
from enfold.tokenizers import _engine
from enfold.tokenizers._engine import AddedToken
from enfold.tokenizers.components import spec_text
from enfold.tokenizers.trainers import Setting, Trainer, _count, _flag

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer

_VARIANTS = ("base", "window")


def _variant(name: str, value: Any) -> str:
    if value not in _VARIANTS:
        raise ArgumentError(f"{name} should be one of {', '.join(_VARIANTS)}, got {value!r}")
    if value == "window":
        raise NotBuiltError("variant='window' is not built yet: take variant='base'")
    return value


def _ratio(name: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    ratio = [float(entry) for entry in value]
    if not all(0 < entry < float("inf") for entry in ratio):
        raise ArgumentError(f"{name} should hold positive numbers, got {value!r}")
    return ratio


class ParityBpeTrainer(Trainer):
    """Learns byte-pair encoding from one corpus per language, so that none pays more tokens than the others.

    Each merge is the most frequent pair of the language that is worst off then: the one with the most tokens in its
    development texts (best the same sentences in every language), or the one whose compression lies furthest behind its
    `ratio`. Among pairs as frequent the one is taken that is later in the order of code points.

    Args:
        num_merges: merges to learn.
        variant: "base".
        min_frequency: pairs that occur less often in the language are not merged.
        ratio: the compression that each language should have, relative to the others; counts where there are no
            development texts.
        global_merges: so many merges come first that go by the pairs of all languages together.
        total_symbols: `num_merges` counts all tokens, special ones and characters included.
        special_tokens: the first tokens of the vocabulary.
        show_progress: draw a bar on a terminal.

    Raises:
        TypeError, OverflowError, ArgumentError: an option of the wrong type or out of range.
        NotBuiltError: `variant="window"`, or an option about alphabets, affixes or lengths.
    """

    model = "BPE"
    num_merges = Setting(_count)
    variant = Setting(_variant)
    min_frequency = Setting(_count)
    ratio = Setting(_ratio)
    global_merges = Setting(_count)
    total_symbols = Setting(_flag)

    def __init__(
        self,
        num_merges: int = 32000,
        variant: str = "base",
        min_frequency: int = 0,
        ratio: Sequence[float] | None = None,
        global_merges: int = 0,
        window_size: int | None = None,
        alpha: float | None = None,
        total_symbols: bool = False,
        special_tokens: Sequence[str | AddedToken] | None = None,
        show_progress: bool = True,
        limit_alphabet: int | None = None,
        initial_alphabet: Iterable[str] | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        max_token_length: int | None = None,
    ) -> None:
        later = {
            "window_size": window_size,
            "alpha": alpha,
            "limit_alphabet": limit_alphabet,
            "initial_alphabet": initial_alphabet,
            "continuing_subword_prefix": continuing_subword_prefix,
            "end_of_word_suffix": end_of_word_suffix,
            "max_token_length": max_token_length,
        }
        for name, value in later.items():
            if value is not None:
                raise NotBuiltError(f"ParityBpeTrainer: {name} is not built yet; leave it out")
        super().__init__(
            num_merges=num_merges,
            variant=variant,
            min_frequency=min_frequency,
            ratio=ratio,
            global_merges=global_merges,
            total_symbols=total_symbols,
            special_tokens=list(special_tokens or ()),
            show_progress=show_progress,
        )

    def _learn(self, words: _engine.WordCounts) -> dict[str, Any]:
        raise ArgumentError(
            "ParityBpeTrainer learns from one corpus per language: call its own train_from_iterator(tokenizer, [...])"
        )

    def train_from_iterator(
        self,
        tokenizer: "Tokenizer",
        train_iterators: Sequence[Iterable[Any]],
        dev_iterators: Sequence[Iterable[Any]] | None = None,
        ratio: Sequence[float] | None = None,
    ) -> None:
        """Trains the model of a tokenizer.

        Args:
            tokenizer: with a BPE model, and the normalizer and pre-tokenizer that cut the texts into words.
            train_iterators: one per language, over str or lists of str.
            dev_iterators: the development texts of each language, by which the next one is chosen.
            ratio: instead of the trainer's.

        Raises:
            ArgumentError: another model, or not as many development texts or ratios as languages.
        """
        if tokenizer.model._slot.type != "BPE":
            raise ArgumentError(
                f"ParityBpeTrainer trains a BPE model, the tokenizer has a {tokenizer.model._slot.type}"
            )
        ratio = self.ratio if ratio is None else _ratio("ratio", ratio)
        if not train_iterators:
            raise ArgumentError("train_iterators should hold one iterator per language, got none")
        for name, given in (("dev_iterators", dev_iterators), ("ratio", ratio)):
            if given is not None and len(given) != len(train_iterators):
                raise ArgumentError(f"{name} has {len(given)} entries for {len(train_iterators)} languages")
        texts = [_counted(tokenizer, iterator) for iterator in train_iterators]
        dev = None if dev_iterators is None else [_counted(tokenizer, iterator) for iterator in dev_iterators]
        training = _Training(self._special(), texts, texts if dev is None else dev)
        steps = training.run(self, ratio if dev is None else None)
        for _ in advance(steps, total=self.num_merges, label="Merging", shown=self._shown()):
            pass
        slot = tokenizer.model._slot
        learnt = {"vocab": {token: id for id, token in enumerate(training.tokens)}, "merges": training.merges}
        slot.assign(spec_text({**json.loads(slot.options), **learnt}))
        tokenizer.add_special_tokens(self.special_tokens)


def _counted(tokenizer: "Tokenizer", iterator: Iterable[Any]) -> list[tuple[str, int]]:
    counter, texts = _engine.WordCounter(tokenizer), iter(iterator)
    while counter.pull(texts):
        pass
    return counter.finish().items()


Pair = tuple[int, int]


class _Later(tuple):
    """Two texts; what is later in the order of code points comes out of a heap first."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return tuple.__gt__(self, other)


class _Frequent:
    """The most frequent pair of some words, while their counts change."""

    def __init__(self) -> None:
        self.counts: dict[Pair, int] = defaultdict(int)
        # Entries whose count is no longer true are corrected when they come out.
        self._heap: list[tuple[int, _Later, Pair]] = []

    def start(self, tokens: list[str]) -> None:
        self._heap = [(-count, _Later((tokens[a], tokens[b])), (a, b)) for (a, b), count in self.counts.items()]
        heapify(self._heap)

    def won(self, pair: Pair, tokens: list[str]) -> None:
        heappush(self._heap, (-self.counts[pair], _Later((tokens[pair[0]], tokens[pair[1]])), pair))

    def best(self, at_least: int) -> Pair | None:
        heap = self._heap
        while heap:
            waiting, text, pair = heap[0]
            count = self.counts.get(pair, 0)
            if -waiting == count:
                return pair if count >= at_least else None
            heappop(heap)
            if 0 < count < -waiting:
                heappush(heap, (-count, text, pair))
        return None


class _Training:
    """Words of several languages as symbols, and what is learnt of them: `tokens` by id, `merges`."""

    def __init__(
        self, special: list[str], texts: list[list[tuple[str, int]]], measured: list[list[tuple[str, int]]]
    ) -> None:
        characters = sorted({character for words in (*texts, *measured) for word, _ in words for character in word})
        self.tokens = list(dict.fromkeys([*special, *characters]))
        self._given = len(self.tokens)
        self._ids = {token: id for id, token in enumerate(self.tokens)}
        self.merges: list[tuple[str, str]] = []
        places: dict[str, int] = {}
        for words in (*texts, *measured):
            for word, _ in words:
                places.setdefault(word, len(places))
        self._words = [[self._ids[character] for character in word] for word in places]
        self._counts: list[list[tuple[int, int]]] = [[] for _ in places]  # (language, count) of each word
        self._measured: list[list[tuple[int, int]]] = [[] for _ in places]
        for counts, corpora in ((self._counts, texts), (self._measured, measured)):
            for language, words in enumerate(corpora):
                for word, count in words:
                    counts[places[word]].append((language, count))
        self._languages = [_Frequent() for _ in texts]
        self._all = _Frequent()
        self._where: dict[Pair, set[int]] = defaultdict(set)
        self._lengths = [0] * len(texts)  # tokens of what is measured
        for place, symbols in enumerate(self._words):
            for language, count in self._measured[place]:
                self._lengths[language] += count * len(symbols)
            for pair in itertools.pairwise(symbols):
                self._where[pair].add(place)
                self._count(place, pair, 1)
        for frequent in (*self._languages, self._all):
            frequent.start(self.tokens)

    def run(self, trainer: ParityBpeTrainer, ratio: Sequence[float] | None) -> Iterator[int]:
        """Learns merge by merge."""
        first = list(self._lengths)

        def rank(language: int) -> tuple[float, int]:
            if ratio is None:
                return -self._lengths[language], language
            length = self._lengths[language]
            return (first[language] / length if length else float("inf")) / ratio[language], language

        at_least = max(trainer.min_frequency, 1)
        merges = trainer.num_merges - (self._given if trainer.total_symbols else 0)
        while len(self.merges) < merges:
            if len(self.merges) < trainer.global_merges:
                ranked = [self._all]
            else:
                ranked = [self._languages[language] for language in sorted(range(len(first)), key=rank)]
            pair = next((best for frequent in ranked if (best := frequent.best(at_least)) is not None), None)
            if pair is None:
                return
            self._merge(pair)
            yield 1

    def _count(self, place: int, pair: Pair, by: int) -> None:
        for language, count in self._counts[place]:
            self._languages[language].counts[pair] += by * count
            self._all.counts[pair] += by * count

    def _merge(self, pair: Pair) -> None:
        text = self.tokens[pair[0]] + self.tokens[pair[1]]
        self.merges.append((self.tokens[pair[0]], self.tokens[pair[1]]))
        made = self._ids.setdefault(text, len(self.tokens))
        if made == len(self.tokens):
            self.tokens.append(text)
        won: dict[Pair, set[int]] = defaultdict(set)  # by languages
        for place in self._where.pop(pair):
            symbols = self._words[place]
            merged = _merged(symbols, pair, made)
            if len(merged) == len(symbols):
                continue
            self._words[place] = merged
            for language, count in self._measured[place]:
                self._lengths[language] -= count * (len(symbols) - len(merged))
            for old in itertools.pairwise(symbols):
                self._count(place, old, -1)
            for new in itertools.pairwise(merged):
                self._count(place, new, 1)
                if made in new:
                    self._where[new].add(place)
                    won[new].update(language for language, _ in self._counts[place])
        for new, languages in won.items():
            for language in languages:
                self._languages[language].won(new, self.tokens)
            self._all.won(new, self.tokens)


def _merged(symbols: list[int], pair: Pair, made: int) -> list[int]:
    """The symbols with each of the pairs, from the left, made one."""
    merged: list[int] = []
    i = 0
    while i < len(symbols):
        found = symbols[i] == pair[0] and i + 1 < len(symbols) and symbols[i + 1] == pair[1]
        merged.append(made if found else symbols[i])
        i += 2 if found else 1
    return merged
