"""A Python function → the JSON schema that models with tools are told about it."""

import inspect
import json
import re
import sys
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from enfold.base.errors import TemplateError

_SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_CONTAINERS = {list: "array", tuple: "array", dict: "object"}
_SECTION = r"[\n\s]*(?:{}|\Z)"
_SUMMARY = re.compile(r"^(.*?)" + _SECTION.format("Args:|Returns:|Raises:"), re.DOTALL)
_ARGS = re.compile(r"\n\s*Args:\n(.*?)" + _SECTION.format("Returns:|Raises:"), re.DOTALL)
_RETURNS = re.compile(r"\n\s*Returns:\n\s*(.*?)" + _SECTION.format("Raises:"), re.DOTALL)
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def get_json_schema(function: Callable) -> dict[str, Any]:
    """The schema of a function with type hints and a Google-style docstring.

    `{"type": "function", "function": {"name", "description", "parameters", "return"}}`; every argument needs a type
    hint and a line under `Args:`, which may end with `(choices: ["a", "b"])`.

    Raises:
        TemplateError: no docstring, an argument without type hint or description, a type without JSON counterpart.
    """
    name = getattr(function, "__name__", "operation")
    doc = inspect.getdoc(function)
    if not doc or not doc.strip():
        raise TemplateError(f"{name} can't become a tool: it has no docstring to tell the model what it does.")
    doc = doc.strip()
    summary = _SUMMARY.search(doc)
    returned = _RETURNS.search(doc)
    described = _described_arguments(doc)

    hints = get_type_hints(function)
    parameters = dict(inspect.signature(function).parameters)
    first = next(iter(parameters), None)
    if first in {"self", "cls"} and parameters[first].annotation is inspect.Parameter.empty:
        del parameters[first]
    properties: dict[str, Any] = {}
    for parameter in parameters:
        if parameter not in hints:
            raise TemplateError(f"{name} can't become a tool: argument {parameter!r} has no type hint.")
        if parameter not in described:
            raise TemplateError(f"{name} can't become a tool: its docstring doesn't describe argument {parameter!r}.")
        schema = _schema(hints[parameter], f"{name}({parameter})")
        text = described[parameter]
        if choices := _CHOICES.search(text):
            try:
                values = json.loads(choices.group(1))
            except ValueError as error:
                raise TemplateError(f"{name}: the choices of {parameter!r} are not a JSON list: {error}") from error
            schema["enum"] = [value.strip() if isinstance(value, str) else value for value in values]
            text = text[: choices.start()].strip()
        schema["description"] = text
        properties[parameter] = schema
    required = [p for p, value in parameters.items() if value.default is inspect.Parameter.empty]
    body: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        body["required"] = required
    output: dict[str, Any] = {
        "name": name,
        "description": summary.group(1).strip() if summary else None,
        "parameters": body,
    }
    if "return" in hints:
        try:
            result = _schema(hints["return"], name)
        except TemplateError:
            result = None  # a result of another type simply goes undescribed
        if result is not None:
            if returned:
                result["description"] = returned.group(1).strip()
            output["return"] = result
    return {"type": "function", "function": output}


def _described_arguments(doc: str) -> dict[str, str]:
    """The lines under `Args:`, name → description; indented lines continue the one before."""
    section = _ARGS.search(doc)
    described: dict[str, list[str]] = {}
    if section is None:
        return {}
    rows = [row for row in section.group(1).split("\n") if row.strip()]
    margin, name = None, None
    for row in rows:
        indent = len(row) - len(row.lstrip(" \t"))
        entry = re.match(r"[ \t]*(\w+):\s*(.*)$", row)
        if entry and (margin is None or indent <= margin):
            margin, name = indent, entry.group(1)
            described[name] = [entry.group(2)]
        elif name is not None:
            described[name].append(row)
    return {key: re.sub(r"\s*\n+\s*", " ", "\n".join(value).strip()) for key, value in described.items()}


def _values(values: list, where: str) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise TemplateError(f"{where}: the values {values!r} are not strings, numbers, booleans or None.")
    kinds = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _schema(hint: Any, where: str) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return _plain_schema(hint, where)
    if origin is Union or origin is types.UnionType:
        options = [_schema(arg, where) for arg in args if arg is not type(None)]
        if len(options) == 1:
            schema = options[0]
        elif all(option.keys() == {"type"} and isinstance(option["type"], str) for option in options):
            kinds = sorted({option["type"] for option in options})
            schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
        else:
            schema = {"anyOf": options}
        return {**schema, "nullable": True} if type(None) in args else schema
    if origin is Literal:
        return _values(list(args), where)
    if origin is list:
        return {"type": "array", "items": _schema(args[0], where)}
    if origin is tuple:
        if len(args) < 2 or ... in args:
            raise TemplateError(f"{where}: a tuple needs two or more named types; use list[…] for any number of items.")
        return {"type": "array", "prefixItems": [_schema(arg, where) for arg in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1], where)}
    raise TemplateError(f"{where}: the type {hint!r} has no JSON counterpart; write the tool's schema by hand.")


def _plain_schema(hint: Any, where: str) -> dict[str, Any]:
    if hint is Any:
        return {}
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return _values([member.value for member in hint], where)
        if hint in _SCALARS or hint in _CONTAINERS:
            return {"type": _SCALARS.get(hint) or _CONTAINERS[hint]}
        # Images and audio are named without loading their libraries: a hint can only be one if they are loaded.
        image = getattr(sys.modules.get("PIL.Image"), "Image", None)
        if hint is image:
            return {"type": "image"}
        if hint is getattr(sys.modules.get("torch"), "Tensor", None):
            return {"type": "audio"}
    raise TemplateError(f"{where}: the type {hint!r} has no JSON counterpart; write the tool's schema by hand.")
