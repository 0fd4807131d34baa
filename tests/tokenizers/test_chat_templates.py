"""Conversations through templates, beside transformers'; and templates that mean harm."""

import dataclasses
import enum
import threading
import time
from typing import Any, Literal

import pytest
import transformers.utils.chat_template_utils as theirs_utils

from enfold.base.errors import ArgumentError, TemplateError
from enfold.tokenizers import chat_template as bounds
from enfold.tokenizers.chat_template import render
from enfold.tokenizers.tool_schema import get_json_schema

from .test_pretrained_call import plain as tagged

CHATML = (
    "{%- for message in messages -%}\n"
    "    {%- if loop.first and message['role'] != 'system' -%}\n"
    "        {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' -}}\n"
    "    {%- endif -%}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}\n"
)
LLAMA3 = (
    "{{- bos_token }}\n"
    "{%- set loop_messages = messages %}\n"
    "{%- if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}\n"
    "{%- for message in loop_messages %}\n"
    "{%- set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' ~ "
    "message['content'] | trim ~ '<|eot_id|>' %}\n"
    "{%- if loop.index0 == 0 %}{% set content = content ~ date_string %}{% endif %}\n"
    "{{- content }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
TOOLS = (
    "{%- set ns = namespace(system=false, count=0) %}\n"
    "{%- macro show(tool) %}{{ tool | tojson(indent=2) }}{% endmacro %}\n"
    "{%- if tools %}<|im_start|>system\n# Tools\n{% for tool in tools %}{{ show(tool) }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}\n"
    "{%- for message in messages %}\n"
    "  {%- if message.role == 'assistant' and message.tool_calls %}\n"
    "    {%- for call in message.tool_calls %}\n"
    "      {%- if call.function is defined %}{% set call = call.function %}{% endif %}\n"
    '<tool_call>{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}</tool_call>\n'
    "    {%- endfor %}\n"
    "  {%- elif message.role == 'tool' %}\n<tool>{{ message.content }}</tool>\n"
    "  {%- elif message.content is string %}\n{{ message.role }}: {{ message.content }}\n"
    "  {%- else %}\n"
    "    {%- for part in message.content %}{% if part.type == 'image' %}{% continue %}{% endif %}"
    "{{ part.text }}{% endfor %}\n"
    "  {%- endif %}\n"
    "  {%- set ns.count = ns.count + 1 %}\n"
    "{%- endfor %}\n"
    "{%- for document in documents or [] %}[{{ document.title }}] {{ document.text }}\n{% endfor %}\n"
    "{{- ns.count }} {{ custom | default('no custom') }} {{ dict(a=1).items() | list }}\n"
)
GENERATION = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "<|im_start|>{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}<|im_start|>{{ message.content }}<|im_end|>\n{% endif %}{% endfor %}"
)
CHAT = [
    {"role": "system", "content": "Be brief & <kind>."},
    {"role": "user", "content": "  Où est “Paris”?  "},
    {"role": "assistant", "content": "In France. "},
]
CALLS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"type": "function", "function": {"name": "look", "arguments": {"where": "até", "n": [1, None]}}}
        ],
    },
    {"role": "tool", "content": "a cat"},
]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def look(where: str, n: int = 3, colour: Colour = Colour.RED) -> list[str]:
    """
    Look somewhere,
    carefully.

    Args:
        where: The place
            to look: anywhere.
        n: How often.
        colour: Which colour (choices: ["red", "blue"])

    Returns:
        What is there.
    """
    return []


def everything(
    a: int | None,
    b: int | str,
    c: list[dict[str, float]],
    d: Literal["x", 1],
    e: tuple[int, str],
    f: dict,
    g: Any,
    h: int | float | None = None,
):
    """All types.

    Args:
        a: A
        b: B
        c: C
        d: D
        e: E
        f: F
        g: G
        h: H
    """


def plain(value):
    value = tagged(value)
    return value if isinstance(value, tuple) else ("list", value)


@pytest.fixture
def pair(pairs):
    return pairs["chat"]


TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "tools": TOOLS, "generation": GENERATION, "own": None}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tokenize", [False, True])
def test_conversations(pair, name, tokenize):
    ours, theirs = pair
    for chat in (CHAT, [CHAT, CHAT[:2]], CALLS, [CALLS, CHAT]):
        for options in (
            {},
            {"add_generation_prompt": True},
            {"return_dict": False},
            {"tools": [look, {"type": "function", "function": {"name": "raw"}}]},
            {"documents": [{"title": "T", "text": "é"}], "custom": {"k": (1, 2.5, True)}},
            {"padding": True, "truncation": True, "max_length": 20, "return_tensors": "np"},
        ):
            options = {**options, "chat_template": TEMPLATES[name], "tokenize": tokenize}
            results = []
            for tokenizer in (ours, theirs):
                try:
                    made = tokenizer.apply_chat_template(chat, **options)
                except Exception as error:
                    made = type(error)
                if hasattr(made, "items"):
                    made = {key: getattr(value, "tolist", lambda value=value: value)() for key, value in made.items()}
                results.append(getattr(made, "tolist", lambda made=made: made)())
            if isinstance(results[1], type):
                assert issubclass(results[0], TemplateError), (results, options)
            else:
                assert results[0] == results[1], options


