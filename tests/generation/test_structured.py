"""Structured output: whatever a random model says, it validates."""

import json
import re
import time

import jsonschema
import pytest
import torch

from enfold.base.errors import ArgumentError, MissingDependencyError
from enfold.generation import Grammar, JsonSchema, Regex
from enfold.generation.structured import as_constraint, token_bytes
from tests.generation.toys import HEADS, both, padded, prompts

END = 2
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "sure": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", None]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


class Characters:
    """A tokenizer whose token 3 + n is the printable character 32 + n."""

    all_special_ids = (0, 1, END)

    def get_vocab(self) -> dict[str, int]:
        return {f"<s{i}>": i for i in range(3)} | {chr(29 + i): i for i in range(3, 97)}

    def decode(self, ids, **_) -> str:
        return "".join(chr(29 + int(i)) for i in ids if int(i) >= 3)


@pytest.fixture
def engine():
    import llguidance

    return llguidance


def answers(head: str, *arguments, rows: int = 1, **options) -> list[str]:
    ours, _ = both(head)
    ids, mask = padded(prompts(rows), "left") if rows > 1 else (prompts(1), torch.ones(1, 9, dtype=torch.int64))
    options = {"eos_token_id": END, "max_new_tokens": 90, "tokenizer": Characters(), "attention_mask": mask} | options
    out = ours.generate(ids, *arguments, **options, return_dict_in_generate=True)
    begin = out.sequences.shape[1] - max(out.new_lengths)
    return [Characters().decode(row[begin:]) for row in out.sequences]


def test_a_thousand_answers_validate(engine):
    validate = jsonschema.Draft202012Validator(SCHEMA).validate
    started = time.process_time()
    found = answers(
        "LlamaForCausalLM",
        rows=4,
        do_sample=True,
        top_k=0,
        temperature=2.0,
        seed=3,
        num_return_sequences=250,
        constraint=JsonSchema(SCHEMA),
    )
    assert time.process_time() - started < 30
    for text in found:
        validate(json.loads(text))
    assert len(set(found)) > 900


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("way", ["greedy", "beams", "groups", "contrastive", "early"])
def test_every_way_of_decoding_keeps_to_it(engine, head: str, way: str):
    options = {
        "greedy": {},
        "beams": {"num_beams": 3, "num_return_sequences": 3},
        "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
        "early": {"num_beams": 2, "early_stopping": True, "repetition_penalty": 1.2},
    }[way]
    pattern = r"[a-c]{3,5}-(x|yes)[0-9]{1,3}"
    found = answers(head, rows=4, constraint=Regex(pattern), **options)
    assert all(re.fullmatch(pattern, text) for text in found), found


@pytest.mark.parametrize(
    "grammar",
    [
        'start: "yes" | "no" | maybe\nmaybe: /m[a-z]y/ " " "be"',
        'root ::= "yes" | "no" | maybe\nmaybe ::= "m" [a-z] "y" " be"',
    ],
    ids=["lark", "gbnf"],
)
def test_grammars(engine, grammar: str):
    found = answers("GPT2LMHeadModel", constraint=Grammar(grammar), do_sample=True, num_return_sequences=40, seed=1)
    assert all(re.fullmatch("yes|no|m[a-z]y be", text) for text in found)
    assert len(set(found)) > 2


def test_what_servers_take(engine):
    asked = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"enum": [17, "b"]}}}
    assert set(answers("LlamaForCausalLM", response_format=asked, do_sample=True, seed=0)) <= {"17", '"b"'}
    assert json.loads(answers("LlamaForCausalLM", constraint=JsonSchema({"const": {"a": 1}}))[0]) == {"a": 1}
    assert as_constraint(None, {"type": "text"}) is None
    assert as_constraint(None, {"type": "json_object"}) == JsonSchema({"type": "object"})
    assert as_constraint(None, {"type": "regex", "pattern": "a+"}) == Regex("a+")
    assert as_constraint(None, {"type": "grammar", "grammar": "start: /a/"}) == Grammar("start: /a/")


def test_in_a_stream(engine):
    ours, _ = both("LlamaForCausalLM")
    pieces = ours.stream(
        prompts(1), tokenizer=Characters(), eos_token_id=END, constraint=Regex("[0-9]{4}"), max_new_tokens=9
    )
    assert re.fullmatch("[0-9]{4}", "".join(pieces))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraint": Regex("a"), "response_format": {"type": "text"}}, "constraint and response_format"),
        ({"constraint": {"type": "object"}}, "constraint is a dict; expected enfold.generation.JsonSchema"),
        ({"response_format": {"type": "xml"}}, "response_format is {'type': 'xml'}"),
        ({"constraint": Regex("a"), "tokenizer": None}, "Regex needs tokenizer="),
        ({"constraint": Regex("a"), "eos_token_id": []}, "needs an eos_token_id"),
        ({"constraint": Regex("(")}, "Regex can't be followed"),
        ({"constraint": JsonSchema("{")}, "the JSON schema is no JSON"),
        ({"constraint": JsonSchema({"type": "what"})}, "JsonSchema can't be followed"),
        ({"constraint": Regex("[a-z]+"), "prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens and constraint"),
    ],
    ids=lambda v: v[:25] if isinstance(v, str) else "",
)
def test_what_is_refused(engine, options: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        answers("LlamaForCausalLM", **options)


def test_without_the_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'enfold\[structured\]'"):
        answers("LlamaForCausalLM", constraint=Regex("a"))


class Known:
    """A vocabulary alone."""

    def __init__(self, pieces: list[str], added: dict[str, int] | None = None):
        self.pieces, self.added = pieces, added or {}

    def get_vocab(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self.pieces)} | self.added

    def get_added_vocab(self) -> dict[str, int]:
        return self.added


@pytest.mark.parametrize(
    ("tokenizer", "wanted"),
    [
        (
            Known(["Ġ", "Ċ", "Ġthe", "Ã", "©", "a"], {"<|x|>": 6}),
            [b" ", b"\n", b" the", b"\xc3", b"\xa9", b"a", b"<|x|>"],
        ),
        (Known(["▁", "▁the", "<0x0A>", "é"]), [b" ", b" the", b"\n", "é".encode()]),
        (Known(["##ing", "the"]), [b"ing", b" the"]),
    ],
    ids=["byte-level", "sentencepiece", "wordpiece"],
)
def test_what_tokens_write(tokenizer, wanted: list[bytes]):
    assert token_bytes(tokenizer, len(wanted) + 2) == [*wanted, b"", b""]
