"""Steps that look at what was said: repetition, n-grams, lengths, words that are forbidden, forced or favoured."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.processors import LogitsProcessor, as_ids, forbid

MINUS_INFINITY = float("-inf")


def scale_towards(scores: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    """Positive scores of tokens [B, T] divided by the penalty, negative ones multiplied; tokens ≥ V are nobody."""
    wider = torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)
    tokens = tokens.clamp(max=scores.shape[1])
    seen = wider.gather(1, tokens)
    return wider.scatter(1, tokens, torch.where(seen < 0, seen * penalty, seen / penalty))[:, :-1]


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens that occurred become less likely (CTRL, Keskar et al. 2019, §4.1).

    Args:
        penalty: above 1 punishes, below 1 rewards.
        prompt_ignore_length: leading columns that don't count, of all rows or each one's [B].
    """

    def __init__(self, penalty: float, prompt_ignore_length: int | Tensor | None = None):
        if not penalty > 0:
            raise ArgumentError(f"penalty is {penalty}; expected a positive number")
        self.penalty, self.ignored = penalty, prompt_ignore_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if isinstance(self.ignored, int):
            input_ids = input_ids[:, self.ignored :]
        elif self.ignored is not None:
            before = torch.arange(input_ids.shape[1], device=input_ids.device) < self.ignored[:, None]
            input_ids = input_ids.masked_fill(before, scores.shape[1])
        return scale_towards(scores, input_ids, self.penalty)

    def select(self, rows: Sequence[int]) -> None:
        if isinstance(self.ignored, Tensor):
            self.ignored = self.ignored[list(rows)]


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens of the source [B, S] become likelier."""

    def __init__(self, penalty: float, encoder_input_ids: Tensor):
        if not penalty > 0:
            raise ArgumentError(f"penalty is {penalty}; expected a positive number")
        self.penalty, self.source = 1 / penalty, encoder_input_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        copies = len(scores) // len(self.source)
        return scale_towards(scores, self.source.repeat_interleave(copies, 0), self.penalty)

    def select(self, rows: Sequence[int]) -> None:
        self.source = self.source[list(rows)]


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No n-gram occurs twice."""

    def __init__(self, ngram_size: int):
        if ngram_size < 1:
            raise ArgumentError(f"ngram_size is {ngram_size}; expected at least 1")
        self.size = ngram_size

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return ban_ngrams(input_ids, input_ids, self.size, scores)


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No n-gram of the source [B, S] is said."""

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Tensor):
        self.size, self.source = encoder_ngram_size, encoder_input_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        copies = len(scores) // len(self.source)
        return ban_ngrams(self.source.repeat_interleave(copies, 0), input_ids, self.size, scores)

    def select(self, rows: Sequence[int]) -> None:
        self.source = self.source[list(rows)]


def ban_ngrams(text: Tensor, said: Tensor, size: int, scores: Tensor) -> Tensor:
    """Scores [B, V] without the tokens that would end an n-gram of `text` [B, S] behind `said` [B, T]."""
    if text.shape[1] < size or said.shape[1] < size - 1:
        return scores
    ngrams = text.unfold(1, size, 1)  # [B, S-n+1, n]
    end = said[:, said.shape[1] + 1 - size :]
    met = (ngrams[..., :-1] == end[:, None]).all(-1)
    beyond = scores.shape[1]
    banned = torch.zeros(len(scores), beyond + 1, dtype=torch.bool, device=scores.device)
    banned.scatter_(1, torch.where(met, ngrams[..., -1].clamp(max=beyond), beyond), True)
    return scores.masked_fill(banned[:, :-1], MINUS_INFINITY)


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """A bias on tokens that complete a sequence.

    Args:
        sequence_bias: {(tokens, …): bias} or [[[tokens, …], bias], …].
    """

    def __init__(self, sequence_bias: dict[tuple[int, ...], float] | list):
        self.biases = _biases(sequence_bias)
        self._single: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._single is None:
            self._single, self._longer = self._prepared(scores)
        bias = self._single.expand_as(scores)
        for starts, ends, amounts in self._longer:
            length = starts.shape[1]
            if length <= input_ids.shape[1]:
                met = (input_ids[:, None, -length:] == starts).all(-1)  # [B, sequences]
                bias = bias.index_add(1, ends, torch.where(met, amounts, 0.0))
        return scores + bias

    def _prepared(self, scores: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Biases of single tokens [V]; beginnings, last tokens and biases of longer sequences, by length."""
        beyond = [t for sequence in self.biases for t in sequence if t >= scores.shape[1]]
        if beyond:
            raise ArgumentError(
                f"sequence_bias or bad_words_ids names tokens {beyond}; the model has {scores.shape[1]}"
            )
        single = torch.zeros(scores.shape[1], device=scores.device)
        by_length: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for sequence, bias in self.biases.items():
            if len(sequence) == 1:
                single[sequence[0]] = bias
            else:
                by_length.setdefault(len(sequence), []).append((sequence, bias))
        longer = [
            (
                torch.tensor([s[:-1] for s, _ in group], device=scores.device),
                torch.tensor([s[-1] for s, _ in group], device=scores.device),
                torch.tensor([b for _, b in group], device=scores.device),
            )
            for group in by_length.values()
        ]
        return single, longer


