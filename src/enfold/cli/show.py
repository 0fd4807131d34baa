"""A pipeline's result for one text, as lines to read or as JSON."""

import json
import math
import unicodedata
from typing import Any

# The field that answers, by task; the rest of the result stands behind it.
_ANSWERS = ("generated_text", "summary_text", "translation_text", "answer", "text", "sequence")
_FIRST = ("label", "entity_group", "entity", "word", "token_str", *_ANSWERS)
_SHOWN_NUMBERS = 6


def as_json(result: Any) -> str:
    """One line of JSON; tensors and arrays as lists, numbers that JSON doesn't have as null."""
    return json.dumps(_plain(result), ensure_ascii=False, allow_nan=False)


def as_text(result: Any) -> str:
    """Lines for a reader: labels with scores, generated text as it is, the beginning of a vector."""
    result = _plain(result)
    if isinstance(result, list):
        if result and all(isinstance(part, dict) for part in result):
            return "\n".join(map(as_text, result))
        if (shape := _shape(result)) is not None:
            return _numbers(result, shape)
        return "\n".join(map(as_text, result))
    if isinstance(result, dict):
        return _fields(result)
    return str(result)


def printable(text: str) -> str:
    """The text without control characters, which could steer the terminal; newlines and tabs stay."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))


def _fields(result: dict[str, Any]) -> str:
    if {"labels", "scores"} <= result.keys():
        pairs = zip(result["labels"], result["scores"], strict=True)
        return "\n".join(_fields({"label": label, "score": score}) for label, score in pairs)
    answer = next((key for key in _ANSWERS if key in result), None)
    if answer is not None and "score" not in result:
        return _message(result[answer])
    known = [key for key in _FIRST if key in result]
    score = [key for key in result if key == "score"]
    keys = dict.fromkeys(known[:1] + score + known + list(result))
    return "\t".join(_field(key, result[key]) for key in keys)


def _field(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value) if key in _FIRST else f"{key}={value}"


def _message(value: Any) -> str:
    # A chat in, a chat out: its last message is the answer.
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", value[-1]))
    return str(value)


def _numbers(values: list, shape: tuple[int, ...]) -> str:
    row = values
    while row and isinstance(row[0], list):
        row = row[0]
    shown = ", ".join(f"{number:.4f}" for number in row[:_SHOWN_NUMBERS])
    more = ", …" if len(row) > _SHOWN_NUMBERS or len(shape) > 1 else ""
    return f"[{shown}{more}]  shape {' × '.join(map(str, shape))}"


def _shape(values: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None if they are anything else, or ragged."""
    if isinstance(values, bool):
        return None
    if isinstance(values, int | float):
        return ()
    if not isinstance(values, list) or not values:
        return None
    inner = _shape(values[0])
    if inner is None or any(_shape(value) != inner for value in values[1:]):
        return None
    return (len(values), *inner)


def _plain(value: Any) -> Any:
    if hasattr(value, "messages"):  # a conversation
        value = {"generated_text": value.messages}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
