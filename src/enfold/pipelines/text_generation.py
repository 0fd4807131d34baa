"""text-generation: prompts and chats, continued."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain, groupby
from typing import Any

import torch

from enfold.base.errors import ArgumentError, LengthError
from enfold.generation.config import NOT_BUILT, PASSED_OVER, GenerationConfig
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, batches, preview, stack_rows, usual_length
from enfold.pipelines.inputs import Whole

# What generation is like unless the repository or the user says otherwise.
DEFAULTS: dict[str, Any] = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}
# Defaults of these matter only to sampling.
OF_SAMPLING = ("temperature",)
# Sequences decoded together, unless `batch_size` says otherwise.
ROWS_PER_BATCH = 16
TOKENS_PER_BATCH = 1 << 16
# Options that say what to return.
RETURNS = ("return_full_text", "return_tensors", "return_text", "return_type")
# Further arguments of `model.generate`.
CALL = frozenset({"generation_config", "streamer", "stopping_criteria"})
Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextGenerationOptions(Options):
    """Options of text-generation, beside those of `GenerationConfig` (`max_new_tokens=64, do_sample=False, …`).

    Attributes:
        return_full_text: give prompt and answer (the default), or with False the answer alone. Of a chat: the whole
            conversation, or the text of the answer.
        return_tensors: give `generated_token_ids`, the prompt's included, instead of text. (`return_text` and
            `return_type` are older ways to say one or the other.)
        clean_up_tokenization_spaces, skip_special_tokens: as in the tokenizer's `decode`.
        prefix: put before each prompt, and not shown.
        handle_long_generation: "hole" drops the beginning of a prompt that leaves no room for the answer.
        stop_sequence: a text, or several, that end an answer; they are part of it.
        continue_final_message: continue the last message of a chat instead of answering it; by default where it is the
            assistant's.
        tools, documents: for the chat template.
        tokenizer_encode_kwargs: further arguments for the tokenizer's call or the chat template.
        generation: what `model.generate` gets.
    """

    return_full_text: bool = True
    return_tensors: bool = False
    clean_up_tokenization_spaces: bool | None = None
    skip_special_tokens: bool = True
    prefix: str | None = None
    handle_long_generation: str | None = None
    stop_sequence: str | Sequence[str] | None = None
    continue_final_message: bool | None = None
    tools: Sequence[Any] | None = None
    documents: Sequence[Any] | None = None
    tokenizer_encode_kwargs: Mapping[str, Any] | None = None
    generation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chat(Whole):
    """A conversation, so that a list of messages isn't taken for a list of inputs."""

    messages: tuple[Message, ...]

    def prefilled(self, options: TextGenerationOptions) -> bool:
        """Whether the last message is to be continued rather than answered."""
        asked = options.continue_final_message
        return self.messages[-1]["role"] == "assistant" if asked is None else asked


@dataclass(slots=True)
class Prompt(Row):
    """A row with the number of tokens that may follow it."""

    new_tokens: int = 0


@dataclass(slots=True)
class Continued:
    """New tokens of each sequence that continues a prompt, and what else was asked for, by its name."""

    new: list[list[int]]
    traced: dict[str, list[Any]]


