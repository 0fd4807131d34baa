"""Conversations → text or ids, through the tokenizer's chat template."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, TemplateError
from enfold.base.logging import get_logger
from enfold.tokenizers.tool_schema import get_json_schema

logger = get_logger(__name__)

_REASONING = ("reasoning_content", "thinking", "reasoning")
# Where the final message ends in the text; its blank shows whether the template strips what it prints.
_CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "
_GENERATION_TAG = re.compile(r"\{\%-?\s*generation\s*-?\%\}")


class Chat:
    """`apply_chat_template` and its kin."""

    chat_template: str | dict[str, str] | None
    chat_control_tokens: Sequence[str] | None = None
    response_template: Mapping[str, Any] | None = None

    if TYPE_CHECKING:
        special_tokens_map: dict[str, str]

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def decode(self, token_ids: Any) -> Any: ...

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[dict | Callable] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: Any = False,
        truncation: Any = False,
        max_length: int | None = None,
        return_tensors: Any = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write a conversation the way the model was trained to read it.

        Args:
            conversation: messages (`{"role": "user", "content": "…"}`), or a batch of conversations.
            tools: functions that the model may call: JSON schemas, or Python functions with type hints and a
                Google-style docstring.
            documents: texts to draw on, `{"title", "text"}` each.
            chat_template: a template, or the name of one of the tokenizer's; its default by default.
            add_generation_prompt: end with the header of an assistant's answer.
            continue_final_message: leave the final message open, so that the model continues it; a string names
                the field to continue.
            tokenize: False returns the text.
            sanitize_control_tokens: control tokens in messages, tools, documents and variables become plain text, so
                that only the template's own act: special tokens, and those of `chat_control_tokens` (where the
                tokenizer has none, the added tokens that the template writes). Keys of dictionaries are not looked at,
                nor what a template joins to a token.
            padding, truncation, max_length, return_tensors: as for the tokenizer's call.
            return_dict: False returns the ids alone.
            return_assistant_tokens_mask: mark the tokens that `{% generation %}` blocks wrote, as `assistant_masks`.
            tokenizer_kwargs: further arguments of the tokenizer's call.
            kwargs: variables for the template.

        Returns:
            a BatchEncoding; ids with `return_dict=False`; text with `tokenize=False`.

        Raises:
            TemplateError: there is no template, or it failed on these messages.
            ArgumentError: arguments that exclude each other, messages that are none.
        """
        from enfold.tokenizers.chat_template import render

        return_dict = return_dict and tokenize
        if return_assistant_tokens_mask and not return_dict:
            raise ArgumentError("return_assistant_tokens_mask=True needs tokenize=True and return_dict=True.")
        if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
            raise ArgumentError(
                "continue_final_message leaves the last message open; it excludes add_generation_prompt (which "
                "begins a new one) and return_assistant_tokens_mask."
            )
        if sanitize_control_tokens and (not tokenize or return_assistant_tokens_mask):
            raise ArgumentError(
                "sanitize_control_tokens=True needs tokenize=True, and excludes return_assistant_tokens_mask."
            )
        template = self.get_chat_template(chat_template, tools)
        if return_assistant_tokens_mask and not _GENERATION_TAG.search(template):
            logger.warning(
                "The chat template has no {%% generation %%} block, so no token will be marked as the assistant's."
            )
        conversations, batched = _conversations(conversation)
        given = plain_data(kwargs)
        given["tools"] = None if tools is None else plain_data([_tool(tool) for tool in tools])
        given["documents"] = None if documents is None else plain_data([_document(entry) for entry in documents])
        if sanitize_control_tokens:
            from enfold.tokenizers.control_tokens import control_tokens, marked

            tokens = control_tokens(self, template)  # type: ignore[arg-type]
            conversations, given = marked(conversations, tokens), marked(given, tokens)
        variables = {**plain_data(self.special_tokens_map), **given}
        variables["add_generation_prompt"] = add_generation_prompt
        texts, spans = [], []
        for messages in conversations:
            messages = [_with_reasoning(message) for message in messages]
            final = _mark_final(messages, continue_final_message, template) if continue_final_message else None
            text, generated = render(template, {**variables, "messages": messages})
            texts.append(text if final is None else _cut_after(text, final))
            spans.append(generated)
        rendered = texts if batched else texts[0]
        if not tokenize:
            return rendered
        out = self(
            rendered,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            add_special_tokens=False,
            return_tensors=return_tensors,
            tokenizer_kwargs=tokenizer_kwargs,
            sanitize_control_tokens=sanitize_control_tokens,
        )
        if not return_dict:
            return out["input_ids"]
        if return_assistant_tokens_mask:
            masks = [_assistant_mask(out, row, found) for row, found in enumerate(spans)]
            out["assistant_masks"] = masks if batched or return_tensors else masks[0]
            out.convert_to_tensors(return_tensors)
        return out

    def parse_response(
        self,
        response: Any,
        schema: Mapping[str, Any] | None = None,
        *,
        prefix: Any = None,
        tools: Sequence[dict | Callable] | None = None,
    ) -> Any:
        """Read what a chat model wrote as a message: reasoning, content, tool calls.

        Args:
            response: text or ids that the model wrote, or a batch of either; without the prompt.
            schema: a response template; the tokenizer's `response_template` by default.
            prefix: the prompt, as text or ids, one for all or one for each: its end may begin the message. An empty
                one says that nothing of the message stands in the prompt.
            tools: the functions that the model may call, as for `apply_chat_template`: arguments that come as text
                become what their schemas say.

        Returns:
            a dictionary, or a list of them for a batch.

        Raises:
            TemplateError: there is no response template, it says what is not known, or the answer is not as it says.
            ArgumentError: no prefix, or not one for each response.
        """
        from enfold.tokenizers.responses import ResponseTemplate, parse

        if schema is None:
            schema = self.response_template
        if schema is None:
            raise TemplateError(
                "This tokenizer has no response template: pass schema=, or set tokenizer.response_template."
            )
        if prefix is None:
            raise ArgumentError(
                "parse_response needs prefix=, the prompt: chat templates often begin the answer there. If yours "
                'doesn\'t, pass prefix="".'
            )
        template = ResponseTemplate.read(schema)
        texts, batched = self._as_texts(response)
        prompts, several = self._as_texts(prefix if len(prefix) else "")
        if not several:
            prompts = prompts * len(texts)
        if len(prompts) != len(texts):
            raise ArgumentError(f"There are {len(texts)} responses and {len(prompts)} prefixes: give one, or one each.")
        read = [parse(template, text, prompt, tools) for text, prompt in zip(texts, prompts, strict=True)]
        return read if batched else read[0]

    def _as_texts(self, given: Any) -> tuple[list[str], bool]:
        """Texts, or what ids mean; and whether they are a batch."""
        if isinstance(given, (list, tuple)) and (not given or isinstance(given[0], str)):
            return list(given), True
        text = given if isinstance(given, str) else self.decode(given)
        return ([text], False) if isinstance(text, str) else (text, True)

    def encode_message_with_chat_template(
        self, message: dict[str, Any], conversation_history: Sequence[dict[str, Any]] | None = None, **kwargs: Any
    ) -> list[int]:
        """The ids that a message adds to a conversation; the template writes no generation prompt."""
        if "add_generation_prompt" in kwargs:
            raise ArgumentError("encode_message_with_chat_template takes no add_generation_prompt: add it separately.")
        history = list(conversation_history or ())
        ids = self.apply_chat_template([*history, message], return_dict=False, **kwargs)
        if not history:
            return ids
        before = self.apply_chat_template(history, return_dict=False, **kwargs)
        same = 0
        while same < min(len(before), len(ids)) and before[same] == ids[same]:
            same += 1
        return ids[same:]

    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str:
        """The template that a call would use.

        Args:
            chat_template: a name among several templates, or a template itself.
            tools: with tools the template named `tool_use` is preferred, if there is one.

        Raises:
            TemplateError: there is none, or there are several and no default.
        """
        known = self.chat_template
        if isinstance(known, dict):
            if chat_template is not None:
                return known.get(chat_template, chat_template)
            if tools is not None and "tool_use" in known:
                return known["tool_use"]
            if "default" in known:
                return known["default"]
            names = ", ".join(sorted(known))
            raise TemplateError(
                f"This tokenizer has several chat templates and no default: choose chat_template= {names}."
            )
        if chat_template is not None:
            return chat_template
        if known is None:
            raise TemplateError(
                "This tokenizer has no chat template: it was not made for chat. Use one of an instruction-tuned model, "
                "or pass chat_template= (or set tokenizer.chat_template)."
            )
        return known


