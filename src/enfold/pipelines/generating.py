"""What the tasks that write text share: settings of generation, batches, decoding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from typing import Any, ClassVar, TypeVar

import torch

from enfold.base.errors import ArgumentError, LengthError
from enfold.generation.config import NOT_BUILT, OBJECTS, PASSED_OVER, GenerationConfig
from enfold.pipelines.base import Options, Pipeline
from enfold.pipelines.encoding import Row, batches, preview, stack_rows

# Sequences decoded together, unless `batch_size` says otherwise.
ROWS_PER_BATCH = 16
TOKENS_PER_BATCH = 1 << 16
# Defaults of these matter only to sampling.
OF_SAMPLING = ("temperature",)
# Further arguments of `model.generate`.
CALL = OBJECTS
# Those of a caller's own code or memory, which sees one prompt at a time.
WATCHERS = (
    "streamer",
    "stopping_criteria",
    "logits_processor",
    "prefix_allowed_tokens_fn",
    "negative_prompt_ids",
    "past_key_values",
)
# Settings that a repository makes for beams, and ways of decoding that have none.
OF_BEAMS = ("length_penalty", "early_stopping")
WITHOUT_BEAMS = ("streamer", "penalty_alpha", "prompt_lookup_num_tokens", "assistant_model")
# Settings by which users say how much is written.
OF_LENGTH = {"max_new_tokens", "max_length", "generation_config"}


@dataclass(frozen=True, kw_only=True)
class GenerationOptions(Options):
    """Options of every task that writes, beside those of `GenerationConfig` (`max_new_tokens=64, do_sample=False, …`).

    Attributes:
        return_tensors: give ids instead of text.
        clean_up_tokenization_spaces, skip_special_tokens: as in the tokenizer's `decode`.
        prefix: put before each input.
        stop_sequence: a text, or several, that end an answer; they are part of it.
        generation: what `model.generate` gets.
    """

    return_tensors: bool = False
    clean_up_tokenization_spaces: bool | None = None
    skip_special_tokens: bool = True
    prefix: str | None = None
    stop_sequence: str | Sequence[str] | None = None
    generation: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Prompt(Row):
    """A row with the number of tokens that may follow it, and the one that they must begin with."""

    new_tokens: int = 0
    begin: int | None = None


@dataclass(slots=True)
class Continued:
    """New tokens of each sequence that continues a prompt, and what else was asked for, by its name."""

    new: list[list[int]]
    traced: dict[str, list[Any]]


Settings = TypeVar("Settings", bound=GenerationOptions)


class GenerationPipeline(Pipeline[Settings]):
    """A pipeline that calls `model.generate`.

    Class attributes of a task:
        defaults: settings of generation where neither the user nor the repository says otherwise.
        returns: options that say what to return, under several names.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    returns: ClassVar[tuple[str, ...]] = ()
    window = 64

    # Options

    def settings(self, options: dict[str, Any]) -> Settings:
        chosen = super().settings({n: v for n, v in options.items() if n not in self.returns} | self.form(options))
        self.config(self.generation(chosen))
        return chosen

    def form(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be returned, if these options say so, as fields of the task's settings."""
        return {}

    def absorb(self, chosen: Settings, others: dict[str, Any]) -> Settings:
        known = GenerationConfig.known() | NOT_BUILT.keys() | PASSED_OVER | CALL
        generation = {name: value for name, value in others.items() if name in known}
        if "max_length" in generation:  # the tokenizer's too, but an input is never cut for it
            others = {name: value for name, value in others.items() if name != "max_length"}
        base = {} if "generation_config" in generation else chosen.generation
        chosen = replace(chosen, generation={**base, **generation})
        rest = {name: value for name, value in others.items() if name not in known}
        return super().absorb(chosen, rest) if rest else chosen

    def option_names(self) -> set[str]:
        return (super().option_names() | GenerationConfig.known() | CALL | {*self.returns}) - {"generation"}

    def suggested(self, options: Settings) -> Mapping[str, Any]:
        """Settings that the repository makes for this task alone: above its general ones, below the user's."""
        return {}

    def generation(self, options: Settings) -> dict[str, Any]:
        """What `model.generate` gets, with the pipeline's defaults for what neither user nor repository set."""
        asked = dict(options.generation)
        given = asked.get("generation_config")
        if given is not None and not isinstance(given, GenerationConfig):
            raise ArgumentError(
                f"generation_config is a {type(given).__name__}; expected enfold.generation.GenerationConfig"
            )
        if options.stop_sequence is not None:
            stops = options.stop_sequence
            asked["stop_strings"] = [stops] if isinstance(stops, str) else list(stops)
        if given is None:
            suggested = dict(self.suggested(options))
            if asked.keys() & {"max_new_tokens", "max_length"}:
                suggested = {n: v for n, v in suggested.items() if n not in ("max_new_tokens", "max_length")}
            if asked.get("num_beams") == 1:
                suggested = {n: v for n, v in suggested.items() if n not in ("length_penalty", "early_stopping")}
            asked = {**suggested, **asked}
        said = self._said(given) | asked.keys()
        added = {n: v for n, v in self.defaults.items() if n not in said}
        if "max_length" in said:
            added.pop("max_new_tokens", None)
        if any(asked.get(name) for name in WITHOUT_BEAMS):
            added.pop("num_beams", None)
        if given is None and {**added, **asked}.get("num_beams", self.model.generation_config.num_beams) == 1:
            kept = options.generation.keys()
            asked = {name: value for name, value in asked.items() if name in kept or name not in OF_BEAMS}
        base = self.model.generation_config if given is None else given
        if not {"do_sample": base.do_sample, **added, **asked}["do_sample"]:
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

    def config(self, generation: Mapping[str, Any]) -> GenerationConfig:
        """The settings that these options make, which refuses what is contradictory or not built."""
        base = generation.get("generation_config")
        base = self.model.generation_config if base is None else base
        return base.override({name: value for name, value in generation.items() if name not in CALL})

    # Room

    def room(
        self, used: int, asked: int, given: Any, number: int, generation: Mapping[str, Any], options: Settings
    ) -> int:
        """How many tokens may be written: only a number that nobody asked for is lowered to what fits.

        Args:
            used: positions that are taken before the first new token.
            asked: new tokens by the settings.
            given: the input, for messages.

        Raises:
            LengthError: what was asked for doesn't fit.
        """
        if self.limit is None or used + asked - 1 <= self.limit:
            return asked
        if OF_LENGTH & generation.keys() & options.generation.keys():
            raise LengthError(
                f"input {number} ({preview(given)}) has {used} tokens, {asked} may follow, and the model "
                f"knows {self.limit} positions: lower max_new_tokens{self.instead_of_lowering}"
            )
        return self.limit - used + 1

    # What a message about an answer without room also suggests.
    instead_of_lowering: ClassVar[str] = ""

    # Steps

    def batches(self, rows: list[Row], options: Settings, cap: int | None) -> Iterator[list[int]]:
        generation = self.generation(options)
        if any(generation.get(name) is not None for name in WATCHERS):
            yield from ([k] for k in range(len(rows)))  # whoever watches sees one prompt at a time, in their order
            return
        config = self.config(generation)
        traced = config.return_dict_in_generate and (config.output_scores or config.output_logits)
        cap = 1 if traced else cap or ROWS_PER_BATCH
        whole = config.min_length > 0  # it counts padding, so only rows of one length share a batch

        def shared(k: int) -> tuple[int, int, int]:
            row = rows[k]
            assert isinstance(row, Prompt)
            return row.new_tokens, -1 if row.begin is None else row.begin, len(row.ids) if whole else 0

        for _, group in groupby(sorted(range(len(rows)), key=shared), shared):
            members = list(group)
            for batch in batches([len(rows[k].ids) for k in members], TOKENS_PER_BATCH, cap):
                yield [members[k] for k in batch]

    def forward(self, rows: list[Row], options: Settings) -> list[Continued]:
        generation = self.generation(options)
        first = rows[0]
        assert isinstance(first, Prompt)
        generation |= {"max_new_tokens": first.new_tokens, "max_length": None, "return_dict_in_generate": True}
        if first.begin is not None:
            generation["forced_bos_token_id"] = first.begin
        output = self.model.generate(**self.prompts(rows), tokenizer=self.tokenizer, **generation)
        each = len(output.sequences) // len(rows)
        width = output.sequences.shape[1] - max(output.new_lengths)
        sequences = output.sequences[:, width:].tolist()
        continued = []
        for start in range(0, len(sequences), each):
            # The sequences of one prompt are shown equally long, filled up with padding behind their ends.
            length = max(output.new_lengths[start : start + each])
            continued.append(Continued([new[:length] for new in sequences[start : start + each]], {}))
        for name in ("scores", "logits"):
            if (steps := getattr(output, name)) is not None:
                continued[0].traced[name] = torch.stack(steps, dim=1).cpu().tolist()  # [R, steps, V]
        return continued

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """`input_ids` and `attention_mask` of a batch."""
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        return stack_rows(rows, pad=pad, device=self.device, left=True)

    def text(self, ids: Sequence[int], options: Settings) -> str:
        """Ids → text."""
        return self.tokenizer.decode(
            ids,
            skip_special_tokens=options.skip_special_tokens,
            clean_up_tokenization_spaces=options.clean_up_tokenization_spaces,
        )
