"""What a chat model wrote → a message: read by the `response_template` of its tokenizer.

A template names the parts of an answer and the marks around each, and says how the text of a part is read. It comes
with the model, like the chat template that it undoes.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from enfold.base.errors import TemplateError
from enfold.tokenizers.response_values import READERS, coerced, filled, refuse_mixed, tool_parameters
from enfold.tokenizers.tool_schema import get_json_schema

_KEYS = {"version", "defaults", "fields", "start_anchor", "start_anchor_pattern"}
_PART_KEYS = {
    *("open", "open_pattern", "close", "close_pattern", "content", "content_args"),
    *("repeats", "join", "optional", "transform", "transform_each"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer, which becomes one entry of the message.

    Args:
        name: of the entry.
        opens, closes: the marks around it; without `opens` it is what stands outside of all others, without `closes`
            it goes on to the end.
        content, arguments: how its text is read.
        repeats: it may come several times, as a list, or as one text with `join` between.
        optional: False makes an answer without it an error.
        transform: what is made of the value, `each` of every item of a list.
    """

    name: str
    opens: re.Pattern[str] | None
    closes: re.Pattern[str] | None
    content: str
    arguments: Mapping[str, Any]
    repeats: bool
    join: str | None
    optional: bool
    transform: Any
    each: bool

    def value(self, text: str, captures: Mapping[str, str]) -> Any:
        """What the text between the marks says; `captures` are the named groups of the opening mark."""
        value = READERS[self.content](text, self.arguments)
        if self.transform is None:
            return value
        if not self.each:
            return filled(self.transform, {**captures, "content": value})
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise TemplateError(
                f"response template: {self.name!r} should be a list of objects, the model wrote {text!r:.200}"
            )
        return [filled(self.transform, {**captures, **item}) for item in value]


@dataclass(frozen=True, slots=True)
class ResponseTemplate:
    """A template that was read; `start` is where the assistant's turn begins in a prompt."""

    defaults: Mapping[str, Any]
    parts: tuple[Part, ...]
    start: re.Pattern[str]

    @classmethod
    def read(cls, spec: Any) -> "ResponseTemplate":
        """Check and compile a template.

        Raises:
            TemplateError: it says something that is not known, or contradicts itself.
        """
        if not isinstance(spec, Mapping):
            raise _wrong(f"should be an object, got {type(spec).__name__}")
        if spec.get("version", 1) != 1:
            raise _wrong(f"has version {spec['version']!r}, known is 1")
        _refuse_others(spec, _KEYS, "the template")
        defaults, fields = spec.get("defaults", {}), spec.get("fields")
        if not isinstance(defaults, dict) or not isinstance(fields, Mapping) or not fields:
            raise _wrong("needs 'fields', an object of parts, and 'defaults' must be an object")
        parts = tuple(_part(name, field) for name, field in fields.items())
        outside = [part.name for part in parts if part.opens is None]
        if len(outside) > 1:
            raise _wrong(f"has several parts without an opening mark: {', '.join(outside)}; one may take what is left")
        start = _mark(spec, "start_anchor", "the template")
        if start is None:
            raise _wrong("needs 'start_anchor' or 'start_anchor_pattern': where the assistant's turn begins")
        return cls(defaults, parts, start)


def parse(
    template: ResponseTemplate, text: str, prefix: str, tools: Sequence[dict | Callable] | None
) -> dict[str, Any]:
    """The message of an answer.

    Args:
        template: of the model.
        text: what the model wrote.
        prefix: the prompt, whose end may already hold the beginning of the message.
        tools: the functions that the model may call, by whose schemas arguments are read.

    Raises:
        TemplateError: a part can't be read, or a part that must be there is missing.
    """
    begun = [match.end() for match in template.start.finditer(prefix)]
    text = prefix[begun[-1] if begun else 0 :] + text
    known = tool_parameters([get_json_schema(t) if inspect.isroutine(t) else t for t in tools or ()])
    message = deepcopy(dict(template.defaults))
    for part, body, captures in _pieces(template, text):
        value = part.value(body, captures)
        value = coerced(value, known) if known else value
        if part.join is not None:
            if not isinstance(value, str):
                raise _wrong(f"joins {part.name!r}, which should be text then, got {type(value).__name__}")
            before = message.get(part.name)
            message[part.name] = value if before is None else before + part.join + value
        elif part.repeats:
            message.setdefault(part.name, []).append(value)
        else:
            message[part.name] = value
    missing = [part.name for part in template.parts if not part.optional and part.name not in message]
    if missing:
        raise TemplateError(
            f"The answer lacks {', '.join(missing)}, which the response template demands: {text!r:.200}"
        )
    return {key: value for key, value in message.items() if key in template.defaults or not _is_empty(value)}


