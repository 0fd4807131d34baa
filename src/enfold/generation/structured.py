"""Structured output: a JSON schema, a regular expression or a grammar constrains what any model says.

The masks come from llguidance (`pip install 'enfold[structured]'`), which walks grammar and vocabulary together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.generation.processors import LogitsProcessor, as_ids


@dataclass(frozen=True)
class JsonSchema:
    """Answers are JSON of this schema; `{}` is any JSON.

    Args:
        schema: a dictionary, a class of pydantic, or the schema as text.
        spaces: whether blanks and line breaks may stand between the parts.
    """

    schema: Any
    spaces: bool = False

    def compiled(self, engine: Any) -> str:
        """The grammar as the engine reads it."""
        schema = self.schema
        if hasattr(schema, "model_json_schema"):
            schema = schema.model_json_schema()
        if isinstance(schema, str):
            try:
                schema = json.loads(schema)
            except ValueError as error:
                raise ArgumentError(f"the JSON schema is no JSON: {error}") from None
        if not isinstance(schema, (Mapping, bool)):
            raise ArgumentError(f"a JSON schema is a dictionary; got a {type(schema).__name__}")
        schema = dict(schema) if isinstance(schema, Mapping) else {} if schema else {"not": {}}
        return engine.LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": self.spaces})


@dataclass(frozen=True)
class Regex:
    """Answers match this regular expression as a whole."""

    pattern: str

    def compiled(self, engine: Any) -> str:
        """The grammar as the engine reads it."""
        return engine.LLMatcher.grammar_from_regex(self.pattern)


@dataclass(frozen=True)
class Grammar:
    """Answers are of this grammar, in Lark's notation with the rule `start`, or in GBNF with the rule `root ::=`."""

    text: str

    def compiled(self, engine: Any) -> str:
        """The grammar as the engine reads it."""
        text = engine.gbnf_to_lark.any_to_lark(self.text) if "root ::=" in self.text else self.text
        return engine.LLMatcher.grammar_from_lark(text)


Constraint = JsonSchema | Regex | Grammar


def as_constraint(constraint: Any, response_format: Any) -> Constraint | None:
    """What `constraint=` or `response_format=` of a call asks for.

    Args:
        response_format: as servers of the OpenAI protocol take it: {"type": "json_schema", "json_schema": {"schema":
            …}}, {"type": "json_object"}, {"type": "text"}; also {"type": "regex", "pattern": …} and {"type": "grammar",
            "grammar": …}.

    Raises:
        ArgumentError: both, or neither known.
    """
    if constraint is not None and response_format is not None:
        raise ArgumentError("constraint and response_format say the same: pass one of them")
    if constraint is not None:
        if not isinstance(constraint, (JsonSchema, Regex, Grammar)):
            raise ArgumentError(
                f"constraint is a {type(constraint).__name__}; expected enfold.generation.JsonSchema, Regex or Grammar"
            )
        return constraint
    if response_format is None:
        return None
    if isinstance(response_format, type) and hasattr(response_format, "model_json_schema"):
        return JsonSchema(response_format)
    given: Mapping[str, Any] = response_format if isinstance(response_format, Mapping) else {}
    kind = given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonSchema({"type": "object"})
    if kind == "json_schema":
        inner = given.get("json_schema", given)
        if "schema" in inner:
            return JsonSchema(inner["schema"])
    if kind == "regex" and "pattern" in given:
        return Regex(given["pattern"])
    if kind == "grammar" and "grammar" in given:
        return Grammar(given["grammar"])
    raise ArgumentError(
        f"response_format is {response_format!r}; expected a type of 'json_schema' (with json_schema.schema), "
        "'json_object', 'regex' (with pattern), 'grammar' (with grammar) or 'text'"
    )