class TextGenerationPipeline(Pipeline[TextGenerationOptions]):
    """Prompts → `[{"generated_text": text}]` each; chats → `[{"generated_text": messages}]`.

    Where neither the call nor the repository's `generation_config.json` says otherwise, up to 256 new tokens are
    sampled with temperature 0.7. Prompts of a list are decoded together; with sampling, what is drawn depends on that.
    """

    task = "text-generation"
    head = "causal-lm"
    options_class = TextGenerationOptions
    window = 64

    # Options

    def settings(self, options: dict[str, Any]) -> TextGenerationOptions:
        chosen = super().settings({n: v for n, v in options.items() if n not in RETURNS} | _form(options))
        if chosen.handle_long_generation not in (None, "hole"):
            raise ArgumentError(f"handle_long_generation is {chosen.handle_long_generation!r}; expected 'hole' or None")
        self._config(chosen.generation)
        return chosen

    def absorb(self, chosen: TextGenerationOptions, others: dict[str, Any]) -> TextGenerationOptions:
        known = GenerationConfig.known() | NOT_BUILT.keys() | PASSED_OVER | CALL
        generation = {name: value for name, value in others.items() if name in known}
        if "max_length" in generation:  # the tokenizer's too, but a prompt is never cut for it
            others = {name: value for name, value in others.items() if name != "max_length"}
        base = {} if "generation_config" in generation else chosen.generation
        chosen = replace(chosen, generation={**base, **generation})
        rest = {name: value for name, value in others.items() if name not in known}
        return super().absorb(chosen, rest) if rest else chosen

    def option_names(self) -> set[str]:
        return (super().option_names() | GenerationConfig.known() | CALL | {*RETURNS}) - {"generation"}

    def generation(self, options: TextGenerationOptions) -> dict[str, Any]:
        """What `model.generate` gets, with the pipeline's defaults for what neither user nor repository set."""
        asked = dict(options.generation)
        if options.stop_sequence is not None:
            stops = options.stop_sequence
            asked["stop_strings"] = [stops] if isinstance(stops, str) else list(stops)
        said = self._said(asked.get("generation_config")) | asked.keys()
        added = {n: v for n, v in DEFAULTS.items() if n not in said}
        if "max_length" in said:
            added.pop("max_new_tokens", None)
        if not self._config({**asked, **added}).do_sample:
            added = {name: value for name, value in added.items() if name not in OF_SAMPLING}
        if "pad_token_id" not in said and self.tokenizer.pad_token_id is not None:
            added["pad_token_id"] = self.tokenizer.pad_token_id
        return {**added, **asked}

    def _said(self, config: GenerationConfig | None) -> set[str]:
        """Settings that the repository, or a configuration handed over, makes."""
        if config is None and "generation_settings" in self.model.__dict__:
            config = self.model.generation_config
        if config is not None:
            return {f.name for f in fields(config) if getattr(config, f.name) != f.default}
        entries = self.model.__dict__.get("generation_entries")
        entries = self.model.config.entries if entries is None else entries
        return {name for name, value in entries.items() if value is not None and name in GenerationConfig.known()}

    def _config(self, generation: Mapping[str, Any]) -> GenerationConfig:
        """The settings that these options make, which refuses what is contradictory or not built."""
        base = generation.get("generation_config")
        base = self.model.generation_config if base is None else base
        if not isinstance(base, GenerationConfig):
            raise ArgumentError(
                f"generation_config is a {type(base).__name__}; expected enfold.generation.GenerationConfig"
            )
        return base.override({name: value for name, value in generation.items() if name not in CALL})

    # Steps

    def arrange(self, inputs: Any, options: TextGenerationOptions) -> Any:
        if isinstance(inputs, (list, tuple)):
            return Chat(_messages(inputs)) if inputs and _is_message(inputs[0]) else inputs
        if isinstance(inputs, Iterator):
            first = next(inputs, None)
            if first is None:
                return iter(())
            # A stream of messages is one conversation, any other stream one of prompts or conversations.
            return Chat(_messages([first, *inputs])) if _is_message(first) else chain([first], inputs)
        return inputs

    def preprocess(self, inputs: list[Any], options: TextGenerationOptions, first: int = 0) -> list[Item]:
        generation = self.generation(options)
        config = self._config(generation)
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
        if isinstance(item, (list, tuple)) and item and _is_message(item[0]):
            return Chat(_messages(item))
        raise ArgumentError(
            f"{self.task} takes texts, or chats as lists of {{'role': …, 'content': …}}; input {number} is "
            f"{preview(item)}"
        )

    def _chat_ids(self, chat: Chat, options: TextGenerationOptions, call: Mapping[str, Any]) -> list[int]:
        prefilled = chat.prefilled(options)
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
        if self.limit is not None and len(ids) + new_tokens - 1 > self.limit:
            asked = (
                {"max_new_tokens", "max_length", "generation_config"} & generation.keys() & options.generation.keys()
            )
            self._check_room(ids, prompt, new_tokens, number, by_default=not asked)
            new_tokens = self.limit - len(ids) + 1
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

    def _check_room(self, ids: list[int], prompt: Any, new_tokens: int, number: int, *, by_default: bool) -> None:
        """Only the number of tokens that nobody asked for is lowered to what fits.

        Raises:
            LengthError: the prompt alone is too long, or what was asked for doesn't fit.
        """
        assert self.limit is not None
        given = prompt if isinstance(prompt, str) else prompt.messages[-1]["content"]
        if len(ids) > self.limit:
            raise LengthError(
                f"input {number} ({preview(given)}) has {len(ids)} tokens, and the model knows {self.limit} positions: "
                "pass truncation=True to cut it, or handle_long_generation='hole' to drop its beginning"
            )
        if not by_default:
            raise LengthError(
                f"input {number} ({preview(given)}) has {len(ids)} tokens, {new_tokens} may follow, and the model "
                f"knows {self.limit} positions: lower max_new_tokens, or pass handle_long_generation='hole' to drop "
                "the prompt's beginning"
            )

    def batches(self, rows: list[Row], options: TextGenerationOptions, cap: int | None) -> Iterator[list[int]]:
        generation = self.generation(options)
        if any(generation.get(name) for name in ("streamer", "stopping_criteria")):
            yield from ([k] for k in range(len(rows)))  # whoever watches sees one prompt at a time, in their order
            return
        config = self._config(generation)
        traced = config.return_dict_in_generate and (config.output_scores or config.output_logits)
        cap = 1 if traced else cap or ROWS_PER_BATCH
        whole = config.min_length > 0  # it counts padding, so only rows of one length share a batch

        def shared(k: int) -> tuple[int, int]:
            row = rows[k]
            assert isinstance(row, Prompt)
            return row.new_tokens, len(row.ids) if whole else 0

        for _, group in groupby(sorted(range(len(rows)), key=shared), shared):
            members = list(group)
            for batch in batches([len(rows[k].ids) for k in members], TOKENS_PER_BATCH, cap):
                yield [members[k] for k in batch]

    def forward(self, rows: list[Row], options: TextGenerationOptions) -> list[Continued]:
        generation = self.generation(options)
        assert isinstance(rows[0], Prompt)
        generation |= {"max_new_tokens": rows[0].new_tokens, "max_length": None, "return_dict_in_generate": True}
        output = self.model.generate(**self._prompts(rows), tokenizer=self.tokenizer, **generation)
        width = max(len(row.ids) for row in rows)
        each = len(output.sequences) // len(rows)
        sequences = output.sequences[:, width:].tolist()
        continued = []
        for first in range(0, len(sequences), each):
            # The sequences of one prompt are shown equally long, filled up with padding behind their ends.
            length = max(output.new_lengths[first : first + each])
            continued.append(Continued([new[:length] for new in sequences[first : first + each]], {}))
        for name in ("scores", "logits"):
            if (steps := getattr(output, name)) is not None:
                continued[0].traced[name] = torch.stack(steps, dim=1).cpu().tolist()  # [R, steps, V]
        return continued

    def _prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return stack_rows(rows, pad=pad, device=self.device, left=True)

    def postprocess(self, item: Item, outputs: list[Continued], options: TextGenerationOptions) -> list[dict[str, Any]]:
        prompt, shown = item.kept
        records = []
        for index, new in enumerate(outputs[0].new):
            if options.return_tensors:
                record: dict[str, Any] = {"generated_token_ids": item.rows[0].ids + new}
            else:
                record = {"generated_text": self._text(prompt, item.rows[0].ids[shown:] + new, options)}
            records.append(record | {name: values[index] for name, values in outputs[0].traced.items()})
        return records

    def _text(self, prompt: str | Chat, new: list[int], options: TextGenerationOptions) -> Any:
        text = self.tokenizer.decode(
            new,
            skip_special_tokens=options.skip_special_tokens,
            clean_up_tokenization_spaces=options.clean_up_tokenization_spaces,
        )
        if not options.return_full_text:
            return text
        if isinstance(prompt, str):
            return prompt + text
        messages = list(prompt.messages)
        if not prompt.prefilled(options):
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
        if self._config(generation).num_return_sequences > 1:
            raise ArgumentError("stream yields one answer; num_return_sequences must be 1")
        row = self.preprocess([prompt], chosen)[0].rows[0]
        assert isinstance(row, Prompt)
        generation |= {"max_new_tokens": row.new_tokens, "max_length": None}
        return self.model.stream(
            **self._prompts([row]),
            tokenizer=self.tokenizer,
            skip_special_tokens=chosen.skip_special_tokens,
            **generation,
        )


def _form(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be returned, if these options say so: text with or without the prompt, or ids.

    Raises:
        ArgumentError: they say two things.
    """
    said = {name: options[name] for name in RETURNS if options.get(name) is not None}
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


def _is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and "role" in item and "content" in item


def _messages(given: Sequence[Any]) -> tuple[Message, ...]:
    """The messages of a chat.

    Raises:
        ArgumentError: one of them has no role or no content.
    """
    for number, message in enumerate(given):
        if not _is_message(message):
            raise ArgumentError(
                f"message {number} of the chat is {preview(message)}; expected a dictionary with 'role' and 'content'"
            )
    return tuple(given)
