"""From the arguments of `generate` to the job that generation does."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.checks import CACHES
from enfold.generation.config import GenerationConfig
from enfold.generation.drafting import ModelDrafter
from enfold.generation.guidance import UnbatchedClassifierFreeGuidanceLogitsProcessor
from enfold.generation.loop import Job, Trail
from enfold.generation.processors import processors
from enfold.generation.session import Prompt, Session
from enfold.generation.structured import StructuredOutput, as_constraint
from enfold.models.drafts import drafter_of
from enfold.models.sessions import Traces
from enfold.nn.where import Packing


def check_objects(config: GenerationConfig, objects: dict[str, Any]) -> None:
    """Whether settings and the objects of a call go together.

    Raises:
        ArgumentError: two of them contradict; the message names both.
    """

    def exclude(name: str, others: dict[str, Any]) -> None:
        for other, value in others.items():
            if value:
                raise ArgumentError(f"{name} and {other} exclude each other")

    traced = {
        "output_attentions=True": config.return_dict_in_generate and config.output_attentions,
        "output_hidden_states=True": config.return_dict_in_generate and config.output_hidden_states,
    }
    guided = {f"guidance_scale={config.guidance_scale}": config.guidance_scale not in (None, 1.0)}
    if not config.use_cache:
        exclude("use_cache=False", traced)
    if config.prefill_chunk_size:
        exclude(f"prefill_chunk_size={config.prefill_chunk_size}", traced)
    if config.penalty_alpha:
        exclude(f"penalty_alpha={config.penalty_alpha} (contrastive search)", traced)
    ways = {
        "assistant_model": objects.get("assistant_model") is not None,
        "prompt_lookup_num_tokens": config.prompt_lookup_num_tokens,
        "assistant_early_exit": config.assistant_early_exit,
    }
    guessing = [name for name, asked in ways.items() if asked]
    if objects.get("assistant_tokenizer") is not None and objects.get("assistant_model") is None:
        raise ArgumentError("assistant_tokenizer has no effect without assistant_model")
    if not guessing:
        return
    structured = objects.get("constraint") is not None or objects.get("response_format") is not None
    exclude(
        guessing[0],
        {
            **dict.fromkeys(guessing[1:], True),
            f"num_beams={config.num_beams}": config.num_beams > 1,
            f"penalty_alpha={config.penalty_alpha}": config.penalty_alpha,
            "constraint (structured output)": structured,
            f"cache_implementation={config.cache_implementation!r} (a ring can't go back)": CACHES.get(
                config.cache_implementation or ""
            )
            == "ring",
            **guided,
            **traced,
        },
    )


def make_job(
    model: Any,
    session: Any,
    prompt: Prompt,
    config: GenerationConfig,
    objects: dict[str, Any],
    tokenizer: Any,
    given: dict[str, Any],
) -> Job:
    """Everything that a call asked for, in order."""
    copies = config.num_beams if config.num_beams > 1 else config.num_return_sequences
    traced = config.return_dict_in_generate and (config.output_attentions or config.output_hidden_states)
    if traced:
        rows, columns = prompt.columns.shape
        packing = Packing.of((rows, columns or prompt.unseen), given.get("prompt_mask"))
        session.traces = Traces(packing, config.output_hidden_states, config.output_attentions, copies)
    config = _of_vectors(model, prompt, config, objects)
    criteria, custom = objects.get("stopping_criteria") or (), objects.get("logits_processor") or ()
    constraint = as_constraint(objects.get("constraint"), objects.get("response_format"))
    size, structured = model.config.vocab_size, None
    if constraint is not None:
        rows, columns = prompt.text.shape
        structured = StructuredOutput(constraint, tokenizer, size, sorted(config.ends), columns, rows)
    steps = processors(
        config,
        prompt.text,
        prompt.limit,
        source=prompt.source,
        padding=prompt.padding,
        guidance=_guidance(model, config, objects, prompt.limit),
        allowed=objects.get("prefix_allowed_tokens_fn"),
        custom=custom,
        constraint=structured,
        vocabulary=size,
    )
    kept = config.return_dict_in_generate and (config.output_scores or config.output_logits or traced)
    drafter = drafter_of(model, session, config, objects, tokenizer, given)
    if drafter is not None and kept and len(prompt.counts) * copies > 1:
        raise ArgumentError(
            "output_scores and output_logits of a batch whose rows guess ahead are not kept: pass one row"
        )
    watched = criteria or custom or given["past_key_values"] is not None
    job = Job(
        session,
        prompt,
        config,
        steps,
        criteria=criteria,
        tokenizer=tokenizer,
        watched=bool(watched),
        trail=Trail() if kept else None,
        drafter=drafter,
    )
    if isinstance(drafter, ModelDrafter):
        drafter.generator = job.generator
    return job


def _of_vectors(model: Any, prompt: Prompt, config: GenerationConfig, objects: dict[str, Any]) -> GenerationConfig:
    """Settings, where a prompt or a source came as vectors: what reads its tokens is refused."""
    reads = {
        "encoder_repetition_penalty": config.encoder_repetition_penalty != 1.0,
        "encoder_no_repeat_ngram_size": config.encoder_no_repeat_ngram_size,
    }
    if prompt.unseen:
        reads |= {
            "guidance_scale": config.guidance_scale not in (None, 1.0),
            "assistant_model": objects.get("assistant_model") is not None,
            "prompt_lookup_num_tokens": config.prompt_lookup_num_tokens,
            "assistant_early_exit": config.assistant_early_exit,
        }
    elif not model.config.is_encoder_decoder or prompt.source is not None:
        return config
    for name, asked in reads.items():
        if asked:
            raise ArgumentError(f"{name} reads the tokens that vectors stand for: pass input_ids")
    return replace(config, min_length=max(0, config.min_length - prompt.unseen))


def _guidance(
    model: Any, config: GenerationConfig, objects: dict[str, Any], limit: int
) -> UnbatchedClassifierFreeGuidanceLogitsProcessor | None:
    negative, mask = objects.get("negative_prompt_ids"), objects.get("negative_prompt_attention_mask")
    scale = config.guidance_scale
    if scale is None or scale == 1.0:
        if negative is not None:
            raise ArgumentError("negative_prompt_ids has no effect without a guidance_scale other than 1")
        return None
    if model.config.is_encoder_decoder:
        raise ArgumentError(f"guidance_scale={scale} is for decoders; this model reads a source")

    def begin(last: Tensor) -> tuple[Session, Tensor]:
        ids = last[:, None] if negative is None else negative.to(last.device)
        if len(last) % len(ids):
            raise ArgumentError(f"negative_prompt_ids has {len(ids)} rows, and the batch has {len(last)}")
        packing = Packing.of(tuple(ids.shape), mask)  # type: ignore[arg-type]
        session = model.new_session(config, max(packing.lengths) + limit)
        logits = session.feed(packing.pack(ids), packing.lengths)
        rows = [row for row in range(len(ids)) for _ in range(len(last) // len(ids))]
        session.select(rows)
        return session, logits[rows]

    return UnbatchedClassifierFreeGuidanceLogitsProcessor(scale, begin)
