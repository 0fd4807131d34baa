"""Losses with the reductions that the reference library uses; -100 marks what doesn't count."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError
from enfold.models.config import PreTrainedConfig

IGNORED = -100
# Entries of the logits that a chunked loss holds at a time: 64 MB in fp32.
CHUNK_ENTRIES = 1 << 24


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of packed logits [N, C] against labels [N]."""
    return F.cross_entropy(logits.float(), labels.to(logits.device), ignore_index=IGNORED)


def chunked_token_loss(
    scores: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], states: Tensor, labels: Tensor, vocab: int
) -> Tensor:
    """`token_loss(scores(states), labels)`, and its gradients, without ever holding all the logits.

    States whose label doesn't count get no scores at all. The others go chunk by chunk; the gradients of a chunk are
    computed with its loss, so nothing is computed twice.

    Args:
        scores: states [n, D] → logits [n, vocab], row by row.
        parameters: everything with a gradient that `scores` reads.
        states: [N, D].
        labels: [N].
    """
    kept = (labels != IGNORED).nonzero().squeeze(1)
    if len(kept) < len(labels):
        states, labels = states.index_select(0, kept), labels.index_select(0, kept)
    rows = max(CHUNK_ENTRIES // vocab, 16)
    if len(labels) <= rows:
        return token_loss(scores(states), labels)
    loss = _ChunkedLoss.apply(scores, rows, labels, states, *parameters)
    return loss / len(labels)  # type: ignore[operator]


class _ChunkedLoss(torch.autograd.Function):
    """The sum of the cross-entropies, with gradients that are ready when it is."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Callable[[Tensor], Tensor],
        rows: int,
        labels: Tensor,
        states: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        wanted = [need and p for need, p in zip(ctx.needs_input_grad[4:], parameters, strict=True)]
        trained = [p for p in wanted if isinstance(p, Tensor)]
        # Sums of many chunks: in fp32, whatever the weights are.
        sums = [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in trained]
        total = torch.zeros((), device=states.device)
        flows: list[Tensor] = []
        for part, wanted_labels in zip(states.split(rows), labels.to(states.device).split(rows), strict=True):
            part = part.detach().requires_grad_(ctx.needs_input_grad[3])
            with torch.set_grad_enabled(any(ctx.needs_input_grad)):
                loss = F.cross_entropy(scores(part).float(), wanted_labels, reduction="sum")
            total += loss.detach()
            if not loss.requires_grad:
                continue
            inputs = [part, *trained] if part.requires_grad else trained
            found = list(torch.autograd.grad(loss, inputs, allow_unused=True))
            if part.requires_grad:
                flows.append(found.pop(0))
            for summed, gradient in zip(sums, found, strict=True):
                if gradient is not None:
                    summed += gradient
        summed_up = iter(sums)
        ctx.save_for_backward(
            *([torch.cat(flows)] if flows else []),
            *(next(summed_up).to(p.dtype) for p in trained),
        )
        ctx.flows, ctx.wanted = bool(flows), [isinstance(p, Tensor) for p in wanted]
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        saved = [gradients[0].to(g.dtype) * g for g in ctx.saved_tensors]
        flow = saved.pop(0) if ctx.flows else None
        return None, None, None, flow, *(saved.pop(0) if wanted else None for wanted in ctx.wanted)


def next_token_labels(labels: Tensor, mask: Tensor | None, sequence_ids: Tensor | None = None) -> Tensor:
    """[B, T] labels moved one column to the left, so that each column holds what comes next.

    Neither padding nor the first token of a sequence counts: no column of its own sequence stands before it.
    """
    if mask is not None:
        labels = labels.masked_fill(mask == 0, IGNORED)
    if sequence_ids is not None:
        starts = F.pad(sequence_ids.diff() != 0, (1, 0))
        labels = labels.masked_fill(starts, IGNORED)
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
