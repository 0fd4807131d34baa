"""Rows → a batch of tensors."""

from collections.abc import Callable
from typing import Any

from enfold.training.collators.packing import DataCollatorWithFlattening
from enfold.training.collators.padding import (
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    default_data_collator,
)
from enfold.training.collators.senses import DataCollatorCTCWithPadding, DataCollatorForImages
from enfold.training.collators.words import DataCollatorForLanguageModeling, DataCollatorForWholeWordMask

DataCollator = Callable[[list[Any]], dict[str, Any]]

__all__ = [
    "DataCollator",
    "DataCollatorCTCWithPadding",
    "DataCollatorForImages",
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForSeq2Seq",
    "DataCollatorForTokenClassification",
    "DataCollatorForWholeWordMask",
    "DataCollatorWithFlattening",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "default_data_collator",
]
