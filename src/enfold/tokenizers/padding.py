"""How long the rows of a batch become: padding and truncation options resolved, dictionaries padded."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding, to_python

if TYPE_CHECKING:
    from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

# A `model_max_length` above this means that the model sets no limit; the value itself is what files carry.
NO_LIMIT = int(1e20)
UNLIMITED = int(1e30)
_USELESS_LENGTH = (
    "`max_length` has no effect with `padding=True` and no truncation: rows are padded to the longest. "
    "Use padding='max_length' to pad to max_length, truncation=True to cut at it."
)


class PaddingStrategy(StrEnum):
    """Values of `padding=`."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TruncationStrategy(StrEnum):
    """Values of `truncation=`."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Padding and truncation after their defaults are filled in; `max_length` in tokens.

    `notice` is what the caller should be warned of.
    """

    padding: PaddingStrategy
    truncation: TruncationStrategy
    max_length: int | None
    notice: str | None = None

    def warn(self, stacklevel: int) -> None:
        """Warn of what there is to warn of; at `stacklevel` 1 the place named is the one that calls this."""
        if self.notice is not None:
            warnings.warn(self.notice, stacklevel=stacklevel + 1)


def side(value: str, name: str) -> str:
    """`value` if it is "left" or "right"."""
    if value not in ("left", "right"):
        raise ArgumentError(f"{name} must be 'left' or 'right', got {value!r}.")
    return value


def _strategy(kind: type[Enum], value: Any, name: str, if_true: Enum, if_false: Enum) -> Any:
    if value is None or value is False:
        return if_false
    if value is True:
        return if_true
    try:
        return kind(getattr(value, "value", value))
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise ArgumentError(f"{name} must be True, False or one of {known}; got {value!r}.") from None


def resolve_lengths(
    tokenizer: "PreTrainedTokenizerFast",
    padding: Any,
    truncation: Any,
    max_length: int | None,
    pad_to_multiple_of: int | None = None,
    verbose: bool = True,
) -> Lengths:
    """Fill in what `padding`, `truncation` and `max_length` leave open.

    `max_length` alone truncates. A strategy that needs a length takes the tokenizer's `model_max_length`, and is off
    if that has no limit.

    Raises:
        ArgumentError: an unknown strategy, padding without a padding token, or a truncation length that is no
            multiple of `pad_to_multiple_of`.
    """
    if max_length is not None and (not isinstance(max_length, int) or isinstance(max_length, bool) or max_length < 0):
        raise ArgumentError(f"max_length must be a number of tokens (0 or more), got {max_length!r}.")
    if max_length is not None and padding is False and truncation is None:
        truncation = TruncationStrategy.LONGEST_FIRST
    pad = _strategy(PaddingStrategy, padding, "padding", PaddingStrategy.LONGEST, PaddingStrategy.DO_NOT_PAD)
    cut = _strategy(
        TruncationStrategy,
        truncation,
        "truncation",
        TruncationStrategy.LONGEST_FIRST,
        TruncationStrategy.DO_NOT_TRUNCATE,
    )
    useless = padding is True and max_length is not None and cut is TruncationStrategy.DO_NOT_TRUNCATE and verbose
    if max_length is None:
        limited = tokenizer.model_max_length <= NO_LIMIT
        if pad is PaddingStrategy.MAX_LENGTH:
            pad = pad if limited else PaddingStrategy.DO_NOT_PAD
            max_length = tokenizer.model_max_length if limited else None
        if cut is not TruncationStrategy.DO_NOT_TRUNCATE:
            cut = cut if limited else TruncationStrategy.DO_NOT_TRUNCATE
            max_length = tokenizer.model_max_length if limited else None
    if pad is not PaddingStrategy.DO_NOT_PAD and tokenizer.pad_token_id is None:
        raise ArgumentError(
            "padding was asked for, but this tokenizer has no padding token. Choose one "
            "(tokenizer.pad_token = tokenizer.eos_token) or add one "
            "(tokenizer.add_special_tokens({'pad_token': '[PAD]'}))."
        )
    if pad_to_multiple_of is not None and (not isinstance(pad_to_multiple_of, int) or pad_to_multiple_of < 1):
        raise ArgumentError(f"pad_to_multiple_of must be a positive number of tokens, got {pad_to_multiple_of!r}.")
    both = pad is not PaddingStrategy.DO_NOT_PAD and cut is not TruncationStrategy.DO_NOT_TRUNCATE
    if both and pad_to_multiple_of and max_length is not None and max_length % pad_to_multiple_of:
        raise ArgumentError(
            f"Rows are cut at max_length={max_length} and padded to a multiple of {pad_to_multiple_of}: "
            "max_length must be a multiple of pad_to_multiple_of."
        )
    return Lengths(pad, cut, max_length, _USELESS_LENGTH if useless else None)


