"""Rows of unequal length made equal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enfold.base.errors import ArgumentError

IGNORED = -100


def default_data_collator(features: list[Any], return_tensors: str = "pt") -> dict[str, Any]:
    """Columns of rows whose values have one shape; `label` and `label_ids` become `labels`, strings are left out."""
    rows = [row if isinstance(row, Mapping) else vars(row) for row in features]
    first, batch = rows[0], {}
    for name, value in first.items():
        if name == "label" or name == "label_ids" or value is None or isinstance(value, str):
            continue
        batch[name] = _stacked([row[name] for row in rows], name)
    label = first.get("label")
    if label is not None:
        number = label.item() if isinstance(label, Tensor | np.generic) else label
        kind = torch.float if isinstance(number, float) else torch.long
        batch["labels"] = torch.tensor([row["label"] for row in rows], dtype=kind)
    elif first.get("label_ids") is not None:
        batch["labels"] = _stacked([row["label_ids"] for row in rows], "label_ids")
    return _as(batch, return_tensors)


@dataclass
class DefaultDataCollator:
    """`default_data_collator` with its options."""

    return_tensors: str = "pt"

    def __call__(self, features: list[Any], return_tensors: str | None = None) -> dict[str, Any]:
        return default_data_collator(features, return_tensors or self.return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Rows of tokens, padded by the tokenizer to the longest of the batch.

    Args:
        tokenizer: pads, on its side and with its token.
        padding: True or "longest", "max_length" (then `max_length`), or False.
        pad_to_multiple_of: lengths become multiples of it.
        return_tensors: "pt" or "np".
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: list[Mapping[str, Any]]) -> dict[str, Any]:
        batch = dict(_padded(self, features))
        for other in ("label", "label_ids"):
            if other in batch:
                batch["labels"] = batch.pop(other)
        return batch


def _padded(collator: Any, features: list[Any]) -> Mapping[str, Any]:
    return collator.tokenizer.pad(
        features,
        padding=collator.padding,
        max_length=collator.max_length,
        pad_to_multiple_of=collator.pad_to_multiple_of,
        return_tensors=collator.return_tensors,
    )


@dataclass
class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Rows of tokens with a label each; labels are padded with `label_pad_token_id`."""

    label_pad_token_id: int = IGNORED

    def __call__(self, features: list[Mapping[str, Any]]) -> dict[str, Any]:
        name = "label" if "label" in features[0] else "labels"
        labels = [row[name] for row in features] if name in features[0] else None
        bare = [{key: value for key, value in row.items() if key not in ("label", "labels")} for row in features]
        batch = dict(_padded(self, bare))
        if labels is not None:
            length = np.asarray(batch["input_ids"]).shape[1]
            left = self.tokenizer.padding_side == "left"
            batch["labels"] = _as(
                {"labels": _filled(labels, length, self.label_pad_token_id, left)}, self.return_tensors
            )["labels"]
        return batch


@dataclass
class DataCollatorForSeq2Seq:
    """Rows with `input_ids` and `labels` of unequal lengths; decoder inputs are made by the model, if one is given.

    Args:
        tokenizer: pads the inputs.
        model: makes `decoder_input_ids` of the labels (`prepare_decoder_input_ids_from_labels`).
        label_pad_token_id: pads the labels.
    """

    tokenizer: Any
    model: Any = None
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def __call__(self, features: list[Mapping[str, Any]], return_tensors: str | None = None) -> dict[str, Any]:
        kind = return_tensors or self.return_tensors
        name = "label" if "label" in features[0] else "labels"
        labels: list[Any] = [row.get(name) for row in features]
        bare = [{key: value for key, value in row.items() if key != name} for row in features]
        batch = dict(_padded(self, bare))
        if any(label is None for label in labels):
            return batch
        length = max(len(label) for label in labels)
        if self.padding == "max_length" and self.max_length is not None:
            length = self.max_length
        if self.padding is False and len({len(label) for label in labels}) > 1:
            raise ArgumentError("padding=False, and the labels differ in length; use padding=True")
        if self.pad_to_multiple_of:
            length = -(-length // self.pad_to_multiple_of) * self.pad_to_multiple_of
        left = self.tokenizer.padding_side == "left"
        wanted = _filled(labels, length, self.label_pad_token_id, left)
        if self.model is not None and hasattr(self.model, "prepare_decoder_input_ids_from_labels"):
            batch["decoder_input_ids"] = _as(
                {"x": self.model.prepare_decoder_input_ids_from_labels(labels=wanted)}, kind
            )["x"]
        batch["labels"] = _as({"x": wanted}, kind)["x"]
        return batch


@dataclass
class DataCollatorForMultipleChoice(DataCollatorWithPadding):
    """Rows of several encoded choices each: [rows, choices, length]."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        name = "label" if "label" in features[0] else "labels"
        labels = [row[name] for row in features] if name in features[0] else None
        choices = len(features[0]["input_ids"])
        if any(len(row["input_ids"]) != choices for row in features):
            counts = sorted({len(row["input_ids"]) for row in features})
            raise ArgumentError(f"the rows of a batch have {counts} choices; they must have as many")
        flat = [
            {key: value[number] for key, value in row.items() if key != name}
            for row in features
            for number in range(choices)
        ]
        padded = _padded(self, flat)
        batch = {key: value.reshape(len(features), choices, *value.shape[1:]) for key, value in padded.items()}
        if labels is not None:
            batch["labels"] = _as({"x": torch.tensor(labels, dtype=torch.long)}, self.return_tensors)["x"]
        return batch


def _filled(rows: list[Any], length: int, filling: int, left: bool) -> Tensor:
    """[rows, length] of rows of numbers, filled on one side."""
    whole = torch.full((len(rows), length), filling, dtype=torch.long)
    for target, row in zip(whole, rows, strict=True):
        values = torch.as_tensor(row, dtype=torch.long)
        if len(values) > length:
            raise ArgumentError(f"{len(values)} labels for {length} tokens: each token needs one label")
        target[length - len(values) :] = values if left and len(values) else target[length - len(values) :]
        if not left:
            target[: len(values)] = values
    return whole


def _stacked(values: list[Any], name: str) -> Tensor:
    try:
        if isinstance(values[0], Tensor):
            return torch.stack(values)
        return torch.from_numpy(np.stack(values)) if isinstance(values[0], np.ndarray) else torch.tensor(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ArgumentError(
            f"the rows' {name!r} can't be stacked ({error}): they differ in length or aren't numbers. Pass the "
            "tokenizer (processing_class=) or a data collator that pads"
        ) from error


def _as(batch: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "pt":
        return batch
    if kind == "np":
        return {name: np.asarray(value) for name, value in batch.items()}
    raise ArgumentError(f"return_tensors={kind!r}; expected 'pt' or 'np'")