@pytest.mark.parametrize("tensors", [None, "np", "pt"])
def test_what_the_assistant_said_is_marked(pair, tensors):
    ours, theirs = pair
    chat = [*CHAT, {"role": "user", "content": "And Rome?"}, {"role": "assistant", "content": "In Italy, 2 h away."}]
    for given in (chat, [chat, CHAT]):
        for options in ({}, {"truncation": True, "max_length": 25, "padding": "max_length"}):
            if tensors and isinstance(given[0], list):
                options = {**options, "padding": options.get("padding", True)}
            options = {
                **options,
                "chat_template": GENERATION,
                "return_assistant_tokens_mask": True,
                "return_tensors": tensors,
            }
            made, like = (tokenizer.apply_chat_template(given, **options) for tokenizer in (ours, theirs))
            assert list(made) == list(like)
            for key in made:
                assert plain(made[key]) == plain(like[key]), key
            if isinstance(given[0], list) and "truncation" not in options:
                assert all(any(mask) and not all(mask) for mask in plain(made["assistant_masks"])[-1])


def test_continuing_the_last_message(pair):
    ours, theirs = pair
    for content in ("In Fr", "In Fr  ", [{"type": "text", "text": "part "}]):
        for template in (CHATML, LLAMA3, TOOLS):
            chat = [*CHAT[:2], {"role": "assistant", "content": content}]
            made = []
            for tokenizer in (ours, theirs):
                try:
                    made.append(
                        tokenizer.apply_chat_template(
                            chat, chat_template=template, continue_final_message=True, tokenize=False
                        )
                    )
                except Exception as error:
                    made.append(isinstance(error, Exception))
            assert made[0] == made[1]
    thought = [*CHAT[:2], {"role": "assistant", "content": "x", "reasoning_content": "so far"}]
    template = "{% for m in messages %}{{ m.thinking }}|{{ m.content }};{% endfor %}"
    options = {"chat_template": template, "continue_final_message": "thinking", "tokenize": False}
    assert ours.apply_chat_template(thought, **options) == theirs.apply_chat_template(thought, **options)
    for bad, reason in (
        ({"add_generation_prompt": True}, "excludes"),
        ({"return_assistant_tokens_mask": True, "tokenize": True}, "excludes"),
        ({"continue_final_message": "thoughts"}, "no 'thoughts'"),
        ({"chat_template": "{{ messages[0].content }}"}, "doesn't print the final message"),
        ({"chat_template": "{{ messages[0].role }}"}, "doesn't use 'content'"),
    ):
        with pytest.raises((ArgumentError, TemplateError), match=reason):
            ours.apply_chat_template(CHAT, **{"continue_final_message": True, "tokenize": False, **bad})


def test_one_message_more(pair):
    ours, theirs = pair
    for history in (None, CHAT[:2]):
        assert ours.encode_message_with_chat_template(CHAT[2], history) == theirs.encode_message_with_chat_template(
            CHAT[2], history
        )


def test_messages_of_other_types(pair):
    ours, theirs = pair

    @dataclasses.dataclass
    class Message:
        role: str
        content: str

    class Model:
        def model_dump(self):
            return {"role": "user", "content": "dumped"}

    class Chat:
        messages = CHAT

    assert ours.apply_chat_template([Message("user", "hi")], tokenize=False) == theirs.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False
    )
    several = theirs.apply_chat_template([CHAT, CHAT], tokenize=False)
    assert ours.apply_chat_template([Chat(), Chat()], tokenize=False) == several
    assert ours.apply_chat_template(Chat(), tokenize=False) == several[0]
    assert "dumped" in ours.apply_chat_template([Model()], tokenize=False)
    for bad in ([], ["text"], [5]):
        with pytest.raises(ArgumentError):
            ours.apply_chat_template(bad)
    with pytest.raises(ArgumentError, match="A tool must be"):
        ours.apply_chat_template(CHAT, tools=["look"])
    with pytest.raises(ArgumentError, match="A document must be"):
        ours.apply_chat_template(CHAT, documents=["text"])


def test_several_templates_and_none(pairs):
    import copy

    ours = copy.deepcopy(pairs["chat"][0])
    ours.chat_template = {"default": "D", "tool_use": "T", "rag": "R"}
    assert ours.apply_chat_template(CHAT, tokenize=False) == "D"
    assert ours.apply_chat_template(CHAT, tokenize=False, tools=[look]) == "T"
    assert ours.apply_chat_template(CHAT, tokenize=False, chat_template="rag") == "R"
    ours.chat_template = {"rag": "R", "other": "O"}
    with pytest.raises(TemplateError, match="other, rag"):
        ours.apply_chat_template(CHAT)
    with pytest.raises(TemplateError, match="no chat template"):
        pairs["gpt2"][0].apply_chat_template(CHAT)


