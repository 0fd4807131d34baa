"""Settings of `generate`: a repository's `generation_config.json`, overridden by the call."""

import difflib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from enfold.base.entries import read_json
from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.generation import checks

FILE = "generation_config.json"
# What the reference library also knows → the value that asks for nothing. Any other is refused, not ignored.
NOT_BUILT: dict[str, Any] = {
    "dola_layers": None,
    "force_words_ids": None,
    "constraints": None,
    "token_healing": False,
    "use_mtp": False,
    "assistant_ensemble_weight": None,
    "speculation_type": None,
    "low_memory": None,
    "custom_generate": None,
}
# Those that left the reference library, too, for repositories whose code it downloads and runs; what to do instead.
_MOVED = "transformers itself has moved it into a repository of code to download and run, which enfold never does"
_INSTEAD = {
    "dola_layers": f"{_MOVED}. No other option decodes by contrasting layers.",
    "force_words_ids": f"{_MOVED}. constraint=Regex(…) or Grammar(…) forces words, in beams too.",
    "constraints": f"{_MOVED}. constraint=Regex(…) or Grammar(…) forces phrases, in beams too.",
    "custom_generate": "enfold runs no code of repositories; write your own loop over the model, or pass "
    "logits_processor= and stopping_criteria=.",
}
# Entries of files that describe other ways of running, of no meaning here.
PASSED_OVER = {
    "_from_model_config",
    "transformers_version",
    "_commit_hash",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "is_assistant",
    "assistant_lookbehind",
    "target_lookbehind",
    "no_repeat_ngram",
}
# Arguments of `generate` beside the settings: objects that no file can hold.
OBJECTS = frozenset(
    {
        "generation_config",
        "streamer",
        "stopping_criteria",
        "logits_processor",
        "prefix_allowed_tokens_fn",
        "assistant_model",
        "assistant_tokenizer",
        "negative_prompt_ids",
        "negative_prompt_attention_mask",
        "constraint",
        "response_format",
        "past_key_values",
    }
)
# Settings whose None says something else than their default.
_UNSET = (
    "max_new_tokens",
    "max_length",
    "min_new_tokens",
    "min_p",
    "seed",
    "max_time",
    "stop_strings",
)