def _pieces(template: ResponseTemplate, text: str) -> "list[tuple[Part, str, dict[str, str]]]":
    """The parts of a text in their order: each with its text and the named groups of its opening mark."""
    outside = next((part for part in template.parts if part.opens is None), None)
    found: list[tuple[Part, str, dict[str, str]]] = []
    at = begin = 0  # `begin`: of what stands outside
    while True:
        marks = [(part.opens, 0, part) for part in template.parts if part.opens is not None]
        if outside is not None and outside.closes is not None:
            marks.append((outside.closes, 1, outside))
        matches = [
            ((m.start(), m.start() - m.end(), kind, part.name), m, part)
            for pattern, kind, part in marks
            if (m := pattern.search(text, at)) is not None
        ]
        # The first; of several there the longest, and an opening mark before a closing one.
        (_, _, closes, _), match, part = min(matches, key=lambda entry: entry[0], default=((0, 0, 0, ""), None, None))
        between = text[begin : len(text) if match is None else match.start()]
        if outside is not None and between:
            found.append((outside, between, {}))
        if match is None or part is None:
            return found
        at = begin = match.end()
        if closes:
            if not between and match.start() == match.end():
                return found
            continue
        captures = {key: value for key, value in match.groupdict().items() if value is not None}
        end = None if part.closes is None else part.closes.search(text, at)
        found.append((part, text[at : len(text) if end is None else end.start()], captures))
        if end is None:
            return found
        at = begin = end.end()


def _part(name: str, spec: Any) -> Part:
    where = f"part {name!r}"
    if not isinstance(spec, Mapping):
        raise _wrong(f"{where} should be an object, got {type(spec).__name__}")
    _refuse_others(spec, _PART_KEYS, where)
    content = spec.get("content", "text")
    if content not in READERS:
        raise _wrong(f"{where} has content {content!r}; known are {', '.join(READERS)}")
    made = Part(
        name=name,
        opens=_mark(spec, "open", where),
        closes=_mark(spec, "close", where),
        content=content,
        arguments=spec.get("content_args", {}),
        repeats=spec.get("repeats", False),
        join=spec.get("join"),
        optional=spec.get("optional", True),
        transform=spec.get("transform"),
        each=spec.get("transform_each", False),
    )
    if made.join is not None and (not isinstance(made.join, str) or not made.repeats):
        raise _wrong(f"{where}: 'join' should be text, and needs 'repeats': true")
    if not isinstance(made.each, bool) or (made.each and made.transform is None):
        raise _wrong(f"{where}: 'transform_each' should be true or false, and needs a 'transform'")
    if made.transform is None:
        groups = [group for mark in (made.opens, made.closes) if mark is not None for group in mark.groupindex]
        if groups:
            raise _wrong(f"{where} names the groups {', '.join(groups)}, which only a 'transform' could use")
    refuse_mixed(made.transform, where)
    return made


def _mark(spec: Mapping[str, Any], key: str, where: str) -> re.Pattern[str] | None:
    """The pattern of a mark: a text, several of which any counts, or a regular expression under `key`_pattern."""
    pattern = f"{key}_pattern"
    if key in spec and pattern in spec:
        raise _wrong(f"{where} has both {key!r} and {pattern!r}")
    if pattern in spec:
        try:
            return re.compile(spec[pattern], re.DOTALL)
        except (re.error, TypeError) as error:
            raise _wrong(f"{where}: {pattern!r} is no regular expression: {error}") from error
    if key not in spec:
        return None
    texts = [spec[key]] if isinstance(spec[key], str) else spec[key]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _wrong(f"{where}: {key!r} should be a text or a list of texts, none of them empty; got {spec[key]!r:.80}")
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))


def _refuse_others(spec: Mapping[str, Any], known: set[str], where: str) -> None:
    if others := sorted(set(spec) - known):
        raise _wrong(f"{where} has unknown entries: {', '.join(map(str, others))}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _wrong(what: str) -> TemplateError:
    return TemplateError(f"The response template {what}.")