def _conversations(conversation: Any) -> tuple[list[list[dict[str, Any]]], bool]:
    """The conversations as plain dictionaries without empty fields, and whether there was a batch of them."""
    if isinstance(conversation, (list, tuple)):
        if not conversation:
            raise ArgumentError("The conversation is empty: give one message at least.")
        batched = isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")
    else:
        batched = False
    chats = []
    for chat in conversation if batched else [conversation]:
        messages = plain_data(list(getattr(chat, "messages", chat)))
        for message in messages:
            if not isinstance(message, dict):
                raise ArgumentError(f"A message must be a dictionary with 'role' and 'content', got {message!r:.120}.")
        chats.append([{key: value for key, value in message.items() if value is not None} for message in messages])
    return chats, batched


def plain_data(value: Any) -> Any:
    """`value` as bare dictionaries, lists, strings and numbers, so that a template meets no other object's methods."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_data(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain_data(item) for item in value)
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain_data(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain_data(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return plain_data(dump())
    return f"<{type(value).__name__}>"


def _tool(tool: Any) -> dict[str, Any]:
    if isinstance(tool, dict):
        return tool
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        return get_json_schema(tool)
    raise ArgumentError(f"A tool must be a JSON schema (dictionary) or a Python function, got {type(tool).__name__}.")


def _document(document: Any) -> Any:
    if not isinstance(document, dict):
        raise ArgumentError(f"A document must be a dictionary with 'title' and 'text', got {type(document).__name__}.")
    return document


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Templates differ in what they call the reasoning: give it both usual names."""
    reasoning = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _mark_final(messages: list[dict[str, Any]], field: bool | str, template: str) -> str:
    """Append the mark to the final message's text, in place; returns the text."""
    field = field if isinstance(field, str) else "content"
    last = messages[-1]
    final = last.get(field)
    if final is None:
        raise ArgumentError(f"continue_final_message: the final message has no {field!r} to continue.")
    fields = [field]
    if field in _REASONING:
        fields = [name for name in _REASONING if last.get(name) == final]
    if not any(name in template for name in fields):
        raise ArgumentError(f"continue_final_message: the chat template doesn't use {field!r}.")
    if isinstance(final, str):
        for name in fields:
            last[name] = final + _CONTINUE
        return final
    for block in reversed(final):
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            text = block["text"]
            block["text"] = text + _CONTINUE
            return text
    raise ArgumentError("continue_final_message: the final message holds no text to continue.")


def _cut_after(text: str, final: str) -> str:
    mark = _CONTINUE.strip()
    if mark not in text or final.strip() not in text:
        raise TemplateError("continue_final_message: the chat template doesn't print the final message unchanged.")
    at = text.rindex(mark)
    # A template that strips its messages has taken the mark's blank too, and would strip the text before it.
    return text[:at] if text.startswith(_CONTINUE, at) else text[:at].rstrip()


def _assistant_mask(out: Any, row: int, spans: Sequence[tuple[int, int]]) -> list[int]:
    """1 for each token of the row that a `{% generation %}` block wrote."""
    length = len(out.encodings[row].ids)
    mask = [0] * length
    for first, last in spans:
        start = out.char_to_token(row, first)
        if start is None:  # cut off by truncation, as is everything after it
            break
        end = out.char_to_token(row, last - 1)
        for token in range(start, end + 1 if end else length):
            mask[token] = 1
    return mask
