"""What settings of generation may be, alone and together."""

from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.generation.config import GenerationConfig

INTEGERS = {  # name → least value
    "max_new_tokens": 0,
    "max_length": 1,
    "min_new_tokens": 0,
    "num_return_sequences": 1,
    "num_beams": 1,
    "num_beam_groups": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "prompt_lookup_num_tokens": 1,
    "max_matching_ngram_size": 1,
    "num_assistant_tokens": 1,
    "max_cache_len": 1,
    "prefill_chunk_size": 1,
    "assistant_early_exit": 1,
}
FRACTIONS = {  # name → (what it is, whether 0 is one)
    "top_p": ("a probability", True),
    "min_p": ("a fraction", True),
    "top_h": ("a fraction", False),
    "typical_p": ("a probability", False),
    "epsilon_cutoff": ("a probability", True),
    "eta_cutoff": ("a probability", True),
    "assistant_confidence_threshold": ("a probability", True),
}
# Settings of no effect unless tokens are drawn.
OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
CACHES = {  # name that users know → how keys and values are kept
    "dynamic": "growing",
    "dynamic_full": "growing",
    "static": "fixed",
    "hybrid": "ring",
    "sliding_window": "ring",
    "quantized": "quantized",
    "offloaded": "offloaded",
    "offloaded_static": "offloaded",
    "offloaded_hybrid": "offloaded",
}


def values(config: "GenerationConfig") -> None:
    """Each setting by itself.

    Raises:
        ArgumentError: one is out of its range; the message names it.
    """
    for name, low in INTEGERS.items():
        value = getattr(config, name)
        if value is not None and (not isinstance(value, int) or value < low):
            raise ArgumentError(f"{name} is {value!r}; expected an integer of at least {low}")
    for name, (kind, zero) in FRACTIONS.items():
        value = getattr(config, name)
        if value is not None and not (0 <= value <= 1 and (zero or value > 0)):
            raise ArgumentError(f"{name} is {value}; expected {kind} {'between' if zero else 'above'} 0 and 1")
    if config.do_sample and not config.temperature > 0:
        raise ArgumentError(f"temperature is {config.temperature}; expected a positive number, or do_sample=False")
    if config.top_k is not None and config.top_k < 0:
        raise ArgumentError(f"top_k is {config.top_k}; expected 0 (all tokens) or a positive number")
    for name in ("repetition_penalty", "encoder_repetition_penalty"):
        if not getattr(config, name) > 0:
            raise ArgumentError(f"{name} is {getattr(config, name)}; expected a positive number")
    if config.early_stopping not in (True, False, "never"):
        raise ArgumentError(f"early_stopping is {config.early_stopping!r}; expected True, False or 'never'")
    if config.penalty_alpha is not None and not 0 <= config.penalty_alpha <= 1:
        raise ArgumentError(f"penalty_alpha is {config.penalty_alpha}; expected a weight between 0 and 1")
    if config.num_assistant_tokens_schedule not in ("constant", "heuristic", "heuristic_transient"):
        raise ArgumentError(
            f"num_assistant_tokens_schedule is {config.num_assistant_tokens_schedule!r}; expected 'constant', "
            "'heuristic' or 'heuristic_transient'"
        )
    if config.cache_implementation is not None and config.cache_implementation not in CACHES:
        raise ArgumentError(
            f"cache_implementation is {config.cache_implementation!r}; known are {', '.join(map(repr, CACHES))}"
        )


def combinations(config: "GenerationConfig") -> None:
    """Settings beside each other.

    Raises:
        ArgumentError: two contradict; the message names both.
    """
    beams, groups = config.num_beams, config.num_beam_groups
    if beams % groups:
        raise ArgumentError(f"num_beam_groups={groups} does not divide num_beams={beams}")
    if groups > 1 and config.do_sample:
        raise ArgumentError(f"num_beam_groups={groups} and do_sample=True exclude each other: groups are searched")
    if config.diversity_penalty and groups == 1:
        raise ArgumentError(f"diversity_penalty={config.diversity_penalty} needs num_beam_groups above 1")
    if groups > 1 and not config.diversity_penalty > 0:
        raise ArgumentError(
            f"num_beam_groups={groups} with diversity_penalty={config.diversity_penalty}: all groups would find the "
            "same; expected a positive penalty"
        )
    if beams > 1 and config.num_return_sequences > beams:
        raise ArgumentError(f"num_return_sequences={config.num_return_sequences} is more than num_beams={beams}")
    if beams == 1 and config.num_return_sequences > 1 and not config.do_sample:
        raise ArgumentError(
            f"num_return_sequences={config.num_return_sequences} without do_sample=True or as many num_beams would "
            "return the same greedy text several times"
        )
    if config.penalty_alpha:
        for name, excluded in (("num_beams", beams > 1), ("do_sample", config.do_sample)):
            if excluded:
                raise ArgumentError(
                    f"penalty_alpha={config.penalty_alpha} (contrastive search) and {name}={getattr(config, name)} "
                    "exclude each other"
                )
        if not config.top_k:
            raise ArgumentError("penalty_alpha needs top_k, the number of candidates of a step")
    if config.prompt_lookup_num_tokens and (beams > 1 or config.penalty_alpha):
        other = f"num_beams={beams}" if beams > 1 else f"penalty_alpha={config.penalty_alpha}"
        raise ArgumentError(
            f"prompt_lookup_num_tokens={config.prompt_lookup_num_tokens} and {other} exclude each other"
        )
    if config.max_matching_ngram_size and not config.prompt_lookup_num_tokens:
        raise ArgumentError("max_matching_ngram_size is of prompt lookup: pass prompt_lookup_num_tokens too")
    if not config.use_cache and config.cache_implementation is not None:
        raise ArgumentError(
            f"use_cache=False and cache_implementation={config.cache_implementation!r} exclude each other"
        )
    if config.prefill_chunk_size and (config.penalty_alpha or not config.use_cache):
        other = f"penalty_alpha={config.penalty_alpha}" if config.penalty_alpha else "use_cache=False"
        raise ArgumentError(f"prefill_chunk_size={config.prefill_chunk_size} and {other} exclude each other")
    if config.max_cache_len is not None and CACHES.get(config.cache_implementation or "") != "fixed":
        raise ArgumentError(f"max_cache_len={config.max_cache_len} needs cache_implementation='static'")


def effects(config: "GenerationConfig", asked: dict[str, Any]) -> None:
    """Whether what a call asked for has an effect.

    Raises:
        ArgumentError: it has none; the message says what it needs.
    """
    for name in OF_SAMPLING:
        if name in asked and not config.do_sample and not (name == "top_k" and config.penalty_alpha):
            if name == "temperature" and asked[name] == 0:
                continue  # another way to ask for greedy search
            if asked[name] is not None:
                raise ArgumentError(f"{name}={asked[name]} has no effect without do_sample=True")
    for name in ("length_penalty", "early_stopping"):
        if name in asked and asked[name] is not None and config.num_beams == 1:
            raise ArgumentError(f"{name}={asked[name]!r} has no effect without num_beams above 1")
    for name in ("output_scores", "output_logits", "output_attentions", "output_hidden_states"):
        if asked.get(name) and not config.return_dict_in_generate:
            raise ArgumentError(f"{name}=True has no effect without return_dict_in_generate=True")
