"""From the arguments of `generate` to what guesses ahead."""

import copy
from dataclasses import replace
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.generation.config import GenerationConfig
from enfold.generation.drafting import ModelDrafter, Resumable, TextDrafter
from enfold.generation.speculative import Drafter, PromptLookup
from enfold.models.sessions import StackSession, take
from enfold.nn.modules import Source, Stack


def drafter_of(
    model: Any, session: Any, config: GenerationConfig, objects: dict[str, Any], tokenizer: Any, given: dict[str, Any]
) -> Drafter | None:
    """What guesses ahead, if a call asked for it.

    Args:
        session: of the model.
        given: inputs of the call.

    Raises:
        ArgumentError: a smaller model or a number of layers that doesn't fit.
    """
    if config.prompt_lookup_num_tokens:
        return PromptLookup(config.prompt_lookup_num_tokens, config.max_matching_ngram_size or 2)
    if config.assistant_early_exit is not None:
        return ModelDrafter(_first_layers(model, config.assistant_early_exit, session), config, _positions(model))
    assistant = objects.get("assistant_model")
    if assistant is None:
        return None
    if not hasattr(assistant, "new_session") or assistant.config.is_encoder_decoder != model.config.is_encoder_decoder:
        raise ArgumentError(
            f"assistant_model is a {type(assistant).__name__}; expected a smaller model of the same kind as "
            f"{type(model).__name__}, which writes too"
        )
    theirs = objects.get("assistant_tokenizer")
    if theirs is None and assistant.config.vocab_size != model.config.vocab_size:
        raise ArgumentError(
            f"assistant_model has {assistant.config.vocab_size} tokens and the model {model.config.vocab_size}: pass "
            "tokenizer= and assistant_tokenizer= if their tokenizers differ"
        )
    if theirs is not None and tokenizer is None:
        raise ArgumentError("assistant_tokenizer needs tokenizer=, the model's own")
    plain = GenerationConfig()
    if model.config.is_encoder_decoder:
        source = _source(assistant, given, config, theirs is not None)
        memory = Resumable(
            lambda rows: assistant.new_session(plain, 1, source=source if rows is None else take(source, rows)),
            model.device,
        )
    else:
        memory = Resumable(lambda rows: assistant.new_session(plain, 1), model.device)
    if theirs is not None:
        return TextDrafter(tokenizer, theirs, memory, config, _positions(assistant))
    return ModelDrafter(memory, config, _positions(assistant))


def _positions(model: Any) -> int | None:
    return None if model.config.is_encoder_decoder else model.max_positions()


def _first_layers(model: Any, count: int, session: Any) -> Resumable:
    """A model's own first layers, followed by its norm and its head.

    Raises:
        ArgumentError: it has no more than so many.
    """
    whole: Stack = model.decoding_stack
    if count >= len(whole.spec.depths):
        raise ArgumentError(
            f"assistant_early_exit is {count}, and the model has {len(whole.spec.depths)} layers: expected fewer"
        )
    early = copy.copy(whole)
    early.spec = replace(whole.spec, schedule=whole.spec.depths[:count])
    source = session.source

    def begin(rows: list[int] | None) -> StackSession:
        return StackSession(model, early, source if source is None or rows is None else take(source, rows))

    return Resumable(begin, model.device)


def _source(assistant: Any, given: dict[str, Any], config: GenerationConfig, across: bool) -> Source:
    """What the smaller model reads, by its own encoder."""
    if given.get("input_ids") is None or across:
        raise ArgumentError("assistant_model of an encoder–decoder needs input_ids, and the same tokenizer")
    encoded = assistant.encode(given["input_ids"].to(assistant.device), given.get("source_mask"))
    return Source(encoded.packed, encoded.where)