def _biases(given: Any) -> dict[tuple[int, ...], float]:
    pairs = given.items() if isinstance(given, dict) else given
    try:
        biases = {tuple(int(t) for t in sequence): float(bias) for sequence, bias in pairs}
    except (TypeError, ValueError):
        biases = {}
    if not biases or not all(sequence and min(sequence) >= 0 for sequence in biases):
        raise ArgumentError(
            f"sequence_bias is {given!r}; expected {{(token, …): bias}} or [[[token, …], bias], …], not empty"
        )
    return biases


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Sequences that are never completed; an end of text alone is no bad word."""

    def __init__(self, bad_words_ids: list[list[int]], eos_token_id: int | Sequence[int] | Tensor | None = None):
        words = [tuple(word) for word in bad_words_ids] if isinstance(bad_words_ids, (list, tuple)) else []
        if not words or not all(words) or any(not isinstance(t, int) or t < 0 for word in words for t in word):
            raise ArgumentError(f"bad_words_ids is {bad_words_ids!r}; expected lists of tokens, none of them empty")
        ends = {(end,) for end in as_ids(eos_token_id)}
        self.biases = {word: MINUS_INFINITY for word in words if word not in ends}
        self._single = None


class MinLengthLogitsProcessor(LogitsProcessor):
    """No end before that many columns, the prompt's included."""

    def __init__(self, min_length: int, eos_token_id: int | Sequence[int] | Tensor, device: Any = None):
        if not isinstance(min_length, int) or min_length < 0:
            raise ArgumentError(f"min_length is {min_length!r}; expected an integer of at least 0")
        self.least, self.ends = min_length, as_ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return forbid(scores, self.ends) if input_ids.shape[1] < self.least else scores


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """No end before that many new tokens."""

    def __init__(self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: Any, device: Any = None):
        super().__init__(prompt_length_to_skip + min_new_tokens, eos_token_id)


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Only tokens that a function allows behind the text so far.

    Args:
        prefix_allowed_tokens_fn: (number of the prompt, tokens [T]) → allowed tokens.
        num_beams: hypotheses of each prompt.
    """

    def __init__(self, prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]], num_beams: int = 1):
        self.allowed, self.beams = prefix_allowed_tokens_fn, num_beams
        self.rows: list[int] | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = range(len(scores)) if self.rows is None else self.rows
        mask = torch.full_like(scores, MINUS_INFINITY)
        for row, (number, tokens) in enumerate(zip(rows, input_ids, strict=True)):
            allowed = self.allowed(number // self.beams, tokens)
            if len(allowed) == 0:
                raise ArgumentError(
                    f"prefix_allowed_tokens_fn allows nothing behind prompt {number // self.beams}'s "
                    f"{len(tokens)} tokens so far: it must allow at least the end of the text"
                )
            mask[row, torch.as_tensor(allowed, device=mask.device)] = 0
        masked = scores + mask
        # Where other steps have forbidden all that is allowed, in every beam, what is allowed counts for more.
        stuck = masked.amax(-1).isneginf().view(-1, self.beams).all(-1).repeat_interleave(self.beams)
        return torch.where(stuck[:, None], mask, masked)

    def select(self, rows: Sequence[int]) -> None:
        if self.beams == 1:
            self.rows = list(rows) if self.rows is None else [self.rows[row] for row in rows]


def _only(scores: Tensor, tokens: Sequence[int]) -> Tensor:
    scores = torch.full_like(scores, MINUS_INFINITY)
    scores[:, list(tokens)] = 0
    return scores


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """Behind a single token, only this one."""

    def __init__(self, bos_token_id: int):
        self.token = bos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return _only(scores, [self.token]) if input_ids.shape[1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """In the last of `max_length` columns, only these tokens."""

    def __init__(self, max_length: int, eos_token_id: int | Sequence[int] | Tensor, device: Any = None):
        self.last, self.ends = max_length - 1, as_ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return _only(scores, self.ends) if input_ids.shape[1] == self.last else scores


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """NaN becomes 0, infinities the largest and smallest numbers."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.nan_to_num(nan=0.0)


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """Ends grow likelier with each token beyond a number of new ones.

    Args:
        exponential_decay_length_penalty: (new tokens before it begins, factor of each token).
        input_ids_seq_length: columns of the prompt.
    """

    def __init__(
        self, exponential_decay_length_penalty: tuple[int, float], eos_token_id: Any, input_ids_seq_length: int
    ):
        try:
            start, self.factor = exponential_decay_length_penalty
        except (TypeError, ValueError):
            raise ArgumentError(
                f"exponential_decay_length_penalty is {exponential_decay_length_penalty!r}; expected (start, factor)"
            ) from None
        self.start, self.ends = start + input_ids_seq_length, as_ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        beyond = input_ids.shape[1] - self.start
        if beyond <= 0:
            return scores
        before = scores[:, self.ends]
        added = (before.abs() * (self.factor**beyond - 1)).masked_fill(~before.isfinite(), 0.0)
        scores = scores.clone()
        scores[:, self.ends] = before + added
        return scores


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Tokens that are never said."""

    def __init__(self, suppress_tokens: Sequence[int], device: Any = None):
        self.tokens = list(suppress_tokens)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return forbid(scores, self.tokens)


class SuppressTokensAtBeginLogitsProcessor(SuppressTokensLogitsProcessor):
    """Tokens that are not said behind the first `begin_index` columns."""

    def __init__(self, begin_suppress_tokens: Sequence[int], begin_index: int, device: Any = None):
        super().__init__(begin_suppress_tokens)
        self.begin = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return super().__call__(input_ids, scores) if input_ids.shape[1] == self.begin else scores
