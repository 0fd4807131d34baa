"""The rows of an encoded batch as lists or matrices, padded or not."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.tokenizers import Encoding


class Rows:
    """The rows of an encoded batch that the caller asked for.

    Args:
        batch: the engine's batch; a truncated text may have several rows.
        samples: number of texts, if only the first row of each is wanted.
    """

    def __init__(self, batch: Any, samples: int | None):
        self.batch = batch
        self.first = None
        self._splits = batch.row_splits.tolist()
        if samples is not None and len(batch) != samples:
            self.first = _first_rows(batch.overflow_to_sample)

    def __len__(self) -> int:
        return len(self.batch) if self.first is None else len(self.first)

    def _indices(self) -> Sequence[int]:
        return range(len(self.batch)) if self.first is None else self.first

    def encoding(self, row: int) -> "Encoding":
        """The engine's encoding of a row."""
        return self.batch.encoding(row if self.first is None else self.first[row])

    def samples(self) -> list[int]:
        """For each row the text it comes from."""
        return self.batch.overflow_to_sample.tolist()

    def lengths(self, first_of_sample: bool = False) -> list[int]:
        """Tokens per row, before padding; only of the rows that begin a text if so asked."""
        rows = self._indices()
        if first_of_sample and self.first is None:
            rows = _first_rows(self.batch.overflow_to_sample)
        splits = self._splits
        return [splits[row + 1] - splits[row] for row in rows]

    def tensors(
        self, keys: Sequence[str], target: int | None, where: str, fills: Mapping[str, int], offsets: bool
    ) -> dict[str, Any]:
        """The results as numpy matrices [R, L]; rows that can't be one are an error."""
        import numpy as np

        sizes = self.lengths()
        length = max([*sizes, target or 0]) if target is not None or sizes else 0
        if any(n != length for n in sizes) and (target is None or length > target):
            raise ArgumentError(
                f"Rows of {min(sizes)} to {max(sizes)} tokens can't be one tensor: ask for padding=True (to the "
                "longest row), with truncation=True to cut rows longer than max_length or the model's limit."
            )
        data: dict[str, Any] = self.batch.padded(
            length, side=where, pad_id=fills["input_ids"], pad_type_id=fills["token_type_ids"], keys=tuple(keys)
        )
        data = {key: data[key] for key in keys}
        if self.first is not None:
            data = {key: np.ascontiguousarray(value[self.first]) for key, value in data.items()}
        if offsets:
            spans = np.zeros((len(sizes), length, 2), dtype=np.int64)
            for i, row in enumerate(self._indices()):
                n = sizes[i]
                at = 0 if where == "right" else length - n
                spans[i, at : at + n] = self.batch.offsets[self._splits[row] : self._splits[row + 1]]
            data["offset_mapping"] = spans
        return data

    def lists(
        self, keys: Sequence[str], target: int | None, where: str, fills: Mapping[str, int], offsets: bool
    ) -> dict[str, Any]:
        """The results as lists of lists; a row longer than `target` keeps its length."""
        sizes = self.lengths()
        if target is not None and all(n <= target for n in sizes):
            data = {key: value.tolist() for key, value in self.tensors(keys, target, where, fills, False).items()}
        else:
            data = {key: self._column(key, sizes, target, where, fills[key]) for key in keys}
        if offsets:
            spans = list(map(tuple, self.batch.offsets.tolist()))
            data["offset_mapping"] = self._cut(spans, target, where, (0, 0))
        return data

    def _column(self, key: str, sizes: Sequence[int], target: int | None, where: str, fill: int) -> list[list[int]]:
        if key == "attention_mask":
            return [_filled([1] * n, target, where, fill) for n in sizes]
        if target is None and self.first is None:
            lists = {
                "input_ids": self.batch.ids_lists,
                "token_type_ids": self.batch.type_ids_lists,
                "special_tokens_mask": self.batch.special_tokens_mask_lists,
            }
            return lists[key]()
        flat = {"input_ids": "ids", "token_type_ids": "type_ids", "special_tokens_mask": "special_tokens_mask"}[key]
        return self._cut(getattr(self.batch, flat).tolist(), target, where, fill)

    def _cut(self, flat: list, target: int | None, where: str, fill: Any) -> list[list]:
        splits = self._splits
        return [_filled(flat[splits[row] : splits[row + 1]], target, where, fill) for row in self._indices()]


def _filled(values: list, target: int | None, where: str, fill: Any) -> list:
    if target is None or len(values) >= target:
        return values
    filler = [fill] * (target - len(values))
    return values + filler if where == "right" else filler + values


def _first_rows(samples: Any) -> list[int]:
    """The index of each sample's first row."""
    owners = samples.tolist()
    return [i for i, owner in enumerate(owners) if i == 0 or owner != owners[i - 1]]