def round_up(length: int, multiple: int | None) -> int:
    """The next multiple of `multiple`, or `length` itself without one."""
    return -(-length // multiple) * multiple if multiple else length


def pad_features(
    tokenizer: "PreTrainedTokenizerFast",
    encoded_inputs: Any,
    padding: Any = True,
    max_length: int | None = None,
    pad_to_multiple_of: int | None = None,
    padding_side: str | None = None,
    return_attention_mask: bool | None = None,
    return_tensors: str | None = None,
    verbose: bool = True,
) -> BatchEncoding | dict[str, Any]:
    """Pad encodings that were made apart, as data collators do; see `PreTrainedTokenizerFast.pad`."""
    main = tokenizer.model_input_names[0]
    if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
        features: dict[str, Any] = {key: [example[key] for example in encoded_inputs] for key in encoded_inputs[0]}
    elif isinstance(encoded_inputs, Mapping):
        features = dict(encoded_inputs)
    else:
        raise ArgumentError(f"pad takes a dictionary or a list of dictionaries, got {type(encoded_inputs).__name__}.")
    if main not in features:
        raise ArgumentError(f"pad needs {main!r} among the features, got: {', '.join(map(str, features)) or 'none'}.")
    required = features[main]
    if required is None or len(required) == 0:
        if return_attention_mask:
            features["attention_mask"] = []
        return BatchEncoding(features)

    # A mask of two dimensions per example (one row per query) is stacked, not padded.
    square_mask = None
    mask = features.get("attention_mask")
    if isinstance(mask, list) and mask and getattr(mask[0], "ndim", 0) > 1:
        square_mask = features.pop("attention_mask")

    if return_tensors is None:
        return_tensors = _tensor_kind(required)
    features = {key: to_python(value) for key, value in features.items()}
    lengths = resolve_lengths(tokenizer, padding, None, max_length, verbose=verbose)
    lengths.warn(stacklevel=3)
    where = side(tokenizer.padding_side if padding_side is None else padding_side, "padding_side")
    with_mask = (
        "attention_mask" in tokenizer.model_input_names if return_attention_mask is None else return_attention_mask
    )

    single = not isinstance(features[main][0], (list, tuple))
    rows: list[dict[str, Any]]
    if single:
        rows = [features]
    else:
        n = len(features[main])
        for key, value in features.items():
            if not hasattr(value, "__len__") or len(value) != n:
                raise ArgumentError(f"pad: {key!r} must have one entry per example ({n}), got {value!r:.80}.")
        rows = [{key: value[i] for key, value in features.items()} for i in range(n)]

    target = None
    if lengths.padding is PaddingStrategy.LONGEST:
        target = max(len(row[main]) for row in rows)
    elif lengths.padding is PaddingStrategy.MAX_LENGTH:
        target = lengths.max_length
    if target is not None:
        target = round_up(target, pad_to_multiple_of)
    fills = tokenizer._fills(main)
    padded = [_pad_row(row, main, target, where, fills, with_mask) for row in rows]
    outputs: dict[str, Any] = padded[0] if single else {key: [row[key] for row in padded] for key in padded[0]}
    if square_mask is not None:
        if hasattr(square_mask[0], "detach"):
            import torch

            outputs["attention_mask"] = torch.stack(square_mask)
        else:
            import numpy as np

            outputs["attention_mask"] = np.stack(square_mask)
    return BatchEncoding(outputs, tensor_type=return_tensors)


def _pad_row(
    row: dict[str, Any], main: str, target: int | None, where: str, fills: Mapping[str, Any], with_mask: bool
) -> dict[str, Any]:
    row = dict(row)
    length = len(row[main])
    if with_mask and "attention_mask" not in row:
        row["attention_mask"] = [1] * length
    missing = 0 if target is None else target - length
    if missing > 0:
        for key, fill in fills.items():
            if key in row and (key != "attention_mask" or with_mask):
                filler, values = [fill] * missing, list(row[key])
                row[key] = values + filler if where == "right" else filler + values
    return row


def _tensor_kind(required: Sequence[Any]) -> str | None:
    """The tensor type of the examples, so that tensors in give tensors out."""
    first = required[0]
    if isinstance(first, (list, tuple)):
        first = next((row[0] for row in required if len(row)), 0)
    if isinstance(first, (int, list, tuple)):
        return None
    if hasattr(first, "detach"):
        return "pt"
    if hasattr(first, "__array__"):
        return "np"
    raise ArgumentError(
        f"pad takes integers, numpy arrays or torch tensors, got {type(first).__name__}: {first!r:.80}."
    )
