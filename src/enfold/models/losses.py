"""Losses with the reductions that the reference library uses; -100 marks what doesn't count."""

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.config import PreTrainedConfig

IGNORED = -100


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of packed logits [N, C] against labels [N]."""
    return F.cross_entropy(logits.float(), labels.to(logits.device), ignore_index=IGNORED)


def next_token_labels(labels: Tensor, mask: Tensor | None) -> Tensor:
    """[B, T] labels moved one column to the left, so that each column holds what comes next; padding doesn't count."""
    if mask is not None:
        labels = labels.masked_fill(mask == 0, IGNORED)
    return F.pad(labels[:, 1:], (0, 1), value=IGNORED)


def sequence_loss(logits: Tensor, labels: Tensor, config: PreTrainedConfig) -> Tensor:
    """Loss of sequence classification; `config.problem_type` is settled by the first labels when it is None.

    Args:
        logits: [B, C].
        labels: [B] classes, [B] or [B, C] numbers (regression), or [B, C] zeros and ones (several labels).
    """
    labels = labels.to(logits.device)
    if config.problem_type is None:
        if config.num_labels == 1:
            config.problem_type = "regression"
        elif labels.dtype in (torch.int64, torch.int32):
            config.problem_type = "single_label_classification"
        else:
            config.problem_type = "multi_label_classification"
    match config.problem_type:
        case "regression":
            squeezed = (logits.squeeze(), labels.squeeze()) if config.num_labels == 1 else (logits, labels)
            return F.mse_loss(*squeezed)
        case "single_label_classification":
            return F.cross_entropy(logits.view(-1, config.num_labels), labels.view(-1))
        case "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels)
    raise ArgumentError(
        f"config.problem_type is {config.problem_type!r}; expected 'regression', 'single_label_classification' "
        "or 'multi_label_classification'"
    )


def span_loss(start: Tensor, end: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Mean of the two cross-entropies of answer spans: logits [B, T], positions [B]; beyond T doesn't count."""
    losses = []
    for logits, positions in ((start, starts), (end, ends)):
        positions = positions.to(logits.device).view(len(logits), -1)[:, 0].clamp(0, logits.shape[1])
        losses.append(F.cross_entropy(logits, positions, ignore_index=logits.shape[1]))
    return (losses[0] + losses[1]) / 2
