"""BERT's words and word pieces by Python's rules (its Unicode tables, its lower-casing), for the families that are
defined by them: the engine's follow an older Unicode."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

_ASCII_MARKS = ((33, 47), (58, 64), (91, 96), (123, 126))
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def is_punctuation(char: str) -> bool:
    """Every mark of ASCII, signs included, and what Unicode calls punctuation."""
    code = ord(char)
    return any(low <= code <= high for low, high in _ASCII_MARKS) or unicodedata.category(char)[0] == "P"


def is_space(char: str) -> bool:
    """Spaces, tabs and ends of lines."""
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def _is_chinese(char: str) -> bool:
    code = ord(char)
    return any(low <= code <= high for low, high in _CHINESE)


def without_accents(text: str) -> str:
    """The text decomposed, without its combining marks."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")


@dataclass(slots=True)
class BasicWords:
    """Text → words and punctuation.

    Args:
        lowercase: lower-case the words; their accents go too, unless `strip_accents` is False.
        never_split: words that stay as they are.
        split_chinese: every Chinese character is a word.
        strip_accents: None does what `lowercase` says.
        split_punctuation: every punctuation character is a word.
    """

    lowercase: bool = True
    never_split: Collection[str] = ()
    split_chinese: bool = True
    strip_accents: bool | None = None
    split_punctuation: bool = True

    def words(self, text: str, never_split: Iterable[str] = ()) -> list[str]:
        """The words of a text; those of `never_split` stay as they are too."""
        whole = {*self.never_split, *never_split}
        found: list[str] = []
        for word in unicodedata.normalize("NFC", self._cleaned(text)).split():
            if word in whole:
                found.append(word)
                continue
            if self.lowercase:
                word = word.lower()
            if self.strip_accents or (self.lowercase and self.strip_accents is None):
                word = without_accents(word)
            found += self._at_punctuation(word).split()
        return found

    def _cleaned(self, text: str) -> str:
        kept = []
        for char in text:
            if is_space(char):
                kept.append(" ")
            elif char != "\ufffd" and unicodedata.category(char)[0] != "C":
                kept.append(f" {char} " if self.split_chinese and _is_chinese(char) else char)
        return "".join(kept)

    def _at_punctuation(self, word: str) -> str:
        if not self.split_punctuation:
            return word
        return "".join(f" {char} " if is_punctuation(char) else char for char in word)


@dataclass(slots=True)
class WordPieces:
    """Words → the longest pieces of a vocabulary from the left.

    Args:
        vocab: piece → id; pieces within a word start with `##`.
        unknown: stands for a word that pieces can't make.
        longest: characters of a word beyond which it is unknown.
    """

    vocab: Mapping[str, int]
    unknown: str
    longest: int = 100
    _known: dict[str, list[str]] = field(default_factory=dict)

    def pieces(self, text: str) -> list[str]:
        """The pieces of each word of a text, which white space separates."""
        return [piece for word in text.split() for piece in self._of_word(word)]

    def _of_word(self, word: str) -> list[str]:
        found = self._known.get(word)
        if found is None:
            found = self._cut(word)
            if len(self._known) < 10_000:
                self._known[word] = found
        return found

    def _cut(self, word: str) -> list[str]:
        if len(word) > self.longest:
            return [self.unknown]
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self.vocab), None)
            if end is None:
                return [self.unknown]
            found.append(mark + word[start:end])
            start = end
        return found
