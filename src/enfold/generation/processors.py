"""From logits to what is drawn from: steps over scores [B, V], each seeing the tokens so far [B, T]."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig


class LogitsProcessor:
    """One step. Subclass it, or pass any callable (ids, scores) → scores as `logits_processor=[…]`."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Processed scores.

        Args:
            input_ids: [B, T] int64, the tokens so far; prompts of unequal length are padded on the left.
            scores: [B, V] fp32: logits, or log-probabilities in beam search.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    def select(self, rows: Sequence[int]) -> None:
        """Rows were kept, repeated or reordered: what a step remembers of rows follows."""


Processor = Callable[[Tensor, Tensor], Tensor]


class LogitsProcessorList(list):
    """Steps, one after another."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for step in self:
            scores = step(input_ids, scores)
        return scores

    def select(self, rows: Sequence[int]) -> None:
        """Hand a change of rows on."""
        for step in self:
            if isinstance(step, LogitsProcessor):
                step.select(rows)


def as_ids(given: int | Iterable[int] | Tensor | None) -> list[int]:
    """One token or several, as a list."""
    if given is None:
        return []
    if isinstance(given, Tensor):
        given = given.tolist()
    return [given] if isinstance(given, int) else sorted(given)


def forbid(scores: Tensor, columns: Sequence[int]) -> Tensor:
    """Scores with these tokens out of the question; of those beyond the vocabulary nothing need be said."""
    scores = scores.clone()
    scores[:, [c for c in columns if c < scores.shape[1]]] = float("-inf")
    return scores


def processors(
    config: GenerationConfig,
    prompt: Tensor,
    limit: int,
    *,
    source: Tensor | None = None,
    padding: Tensor | None = None,
    guidance: Processor | None = None,
    allowed: Callable[[int, Tensor], list[int]] | None = None,
    custom: Sequence[Processor] = (),
    constraint: Processor | None = None,
    vocabulary: int = 0,
) -> LogitsProcessorList:
    """The steps that a configuration asks for, in the reference library's order.

    Args:
        prompt: [B, T], padded on the left.
        limit: how many tokens may follow.
        source: [B, S], what the encoder read; of a decoder, the prompt.
        padding: [B], leading columns of the prompt that are no tokens.
        guidance: classifier-free guidance, where asked for.
        allowed: `prefix_allowed_tokens_fn`.
        custom: the caller's own steps.
        constraint: the step of structured output, behind all others that change what is allowed.
        vocabulary: scores of a step.
    """
    from enfold.generation import penalties as p
    from enfold.generation import warpers as w

    steps = LogitsProcessorList()
    ends, columns = sorted(config.ends), prompt.shape[1]
    source = prompt if source is None else source
    if guidance is not None:
        steps.append(guidance)
    if config.sequence_bias is not None:
        steps.append(p.SequenceBiasLogitsProcessor(config.sequence_bias))
    if config.encoder_repetition_penalty != 1.0:
        steps.append(p.EncoderRepetitionPenaltyLogitsProcessor(config.encoder_repetition_penalty, source))
    if config.repetition_penalty != 1.0:
        steps.append(p.RepetitionPenaltyLogitsProcessor(config.repetition_penalty, padding))
    if config.no_repeat_ngram_size:
        steps.append(p.NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size:
        steps.append(p.EncoderNoRepeatNGramLogitsProcessor(config.encoder_no_repeat_ngram_size, source))
    if config.bad_words_ids is not None:
        steps.append(p.NoBadWordsLogitsProcessor(config.bad_words_ids, ends))
    least = columns + config.min_new_tokens if config.min_new_tokens else config.min_length or 0
    if least > columns and ends:
        steps.append(p.MinLengthLogitsProcessor(least, ends))
    if allowed is not None:
        steps.append(p.PrefixConstrainedLogitsProcessor(allowed, config.num_beams))
    if config.forced_bos_token_id is not None:
        steps.append(p.ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        steps.append(p.ForcedEOSTokenLogitsProcessor(columns + limit, config.forced_eos_token_id))
    if config.remove_invalid_values:
        steps.append(p.InfNanRemoveLogitsProcessor())
    if config.exponential_decay_length_penalty is not None:
        steps.append(p.ExponentialDecayLengthPenalty(config.exponential_decay_length_penalty, ends, columns))
    if config.suppress_tokens is not None:
        steps.append(p.SuppressTokensLogitsProcessor(config.suppress_tokens))
    if config.begin_suppress_tokens is not None:
        forced = columns == 1 and config.forced_bos_token_id is not None
        steps.append(p.SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, columns + forced))
    steps.extend(custom)
    if constraint is not None:
        steps.append(constraint)
    if config.do_sample:
        steps.extend(w.warpers(config))
    if config.watermarking_config is not None:
        from enfold.generation.watermarking import as_watermarking

        steps.append(as_watermarking(config.watermarking_config).construct_processor(vocabulary, prompt.device))
    if config.renormalize_logits:
        steps.append(w.LogitNormalization())
    return steps


def right_aligned(ids: Tensor, lengths: Sequence[int], mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Prompts [B, T] with the padding of every row on its left, and how much that is [B] (None: nowhere any)."""
    columns = ids.shape[1]
    if mask is None or min(lengths) == columns:
        return ids, None
    order = (mask != 0).long().argsort(dim=1, stable=True)  # padding first, each part in its order
    return ids.gather(1, order), columns - torch.tensor(lengths, device=ids.device)
