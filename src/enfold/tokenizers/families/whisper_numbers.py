"""Spoken English numbers as digits: "twenty five thousand dollars" → "$25000", "one oh one" → "101"."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

_ONES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_POWERS = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
)

ZEROS = frozenset({"o", "oh", "zero"})
ONES = {name: number for number, name in enumerate(_ONES.split(), start=1)}
TENS = {name: 10 * number for number, name in enumerate(_TENS.split(), start=2)}
MULTIPLIERS = {"hundred": 100, **{name: 1000**power for power, name in enumerate(_POWERS.split(), start=1)}}
SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
CURRENCIES = {
    **dict.fromkeys(("pound", "pounds"), "£"),
    **dict.fromkeys(("euro", "euros"), "€"),
    **dict.fromkeys(("dollar", "dollars"), "$"),
    **dict.fromkeys(("cent", "cents"), "¢"),
}
_SPOKEN_DIGITS = {*ONES, *TENS, *ZEROS}
# Digits of a number that is multiplied: Python writes no integers of more than 4300.
_LONGEST = 4000
_SYMBOLS = frozenset("-+£€$¢")
_NUMERIC = re.compile(r"\d+(\.\d+)?")
_IRREGULAR = {"zeroth": (0, "th"), "first": (1, "st"), "second": (2, "nd"), "third": (3, "rd"), "fifth": (5, "th")}


class Ending(NamedTuple):
    """A number word that ends its number: "fourth", "sixties"."""

    number: int
    suffix: str


_ENDING_ONES = {
    **{("sixes" if name == "six" else f"{name}s"): Ending(number, "s") for name, number in ONES.items()},
    **{name: Ending(*value) for name, value in _IRREGULAR.items()},
    "twelfth": Ending(12, "th"),
    **{
        name + ("h" if name.endswith("t") else "th"): Ending(number, "th")
        for name, number in ONES.items()
        if number > 3 and number not in (5, 12)
    },
}
_ENDING_TENS = {
    **{name.replace("y", "ies"): Ending(number, "s") for name, number in TENS.items()},
    **{name.replace("y", "ieth"): Ending(number, "th") for name, number in TENS.items()},
}
_ENDING_MULTIPLIERS = {
    **{f"{name}s": Ending(number, "s") for name, number in MULTIPLIERS.items()},
    **{f"{name}th": Ending(number, "th") for name, number in MULTIPLIERS.items()},
}


class _Reader:
    """Reads words from the left; `value` is the number so far: an int, or digits that were spoken one by one."""

    def __init__(self, words: list[str]):
        self.words = words
        self.out: list[str] = []
        self.value: int | str | None = None
        self.prefix = ""
        self.previous: str | None = None
        self.next: str | None = None
        self.skip = False

    def read(self) -> list[str]:
        for place, word in enumerate(self.words):
            self.previous = self.words[place - 1] if place else None
            self.next = self.words[place + 1] if place + 1 < len(self.words) else None
            if self.skip:
                self.skip = False
                continue
            symbol, bare = (word[0], word[1:]) if word[0] in _SYMBOLS else ("", word)
            if _NUMERIC.fullmatch(bare):
                self._numeric(symbol, bare)
            else:
                _KINDS.get(word, _Reader._other)(self, word)
        self._flush()
        return self.out

    def _say(self, text: int | str) -> None:
        self.out.append(self.prefix + str(text))
        self.value, self.prefix = None, ""

    def _flush(self) -> None:
        if self.value is not None:
            self._say(self.value)

    def _next_counts(self) -> bool:
        return self.next in _KINDS or self._next_is_numeric()

    def _next_is_numeric(self) -> bool:
        return self.next is not None and _NUMERIC.fullmatch(self.next) is not None

    def _numeric(self, symbol: str, bare: str) -> None:
        if isinstance(self.value, str) and self.value.endswith("."):
            # The part behind a point, or the next of an address.
            self.value += symbol + bare
            return
        self._flush()
        self.prefix = symbol or self.prefix
        whole = Fraction(bare)
        self.value = whole.numerator if whole.denominator == 1 else bare

    def _other(self, word: str) -> None:
        self._flush()
        self._say(word)

    def _zero(self, word: str) -> None:
        self.value = f"{self.value or ''}0"

    def _with_ones(self, number: int) -> int | str:
        value = self.value
        if value is None:
            return number
        if isinstance(value, str) or self.previous in ONES:
            digits = str(value)
            return (digits[:-1] if self.previous in TENS and number < 10 else digits) + str(number)
        return value + number if value % (10 if number < 10 else 100) == 0 else f"{value}{number}"

    def _with_tens(self, number: int) -> int | str:
        value = self.value
        if value is None:
            return number
        return value + number if isinstance(value, int) and value % 100 == 0 else f"{value}{number}"

    def _times(self, number: int) -> int | None:
        """The number so far times a multiplier, as far as it is spoken as one number; None if that is no whole one."""
        value = self.value
        if value is None:
            return number
        if isinstance(value, int):
            return value // 1000 * 1000 + value % 1000 * number
        if len(value) > _LONGEST:
            return None
        try:
            product = Fraction(value) * number
        except ValueError:
            return None
        return product.numerator if product.denominator == 1 else None

    def _ones(self, word: str) -> None:
        self.value = self._with_ones(ONES[word])

    def _ending_ones(self, word: str) -> None:
        end = _ENDING_ONES[word]
        self._say(f"{self._with_ones(end.number)}{end.suffix}")

    def _tens(self, word: str) -> None:
        self.value = self._with_tens(TENS[word])

    def _ending_tens(self, word: str) -> None:
        end = _ENDING_TENS[word]
        self._say(f"{self._with_tens(end.number)}{end.suffix}")

    def _multiplier(self, word: str) -> None:
        product = self._times(MULTIPLIERS[word])
        if product is None:
            self._flush()
        self.value = MULTIPLIERS[word] if product is None else product

    def _ending_multiplier(self, word: str) -> None:
        end = _ENDING_MULTIPLIERS[word]
        product = self._times(end.number)
        if product is None:
            self._flush()
        self._say(f"{end.number if product is None else product}{end.suffix}")

    def _sign(self, word: str) -> None:
        self._flush()
        if self._next_counts():
            self.prefix = SIGNS[word]
        else:
            self._say(word)

    def _currency(self, word: str) -> None:
        if self.value is None:
            self._say(word)
        else:
            self.prefix = CURRENCIES[word]
            self._say(self.value)

    def _percent(self, word: str) -> None:
        if self.value is None:
            self._say(word)
        elif word == "percent":
            self._say(f"{self.value}%")
        elif self.next == "cent":
            self._say(f"{self.value}%")
            self.skip = True
        else:
            self._other(word)

    def _and(self, word: str) -> None:
        # "two hundred and five" is one number.
        if not self._next_counts() or self.previous not in MULTIPLIERS:
            self._other(word)

    def _repeat(self, word: str) -> None:
        if self.next in ONES or self.next in ZEROS:
            self.value = f"{self.value or ''}{str(ONES.get(self.next, 0)) * (2 if word == 'double' else 3)}"
            self.skip = True
        else:
            self._other(word)

    def _point(self, word: str) -> None:
        if not self._next_counts():
            self._other(word)
        elif self.next in _SPOKEN_DIGITS or self._next_is_numeric():
            self.value = f"{self.value or ''}."


_KINDS: dict[str, Callable[[_Reader, str], None]] = {
    **dict.fromkeys(ZEROS, _Reader._zero),
    **dict.fromkeys(ONES, _Reader._ones),
    **dict.fromkeys(_ENDING_ONES, _Reader._ending_ones),
    **dict.fromkeys(TENS, _Reader._tens),
    **dict.fromkeys(_ENDING_TENS, _Reader._ending_tens),
    **dict.fromkeys(MULTIPLIERS, _Reader._multiplier),
    **dict.fromkeys(_ENDING_MULTIPLIERS, _Reader._ending_multiplier),
    **dict.fromkeys(SIGNS, _Reader._sign),
    **dict.fromkeys(CURRENCIES, _Reader._currency),
    **dict.fromkeys(("per", "percent"), _Reader._percent),
    **dict.fromkeys(("double", "triple"), _Reader._repeat),
    "and": _Reader._and,
    "point": _Reader._point,
}


def _with_halves(text: str) -> str:
    """ "two and a half million" → "two point five million"."""
    *parts, last = re.split(r"\band\s+a\s+half\b", text)
    found = []
    for part in parts:
        if part.strip():
            word = part.split()[-1]
            found += [part, "point five" if word in _SPOKEN_DIGITS or word in MULTIPLIERS else "and a half"]
    return " ".join([*found, *([last] if last.strip() else [])])


def digits(text: str) -> str:
    """Lower-case text with its numbers as digits; "one" alone stays a word."""
    text = _with_halves(text)
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    text = re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)
    text = " ".join(_Reader(text.split()).read())
    text = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)
