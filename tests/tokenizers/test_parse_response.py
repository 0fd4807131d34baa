"""`parse_response` beside transformers': answers of chat models as messages."""

import itertools
import json

import pytest
import transformers
from transformers.utils.chat_parsing import parse_response as their_parse

import tokenizers
from enfold.base.errors import ArgumentError, TemplateError
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast
from enfold.tokenizers.responses import ResponseTemplate, parse

CALLS = {"type": "function", "function": "{content}"}
THINKING = {
    "defaults": {"role": "assistant"},
    "start_anchor": ["<|im_start|>assistant\n", "<|assistant|>"],
    "fields": {
        "thinking": {"open": "<think>", "close": ["</think>", "</think>\n"]},
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
            "transform": CALLS,
        },
        "content": {"close_pattern": r"<\|im_end\|>|$"},
    },
}
CHANNELS = {
    "start_anchor_pattern": r"<\|start\|>assistant",
    "fields": {
        "thinking": {
            "open_pattern": r"<\|channel\|>analysis<\|message\|>",
            "close": "<|end|>",
            "repeats": True,
            "join": "\n",
        },
        "tool_calls": {
            "open_pattern": r"<\|channel\|>commentary to=(?P<name>\w+)<\|message\|>",
            "close_pattern": r"<\|call\|>|$",
            "content": "json",
            "content_args": {"unquoted_keys": True, "string_delims": [["<'", "'>"], ["«", "»"]]},
            "repeats": True,
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"open": "<|channel|>final<|message|>", "close": "<|return|>", "content_args": {"strip": False}},
    },
}
TAGS = {
    "start_anchor": "[A]",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<function=(?P<name>\w+)>",
            "close": "</function>",
            "content": "xml-inline",
            "content_args": {
                "tag_pattern": r"<(?P<key>\w+)>(?P<value>.*?)</(?P=key)>",
                "value_parser": {"name": "text"},
                "merge_duplicates": True,
            },
            "repeats": True,
            "transform": {"function": {"name": "{name}", "arguments": "{content}"}},
        },
        "listed": {
            "open": "[L]",
            "close": "[/L]",
            "content": "json",
            "transform_each": True,
            "transform": {"a": "{x}", "b": ["{y.z}", "plain", 3]},
        },
        "facts": {"open": "[F]", "close": "[/F]", "content": "kv-lines", "content_args": {"kv_sep": "="}},
        "score": {"open": "[S]", "close": "[/S]", "content": "float"},
        "rank": {"open": "[R]", "close": "[/R]", "content": "int"},
        "sure": {"open": "[B]", "content": "bool"},
        "note": {"open": "[N]", "close": "[/N]", "content": "json", "content_args": {"allow_non_json": True}},
        "content": {},
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {
                "type": "object",
                "properties": {
                    "n": {"type": "integer"},
                    "x": {"type": ["number", "null"]},
                    "yes": {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
                    "maybe": {"type": "array", "nullable": True},
                    "where": {"type": "string"},
                },
            },
        },
    }
]
PIECES = {
    "thinking": [
        "<think>", "</think>", "</think>\n", " so ", "\n", "<|im_end|>", "Hi.", "<tool_call>", "</tool_call>",
        '<tool_call>{"name": "look", "arguments": {"n": "7", "x": "1.5", "yes": "True"}}</tool_call>',
    ],
    "channels": [
        "<|channel|>analysis<|message|>", "<|end|>", " hm ", "<|channel|>final<|message|>", " Done ", "<|return|>",
        "<|channel|>commentary to=look<|message|>{n: <'3.0'>, x: «null», where: <'a,b:c «x»'>}<|call|>",
    ],
    "tags": [
        "<function=look><n>3.0</n><x>inf</x><n>4</n><yes> 1</yes><maybe>[1, 2]</maybe></function>",
        "<function=look><maybe>null</maybe><where>7</where><n>many</n><x>-0.50</x></function>",
        '[L][{"x": 1, "y": {"z": null}}, {"x": "", "y": {"z": 2}}][/L]', "[F] a = b = c\nno\n d=\n[/F]", "[S] 1e3 [/S]",
        "[R]12[/R]", "[B] TRUE", "[N]oh[/N]", "[N] {} [/N]", "text ", " [",
    ],
}  # fmt: skip
TEMPLATES = {"thinking": THINKING, "channels": CHANNELS, "tags": TAGS}
PREFIXES = ["", "<|im_start|>assistant\n<think>", "x<|start|>assistant", "[A]old [A]new ", "[B]"]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["", "tools"])
def test_answers_are_read_alike(name, tools):
    template, pieces = TEMPLATES[name], PIECES[name]
    ours = ResponseTemplate.read(template)
    texts = ["".join(chosen) for n in (0, 1, 2) for chosen in itertools.product(pieces, repeat=n)]
    texts += ["".join(pieces[i:] + pieces[:i]) for i in range(len(pieces))]
    failed = 0
    for text, prefix in itertools.product(texts, PREFIXES):
        try:
            expected = their_parse(text, template, prefix=prefix, tools=tools)
        except (ValueError, KeyError):
            failed += 1
            with pytest.raises(TemplateError):
                parse(ours, text, prefix, tools)
            continue
        assert parse(ours, text, prefix, tools) == expected, (text, prefix)
    assert failed < len(texts) * len(PREFIXES) / 2


