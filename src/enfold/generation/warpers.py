"""Steps that reshape the distribution that is drawn from. Each keeps the likeliest `min_tokens_to_keep` tokens."""

import math
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.generation.config import GenerationConfig
from enfold.generation.processors import LogitsProcessor

MINUS_INFINITY = float("-inf")


def _inside(name: str, value: float, *, zero: bool = False, one: bool = False) -> float:
    if not (0 < value < 1 or (zero and value == 0) or (one and value == 1)):
        raise ArgumentError(f"{name} is {value}; expected a number between 0 and 1")
    return float(value)


class TemperatureLogitsWarper(LogitsProcessor):
    """Sharper below 1, flatter above."""

    def __init__(self, temperature: float):
        if not temperature > 0:
            raise ArgumentError(f"temperature is {temperature}; expected a positive number")
        self.temperature = temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores / self.temperature


class TopHLogitsWarper(LogitsProcessor):
    """The likeliest tokens until they carry this fraction of the entropy (top-H, 2025); of the first 100."""

    def __init__(self, top_h: float, filter_value: float = MINUS_INFINITY):
        self.fraction, self.filler = _inside("top_h", top_h, one=True), filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best, order = scores.topk(min(100, scores.shape[1]))
        logs = best.log_softmax(-1)
        terms = -logs.exp() * logs
        terms = terms.nan_to_num(nan=0.0)  # what other steps have forbidden says nothing
        kept = terms.cumsum(-1) <= self.fraction * terms.sum(-1, keepdim=True)
        kept[:, 0] = True
        return scores.masked_fill(~torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, kept), self.filler)


class TopKLogitsWarper(LogitsProcessor):
    """Only the k highest scores."""

    def __init__(self, top_k: int, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1):
        if not isinstance(top_k, int) or top_k < 1:
            raise ArgumentError(f"top_k is {top_k!r}; expected a positive integer")
        self.k, self.filler = max(top_k, min_tokens_to_keep), filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        lowest = scores.topk(min(self.k, scores.shape[1])).values[:, -1:]
        return scores.masked_fill(scores < lowest, self.filler)


class TopPLogitsWarper(LogitsProcessor):
    """The smallest set of most likely tokens that reaches probability p (Holtzman et al. 2020)."""

    def __init__(self, top_p: float, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1):
        self.p, self.filler, self.least = _inside("top_p", top_p, zero=True, one=True), filter_value, min_tokens_to_keep

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        ascending, order = scores.sort(descending=False)
        dropped = ascending.softmax(-1).cumsum(-1) <= 1 - self.p
        dropped[:, -self.least :] = False
        return scores.masked_fill(dropped.scatter(1, order, dropped), self.filler)


class MinPLogitsWarper(LogitsProcessor):
    """Tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024)."""

    def __init__(self, min_p: float, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1):
        self.p, self.filler, self.least = _inside("min_p", min_p, zero=True, one=True), filter_value, min_tokens_to_keep

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        probabilities = scores.softmax(-1)
        dropped = probabilities < self.p * probabilities.amax(-1, keepdim=True)
        if self.least > 1:
            dropped = dropped.scatter(1, probabilities.topk(min(self.least, scores.shape[1])).indices, False)
        return scores.masked_fill(dropped, self.filler)


class TypicalLogitsWarper(LogitsProcessor):
    """Tokens whose information is nearest to the entropy, until they reach a mass (Meister et al. 2022)."""

    def __init__(self, mass: float = 0.9, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1):
        self.mass, self.filler, self.least = _inside("typical_p", mass), filter_value, min_tokens_to_keep

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logs = scores.log_softmax(-1)
        entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
        distance, order = (-logs - entropy).abs().sort()
        last = (scores.gather(1, order).softmax(-1).cumsum(-1) < self.mass).sum(1).clamp(max=scores.shape[1] - 1)
        dropped = distance > distance.gather(1, last[:, None])
        dropped[:, : self.least] = False
        return scores.masked_fill(dropped.scatter(1, order, dropped), self.filler)


class _Cutoff(LogitsProcessor):
    """Tokens below a probability are dropped."""

    def __init__(self, epsilon: float, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1):
        self.epsilon, self.filler, self.least = _inside("the cut-off", epsilon), filter_value, min_tokens_to_keep

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        dropped = scores.softmax(-1) < self.limit(scores)
        best = scores.topk(min(self.least, scores.shape[1])).values[:, -1:]
        return scores.masked_fill(dropped & (scores < best), self.filler)

    def limit(self, scores: Tensor) -> Tensor | float:
        """The least probability, [B, 1] or of all rows."""
        raise NotImplementedError


class EpsilonLogitsWarper(_Cutoff):
    """The same least probability always (Hewitt et al. 2022)."""

    def limit(self, scores: Tensor) -> float:
        return self.epsilon


class EtaLogitsWarper(_Cutoff):
    """A lower one where the distribution is flat: min(ε, √ε·exp(−entropy)) (Hewitt et al. 2022, eq. 3)."""

    def __init__(
        self, epsilon: float, filter_value: float = MINUS_INFINITY, min_tokens_to_keep: int = 1, device: Any = None
    ):
        super().__init__(epsilon, filter_value, min_tokens_to_keep)

    def limit(self, scores: Tensor) -> Tensor:
        logs = scores.log_softmax(-1)
        entropy = -(logs.exp() * logs.clamp(min=torch.finfo(logs.dtype).min)).sum(-1, keepdim=True)
        return (math.sqrt(self.epsilon) * (-entropy).exp()).clamp(max=self.epsilon)


class LogitNormalization(LogitsProcessor):
    """Log-probabilities of what is left."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.log_softmax(-1)


def warpers(config: GenerationConfig) -> list[LogitsProcessor]:
    """The steps of sampling that a configuration asks for, in the reference library's order."""
    # Beams need something to go on with where all ends are likely.
    least = 1 if config.num_beams == 1 else max(2, len(config.ends) + 1)
    steps: list[LogitsProcessor] = []
    if config.temperature != 1.0:
        steps.append(TemperatureLogitsWarper(config.temperature))
    if config.top_h is not None:
        steps.append(TopHLogitsWarper(config.top_h))
    if config.top_k:
        steps.append(TopKLogitsWarper(config.top_k, min_tokens_to_keep=least))
    if config.top_p < 1.0:
        steps.append(TopPLogitsWarper(config.top_p, min_tokens_to_keep=least))
    if config.min_p is not None:
        steps.append(MinPLogitsWarper(config.min_p, min_tokens_to_keep=least))
    if config.typical_p < 1.0:
        steps.append(TypicalLogitsWarper(config.typical_p, min_tokens_to_keep=least))
    if 0 < config.epsilon_cutoff < 1:
        steps.append(EpsilonLogitsWarper(config.epsilon_cutoff, min_tokens_to_keep=least))
    if 0 < config.eta_cutoff < 1:
        steps.append(EtaLogitsWarper(config.eta_cutoff, min_tokens_to_keep=least))
    return steps
