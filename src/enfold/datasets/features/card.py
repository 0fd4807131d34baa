"""Features as a dataset card writes them in YAML: shorter than JSON, and sorted by what a reader looks for.

| JSON | YAML |
|---|---|
| `{"dtype": "int32", "_type": "Value"}` | `dtype: int32` |
| `{"names": ["a"], "_type": "ClassLabel"}` | `dtype: {class_label: {names: {"0": a}}}` |
| `{"feature": {…Value}, "length": 3, "_type": "List"}` | `list: int32`, `length: 3` |
| `{"_type": "Image"}` | `dtype: image` |
| a dict of features | `struct: [{name: …, …}]` |
"""

import re
from collections.abc import Mapping
from typing import Any

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features.dtypes import arrow_dtype

LISTS = {"List": "list", "LargeList": "large_list"}


def snake(name: str) -> str:
    """`ClassLabel` → `class_label`; `Array2D` → `array2_d`, as cards have it."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def to_yaml(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The JSON form of features → the list of a card."""
    return [{"name": name, **_short(feature)} for name, feature in features.items()]


def _short(plain: Any) -> dict[str, Any]:
    if isinstance(plain, (list, tuple)):
        return _listed("list", _short(plain[0]), {})
    kind = plain.get("_type")
    if not isinstance(kind, str):
        return {"struct": to_yaml(plain)}
    options = {key: _yaml_types(value) for key, value in plain.items() if key not in ("_type", "feature")}
    if kind in LISTS:
        return _listed(LISTS[kind], _short(plain["feature"]), options)
    if kind == "Value":
        return options
    if not options:
        return {"dtype": snake(kind)}
    if kind == "ClassLabel" and isinstance(options.get("names"), list):
        options["names"] = {str(index): name for index, name in enumerate(options["names"])}
    return {"dtype": {snake(kind): options}}


def _listed(key: str, inner: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    if list(inner) in (["dtype"], ["struct"]):
        return {key: next(iter(inner.values())), **options}
    return {key: inner, **options}


def _yaml_types(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _yaml_types(inner) for key, inner in value.items()}
    return [_yaml_types(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def from_yaml(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """The list of a card → the JSON form of features."""
    if not isinstance(listed, list) or not all(isinstance(item, Mapping) and "name" in item for item in listed):
        raise DatasetError(f"Features in YAML are a list of entries with a name, not {str(listed)[:200]}.")
    return {item["name"]: _long({key: value for key, value in item.items() if key != "name"}) for item in listed}


def _long(short: Any) -> Any:
    if isinstance(short, list):
        return from_yaml(short)
    if not isinstance(short, Mapping):
        raise DatasetError(f"A feature in YAML is a mapping, not {short!r}.")
    if not short:
        return {}
    key = next(iter(short))
    value = short[key]
    rest = {name: option for name, option in short.items() if name != key}
    if key in ("list", "sequence", "large_list"):
        inner = _long({"dtype": value} if isinstance(value, str) else value)
        kind = "LargeList" if key == "large_list" else "List"
        if key == "sequence" and isinstance(value, list):
            # how older cards wrote Sequence({…}): a dict of lists
            return {name: {"feature": part, **rest, "_type": kind} for name, part in inner.items()}
        return {"feature": inner, **rest, "_type": kind}
    if key == "struct":
        return _long(value)
    if key == "dtype":
        if not isinstance(value, str):
            return _long(value)
        try:
            arrow_dtype(value)
        except ArgumentError:
            return {"_type": camel(value)}
        return {**short, "_type": "Value"}
    options = dict(value or {})
    if key == "class_label" and isinstance(options.get("names"), Mapping):
        options["names"] = _label_names(options["names"])
    return {"_type": camel(key), **options}


def _label_names(numbered: Mapping[Any, str]) -> list[str]:
    numbers = {int(number): name for number, name in numbered.items()}
    if sorted(numbers) != list(range(len(numbers))):
        raise DatasetError(f"The labels of a ClassLabel are numbered from 0 without gaps, not {sorted(numbers)}.")
    return [numbers[number] for number in range(len(numbers))]