def test_texts_ids_and_batches(tmp_path):
    engine = tokenizers.Tokenizer(tokenizers.models.WordLevel({"Hi": 0, "there": 1, "<think>": 2, "so": 3}))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=engine)
    theirs.response_template = {"start_anchor": "Hi", "fields": {"a": {"open": "<think>"}, "b": {}}}
    theirs.save_pretrained(tmp_path)
    ours = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    for response in ("there", ["there", "<think> so"], [1, 3], [[1], [2, 3]], []):
        for prefix in ("", "Hi <think>", [0, 2], [[0, 2], [1]], ["Hi <think>", "x"], []):
            if len(prefix) == 2 and not isinstance(prefix[0], int) and not (response and isinstance(response[0], list)):
                continue
            expected = theirs.parse_response(response, prefix=prefix)
            assert ours.parse_response(response, prefix=prefix) == expected, (response, prefix)
    ours.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert saved["response_template"] == theirs.response_template
    with pytest.raises(ArgumentError, match="prefix"):
        ours.parse_response("there")
    with pytest.raises(ArgumentError, match="2 responses and 3 prefixes"):
        ours.parse_response(["a", "b"], prefix=["", "", ""])
    ours.response_template = None
    with pytest.raises(TemplateError, match="no response template"):
        ours.parse_response("there", prefix="")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version"),
        ({"other": 1}, "unknown entries: other"),
        ({"start_anchor": None}, "start_anchor"),
        ({"start_anchor_pattern": "x"}, "both"),
        ({"defaults": []}, "'defaults'"),
        ({"fields": {}}, "fields"),
        ({"fields": {"a": {}, "b": {}}}, "several parts"),
        ({"fields": {"a": {"content": "yaml"}}}, "yaml"),
        ({"fields": {"a": {"opens": "x"}}}, "opens"),
        ({"fields": {"a": {"open": []}}}, "none of them empty"),
        ({"fields": {"a": {"open_pattern": "("}}}, "no regular expression"),
        ({"fields": {"a": {"join": "x"}}}, "'repeats'"),
        ({"fields": {"a": {"transform_each": True}}}, "needs a 'transform'"),
        ({"fields": {"a": {"open_pattern": "(?P<n>x)"}}}, "groups n"),
        ({"fields": {"a": {"transform": ["x {content}"]}}}, "mixes"),
    ],
)
def test_templates_that_say_what_is_not_known(change, said):
    spec = {**THINKING, **change}
    with pytest.raises(ValueError):
        their_parse("", spec, prefix="")
    with pytest.raises(TemplateError, match=said):
        ResponseTemplate.read(spec)


def test_a_part_that_must_be_there():
    spec = {"start_anchor": "x", "fields": {"a": {"open": "<a>", "optional": False}}}
    with pytest.raises(TemplateError, match="lacks a"):
        parse(ResponseTemplate.read(spec), "text", "", None)
    assert parse(ResponseTemplate.read(spec), "<a>text", "", None) == {"a": "text"}
