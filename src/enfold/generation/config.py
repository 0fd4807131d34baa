"""Settings of `generate`: a repository's `generation_config.json`, overridden by the call."""

import difflib
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from enfold.base.errors import ArgumentError, NotBuiltError

# What the reference library also knows → the value that asks for nothing. Any other is refused, not ignored.
NOT_BUILT: dict[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "penalty_alpha": None,
    "dola_layers": None,
    "typical_p": 1.0,
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "force_words_ids": None,
    "constraints": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "sequence_bias": None,
    "token_healing": False,
    "guidance_scale": None,
    "watermarking_config": None,
    "prompt_lookup_num_tokens": None,
    "assistant_model": None,
    "prefix_allowed_tokens_fn": None,
    "logits_processor": None,
    "negative_prompt_ids": None,
    "use_mtp": False,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "cache_implementation": None,
}
# Entries of files that describe other ways of running, of no meaning here.
PASSED_OVER = {
    "_from_model_config",
    "transformers_version",
    "_commit_hash",
    "early_stopping",
    "length_penalty",
    "low_memory",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "cache_config",
    "max_cache_len",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "target_lookbehind",
    "assistant_ensemble_weight",
    "max_matching_ngram_size",
    "speculation_type",
    "prefill_chunk_size",
    "no_repeat_ngram",
}


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
        top_k: only the k most likely tokens (0: all).
        top_p: only the most likely tokens that together reach this probability (Holtzman et al. 2020).
        min_p: only tokens at least this fraction as likely as the most likely one (Nguyen et al. 2024).
        repetition_penalty: logits of tokens that occurred are divided (if positive) or multiplied by it
            (Keskar et al. 2019).
        num_return_sequences: samples for each prompt.
        seed: of the draws; None uses torch's global generator.
        use_cache: False recomputes everything for each token.
        return_dict_in_generate: return a `GenerateOutput` instead of the ids.
        output_scores: keep the logits of each step after processing; `output_logits`, before.
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
    repetition_penalty: float = 1.0
    num_return_sequences: int = 1
    seed: int | None = None
    use_cache: bool = True
    return_dict_in_generate: bool = False
    output_scores: bool = False
    output_logits: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None
    not_built: tuple[tuple[str, Any], ...] = ()  # what a file asks for and enfold can't do yet; a call may override it

    def __post_init__(self) -> None:
        for name, low in (("max_new_tokens", 0), ("max_length", 1), ("num_return_sequences", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < low):
                raise ArgumentError(f"{name} is {value!r}; expected an integer of at least {low}")
        if self.do_sample and not self.temperature > 0:
            raise ArgumentError(f"temperature is {self.temperature}; expected a positive number, or do_sample=False")
        if self.top_k is not None and self.top_k < 0:
            raise ArgumentError(f"top_k is {self.top_k}; expected 0 (all tokens) or a positive number")
        if self.top_p is not None and not 0 <= self.top_p <= 1:
            raise ArgumentError(f"top_p is {self.top_p}; expected a probability between 0 and 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ArgumentError(f"min_p is {self.min_p}; expected a fraction between 0 and 1")
        if self.repetition_penalty is not None and not self.repetition_penalty > 0:
            raise ArgumentError(f"repetition_penalty is {self.repetition_penalty}; expected a positive number")
        if self.num_return_sequences > 1 and not self.do_sample:
            raise ArgumentError(
                f"num_return_sequences={self.num_return_sequences} without do_sample=True would return "
                "the same greedy text several times"
            )

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
        return cls(**known, not_built=tuple(refused))

    def override(self, options: dict[str, Any]) -> Self:
        """With the options of a call.

        Raises:
            ArgumentError: an unknown option (the nearest known one is named).
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
                near = difflib.get_close_matches(name, self.known(), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ArgumentError(f"generate got {name}={value!r}, which is no setting{hint}")
            elif value is not None:
                raise NotBuiltError(f"generate got {name}={value!r}, which is not built yet")
        if options.get("max_length") is not None:
            chosen.setdefault("max_new_tokens", None)  # the call's limit, not the file's
        defaults = {f.name: f.default for f in fields(self)}
        unset = ("max_new_tokens", "max_length", "min_new_tokens", "min_p", "seed", "max_time", "stop_strings")
        return replace(self, **{n: defaults[n] if v is None and n not in unset else v for n, v in chosen.items()})

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

    def _ends(self) -> list[int]:
        given = self.eos_token_id
        return [] if given is None else [given] if isinstance(given, int) else list(given)


def _not_built(name: str, value: Any, *, from_file: bool = False) -> NotBuiltError:
    way_out = f" The repository's generation settings ask for it: pass {name}={NOT_BUILT[name]!r}." if from_file else ""
    return NotBuiltError(
        f"generation with {name}={value!r} is not built yet; built are greedy search and sampling with temperature, "
        f"top_k, top_p, min_p and repetition_penalty.{way_out}"
    )
