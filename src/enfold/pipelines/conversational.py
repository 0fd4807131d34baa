"""conversational: a conversation that grows by an answer with each call, as transformers 4 had it."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.pipelines.base import Item
from enfold.pipelines.chats import Message, is_message, messages_of
from enfold.pipelines.encoding import Row, encode, preview, stack_rows, tokenizer_options
from enfold.pipelines.generating import Continued, GenerationOptions, GenerationPipeline, Prompt
from enfold.pipelines.inputs import Whole


class Conversation(Whole):
    """Messages of a user and an assistant.

    Args:
        messages: what the user says first, or messages `{"role", "content"}`.
        conversation_id: a UUID; a new one by default.
        past_user_inputs, generated_responses: an earlier conversation, before `messages`.
    """

    def __init__(
        self,
        messages: str | Sequence[Message] | None = None,
        conversation_id: uuid.UUID | None = None,
        *,
        past_user_inputs: Sequence[str] = (),
        generated_responses: Sequence[str] = (),
    ):
        self.uuid = conversation_id or uuid.uuid4()
        self.messages: list[dict[str, Any]] = []
        if not 0 <= len(past_user_inputs) - len(generated_responses) <= 1:
            raise ArgumentError(
                f"{len(past_user_inputs)} past_user_inputs and {len(generated_responses)} generated_responses: each "
                "response follows an input"
            )
        for index, text in enumerate(past_user_inputs):
            self.add_message({"role": "user", "content": text})
            if index < len(generated_responses):
                self.append_response(generated_responses[index])
        if isinstance(messages, str):
            self.add_message({"role": "user", "content": messages})
        else:
            for message in messages_of(messages or ()):
                self.add_message(message)

    def add_message(self, message: Message) -> None:
        """Append a message.

        Raises:
            ArgumentError: it has no role or no content, or another role than system, user and assistant.
        """
        (checked,) = messages_of([message])
        if checked["role"] not in ("system", "user", "assistant"):
            raise ArgumentError(f"the role is {checked['role']!r}; expected 'system', 'user' or 'assistant'")
        self.messages.append(dict(checked))

    def add_user_input(self, text: str, overwrite: bool = False) -> None:
        """Append what the user says; `overwrite` replaces what they said last and nobody answered.

        Raises:
            ArgumentError: an input waits for its answer.
        """
        if self.messages and self.messages[-1]["role"] == "user":
            if not overwrite:
                raise ArgumentError(
                    f"the user's {preview(self.messages[-1]['content'])} has no answer yet: run the pipeline, or pass "
                    "overwrite=True to replace it"
                )
            self.messages[-1]["content"] = text
            return
        self.messages.append({"role": "user", "content": text})

    def append_response(self, response: str) -> None:
        """Append what the assistant says."""
        self.messages.append({"role": "assistant", "content": response})

    def mark_processed(self) -> None:
        """Kept for older programs; messages need no mark."""

    def iter_texts(self) -> Iterator[tuple[bool, str]]:
        """(whether the user said it, the text) of each message."""
        for message in self.messages:
            yield message["role"] == "user", message["content"]

    @property
    def past_user_inputs(self) -> list[str]:
        """What the user said and was answered."""
        said = [message["content"] for message in self.messages if message["role"] == "user"]
        return said if self.new_user_input is None else said[:-1]

    @property
    def generated_responses(self) -> list[str]:
        """What the assistant said."""
        return [message["content"] for message in self.messages if message["role"] == "assistant"]

    @property
    def new_user_input(self) -> str | None:
        """What the user said last, while it has no answer."""
        last = self.messages[-1] if self.messages else None
        return last["content"] if last and last["role"] == "user" else None

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.messages)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.messages[index]

    def __setitem__(self, index: int, message: Message) -> None:
        self.messages[index] = dict(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Conversation) and (self.uuid, self.messages) == (other.uuid, other.messages)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Conversation id: {self.uuid}\n" + "".join(f"{m['role']}: {m['content']}\n" for m in self.messages)


@dataclass(frozen=True, kw_only=True)
class ConversationalOptions(GenerationOptions):
    """Options of conversational, beside those of `GenerationConfig`."""


class ConversationalPipeline(GenerationPipeline[ConversationalOptions]):
    """Conversations → the same, each with the answer as its last message.

    A conversation is a `Conversation`, or a list of messages, which becomes one; a text is what a user says first. The
    tokenizer's chat template makes the prompt. Models from before there were templates read what they were trained on:
    a decoder (DialoGPT) each message with the end-of-text token behind it, an encoder–decoder (Blenderbot) messages
    with two spaces between them.

    Where neither the call nor the repository says otherwise, up to 256 new tokens are generated.
    """

    task = "conversational"
    heads = ("causal-lm", "seq2seq-lm")
    options_class = ConversationalOptions
    defaults: ClassVar[dict[str, Any]] = {"max_new_tokens": 256}
    instead_of_cutting = "start a new conversation, "

    def arrange(self, inputs: Any, options: ConversationalOptions) -> Any:
        if isinstance(inputs, (list, tuple)) and inputs and is_message(inputs[0]):
            return Conversation(inputs)
        return inputs

    def preprocess(self, inputs: list[Any], options: ConversationalOptions, first: int = 0) -> list[Item]:
        generation = self.generation(options)
        config = self.config(generation)
        items = []
        for index, given in enumerate(inputs):
            conversation = self._conversation(given, first + index)
            row = self._row(conversation, options)
            asked = conversation.messages[-1]["content"]
            self.check_length(row, asked, first + index)
            used = 1 if self._reads_first else len(row.ids)
            new_tokens = self.room(used, config.new_tokens(used), asked, first + index, generation, options)
            items.append(Item([Prompt(row.ids, new_tokens=new_tokens)], conversation))
        return items

    @property
    def _reads_first(self) -> bool:
        """Whether the model is an encoder–decoder."""
        return bool(self.model.config.is_encoder_decoder)

    def _conversation(self, given: Any, number: int) -> Conversation:
        if isinstance(given, str):
            return Conversation(given)
        if isinstance(given, (list, tuple)) and given and is_message(given[0]):
            return Conversation(given)
        if not isinstance(given, Conversation):
            raise ArgumentError(f"{self.task} takes conversations; input {number} is {preview(given)}")
        if given.new_user_input is None:
            raise ArgumentError(f"conversation {number} waits for its user: add_user_input says what is to be answered")
        return given

    def _row(self, conversation: Conversation, options: ConversationalOptions) -> Row:
        call = tokenizer_options(options.tokenizer_kwargs, self.tokenizer, self.limit)
        if self.tokenizer.chat_template:
            ids = self.tokenizer.apply_chat_template(
                conversation.messages, add_generation_prompt=True, return_dict=True, **call
            )
            return Row(ids["input_ids"])
        texts = [(options.prefix or "") + message["content"] for message in conversation.messages]
        if self._reads_first:
            return encode(self.tokenizer, [" " + "  ".join(texts)], None, call)[0]
        end = self.tokenizer.eos_token
        if end is None:
            raise ArgumentError(
                f"{self.tokenizer.name_or_path} has neither a chat template nor an end-of-text token to put between "
                "messages: set tokenizer.chat_template"
            )
        return encode(
            self.tokenizer, ["".join(text + end for text in texts)], None, {"add_special_tokens": False} | call
        )[0]

    def prompts(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return stack_rows(rows, pad=pad, device=self.device, left=not self._reads_first)

    def postprocess(self, item: Item, outputs: list[Continued], options: ConversationalOptions) -> Conversation:
        if len(outputs[0].new) != 1:
            raise ArgumentError("a conversation goes on with one answer; num_return_sequences must be 1")
        item.kept.append_response(self.text(outputs[0].new[0], options))
        return item.kept
