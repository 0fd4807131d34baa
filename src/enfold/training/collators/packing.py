"""Several sequences in one row, without padding and without seeing each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from enfold.training.collators.padding import IGNORED


@dataclass
class DataCollatorWithFlattening:
    """All rows of a batch behind each other in one row of tokens: [1, N].

    The loss is that of the padded batch, and no step is spent on padding: models of enfold see `sequence_ids` (and
    positions that start anew), and keep the sequences apart.

    Args:
        return_position_ids: positions of each sequence, for models that read them.
        separator_id: the label of each sequence's first token, which nothing predicts.
    """

    return_position_ids: bool = True
    separator_id: int = IGNORED
    return_tensors: str = "pt"

    def __call__(self, features: list[Mapping[str, Any]]) -> dict[str, Any]:
        ids, labels, numbers, positions = [], [], [], []
        for number, row in enumerate(features):
            tokens = [int(token) for token in row["input_ids"]]
            wanted = [int(label) for label in row["labels"]] if "labels" in row else tokens
            ids += tokens
            labels += [self.separator_id, *wanted[1:]]
            numbers += [number] * len(tokens)
            positions += range(len(tokens))
        batch = {"input_ids": ids, "labels": labels, "sequence_ids": numbers}
        if self.return_position_ids:
            batch["position_ids"] = positions
        return {name: torch.tensor([values]) for name, values in batch.items()}