@pytest.mark.parametrize("function", [look, everything])
def test_functions_become_schemas(function):
    assert get_json_schema(function) == theirs_utils.get_json_schema(function)


def test_functions_that_say_too_little_are_named():
    def bare(x: int): ...

    def untyped(x):
        """Does.

        Args:
            x: An x.
        """

    def undescribed(x: int):
        """Does."""

    def strange(x: object):
        """Does.

        Args:
            x: An x.
        """

    for function, reason in (
        (bare, "no docstring"),
        (untyped, "'x' has no type hint"),
        (undescribed, "doesn't describe argument 'x'"),
        (strange, "no JSON counterpart"),
    ):
        with pytest.raises(TemplateError, match=reason):
            get_json_schema(function)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("line one\n{{ raise_exception('Only user turns!') }}", "refused these messages in line 2: Only user turns!"),
        ("\n\n{% if %}", "can't be read, line 3"),
        ("{% generation %}", "can't be read, line 1"),
        ("{{ messages.nothing.more }}", "misses something in line 1"),
        ("a\n{{ 1 / 0 }}", "failed on these messages in line 2: ZeroDivisionError"),
        ("{{ messages.append(1) }}", "forbidden in line 1"),
        ("{{ ''.__class__.__mro__ }}", "forbidden in line 1"),
        ("{{ namespace(_x=1) }}", "forbidden"),
        ("{{ (namespace|attr('__init__')).__globals__ }}", "forbidden|misses"),
        ("{% include 'x' %}", "failed"),
    ],
)
def test_templates_that_fail_say_where_and_why(template, reason):
    with pytest.raises(TemplateError, match=reason):
        render(template, {"messages": [{"role": "user"}]})


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(999999999) %}{% endfor %}",
        "{% for i in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{{ [0] * 999999999 }}",
        "{% set ns = namespace(s='xxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='xxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
        "{{ 9 ** 999999999 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ ['x' * 60000] * 60000 }}",
        "{{ (['x' * 60000] * 60000) | tojson }}",
        "{{ (['x' * 60000] * 60000) | string | length }}",
        "{{ ('%s' % [['x' * 60000] * 60000]) | length }}",
        "{{ ('' ~ ['x' * 60000] * 60000) | length }}",
        "{{ '{x:{w}}'.format(x=1, w=999999999) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{{ 'x'.center(999999999) }}",
        "{{ 'x' | center(999999999) }}",
        "{{ 'x\\ny' | indent(999999999) }}",
        "{{ ('x' * 60000).replace('x', 'y' * 60000) }}",
        "{{ ('x' * 60000) | replace('x', 'y' * 60000) }}",
        "{{ [1] | tojson(indent=999999999) }}",
        "{{ '\\t' .expandtabs(999999999) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ ('x' * 60000).join(['y'] * 60000) }}",
        "{{ (['x' * 60000] * 60000) | join }}",
        "{{ strftime_now('%999999999d') }}",
    ],
)
def test_templates_that_would_never_end_are_stopped(template, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_STEPS", 300_000)
    begun = time.monotonic()
    with pytest.raises(TemplateError, match=r"was stopped|recurses"):
        render(template, {"messages": []})
    assert time.monotonic() - begun < 5


def test_a_rendering_has_its_time(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.05)
    with pytest.raises(TemplateError, match="longer than"):
        render("{% for i in range(99999) %}{% for j in range(99) %}{% endfor %}{% endfor %}", {})


def test_honest_templates_are_left_alone():
    assert render("{{ '%s is %5.2f' % ('pi', 3.14159) }}", {})[0] == "pi is  3.14"
    assert (
        render("{{ 'call 12345678 %s' % 5 }} {{ '{} {}'.format(12345678, 1) }}", {})[0] == "call 12345678 5 12345678 1"
    )
    assert render("{{ 1 + 2 * 3 ** 2 % 5 }} {{ 'a' + 'b' * 3 }}", {})[0] == "4 abbb"
    assert render("{{ [1, 2] | join(', ') }} {{ 'x' | center(5) }}", {})[0] == "1, 2   x  "
    assert render("{{ '<' ~ 1 ~ none ~ '>' }}", {})[0] == "<1None>"
    long = "word " * 400_000
    assert len(render("{% for m in messages %}{{ m }}{% endfor %}", {"messages": [long] * 5})[0]) == 5 * len(long)


def test_renderings_in_threads_do_not_meet(pair):
    template = "{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% endfor %}"
    found = {}

    def work(n):
        found[n] = [render(template, {"messages": ["x" * n] * 50}) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, results in found.items():
        for text, spans in results:
            assert text == "x" * n * 50
            assert spans == [(i * n, i * n + n) for i in range(50)]
