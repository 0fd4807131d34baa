"""How many items a loss is the mean of: what makes the mean of an accumulated step the mean over all its items."""

from typing import Any

import torch
from torch import Tensor, nn

from enfold.models.losses import IGNORED


def count_items(model: nn.Module, inputs: dict[str, Any], label_names: list[str], rows: int) -> Tensor:
    """The number of labels that count: tokens for a language model, rows for a classifier or CTC.

    Args:
        model: as it was given to the trainer, without wrappers.
        inputs: of one forward pass.
        label_names: which of them are labels.
        rows: of the batch, where no labels tell.
    """
    labels = inputs.get(label_names[0]) if label_names else None
    by_row = getattr(model, "loss_over", "labels") == "rows"
    if not isinstance(labels, Tensor) or labels.is_floating_point() or by_row:
        return torch.tensor(rows)
    targets = getattr(model, "targets", None)
    if targets is not None and label_names[0] == "labels" and labels.ndim == 2:
        labels = targets(labels, inputs.get("attention_mask"), inputs.get("sequence_ids"))
    if label_names[0] in ("start_positions", "end_positions"):
        return torch.tensor(rows)
    return (labels != IGNORED).sum()


class LabelSmoother:
    """Cross-entropy in which every class gets a share of the target (Szegedy et al. 2016).

    Args:
        epsilon: the share that all classes have together.
        ignore_index: labels that don't count.
    """

    def __init__(self, epsilon: float = 0.1, ignore_index: int = IGNORED):
        self.epsilon, self.ignore_index = epsilon, ignore_index

    def __call__(self, outputs: Any, labels: Tensor, shift_labels: bool = False) -> Tensor:
        """The mean over labels that count; `shift_labels` for models that predict the next token."""
        logits = outputs["logits"] if isinstance(outputs, dict) or hasattr(outputs, "logits") else outputs[0]
        if shift_labels:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        return nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels.reshape(-1),
            ignore_index=self.ignore_index,
            label_smoothing=self.epsilon,
        )
