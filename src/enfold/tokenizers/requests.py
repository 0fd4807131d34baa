"""The options of a call, resolved once: every later call that has the same ones takes what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import tensor_kind
from enfold.tokenizers.padding import Lengths, PaddingStrategy, TruncationStrategy, resolve_lengths, side

if TYPE_CHECKING:
    from enfold.tokenizers._engine import EncodedBatch, Request
    from enfold.tokenizers.pretrained import PreTrainedTokenizerFast


# What a call may be asked for, besides the texts and `max_target_length`.
OPTIONS = (
    "add_special_tokens",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "is_split_into_words",
    "pad_to_multiple_of",
    "padding_side",
    "return_tensors",
    "return_token_type_ids",
    "return_attention_mask",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_offsets_mapping",
    "return_length",
    "verbose",
    "split_special_tokens",
)


def named(options: tuple[Any, ...]) -> tuple[dict[str, Any], int | None]:
    """The options by their names, and `max_target_length` if it stands behind them and their classes."""
    rest = options[len(OPTIONS) + 3 :]
    return dict(zip(OPTIONS, options, strict=False)), rest[0] if rest else None


def lengths_of(
    tokenizer: "PreTrainedTokenizerFast", options: Mapping[str, Any], max_target_length: int | None = None
) -> Lengths:
    """Padding and truncation of a call with these options; `max_target_length` replaces the length they lead to."""
    lengths = resolve_lengths(
        tokenizer,
        options["padding"],
        options["truncation"],
        options["max_length"],
        options["pad_to_multiple_of"],
        options["verbose"],
    )
    return lengths if max_target_length is None else replace(lengths, max_length=max_target_length)


@dataclass(slots=True, eq=False)
class Prepared:
    """What a tokenizer does for a call with certain options.

    Attributes:
        engine: the engine's form of the options.
        lengths: padding and truncation.
        names: the model's input names by which the results were chosen.
        kind: "pt" or "np" for tensors, None for lists.
        words: the texts come as lists of words.
        overflow: what truncation cuts is returned too.
        limit: tokens above which a row is worth a warning; None if no length is.
        matrices: the results that have an entry per token.
        padded: rows are padded.
        others: there are results besides the matrices.
    """

    engine: "Request"
    lengths: Lengths
    names: list[str]
    kind: str | None
    limit: int | None
    words: bool
    overflow: bool
    matrices: tuple[str, ...]
    padded: bool
    others: bool

    def tensors(self, inputs: list) -> dict[str, Any]:
        """The results for a batch of inputs as tensors [R, L] (offsets [R, L, 2]).

        Raises:
            ArgumentError: rows of different lengths.
        """
        engine = self.engine
        batch = engine.encode(inputs)
        shape = engine.shape(batch)
        if shape is None:
            raise ArgumentError(_ragged(batch))
        new, int64, array = _numpy()
        data: dict[str, Any] = {key: new(shape, int64) for key in self.matrices}
        if "offset_mapping" in data:
            data["offset_mapping"] = new((*shape, 2), int64)
        engine.fill(batch, shape[1], data)
        if len(data) > len(self.matrices):
            data = {key: array(value, int64) if type(value) is list else value for key, value in data.items()}
        if self.kind == "pt":
            from_numpy = _from_numpy()
            data = {key: from_numpy(value) for key, value in data.items()}
        return data


@cache
def _numpy() -> tuple[Any, Any, Any]:
    import numpy as np

    return np.empty, np.dtype(np.int64), np.array


@cache
def _from_numpy() -> Any:
    from torch import from_numpy

    return from_numpy


def _ragged(batch: "EncodedBatch") -> str:
    sizes = [end - begin for begin, end in pairwise(batch.row_splits.tolist())]
    return (
        f"Rows of {min(sizes)} to {max(sizes)} tokens can't be one tensor: ask for padding=True (to the longest row), "
        "with truncation=True to cut rows longer than max_length or the model's limit."
    )


def prepare(
    tokenizer: "PreTrainedTokenizerFast", options: Mapping[str, Any], max_target_length: int | None = None
) -> Prepared:
    """Resolve a call's options.

    Args:
        tokenizer: by whose settings the options are completed.
        options: every argument of a call besides the texts.
        max_target_length: stands for the length that the other options led to.

    Raises:
        ArgumentError: options that can't be honoured.
    """
    words, overflow = bool(options["is_split_into_words"]), bool(options["return_overflowing_tokens"])
    multiple = options["pad_to_multiple_of"]
    lengths = lengths_of(tokenizer, options, max_target_length)
    kind = None if options["return_tensors"] is None else tensor_kind(options["return_tensors"])
    names = list(tokenizer.model_input_names)
    type_ids, mask = options["return_token_type_ids"], options["return_attention_mask"]
    wanted = {
        "input_ids": True,
        "token_type_ids": "token_type_ids" in names if type_ids is None else bool(type_ids),
        "attention_mask": "attention_mask" in names if mask is None else bool(mask),
        "special_tokens_mask": bool(options["return_special_tokens_mask"]),
        "offset_mapping": bool(options["return_offsets_mapping"]),
    }
    truncation = padding = None
    if lengths.truncation is not TruncationStrategy.DO_NOT_TRUNCATE:
        truncation = {
            "max_length": lengths.max_length,
            "stride": options["stride"],
            "strategy": lengths.truncation.value,
            "direction": side(tokenizer.truncation_side, "truncation_side"),
        }
    where = side(tokenizer.padding_side if options["padding_side"] is None else options["padding_side"], "padding_side")
    if lengths.padding is not PaddingStrategy.DO_NOT_PAD:
        padding = {
            "length": lengths.max_length if lengths.padding is PaddingStrategy.MAX_LENGTH else None,
            "multiple": multiple or 0,
            "side": where,
            "id": tokenizer.pad_token_id,
            "type_id": tokenizer.pad_token_type_id,
            "token": tokenizer.pad_token or "",
        }
    split = options["split_special_tokens"]
    engine = tokenizer._tokenizer.request(
        {
            "add_special_tokens": bool(options["add_special_tokens"]),
            "is_pretokenized": words,
            "split_special_tokens": bool(tokenizer.split_special_tokens if split is None else split),
            "truncation": truncation,
            "padding": padding,
            "overflow": overflow,
            "offsets": wanted["offset_mapping"],
            "type_ids": wanted["token_type_ids"],
            "attention_mask": wanted["attention_mask"],
            "special_tokens_mask": wanted["special_tokens_mask"],
            "lengths": bool(options["return_length"]),
        }
    )
    watched = options["verbose"] and lengths.max_length is None and tokenizer.model_max_length > 0
    return Prepared(
        engine=engine,
        lengths=lengths,
        names=names,
        kind=kind,
        limit=tokenizer.model_max_length if watched else None,
        words=words,
        overflow=overflow,
        matrices=tuple(key for key, value in wanted.items() if value),
        padded=padding is not None,
        others=overflow or bool(options["return_length"]),
    )
