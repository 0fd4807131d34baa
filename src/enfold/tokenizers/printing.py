"""The printed form of components and tokenizers: `Name(option=value, …)`, long lists and texts cut short."""

import json
from typing import Any

MAX_TEXT = 100
# Names, not texts: they stand without quotation marks.
NAMES = {"behavior", "prepend_scheme", "direction", "strategy"}
VARIANTS = {"SpecialToken", "Sequence", "String", "Regex", "Fixed"}
STRUCTURES = {"truncation": "TruncationParams", "padding": "PaddingParams"}


def printed(spec: dict[str, Any], limit: int) -> str:
    """A specification as it is printed; at most `limit` - 1 items of each list."""
    name = spec["type"]
    options = [f"{key}={_value(key, value, limit)}" for key, value in spec.items() if key != "type"]
    return f"{name}({', '.join(options)})"


def printed_tokenizer(text: str, limit: int) -> str:
    """A tokenizer.json as it is printed."""
    return printed({"type": "Tokenizer", **json.loads(text)}, limit)


def _text(value: str) -> str:
    return f'"{value}"' if len(value) <= MAX_TEXT else f'"{value[:MAX_TEXT]}..."'


def cut_short(items: list[str], limit: int) -> str:
    """At most `limit` - 1 items, and dots for the rest."""
    return ", ".join(items if len(items) < limit else [*items[: limit - 1], "..."])


def _value(key: str, value: Any, limit: int) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str):
        return value if key in NAMES else _text(value)
    if isinstance(value, list):
        return _list(key, value, limit)
    if isinstance(value, dict):
        return _mapping(key, value, limit)
    return str(value)


def _list(key: str, value: list[Any], limit: int) -> str:
    pair = "({})" if key in ("sep", "cls") or (key == "vocab" or key == "merges") else "[{}]"
    if key in ("sep", "cls"):
        return pair.format(", ".join(_value("", part, limit) for part in value))
    items = [
        "(" + ", ".join(_value("", part, limit) for part in item) + ")"
        if isinstance(item, list)
        else _value("", item, limit)
        for item in value[:limit]
    ]
    return f"[{cut_short(items, limit)}]"


def _mapping(key: str, value: dict[str, Any], limit: int) -> str:
    if "type" in value:
        return printed(value, limit)
    if len(value) == 1 and (variant := next(iter(value))) in VARIANTS:
        inner = value[variant]
        if not isinstance(inner, dict):
            return f"{variant}({_value('', inner, limit)})"
        # The sequences of a template have names, its special tokens have texts.
        parts = [f"{k}={v}" if variant == "Sequence" else f"{k}={_value(k, v, limit)}" for k, v in inner.items()]
        return f"{variant}({', '.join(parts)})"
    if key in STRUCTURES:
        return printed({"type": STRUCTURES[key], **value}, limit)
    if key == "special_tokens":
        items = [f"{_text(k)}:{printed({'type': 'SpecialToken', **v}, limit)}" for k, v in value.items()]
    else:
        pairs = list(value.items())[:limit]
        items = [f"{_text(k)}:{_value(k, v, limit)}" for k, v in pairs]
    return "{" + cut_short(items, limit) + "}"
