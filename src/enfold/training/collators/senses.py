"""Rows of images and sounds: read when their batch is made, so that no row holds pixels or samples before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.processing.batch_feature import as_tensor
from enfold.training.collators.padding import IGNORED, default_data_collator


@dataclass
class DataCollatorForImages:
    """Rows of pictures, or of pixel values, with what else they have (`label`).

    Args:
        processor: an image processor; reads the pictures.
        image_column: which entry of a row is its picture.
    """

    processor: Any = None
    image_column: str = "image"
    return_tensors: str = "pt"

    def __call__(self, features: list[Mapping[str, Any]], return_tensors: str | None = None) -> dict[str, Any]:
        kind, name = return_tensors or self.return_tensors, self.image_column
        taken = {name, "pixel_values"}
        rest = [{key: value for key, value in row.items() if key not in taken} for row in features]
        if "pixel_values" in features[0]:
            pixels = as_tensor([row["pixel_values"] for row in features], kind, "pixel_values")
        elif name not in features[0]:
            raise ArgumentError(
                f"rows have {', '.join(map(str, features[0])) or 'nothing'}; expected {name!r} or 'pixel_values'. With "
                "a Trainer, pass remove_unused_columns=False: the model doesn't know the column, the collator does"
            )
        elif self.processor is None:
            raise ArgumentError(f"rows hold pictures ({name!r}): give the collator the image processor that reads them")
        else:
            pixels = self.processor([row[name] for row in features], return_tensors=kind)["pixel_values"]
        return {"pixel_values": pixels, **(default_data_collator(rest, kind) if rest[0] else {})}


@dataclass
class DataCollatorCTCWithPadding:
    """Rows of sounds, or of `input_values`, with the ids of what is said in them (`labels`); each padded for itself.

    Args:
        processor: its feature extractor reads and pads the sounds, its tokenizer pads the labels (with -100 then).
        padding: True or "longest", "max_length" (then `max_length`), or False.
        max_length, pad_to_multiple_of: of the sounds; `…_labels` of the labels.
        audio_column: which entry of a row is its sound.
    """

    processor: Any
    padding: bool | str = True
    max_length: int | None = None
    max_length_labels: int | None = None
    pad_to_multiple_of: int | None = None
    pad_to_multiple_of_labels: int | None = None
    audio_column: str = "audio"
    return_tensors: str = "pt"

    def __call__(self, features: list[Mapping[str, Any]]) -> dict[str, Any]:
        options = {"padding": self.padding, "max_length": self.max_length, "return_tensors": self.return_tensors}
        options["pad_to_multiple_of"] = self.pad_to_multiple_of
        extractor, first = self.processor.feature_extractor, features[0]
        name = extractor.model_input_names[0]
        if name in first:
            kept = [{key: row[key] for key in (name, "attention_mask") if key in row} for row in features]
            batch = dict(extractor.pad(kept, **options))
        elif self.audio_column in first:
            sounds = [row[self.audio_column] for row in features]
            batch = dict(extractor(sounds, sampling_rate=extractor.sampling_rate, **options))
        else:
            raise ArgumentError(
                f"rows have {', '.join(map(str, first)) or 'nothing'}; expected {name!r} or {self.audio_column!r}. "
                "With a Trainer, pass remove_unused_columns=False: the model doesn't know the column, the collator does"
            )
        if "labels" in first:
            batch["labels"] = self._labels([list(map(int, row["labels"])) for row in features])
        return batch

    def _labels(self, rows: list[list[int]]) -> Tensor | Any:
        longest, of = max(map(len, rows)), self.pad_to_multiple_of_labels
        if self.max_length_labels is not None:
            if longest > self.max_length_labels:
                raise ArgumentError(f"a row has {longest} labels, more than max_length_labels={self.max_length_labels}")
            longest = self.max_length_labels
        length = -(-longest // of) * of if of else longest
        whole = torch.tensor([row + [IGNORED] * (length - len(row)) for row in rows], dtype=torch.long)
        return whole.view(len(rows), length) if self.return_tensors == "pt" else whole.numpy()