@dataclass(frozen=True)
class GenerationConfig:
    """How to continue a text.

    Attributes:
        max_new_tokens: new tokens at most; None with no `max_length` means 20.
        max_length: prompt and new tokens together, at most.
        min_new_tokens: no end before that many new tokens.
        min_length: no end before that many tokens, prompt included.
        max_time: seconds after which generation ends at the next token.
        stop_strings: texts that end a sequence once they appear (needs `tokenizer=`).
        do_sample: draw from the distribution instead of taking the most likely token.
        temperature: logits are divided by it before sampling.
        top_k: only the k most likely tokens (0: all). With `penalty_alpha`, the candidates of a step.
        top_p: only the most likely tokens that together reach this probability (Holtzman et al. 2020).
        min_p: only tokens at least this fraction as likely as the most likely one (Nguyen et al. 2024).
        top_h: only the most likely tokens that carry this fraction of the entropy (Baghaei Potraghloo et al. 2025).
        typical_p: tokens whose information is nearest to the entropy, up to this mass (Meister et al. 2022).
        epsilon_cutoff, eta_cutoff: only tokens above a probability, fixed or by entropy (Hewitt et al. 2022).
        num_beams: hypotheses kept at each step; 1: no beam search. With `do_sample`, continuations are drawn.
        num_beam_groups: groups of beams that are kept apart from each other (Vijayakumar et al. 2016).
        diversity_penalty: taken from a token's score for each beam of an earlier group that chose it at this step.
        length_penalty: hypotheses compare by log-probability / length ** length_penalty.
        early_stopping: end when there are `num_beams` hypotheses (True), when a better one is unlikely (False), or
            when none can be better ("never").
        penalty_alpha: weight of the penalty on repeating a context, in contrastive search (Su et al. 2022).
        repetition_penalty: logits of tokens that occurred are divided (if positive) or multiplied by it
            (Keskar et al. 2019).
        encoder_repetition_penalty: above 1 favours tokens of the source (of a decoder: of the prompt).
        no_repeat_ngram_size: no n-gram of that size occurs twice.
        encoder_no_repeat_ngram_size: no n-gram of that size is taken over from the source.
        exponential_decay_length_penalty: (start, factor): from `start` new tokens on, ends grow likelier.
        bad_words_ids: token sequences that are never completed.
        sequence_bias: {tokens: bias} or [[tokens, bias]], added where a token completes the sequence.
        forced_bos_token_id: the first token behind a decoder's start token.
        forced_eos_token_id: the last token when the limit is reached.
        suppress_tokens: never drawn; `begin_suppress_tokens`: not as the first new token.
        guidance_scale: how far to move from what the model says without the prompt (Sanchez et al. 2023).
        watermarking_config: a `WatermarkingConfig` or its entries.
        renormalize_logits: make scores log-probabilities again after processing.
        remove_invalid_values: replace NaN and infinities of the model's scores.
        num_return_sequences: sequences for each prompt, drawn or the best beams.
        seed: of the draws; None uses torch's global generator.
        prompt_lookup_num_tokens: guess that many tokens from the prompt itself and check them at once.
        max_matching_ngram_size: longest end of the text that is looked up (2 unless set).
        assistant_early_exit: the model's first so many layers draft (Elhoushi et al. 2024).
        num_assistant_tokens: tokens that `assistant_model=` drafts at a time.
        num_assistant_tokens_schedule: "constant", "heuristic" (per call) or "heuristic_transient".
        assistant_confidence_threshold: a draft ends below this probability; 0 never ends it.
        prefill_chunk_size: feed prompts in parts of so many tokens, which takes less memory.
        use_cache: False recomputes everything for each token.
        cache_implementation: "dynamic" (the default), "static", "hybrid" / "sliding_window" (windowed layers keep their
            window alone), "quantized" (int8), "offloaded".
        cache_config: options of that cache.
        max_cache_len: places of a static cache.
        return_dict_in_generate: return a `GenerateOutput` instead of the ids.
        output_scores: keep the logits of each step after processing; `output_logits`, before.
        output_attentions, output_hidden_states: keep attention weights and states of each step.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    min_new_tokens: int | None = None
    min_length: int = 0
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float | None = None
    top_h: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    penalty_alpha: float | None = None
    repetition_penalty: float = 1.0
    encoder_repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    exponential_decay_length_penalty: tuple[int, float] | None = None
    bad_words_ids: list[list[int]] | None = None
    sequence_bias: Any = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    guidance_scale: float | None = None
    watermarking_config: Any = None
    renormalize_logits: bool = False
    remove_invalid_values: bool = False
    num_return_sequences: int = 1
    seed: int | None = None
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    assistant_early_exit: int | None = None
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float = 0.4
    prefill_chunk_size: int | None = None
    use_cache: bool = True
    cache_implementation: str | None = None
    cache_config: dict[str, Any] | None = None
    max_cache_len: int | None = None
    return_dict_in_generate: bool = False
    output_scores: bool = False
    output_logits: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    not_built: tuple[tuple[str, Any], ...] = ()  # what a file asks for and enfold can't do yet; a call may override it

    def __post_init__(self) -> None:
        checks.values(self)
        checks.combinations(self)

    @classmethod
    def known(cls) -> set[str]:
        """Names of all settings."""
        return {f.name for f in fields(cls)} - {"not_built"}

    @classmethod
    def from_entries(cls, *sources: dict[str, Any]) -> Self:
        """From the entries of files, later ones first in rank; what isn't a setting of generation is passed over."""
        merged: dict[str, Any] = {}
        for entries in sources:
            merged |= {name: value for name, value in entries.items() if value is not None}
        refused = [(n, merged[n]) for n, nothing in NOT_BUILT.items() if merged.get(n, nothing) not in (nothing, None)]
        known = {name: value for name, value in merged.items() if name in cls.known()}
        if known.get("max_length") == 20:  # what old files say without meaning it
            del known["max_length"]
        if known.get("cache_implementation") == "hybrid":  # every cache serves layers of both kinds
            del known["cache_implementation"]
        return cls(**known, not_built=tuple(refused))

    @classmethod
    def from_pretrained(cls, name: str | Path, file_name: str | None = None, **options: Any) -> Self:
        """The settings of a repository, or of a folder; further options are settings, or say where to look.

        Args:
            file_name: default `generation_config.json`.

        Raises:
            ArgumentError: an unknown option.
            HubError and its kin: there is no such file.
        """
        from enfold.hub.files import resolve_file

        where = {n: options.pop(n) for n in ("revision", "cache_dir", "token", "local_files_only") if n in options}
        found = resolve_file(str(name), file_name or FILE, **where)
        assert found is not None
        return cls.from_entries(read_json(found)).override(options)

    def save_pretrained(self, folder: str | Path, file_name: str | None = None) -> None:
        """Write `generation_config.json`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / (file_name or FILE)).write_text(self.to_json())

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as files hold it."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        held |= dict(held.pop("not_built", ()))
        return {name: value.to_dict() if hasattr(value, "to_dict") else value for name, value in held.items()}

    def to_json(self) -> str:
        """The same as the text of a file."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def override(self, options: dict[str, Any]) -> Self:
        """With the options of a call.

        Raises:
            ArgumentError: an unknown option (the nearest known one is named), or one that has no effect here.
            NotBuiltError: an option of the reference library that isn't built yet.
        """
        for name, value in self.not_built:
            if name not in options:
                raise _not_built(name, value, from_file=True)
        chosen: dict[str, Any] = {"not_built": ()}
        for name, value in options.items():
            if name in self.known():
                chosen[name] = value
            elif name in NOT_BUILT:
                if value not in (NOT_BUILT[name], None):
                    raise _not_built(name, value)
            elif name not in PASSED_OVER:
                near = difflib.get_close_matches(name, self.known() | OBJECTS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ArgumentError(f"generate got {name}={value!r}, which is no setting{hint}")
            elif value is not None:
                raise NotBuiltError(f"generate got {name}={value!r}, which is not built yet")
        if options.get("max_length") is not None:
            chosen.setdefault("max_new_tokens", None)  # the call's limit, not the file's
        defaults = {f.name: f.default for f in fields(self)}
        config = replace(self, **{n: defaults[n] if v is None and n not in _UNSET else v for n, v in chosen.items()})
        checks.effects(config, {name: value for name, value in chosen.items() if value != defaults[name]})
        return config

    def new_tokens(self, prompt: int, positions: int | None = None) -> int:
        """How many tokens may follow a prompt of that many columns.

        Args:
            positions: what the model knows; without a limit of its own, an answer stays within them.

        Raises:
            ArgumentError: `max_length` leaves no room.
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is None:
            return 20 if positions is None or positions <= prompt else min(20, positions - prompt)
        if self.max_length <= prompt:
            raise ArgumentError(
                f"the prompt has {prompt} tokens and max_length={self.max_length} counts them in: raise it, "
                "or use max_new_tokens"
            )
        return self.max_length - prompt

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end a sequence."""
        return frozenset(self._ends())

    @property
    def filler(self) -> int:
        """What stands after the end of a sequence: the padding token, or the first of the ends."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        return next(iter(self._ends()), 0)

    @property
    def first_end(self) -> int | None:
        """The first of the ends, in the order that they were given in."""
        return next(iter(self._ends()), None)

    def _ends(self) -> list[int]:
        given = self.eos_token_id
        return [] if given is None else [given] if isinstance(given, int) else list(given)


def _not_built(name: str, value: Any, *, from_file: bool = False) -> NotBuiltError:
    way_out = f" The repository's generation settings ask for it: pass {name}={NOT_BUILT[name]!r}." if from_file else ""
    instead = _INSTEAD.get(name)
    what = f"generation with {name}={value!r} is not built" + (f": {instead}" if instead else " yet.")
    return NotBuiltError(what + way_out)
