"""Texts → rows of ids that fit the model, and rows → the tensors of one batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enfold.base.errors import ArgumentError, LengthError

# Options of a tokenizer's call that a pipeline passes on.
TOKENIZER_OPTIONS = frozenset(
    {
        "add_special_tokens",
        "max_length",
        "padding",
        "pad_to_multiple_of",
        "padding_side",
        "return_attention_mask",
        "return_token_type_ids",
        "split_special_tokens",
        "truncation",
    }
)
# Padding happens inside, if at all; the answers don't show it.
_ABOUT_PADDING = ("padding", "pad_to_multiple_of", "padding_side", "return_attention_mask")
# `model_max_length` above this means that the tokenizer knows no limit.
_NO_LIMIT = int(1e9)


@dataclass(slots=True)
class Row:
    """One sequence for the model: ids, and token types (one or several a token) where they say something."""

    ids: list[int]
    types: list[Any] | None = None


def tokenizer_options(given: Mapping[str, Any], tokenizer: Any, limit: int | None) -> dict[str, Any]:
    """What a tokenizer's call gets; truncation without a length cuts to what tokenizer and model both take.

    Args:
        limit: the model's positions.
    """
    options = {name: value for name, value in given.items() if name not in _ABOUT_PADDING}
    cut = options.get("truncation")
    if cut and getattr(cut, "value", cut) != "do_not_truncate" and options.get("max_length") is None:
        length = usual_length(tokenizer, limit)
        if length is None:
            options["truncation"] = False
        else:
            options["max_length"] = length
    return options


def usual_length(tokenizer: Any, limit: int | None) -> int | None:
    """The smaller of the tokenizer's and the model's limits in tokens, or None where there is neither."""
    known = [n for n in (getattr(tokenizer, "model_max_length", None), limit) if n is not None and 0 < n < _NO_LIMIT]
    return min(known, default=None)


def check_length(ids: Sequence[int], limit: int | None, which: str, *, instead: str = "") -> None:
    """Refuse a row that is empty, or longer than the model's positions.

    Raises:
        ArgumentError: no token.
        LengthError: too many.
    """
    if not ids:
        raise ArgumentError(f"{which} gives no token, and the tokenizer adds none: there is nothing to compute")
    if limit is not None and len(ids) > limit:
        raise LengthError(
            f"{which} has {len(ids)} tokens, and the model knows {limit} positions: pass truncation=True to cut it, "
            f"{instead}or split it yourself"
        )


def preview(text: Any) -> str:
    """How an item is called in a message."""
    shown = repr(text)
    return shown if len(shown) <= 50 else shown[:48] + "…" + shown[0]


def encode(tokenizer: Any, texts: list[str], pairs: list[str] | None, options: Mapping[str, Any]) -> list[Row]:
    """Tokenise texts (or pairs) in one call."""
    encoded = tokenizer(texts, pairs, **options, return_attention_mask=False)
    ids = encoded["input_ids"]
    types = encoded.get("token_type_ids")
    if types is None or not any(map(any, types)):
        return [Row(row) for row in ids]
    return [Row(row, kind) for row, kind in zip(ids, types, strict=True)]


def batches(lengths: Sequence[int], tokens: int, rows: int | None) -> Iterator[list[int]]:
    """Indices of rows that go through the model together: shortest first, up to `tokens` tokens and `rows` rows."""
    batch: list[int] = []
    held = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (held + lengths[index] > tokens or len(batch) == rows):
            yield batch
            batch, held = [], 0
        batch.append(index)
        held += lengths[index]
    if batch:
        yield batch


def stack_rows(
    rows: Sequence[Row], *, pad: int, device: torch.device, types: bool = False, left: bool = False
) -> dict[str, Tensor]:
    """Rows → `input_ids` and `attention_mask` [B, T], and `token_type_ids` where the model reads them."""
    width = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    typed = next((row.types for row in rows if row.types), None) if types else None
    kinds = None if typed is None else np.zeros((len(rows), width, *np.shape(typed[0])), dtype=np.int64)
    for i, row in enumerate(rows):
        place = slice(width - len(row.ids), width) if left else slice(0, len(row.ids))
        ids[i, place] = row.ids
        mask[i, place] = 1
        if kinds is not None and row.types is not None:
            kinds[i, place] = row.types
    made = {"input_ids": ids, "attention_mask": mask} | ({} if kinds is None else {"token_type_ids": kinds})
    return {name: torch.from_numpy(value).to(device) for name, value in made.items()}