class Vocabulary:
    """What each token writes, in bytes, as the engine wants it.

    Attributes:
        tokens: bytes of each id; an empty one is never allowed.
    """

    def __init__(self, tokenizer: Any, size: int, ends: Sequence[int]):
        self.tokens = token_bytes(tokenizer, size)
        special = set(getattr(tokenizer, "all_special_ids", None) or ()) | set(ends)
        self.special_token_ids = sorted(i for i in special if 0 <= i < size)
        self.eos_token_id = ends[0]
        self.bos_token_id = None
        self._by_bytes = {text: i for i, text in enumerate(self.tokens) if text and i not in special}
        for i in self.special_token_ids:  # they write nothing: a name that no text has
            self.tokens[i] = b"<special " + str(i).encode() + b">"

    def __call__(self, text: Any) -> list[int]:
        """Ids of a text, by its longest tokens: the engine asks it about nothing but its own strings."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        ids: list[int] = []
        while data:
            size = next((n for n in range(min(len(data), 32), 0, -1) if data[:n] in self._by_bytes), 0)
            if size:
                ids.append(self._by_bytes[data[:size]])
            data = data[size or 1 :]
        return ids


def token_bytes(tokenizer: Any, size: int) -> list[bytes]:
    """What each of `size` tokens writes: as the tokenizer's own `token_bytes()` says, else by its vocabulary.

    Byte-level vocabularies, sentencepiece's (with its byte fallback) and WordPiece's are told apart by their marks.
    """
    if hasattr(tokenizer, "token_bytes"):
        known = list(tokenizer.token_bytes())
        return (known + [b""] * size)[:size]
    pieces: list[str | None] = [None] * size
    for piece, place in tokenizer.get_vocab().items():
        if place < size:
            pieces[place] = piece
    kind = _kind(pieces)
    found = [b"" if piece is None else _piece_bytes(piece, kind) for piece in pieces]
    for piece, place in getattr(tokenizer, "get_added_vocab", dict)().items():
        if place < size:
            found[place] = piece.encode()
    return found


def _kind(pieces: Sequence[str | None]) -> str:
    """How a vocabulary writes bytes: "byte-level", "marked" (▁ for a blank) or "plain"."""
    present = {piece for piece in pieces if piece}
    if {"Ġ", "Ċ"} <= present or any(piece.startswith("Ġ") for piece in present):
        return "byte-level"
    if any("▁" in piece for piece in present):
        return "marked"
    return "wordpiece" if any(piece.startswith("##") for piece in present) else "plain"


def _piece_bytes(piece: str, kind: str) -> bytes:
    if kind == "byte-level":
        try:
            return bytes(_BYTE_OF[char] for char in piece)
        except KeyError:
            return piece.encode()
    if kind == "marked":
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("▁", " ").encode()
    if kind == "wordpiece":
        return piece[2:].encode() if piece.startswith("##") else b" " + piece.encode()
    return piece.encode()


def _byte_level() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves, others from U+0100 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTE_OF = _byte_level()
_VOCABULARIES: dict[tuple, tuple[Any, Any]] = {}  # the last tokenizer's, which takes a second to make


class StructuredOutput(LogitsProcessor):
    """Only tokens that a constraint allows; the end of text where the answer may end.

    Args:
        constraint: what answers are like.
        tokenizer: of the model.
        size: scores of a step.
        ends: tokens that end a sequence.
        columns: of the prompt.
        rows: prompts.
    """

    def __init__(self, constraint: Constraint, tokenizer: Any, size: int, ends: Sequence[int], columns: int, rows: int):
        engine = require("llguidance", extra="structured", purpose="structured output")
        if tokenizer is None:
            raise ArgumentError(f"{type(constraint).__name__} needs tokenizer=, to know what each token writes")
        if not ends:
            raise ArgumentError("structured output needs an eos_token_id: without one an answer can't end")
        self.ends, self.size, self.seen = as_ids(ends), size, columns
        matcher = engine.LLMatcher(
            _vocabulary(engine, tokenizer, size, self.ends), constraint.compiled(engine), log_level=0
        )
        if matcher.is_error():
            raise ArgumentError(f"{type(constraint).__name__} can't be followed: {matcher.get_error()}")
        self.matchers = [matcher, *(matcher.deep_copy() for _ in range(rows - 1))]
        self.over = [False] * rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._read(input_ids)
        width = -(-self.size // 32) * 4
        masks = bytearray()
        for row, matcher in enumerate(self.matchers):
            masks += b"\0" * width if self.over[row] else matcher.compute_bitmask().ljust(width, b"\0")[:width]
        packed = np.frombuffer(masks, dtype=np.uint8).reshape(len(self.matchers), width)
        bits = np.unpackbits(packed, axis=1, count=scores.shape[1], bitorder="little")
        allowed = torch.from_numpy(bits).bool()
        done = ~allowed.any(1) | torch.tensor(self.over)
        allowed[:, self.ends] |= done[:, None]
        return scores.masked_fill(~allowed.to(scores.device), float("-inf"))

    def _read(self, input_ids: Tensor) -> None:
        """Follow what was said since the last step."""
        new = input_ids[:, self.seen :].tolist()
        self.seen = input_ids.shape[1]
        for row, tokens in enumerate(new):
            for token in tokens:
                if self.over[row]:
                    break
                if token in self.ends:
                    self.over[row] = True
                elif not self.matchers[row].consume_token(token):
                    # Something beside the constraint chose a token that it does not allow.
                    why = self.matchers[row].get_error().partition("\n")[0]
                    raise ArgumentError(
                        f"token {token} breaks the constraint ({why}): other settings (forced or suppressed tokens, "
                        "processors) contradict it"
                    )

    def select(self, rows: Sequence[int]) -> None:
        taken: set[int] = set()
        matchers = []
        for row in rows:
            matchers.append(self.matchers[row].deep_copy() if row in taken else self.matchers[row])
            taken.add(row)
        self.matchers, self.over = matchers, [self.over[row] for row in rows]


def _vocabulary(engine: Any, tokenizer: Any, size: int, ends: Sequence[int]) -> Any:
    key = (id(tokenizer), size, tuple(ends))
    held = _VOCABULARIES.get(key)
    if held is None or held[0] is not tokenizer:
        wrapper = engine.TokenizerWrapper(Vocabulary(tokenizer, size, ends))
        _VOCABULARIES.clear()
        _VOCABULARIES[key] = held = (tokenizer, engine.LLTokenizer(wrapper, n_vocab=size, eos_token=list(ends)))
    return held[1]
