"""From logits to what is drawn from: each step a pure function of scores [B, V] and what came before."""

from collections.abc import Callable

import torch
from torch import Tensor

from enfold.generation.config import GenerationConfig

# (tokens so far [B, T], scores [B, V], new tokens so far) → scores [B, V]
Processor = Callable[[Tensor, Tensor, int], Tensor]


def penalise_repetition(penalty: float) -> Processor:
    """Positive scores of tokens that occurred are divided by the penalty, negative ones multiplied (CTRL, §4.1)."""

    def process(tokens: Tensor, scores: Tensor, new: int) -> Tensor:
        seen = scores.gather(1, tokens)
        return scores.scatter(1, tokens, torch.where(seen < 0, seen * penalty, seen / penalty))

    return process


def forbid_end(ends: frozenset[int], until_new: int) -> Processor:
    """No end of sequence before so many new tokens."""
    columns = sorted(ends)

    def process(tokens: Tensor, scores: Tensor, new: int) -> Tensor:
        if new < until_new:
            scores = scores.clone()
            scores[:, columns] = float("-inf")
        return scores

    return process


def divide(temperature: float) -> Processor:
    """Sharper below 1, flatter above."""
    return lambda tokens, scores, new: scores / temperature


def keep_top_k(k: int) -> Processor:
    """Only the k highest scores."""

    def process(tokens: Tensor, scores: Tensor, new: int) -> Tensor:
        lowest = scores.topk(min(k, scores.shape[-1])).values[:, -1:]
        return scores.masked_fill(scores < lowest, float("-inf"))

    return process


def keep_top_p(p: float) -> Processor:
    """The smallest set of most likely tokens that reaches probability p (Holtzman et al. 2020)."""

    def process(tokens: Tensor, scores: Tensor, new: int) -> Tensor:
        ascending, order = scores.sort(descending=False)
        dropped = ascending.softmax(-1).cumsum(-1) <= 1 - p
        dropped[:, -1] = False
        return scores.masked_fill(dropped.scatter(1, order, dropped), float("-inf"))

    return process


def keep_min_p(fraction: float) -> Processor:
    """Tokens at least `fraction` as likely as the likeliest (Nguyen et al. 2024)."""

    def process(tokens: Tensor, scores: Tensor, new: int) -> Tensor:
        probabilities = scores.softmax(-1)
        return scores.masked_fill(probabilities < fraction * probabilities.amax(-1, keepdim=True), float("-inf"))

    return process


def processors(config: GenerationConfig, prompt: int) -> list[Processor]:
    """The steps that a configuration asks for, in the reference library's order.

    Args:
        prompt: columns of the prompt, which `min_length` counts in.
    """
    steps: list[Processor] = []
    if config.repetition_penalty not in (None, 1.0):
        steps.append(penalise_repetition(config.repetition_penalty))
    least = config.min_new_tokens or max(0, (config.min_length or 0) - prompt)
    if least and config.ends:
        steps.append(forbid_end(config.ends, least))
    if config.do_sample:
        if config.temperature not in (None, 1.0):
            steps.append(divide(config.temperature))
        if config.top_k:
            steps.append(keep_top_k(config.top_k))
        if config.top_p is not None and config.top_p < 1.0:
            steps.append(keep_top_p(config.top_p))
        if config.min_p is not None:
            steps.append(keep_min_p(config.min_p))
    return steps
