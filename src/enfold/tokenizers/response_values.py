"""The values in a model's answer: how the text of each part is read, reshaped, and fitted to a tool's schema."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enfold.base.errors import TemplateError

_HOLE = re.compile(r"\{(\w+(?:\.\w+)*)\}")
_BARE_KEY = re.compile(r"(?<=[{,])(\w+):")

Arguments = Mapping[str, Any]


def _text(text: str, arguments: Arguments) -> str:
    return text.strip() if arguments.get("strip", True) else text


def _number(kind: type) -> Callable[[str, Arguments], Any]:
    def read(text: str, arguments: Arguments) -> Any:
        try:
            return kind(_text(text, arguments))
        except ValueError as error:
            raise TemplateError(f"The model should have written a number, it wrote {text!r:.200}.") from error

    return read


def _truth(text: str, arguments: Arguments) -> bool:
    return _text(text, arguments).lower() in ("true", "1")


def _json(text: str, arguments: Arguments) -> Any:
    """JSON, or what models write for it: `string_delims` around texts, `unquoted_keys`."""
    bare_keys = arguments.get("unquoted_keys", False)

    def plain(text: str) -> str:
        return _BARE_KEY.sub(r'"\1":', text) if bare_keys else text

    delimiters = [tuple(pair) for pair in arguments.get("string_delims", [])]
    if delimiters:
        strings = re.compile("|".join(f"{re.escape(a)}(.*?){re.escape(b)}" for a, b in delimiters), re.DOTALL)
        made, at = [], 0
        for match in strings.finditer(text):
            inside = next(group for group in match.groups() if group is not None)
            made += [plain(text[at : match.start()]), json.dumps(inside)]
            at = match.end()
        standard = "".join([*made, plain(text[at:])])
    else:
        standard = plain(text)
    try:
        return json.loads(standard)
    except (json.JSONDecodeError, RecursionError) as error:
        if arguments.get("allow_non_json"):
            return _text(text, arguments)
        raise TemplateError(f"The model should have written JSON, it wrote {text!r:.200} ({error}).") from error


def _nested(text: str, arguments: Arguments) -> Any:
    """A value within a part, read as `value_parser` says."""
    reader = arguments.get("value_parser")
    return text if reader is None else READERS[reader.get("name", "text")](text, reader.get("args", {}))


def _tags(text: str, arguments: Arguments) -> dict[str, Any]:
    """Every match of `tag_pattern`, whose groups `key` and `value` make an entry."""
    pattern = arguments.get("tag_pattern")
    if pattern is None or not {"key", "value"} <= set(re.compile(pattern).groupindex):
        raise TemplateError("The response template needs a tag_pattern with groups named 'key' and 'value'.")
    several: dict[str, list[Any]] = {}
    for match in re.finditer(pattern, text, re.DOTALL):
        several.setdefault(match["key"], []).append(_nested(match["value"] or "", arguments))
    if arguments.get("merge_duplicates", False):
        return {key: values if len(values) > 1 else values[0] for key, values in several.items()}
    return {key: values[-1] for key, values in several.items()}


def _lines(text: str, arguments: Arguments) -> dict[str, Any]:
    """`key: value` on each line."""
    between = arguments.get("kv_sep", ":")
    made = {}
    for line in text.split(arguments.get("line_sep", "\n")):
        key, found, value = _text(line, arguments).partition(between)
        if found:
            made[_text(key, arguments)] = _nested(_text(value, arguments), arguments)
    return made


READERS: dict[str, Callable[[str, Arguments], Any]] = {
    "text": _text,
    "int": _number(int),
    "float": _number(float),
    "bool": _truth,
    "json": _json,
    "xml-inline": _tags,
    "kv-lines": _lines,
}


def filled(shape: Any, values: Mapping[str, Any]) -> Any:
    """`shape` with what stands for `"{name}"` and `"{name.key}"` in the place of these texts."""
    if isinstance(shape, dict):
        return {key: filled(item, values) for key, item in shape.items()}
    if isinstance(shape, list):
        return [filled(item, values) for item in shape]
    hole = _HOLE.fullmatch(shape) if isinstance(shape, str) else None
    if hole is None:
        return shape
    found: Any = values
    for key in hole[1].split("."):
        if not isinstance(found, Mapping) or key not in found:
            known = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise TemplateError(
                f"The response template asks for {hole[0]}, but the answer has no {key!r}; it has {known}."
            )
        found = found[key]
    return found


def refuse_mixed(shape: Any, where: str) -> None:
    """Raise for a text that holds a name in braces and something besides."""
    items = shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ()
    for item in items:
        refuse_mixed(item, where)
    if isinstance(shape, str) and _HOLE.search(shape) and not _HOLE.fullmatch(shape):
        raise TemplateError(
            f"The response template's {where}: {shape!r} mixes a name in braces with text; it may be either."
        )


def tool_parameters(tools: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    """The name of each tool → the schemas of its parameters."""
    known: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            properties = parameters.get("properties") if isinstance(parameters, dict) else None
            known[function["name"]] = properties if isinstance(properties, dict) else {}
    return known


def coerced(value: Any, tools: Mapping[str, Mapping[str, Any]]) -> Any:
    """`value` with the arguments of tool calls as their schemas want them: `"7"` is 7 where an integer is asked for."""
    if isinstance(value, list):
        return [coerced(item, tools) for item in value]
    function = value.get("function") if isinstance(value, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, dict) or not isinstance(function.get("name"), str):
        return value
    schemas = tools.get(function["name"], {})
    for name, given in arguments.items():
        types = _types(schemas.get(name))
        if isinstance(given, str):
            arguments[name] = _fitted(given, types)
        elif isinstance(given, list) and types and "array" not in types:
            arguments[name] = [_fitted(item, types) if isinstance(item, str) else item for item in given]
    return value


def _types(schema: Any) -> list[str]:
    """The names of the types that a JSON schema allows."""
    if not isinstance(schema, dict):
        return []
    declared = schema.get("type")
    types = [declared] if isinstance(declared, str) else [name for name in declared or () if isinstance(name, str)]
    for union in ("anyOf", "oneOf"):
        for choice in schema.get(union) or ():
            types += _types(choice)
    return [*types, "null"] if schema.get("nullable") and "null" not in types else types


def _fitted(text: str, types: Sequence[str]) -> Any:
    """The text as the first of the types that it can be; as it is if it can be none."""
    for name in types:
        try:
            return _FITTERS[name](text)
        except (KeyError, ValueError):
            continue
    return text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _real(text: str) -> float | int:
    number = float(text)
    if number - number != 0:
        raise ValueError("JSON has no such number")
    return int(number) if number.is_integer() and "." not in text else number


def _one_of(choices: Mapping[str, Any], lower: bool = False) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        text = text.strip()
        return choices[text.lower() if lower else text]

    return read


def _container(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(f"no {kind.__name__}")
        return value

    return read


_FITTERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _real,
    "boolean": _one_of({"true": True, "1": True, "false": False, "0": False}, lower=True),
    "null": _one_of({"null": None, "None": None}),
    "object": _container(dict),
    "array": _container(list),
}
