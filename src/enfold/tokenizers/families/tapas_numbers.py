"""Numbers and dates in the cells of a table and in a question about it, and how they compare: what TAPAS is told
besides the text. https://arxiv.org/abs/2004.02349"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntFlag

# A number, or a date as (year, month, day), of which some are None.
Value = float | tuple[float | None, float | None, float | None]
# What values of one column are compared by.
Key = Callable[[Value], float | tuple[float, ...]]

_NUMBER = re.compile(r"((^|\s)[+-])?((\.\d+)|(\d+(,\d\d\d)*(\.\d*)?))")
_ORDINAL_ENDS = ("st", "nd", "rd", "th")
_CARDINALS = "zero one two three four five six seven eight nine ten eleven twelve"
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_WORDS = {word: float(n) for words in (_CARDINALS, _ORDINALS) for n, word in enumerate(words.split())}
# Years that a number is taken for.
_YEARS = range(1700, 2017)
_LONGEST_DATE = 5  # words
# Share of a column's cells that hold a value of one kind.
_ENOUGH = 0.7
# Forms of dates, as strptime reads them, in the order in which they are tried.
_DATES = (
    "%B",
    "%Y",
    "%Ys",
    "%b %Y",
    "%B %Y",
    "%B %d",
    "%b %d",
    "%d %b",
    "%d %B",
    "%B %d, %Y",
    "%d %B %Y",
    "%m-%d-%Y",
    "%Y-%m-%d",
    "%Y-%m",
    "%d %b %Y",
    "%b %d, %Y",
    "%d.%m.%Y",
    "%A, %b %d",
    "%A, %B %d",
)
# strptime alone is more lenient.
_FIELDS = {"%A": r"\w+", "%B": r"\w+", "%Y": r"\d{4}", "%b": r"\w{3}", "%d": r"\d{1,2}", "%m": r"\d{1,2}", " ": r"\s+"}


def _date_form(form: str) -> tuple[str, re.Pattern[str], tuple[bool, bool, bool]]:
    parts = [_FIELDS.get(part) or re.escape(part) for part in re.findall(r"%.|.", form)]
    said = ("%Y" in form, any(month in form for month in ("%B", "%b", "%m")), "%d" in form)
    return form, re.compile("".join(parts)), said


_DATE_FORMS = tuple(map(_date_form, _DATES))


class Relation(IntFlag):
    """How a number of the question compares with a cell's."""

    EQUAL = 1
    LESS = 2
    GREATER = 4


def values_in(text: str) -> list[Value]:
    """The numbers and dates of a text in their order; of those that lie within longer ones only the longer."""
    text = " ".join(text.lower().split())
    found: dict[tuple[int, int], list[Value]] = defaultdict(list)
    for match in _NUMBER.finditer(text):
        number = _number(match.group())
        if number is not None:
            found[match.span()].append(number)
    for span in _word_spans(text, 1):
        if span in found:
            continue
        word = text[slice(*span)]
        for number in (_number(word), _WORDS.get(word)):
            if number is not None:
                found[span].append(number)
    for span in _word_spans(text, _LONGEST_DATE):
        date = _date(text[slice(*span)])
        if date is not None:
            found[span].append(date)
    kept: list[tuple[int, int]] = []
    for begin, end in sorted(found, key=lambda span: (span[0] - span[1], span[0])):
        if not any(start <= begin and end <= stop for start, stop in kept):
            kept.append((begin, end))
    return [value for span in sorted(kept) for value in found[span]]


def _word_spans(text: str, longest: int) -> Iterator[tuple[int, int]]:
    """Runs of letters and digits, and of up to `longest` of them with what stands between."""
    starts: list[int] = []
    for at, char in enumerate(text):
        if not char.isalnum():
            continue
        if at == 0 or not text[at - 1].isalnum():
            starts.append(at)
        if at + 1 == len(text) or not text[at + 1].isalnum():
            for start in starts[-longest:]:
                yield start, at + 1


def _number(text: str) -> float | None:
    end = next((end for end in _ORDINAL_ENDS if text.endswith(end)), "")
    try:
        number = float(text.removesuffix(end).replace(",", ""))
    except ValueError:
        return None
    return None if math.isnan(number) or number == math.inf else number


def _date(text: str) -> Value | None:
    for form, pattern, (year, month, day) in _DATE_FORMS:
        if not pattern.fullmatch(text):
            continue
        try:
            date = datetime.strptime(text, form)
        except ValueError:
            continue
        if date.year in _YEARS:
            return (
                float(date.year) if year else None,
                float(date.month) if month else None,
                float(date.day) if day else None,
            )
    return None


def column_values(cells: Sequence[str]) -> dict[int, Value]:
    """Row → the value of its cell, of the kind (number or date) that most cells of the column have.

    Args:
        cells: the texts of one column.

    Returns:
        Nothing for a column in which fewer than seven of ten cells have a value of one kind.
    """
    found = {row: values_in(text) for row, text in enumerate(cells)}
    kinds = Counter(kind for values in found.values() for kind in {type(value) for value in values})
    most = max(kinds.values(), default=0)
    if not most or most < len(found) * _ENOUGH:
        return {}
    kind = tuple if kinds[tuple] == most else float
    first = {row: next((value for value in values if type(value) is kind), None) for row, values in found.items()}
    return {row: value for row, value in first.items() if value is not None}


def comparing(values: Iterable[Value]) -> Key | None:
    """What these values can be compared by: numbers by themselves, dates by the fields that all of them have. None if
    there is nothing."""
    values = list(values)
    if all(type(value) is float for value in values):
        return lambda value: value  # type: ignore[return-value]
    dates = [value for value in values if isinstance(value, tuple)]
    shared = [place for place in range(3) if all(date[place] is not None for date in dates)]
    if len(dates) != len(values) or not shared:
        return None
    return lambda date: tuple(date[place] for place in shared)  # type: ignore[index, misc]


def ranks(values: Mapping[int, Value]) -> dict[int, tuple[int, int]]:
    """Row → its rank in the column, from 1, and its rank from the column's other end; equal values have one rank."""
    key = comparing(values.values()) if values else None
    if key is None:
        return {}
    order = {value: place for place, value in enumerate(sorted({key(value) for value in values.values()}), 1)}  # type: ignore[type-var]
    return {row: (order[key(value)], len(order) + 1 - order[key(value)]) for row, value in values.items()}


def relations(asked: Iterable[Value], values: Mapping[int, Value]) -> dict[int, Relation]:
    """Row → how the numbers of the question compare with its value, all that hold."""
    found: dict[int, Relation] = {}
    for value in asked:
        key = comparing([*values.values(), value]) if values else None
        if key is None:
            continue
        ours = key(value)
        for row, other in values.items():
            theirs = key(other)
            relation = Relation.LESS if ours < theirs else Relation.GREATER  # type: ignore[operator]
            found[row] = found.get(row, Relation(0)) | (Relation.EQUAL if ours == theirs else relation)
    return found
