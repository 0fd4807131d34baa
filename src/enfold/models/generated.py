"""What `generate` returns beside tokens."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from enfold.generation.beam import Beamed
from enfold.generation.loop import Job
from enfold.models.outputs import ModelOutput
from enfold.models.stacks import States


@dataclass
class GenerateOutput(ModelOutput):
    """What `generate` returns with `return_dict_in_generate`; what was not asked for is absent.

    Attributes:
        sequences: [B·R, T + new] int64.
        sequences_scores: [B·R], of beams: log-probability / length ** length_penalty.
        scores, logits: for each step a [B·K, vocab] tensor, after and before processing.
        beam_indices: [B·R, new] int32, the beam that each token continued; -1 behind an end.
        attentions, hidden_states: for each step and layer, [B·K, heads, T, T] and [B·K, T, D], then with T = 1.
        encoder_attentions, encoder_hidden_states, decoder_attentions, cross_attentions, decoder_hidden_states: the same
            of an encoder–decoder.
        past_key_values: the cache; hand it to the next call, whose prompt goes on where this one ended. Absent where
            rows of a batch left the computation at their ends: pass a `DynamicCache()` to the call to keep them all.
        new_lengths: new tokens of each row.
    """

    sequences: Tensor | None = None
    sequences_scores: Tensor | None = None
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    beam_indices: Tensor | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[tuple[Tensor, ...], ...] | None = None
    hidden_states: tuple[tuple[Tensor, ...], ...] | None = None
    decoder_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    cross_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    decoder_hidden_states: tuple[tuple[Tensor, ...], ...] | None = None
    past_key_values: Any = None
    new_lengths: tuple[int, ...] | None = None


def output_of(
    job: Job, sequences: Tensor, beamed: Beamed | None, written: list[list[int]] | None, encoded: States | None
) -> GenerateOutput:
    """All that a call asked to see."""
    config, trail = job.config, job.trail
    output, cache = GenerateOutput(sequences=sequences), getattr(job.session, "cache", None)
    if written is None or (cache is not None and len(cache.lengths) == len(written)):
        output.past_key_values = cache
    if trail is not None:
        output.scores = tuple(trail.scores) if config.output_scores else None
        output.logits = tuple(trail.logits) if config.output_logits else None
    if beamed is not None:
        output.beam_indices = beamed.parents
        output.sequences_scores = beamed.scores if config.output_scores else None
        output.new_lengths = tuple(beamed.lengths)
    elif written is not None:
        output.new_lengths = tuple(map(len, written))
    traces = getattr(job.session, "traces", None)
    if traces is None or trail is None:
        return output
    traces.orders = trail.orders[1:]
    if encoded is None:
        output.attentions, output.hidden_states = traces.weights(), traces.hidden_states()
        return output
    output.decoder_attentions, output.decoder_hidden_states = traces.weights(), traces.hidden_states()
    output.cross_attentions = traces.cross_weights(encoded.packing)
    output.encoder_attentions, output.encoder_hidden_states = encoded.attentions, encoded.hidden_states
    return output


def remember(job: Job, written: list[list[int]]) -> None:
    """Note in a cache which tokens it holds, so that a later call can go on from what its prompt shares."""
    cache: Any = getattr(job.session, "cache", None)
    prompt, copies = job.prompt, job.config.num_return_sequences
    if cache is None or len(cache.lengths) != len(written) or prompt.tokens.is_floating_point():
        return
    begun = [row[pad:] for row, pad in zip(prompt.text.tolist(), prompt.pads, strict=True)]
    cache.tokens = [
        (begun[row // copies] + new)[:length]
        for row, (new, length) in enumerate(zip(written, cache.lengths, strict=True))
    ]
