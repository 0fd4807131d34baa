"""text2text-generation and its kin, summarization and translation: a text in, a text out, by an encoder–decoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.config import GenerationConfig
from enfold.pipelines.base import Item
from enfold.pipelines.encoding import Row, stack_rows, tokenizer_options
from enfold.pipelines.generating import Continued, GenerationOptions, GenerationPipeline, Prompt
from enfold.pipelines.languages import Languages, languages_of_task


@dataclass(frozen=True, kw_only=True)
class Text2TextOptions(GenerationOptions):
    """Options of tasks by an encoder–decoder, beside those of `GenerationConfig` (`num_beams=1, max_new_tokens=64, …`).

    Attributes:
        return_tensors: give `…_token_ids`, an int64 tensor [T] that begins with the decoder's start token, instead of
            text. (`return_text` and `return_type` are older ways to say one or the other.)
        prefix: put before each text; by default what the repository says for the task.
    """


class Text2TextGenerationPipeline(GenerationPipeline[Text2TextOptions]):
    """Texts → `[{"generated_text": text}]` each; a list gives one record a text, or a list of them where several
    sequences are asked for.

    Where neither the call nor the repository says otherwise, up to 256 new tokens are searched with four beams.
    """

    task = "text2text-generation"
    heads = ("seq2seq-lm",)
    options_class: ClassVar[type[GenerationOptions]] = Text2TextOptions
    defaults: ClassVar[dict[str, Any]] = {"max_new_tokens": 256, "num_beams": 4}
    returns: ClassVar[tuple[str, ...]] = ("return_tensors", "return_text", "return_type")
    # What the answer's record calls it.
    name: ClassVar[str] = "generated"

    # Options

    def form(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Text or ids.

        Raises:
            ArgumentError: the options say both, or neither.
        """
        said = {name: options[name] for name in self.returns if options.get(name) is not None}
        if not said:
            return {}
        kind = said.get("return_type")
        kind = getattr(kind, "value", kind)  # 0 and 1, or an enumeration of these
        if kind not in (None, 0, 1):
            raise ArgumentError(f"return_type is {kind!r}; expected 0 (ids) or 1 (text)")
        asked = {} if kind is None else {"return_type": kind == 0}
        asked |= {"return_tensors": bool(said["return_tensors"])} if "return_tensors" in said else {}
        asked |= {"return_text": not said["return_text"]} if "return_text" in said else {}
        if len(set(asked.values())) > 1:
            raise ArgumentError(f"{', '.join(said)} say different things: text or ids are returned, not both")
        return {"return_tensors": next(iter(asked.values()))}

    def suggested(self, options: Text2TextOptions) -> Mapping[str, Any]:
        entries = self.repository(options)
        return {name: value for name, value in entries.items() if name in GenerationConfig.known()}

    def repository(self, options: Text2TextOptions) -> Mapping[str, Any]:
        """What the configuration says for this task: settings of generation, and `prefix`."""
        said = self.model.config.get("task_specific_params") or {}
        return said.get(self.task) or {}

    # Steps

    def present(self, inputs: Any, answers: Any, options: Text2TextOptions, given: dict[str, Any]) -> Any:
        if isinstance(inputs, (list, tuple)) and all(len(records) == 1 for records in answers):
            return [records[0] for records in answers]
        return answers

    def preprocess(self, inputs: list[Any], options: Text2TextOptions, first: int = 0) -> list[Item]:
        generation = self.generation(options)
        config = self.config(generation)
        items = super().preprocess(self.prefixed(inputs, options), options, first)
        for index, item in enumerate(items):
            # The decoder's start token takes one of its positions.
            new_tokens = self.room(1, config.new_tokens(1), inputs[index], first + index, generation, options)
            item.rows = [Prompt(item.rows[0].ids, new_tokens=new_tokens, begin=self.begin(options))]
        return items

    def prefixed(self, inputs: list[Any], options: Text2TextOptions) -> list[Any]:
        """Texts behind the prefix that the call or the repository asks for."""
        prefix = options.prefix
        if prefix is None:
            prefix = self.repository(options).get("prefix", self.model.config.get("prefix"))
        return [prefix + text if prefix and isinstance(text, str) else text for text in inputs]

    def begin(self, options: Text2TextOptions) -> int | None:
        """The token that every answer begins with, behind the decoder's start token."""
        return None

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return stack_rows(rows, pad=pad, device=self.device)

    def postprocess(self, item: Item, outputs: list[Continued], options: Text2TextOptions) -> list[dict[str, Any]]:
        records = []
        for index, new in enumerate(outputs[0].new):
            if options.return_tensors:
                record: dict[str, Any] = {f"{self.name}_token_ids": self._with_start(new, options)}
            else:
                record = {f"{self.name}_text": self.text(new, options)}
            records.append(record | {name: values[index] for name, values in outputs[0].traced.items()})
        return records

    def _with_start(self, new: list[int], options: Text2TextOptions) -> Tensor:
        config = self.config(self.generation(options))
        start = config.decoder_start_token_id
        start = config.bos_token_id if start is None else start
        return torch.tensor([start, *new])


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Texts → `{"summary_text": text}`; see `Text2TextGenerationPipeline`.

    A model that reads long texts by windows (LED) gets `global_attention_mask` for the first token of each, as its
    authors sum up with it.
    """

    task = "summarization"
    name = "summary"

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        given = super().prompts(rows)
        return given | self.model.for_summaries(**given)


@dataclass(frozen=True, kw_only=True)
class TranslationOptions(Text2TextOptions):
    """Options of translation.

    Attributes:
        src_lang, tgt_lang: languages, by the codes of the tokenizer ("en", "eng_Latn", "en_XX"), for models that
            translate several; by default those in the task's name. Marian's models into several languages take
            `tgt_lang` alone.
    """

    src_lang: str | None = None
    tgt_lang: str | None = None


class TranslationPipeline(Text2TextGenerationPipeline):
    """Texts → `{"translation_text": text}`; the task `translation_en_to_de` says from which language into which."""

    task = "translation"
    options_class = TranslationOptions
    name = "translation"

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        self.languages = Languages(tokenizer)
        super().__init__(model, tokenizer, **options)

    def settings(self, options: dict[str, Any]) -> TranslationOptions:
        chosen = super().settings(options)
        assert isinstance(chosen, TranslationOptions)
        if chosen.src_lang is None and chosen.tgt_lang is None:
            source, target = languages_of_task(self.task)
            chosen = replace(chosen, src_lang=source, tgt_lang=target)
        named = options.get("src_lang") is not None or options.get("tgt_lang") is not None
        if named and self.languages.targets and options.get("src_lang") is not None:
            raise ArgumentError(
                f"this model translates from one language: leave out src_lang={chosen.src_lang!r} and pass tgt_lang="
            )
        if named and not (self.languages.several or self.languages.targets or self.repository(chosen)):
            raise ArgumentError(
                f"this model translates one pair of languages: leave out src_lang={chosen.src_lang!r} and "
                f"tgt_lang={chosen.tgt_lang!r}"
            )
        self.languages.check(chosen.src_lang, chosen.tgt_lang, asked=named)
        return chosen

    def repository(self, options: Text2TextOptions) -> Mapping[str, Any]:
        assert isinstance(options, TranslationOptions)
        said = self.model.config.get("task_specific_params") or {}
        return said.get(f"translation_{options.src_lang}_to_{options.tgt_lang}") or said.get(self.task) or {}

    def encode(self, texts: list[str], pairs: list[str] | None, options: Text2TextOptions) -> list[Row]:
        assert isinstance(options, TranslationOptions)
        call = tokenizer_options(options.tokenizer_kwargs, self.tokenizer, self.length(options))
        return self.languages.encode(texts, options.src_lang, options.tgt_lang, call)

    def begin(self, options: Text2TextOptions) -> int | None:
        assert isinstance(options, TranslationOptions)
        return self.languages.begin(options.src_lang, options.tgt_lang)
