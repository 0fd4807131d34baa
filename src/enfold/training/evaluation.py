"""A model over a data set without learning: predictions, labels and loss, gathered from all processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from enfold.accelerate import operations


@dataclass
class EvalPrediction:
    """What `compute_metrics` gets; unpacks into (predictions, label_ids).

    Attributes:
        predictions: the model's outputs, without the loss: an array, or a tuple of arrays.
        label_ids: the labels, in the same way.
        inputs: where `include_for_metrics` has "inputs".
        losses: where it has "loss": one a batch.
    """

    predictions: Any
    label_ids: Any
    inputs: Any = None
    losses: np.ndarray | None = None

    def __iter__(self):
        return iter((self.predictions, self.label_ids))

    def __getitem__(self, index: int) -> Any:
        return (self.predictions, self.label_ids)[index]


class PredictionOutput(NamedTuple):
    """What `predict` returns."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float] | None


class Gathered:
    """Batches behind each other, rows of unequal length padded with -100."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def add(self, data: Any) -> None:
        """One batch of one process: tensors in any nesting."""
        if data is None:
            return
        padded = operations.pad_across_processes(data, dim=1, pad_index=-100)
        self.parts.append(operations.nested(lambda tensor: tensor.detach().cpu(), operations.gather(padded)))

    def arrays(self) -> Any:
        """All rows as numpy arrays, in the same nesting; None if there are none."""
        return None if not self.parts else _joined(self.parts)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return _stacked(parts)
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    return type(first)(_joined(list(same)) for same in zip(*parts, strict=True))


def _stacked(parts: list[Tensor]) -> np.ndarray:
    parts = [part.float() if part.dtype == torch.bfloat16 else part for part in parts]
    if parts[0].ndim < 2 or len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts).numpy()
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = parts[0].new_full((sum(map(len, parts)), *shape), -100)
    row = 0
    for part in parts:
        place = (slice(row, row + len(part)), *(slice(0, size) for size in part.shape[1:]))
        whole[place] = part
        row += len(part)
    return whole.numpy()


def outputs_of(outputs: Any, ignore_keys: list[str]) -> Any:
    """What a model answered besides its loss: one tensor, or a tuple of them."""
    if hasattr(outputs, "items"):
        kept = tuple(value for name, value in outputs.items() if name not in (*ignore_keys, "loss"))
    else:
        kept = tuple(outputs[1:])
    kept = tuple(value for value in kept if isinstance(value, Tensor | tuple | list))
    return kept[0] if len(kept) == 1 else kept


MetricFunction = Callable[..., dict[str, Any]]


def named_metrics(metrics: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Metrics as plain numbers, each name beginning with the prefix."""
    plain: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, np.generic | Tensor):
            value = value.item() if getattr(value, "size", 1) == 1 or isinstance(value, np.generic) else value
        plain[name if name.startswith(f"{prefix}_") else f"{prefix}_{name}"] = value
    return plain


def speed_metrics(prefix: str, seconds: float, rows: int | None = None, steps: int | None = None) -> dict[str, float]:
    """How long it took, and how much a second."""
    metrics: dict[str, float] = {f"{prefix}_runtime": round(seconds, 4)}
    for name, count in (("samples", rows), ("steps", steps)):
        if count is not None and seconds > 0:
            metrics[f"{prefix}_{name}_per_second"] = round(count / seconds, 3)
    return metrics
