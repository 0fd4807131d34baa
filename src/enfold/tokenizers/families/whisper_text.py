"""Transcripts made comparable, as the Whisper paper does (https://arxiv.org/abs/2212.04356, appendix C).

`normalize_any` serves every language; `normalize_english` also writes out contractions, turns numbers into digits and
takes American spelling.
"""

import re
import unicodedata
from collections.abc import Mapping

from enfold.tokenizers.families.whisper_numbers import digits

# Letters that decomposition doesn't take apart.
_PLAIN = {
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "æ": "ae",
    "Æ": "AE",
    "ß": "ss",
    "ẞ": "SS",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "th",
    "ł": "l",
    "Ł": "L",
}
_BRACKETED = ((r"[<\[][^>\]]*[>\]]", ">]"), (r"\([^)]+\)", ")"))
_FILLERS = r"\b(hmm|mm|mhm|mmm|uh|um)\b"
_TITLES = """
mr:mister mrs:missus st:saint dr:doctor prof:professor capt:captain gov:governor ald:alderman gen:general sen:senator
rep:representative pres:president rev:reverend hon:honorable asst:assistant assoc:associate lt:lieutenant col:colonel
jr:junior sr:senior esq:esquire
"""
# In this order: a later one sees what an earlier one made.
_SPOKEN = [
    *(
        (rf"\b{short}\b", long)
        for short, long in {
            "won't": "will not",
            "can't": "can not",
            "let's": "let us",
            "ain't": "aint",
            "y'all": "you all",
            "wanna": "want to",
            "gotta": "got to",
            "gonna": "going to",
            "i'ma": "i am going to",
            "imma": "i am going to",
            "woulda": "would have",
            "coulda": "could have",
            "shoulda": "should have",
            "ma'am": "madam",
        }.items()
    ),
    *((rf"\b{short}\b", f"{long} ") for short, _, long in (pair.partition(":") for pair in _TITLES.split())),
    *(
        (rf"{short}\b", f" {long}")
        for short, long in {
            "'d been": "had been",
            "'s been": "has been",
            "'d gone": "had gone",
            "'s gone": "has gone",
            "'d done": "had done",
            "'s got": "has got",
            "n't": "not",
            "'re": "are",
            "'s": "is",
            "'d": "would",
            "'ll": "will",
            "'t": "not",
            "'ve": "have",
            "'m": "am",
        }.items()
    ),
]


def _without_brackets(text: str) -> str:
    for pattern, ends in _BRACKETED:
        # Nothing matches behind the last closing bracket, and looking for it there at every opening one takes long.
        last = max(text.rfind(end) for end in ends) + 1
        text = re.sub(pattern, "", text[:last]) + text[last:]
    return text


def _without_marks(text: str, keep: str = "") -> str:
    """Symbols and punctuation as spaces, letters without their diacritics."""
    found = []
    for char in unicodedata.normalize("NFKD", text):
        if char in keep:
            found.append(char)
        elif char in _PLAIN:
            found.append(_PLAIN[char])
        elif (category := unicodedata.category(char)) != "Mn":
            found.append(" " if category[0] in "MSP" else char)
    return "".join(found)


def _without_symbols(text: str) -> str:
    """Symbols, punctuation and marks as spaces."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(" " if unicodedata.category(char)[0] in "MSP" else char for char in composed)


def normalize_any(text: str, *, remove_diacritics: bool = False) -> str:
    """Lower case, nothing in brackets, no punctuation, single spaces.

    Args:
        text: of any language.
        remove_diacritics: also take marks off their letters.
    """
    text = _without_brackets(text.lower())
    text = (_without_marks(text) if remove_diacritics else _without_symbols(text)).lower()
    return re.sub(r"\s+", " ", text)


def normalize_english(text: str, spellings: Mapping[str, str]) -> str:
    """As `normalize_any`, with contractions in full, numbers as digits and one spelling.

    Args:
        text: in English.
        spellings: word → the spelling to use.
    """
    text = re.sub(_FILLERS, "", _without_brackets(text.lower()))
    text = re.sub(r"(?<!\s)\s+'", "'", text)
    for pattern, replacement in _SPOKEN:
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)
    text = digits(_without_marks(text, keep=".%$¢€£"))
    text = " ".join(spellings.get(word, word) for word in text.split())
    # Symbols that turned out to belong to no number.
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return re.sub(r"\s+", " ", text)
