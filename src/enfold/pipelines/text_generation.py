"""text-generation: prompts and chats, continued."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError, LengthError
from enfold.generation.config import GenerationConfig
from enfold.pipelines.base import Item
from enfold.pipelines.chats import Chat, Message, is_message, messages_of
from enfold.pipelines.encoding import preview, usual_length
from enfold.pipelines.generating import Continued, GenerationOptions, GenerationPipeline, Prompt


@dataclass(frozen=True, kw_only=True)
class TextGenerationOptions(GenerationOptions):
    """Options of text-generation, beside those of `GenerationConfig` (`max_new_tokens=64, do_sample=False, …`).

    Attributes:
        return_full_text: give prompt and answer (the default), or with False the answer alone. Of a chat: the whole
            conversation, or the text of the answer.
        return_tensors: give `generated_token_ids`, the prompt's included, instead of text. (`return_text` and
            `return_type` are older ways to say one or the other.)
        prefix: put before each prompt, and not shown.
        handle_long_generation: "hole" drops the beginning of a prompt that leaves no room for the answer.
        continue_final_message: continue the last message of a chat instead of answering it; by default where it is the
            assistant's.
        tools, documents: for the chat template.
        tokenizer_encode_kwargs: further arguments for the tokenizer's call or the chat template.
    """

    return_full_text: bool = True
    handle_long_generation: str | None = None
    continue_final_message: bool | None = None
    tools: Sequence[Any] | None = None
    documents: Sequence[Any] | None = None
    tokenizer_encode_kwargs: Mapping[str, Any] | None = None


class TextGenerationPipeline(GenerationPipeline[TextGenerationOptions]):
    """Prompts → `[{"generated_text": text}]` each; chats → `[{"generated_text": messages}]`.

    Where neither the call nor the repository's `generation_config.json` says otherwise, up to 256 new tokens are
    sampled with temperature 0.7. Prompts of a list are decoded together; with sampling, what is drawn depends on that.
    """

    task = "text-generation"
    heads = ("causal-lm",)
    options_class = TextGenerationOptions
    defaults: ClassVar[dict[str, Any]] = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}
    returns: ClassVar[tuple[str, ...]] = ("return_full_text", "return_tensors", "return_text", "return_type")
    instead_of_cutting = "handle_long_generation='hole' to drop its beginning, "
    instead_of_lowering = ", or pass handle_long_generation='hole' to drop the prompt's beginning"

    # Options

    def settings(self, options: dict[str, Any]) -> TextGenerationOptions:
        chosen = super().settings(options)
        if chosen.handle_long_generation not in (None, "hole"):
            raise ArgumentError(f"handle_long_generation is {chosen.handle_long_generation!r}; expected 'hole' or None")
        return chosen

    def form(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Text with or without the prompt, or ids.

        Raises:
            ArgumentError: the options say two things.
        """
        said = {name: options[name] for name in self.returns if options.get(name) is not None}
        if "return_type" in said:  # 0, 1 and 2, or an enumeration of these
            kind = getattr(said["return_type"], "value", said["return_type"])
            if kind not in (0, 1, 2):
                raise ArgumentError(f"return_type is {kind!r}; expected 0 (ids), 1 (the answer) or 2 (the whole text)")
            return {"return_tensors": kind == 0, "return_full_text": kind != 1}
        if len(said) > 1:
            raise ArgumentError(f"{', '.join(said)} each say what to return: give one")
        if not said:
            return {}
        return {"return_tensors": "return_tensors" in said, "return_full_text": said.get("return_full_text", True)}

    # Steps

    def arrange(self, inputs: Any, options: TextGenerationOptions) -> Any:
        if isinstance(inputs, (list, tuple)):
            return Chat(messages_of(inputs)) if inputs and is_message(inputs[0]) else inputs
        if isinstance(inputs, Iterator):
            first = next(inputs, None)
            if first is None:
                return iter(())
            # A stream of messages is one conversation, any other stream one of prompts or conversations.
            return Chat(messages_of([first, *inputs])) if is_message(first) else chain([first], inputs)
        return inputs

    def preprocess(self, inputs: list[Any], options: TextGenerationOptions, first: int = 0) -> list[Item]:
        generation = self.generation(options)
        config = self.config(generation)
        prompts = [self._prompt(item, first + index) for index, item in enumerate(inputs)]
        call = dict(options.tokenizer_kwargs) | dict(options.tokenizer_encode_kwargs or {})
        texts = {i: (options.prefix or "") + p for i, p in enumerate(prompts) if isinstance(p, str)}
        rows: dict[int, list[int]] = {}
        if texts:
            plain = replace(options, tokenizer_kwargs=call)
            rows |= zip(texts, (row.ids for row in self.encode(list(texts.values()), None, plain)), strict=True)
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, Chat):
                rows[index] = self._chat_ids(prompt, options, call)
        return [
            self._item(rows[index], prompt, options, generation, config, first + index)
            for index, prompt in enumerate(prompts)
        ]

    def _prompt(self, item: Any, number: int) -> str | Chat:
        if isinstance(item, (str, Chat)):
            return item
        if isinstance(item, (list, tuple)) and item and is_message(item[0]):
            return Chat(messages_of(item))
        raise ArgumentError(
            f"{self.task} takes texts, or chats as lists of {{'role': …, 'content': …}}; input {number} is "
            f"{preview(item)}"
        )

    def _chat_ids(self, chat: Chat, options: TextGenerationOptions, call: Mapping[str, Any]) -> list[int]:
        prefilled = chat.prefilled(options.continue_final_message)
        encoded = self.tokenizer.apply_chat_template(
            list(chat.messages),
            add_generation_prompt=not prefilled,
            continue_final_message=prefilled,
            return_dict=True,
            tools=options.tools,
            documents=options.documents,
            **{name: value for name, value in call.items() if name != "add_special_tokens"},
        )
        return encoded["input_ids"]

    def _item(
        self,
        ids: list[int],
        prompt: str | Chat,
        options: TextGenerationOptions,
        generation: Mapping[str, Any],
        config: GenerationConfig,
        number: int,
    ) -> Item:
        """A prompt's row, with room for its answer."""
        shown = len(ids)
        if not ids:
            if config.bos_token_id is None:
                raise ArgumentError(f"{self.task}: input {number} is empty, and the model has no token to begin with")
            ids = [config.bos_token_id]
        if options.prefix and config.max_length is not None and config.max_new_tokens is None:
            prefix = len(self.tokenizer(options.prefix, add_special_tokens=False)["input_ids"])
            config = replace(config, max_length=config.max_length + prefix)
        new_tokens = config.new_tokens(len(ids))
        if options.handle_long_generation == "hole":
            ids = self._with_room(ids, new_tokens)
        given = prompt if isinstance(prompt, str) else prompt.messages[-1]["content"]
        if self.limit is not None and len(ids) > self.limit:
            self.check_length(Prompt(ids), given, number)
        new_tokens = self.room(len(ids), new_tokens, given, number, generation, options)
        return Item([Prompt(ids, new_tokens=new_tokens)], (prompt, min(shown, len(ids))))

    def _with_room(self, ids: list[int], new_tokens: int) -> list[int]:
        """The end of a prompt that is too long for its answer."""
        length = usual_length(self.tokenizer, self.limit)
        if length is None or len(ids) + new_tokens <= length:
            return ids
        if new_tokens >= length:
            raise LengthError(
                f"max_new_tokens={new_tokens} leaves no room for a prompt within the {length} positions: lower it"
            )
        return ids[new_tokens - length :]

    def postprocess(self, item: Item, outputs: list[Continued], options: TextGenerationOptions) -> list[dict[str, Any]]:
        prompt, shown = item.kept
        records = []
        for index, new in enumerate(outputs[0].new):
            if options.return_tensors:
                record: dict[str, Any] = {"generated_token_ids": item.rows[0].ids + new}
            else:
                record = {"generated_text": self._shown(prompt, item.rows[0].ids[shown:] + new, options)}
            records.append(record | {name: values[index] for name, values in outputs[0].traced.items()})
        return records

    def _shown(self, prompt: str | Chat, new: list[int], options: TextGenerationOptions) -> Any:
        text = self.text(new, options)
        if not options.return_full_text:
            return text
        if isinstance(prompt, str):
            return prompt + text
        messages = list(prompt.messages)
        if not prompt.prefilled(options.continue_final_message):
            return [*messages, {"role": "assistant", "content": text}]
        last = messages[-1]
        return [*messages[:-1], {"role": last["role"], "content": last["content"] + text}]

    def stream(self, inputs: str | Sequence[Message], **options: Any) -> Iterator[str]:
        """Yield the answer to one prompt or chat piece by piece, as it is generated; options as of a call.

        Raises:
            ArgumentError: several prompts, or options that make no sense here; before the first piece.
        """
        chosen = self.settings(options)
        prompt = self.arrange(inputs, chosen)
        if not isinstance(prompt, (str, Chat)):
            raise ArgumentError("stream takes one text or one chat; for several, call the pipeline")
        generation = self.generation(chosen)
        if useless := [name for name in ("streamer", "stopping_criteria") if generation.get(name)]:
            raise ArgumentError(f"stream yields the text itself and takes no {', '.join(useless)}")
        if self.config(generation).num_return_sequences > 1:
            raise ArgumentError("stream yields one answer; num_return_sequences must be 1")
        row = self.preprocess([prompt], chosen)[0].rows[0]
        assert isinstance(row, Prompt)
        generation |= {"max_new_tokens": row.new_tokens, "max_length": None}
        return self.model.stream(
            **self.prompts([row]),
            tokenizer=self.tokenizer,
            skip_special_tokens=chosen.skip_special_tokens,
            **generation,
        )
