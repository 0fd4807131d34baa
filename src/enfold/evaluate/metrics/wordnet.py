"""Synonyms from a WordNet of the user's machine, in the files of wndb(5WN). METEOR matches words by them."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from enfold.base.errors import ArgumentError, MissingDependencyError

_PARTS = ("noun", "verb", "adj", "adv")
# Endings that inflection adds, and what stood there before: morphy(7WN).
_ENDINGS = {
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
_RULES = {part: [tuple(rule.split(":")) for rule in rules.split()] for part, rules in _ENDINGS.items()}


class WordNet:
    """Words → words of the same meaning.

    Args:
        folder: holds `index.noun`, `data.noun`, `noun.exc` and the like.

    Raises:
        ArgumentError: it doesn't.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder)
        names = [f"{kind}.{part}" for part in _PARTS for kind in ("index", "data")]
        if missing := [name for name in names if not (self._folder / name).is_file()]:
            raise ArgumentError(f"{folder} is no WordNet: it has no {', '.join(missing)}")
        self._index = {part: self._read_index(part) for part in _PARTS}
        self._irregular = {part: self._read_irregular(part) for part in _PARTS}
        self._data = {part: (self._folder / f"data.{part}").read_bytes() for part in _PARTS}
        self._known: dict[str, frozenset[str]] = {}

    def synonyms(self, word: str) -> frozenset[str]:
        """Single words that share a meaning with one of the word's base forms, and the word itself."""
        if word not in self._known:
            self._known[word] = frozenset({word, *self._lemmas(word.lower())})
        return self._known[word]

    def _lemmas(self, word: str) -> Iterator[str]:
        for part in _PARTS:
            for base in self._bases(word, part):
                for offset in self._index[part][base]:
                    data = self._data[part]
                    fields = data[offset : data.index(b"\n", offset)].decode().split(" ")
                    count = int(fields[3], 16)
                    # An adjective may carry its position: galore(ip).
                    lemmas = (lemma.partition("(")[0] for lemma in fields[4 : 4 + 2 * count : 2])
                    yield from (lemma for lemma in lemmas if "_" not in lemma)

    def _bases(self, word: str, part: str) -> list[str]:
        """The base forms of a word that are entries."""
        if word in self._irregular[part]:
            forms = self._irregular[part][word]
        else:
            rules = _RULES[part]
            forms = [word[: len(word) - len(ending)] + before for ending, before in rules if word.endswith(ending)]
        return [form for form in dict.fromkeys([word, *forms]) if form in self._index[part]]

    def _read_index(self, part: str) -> dict[str, list[int]]:
        index = {}
        for line in self._lines(f"index.{part}"):
            if line.startswith(" "):
                continue  # the licence
            fields = line.split()
            synsets, pointers = int(fields[2]), int(fields[3])
            index[fields[0]] = [int(offset) for offset in fields[6 + pointers : 6 + pointers + synsets]]
        return index

    def _read_irregular(self, part: str) -> dict[str, list[str]]:
        name = f"{part}.exc"
        if not (self._folder / name).is_file():
            return {}
        rows = (line.split() for line in self._lines(name))
        return {row[0]: row[1:] for row in rows if row}

    def _lines(self, name: str) -> list[str]:
        return (self._folder / name).read_text(encoding="utf-8").splitlines()


def places() -> Iterator[Path]:
    """Where a WordNet lies, if one is installed."""
    for variable, inner in (("WNSEARCHDIR", ""), ("WNHOME", "dict")):
        if folder := os.environ.get(variable):
            yield Path(folder, inner)
    roots = [Path(root) for root in os.environ.get("NLTK_DATA", "").split(os.pathsep) if root]
    roots += [
        Path.home() / "nltk_data",
        *(Path(base, "nltk_data") for base in ("/usr/share", "/usr/local/share", "/usr/lib")),
    ]
    yield from (root / "corpora" / "wordnet" for root in roots)
    yield Path("/usr/share/wordnet")


@lru_cache(maxsize=2)
def find_wordnet(folder: str | None = None) -> WordNet:
    """The WordNet in a folder, or the first that is installed.

    Raises:
        ArgumentError: the folder holds none.
        MissingDependencyError: none is installed.
    """
    if folder is not None:
        return WordNet(folder)
    for place in places():
        if (place / "index.noun").is_file():
            return WordNet(place)
    raise MissingDependencyError(
        "meteor needs WordNet to match synonyms, and none was found: install Debian's wordnet-base, or unpack NLTK's "
        "corpora/wordnet below ~/nltk_data, or name its folder with wordnet=…; wordnet=False leaves synonyms out"
    )
