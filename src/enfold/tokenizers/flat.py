"""A batch's result for Arrow: the engine's flat arrays as they are; lists of numbers only if somebody looks at them."""

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from enfold.tokenizers.batch_encoding import BatchEncoding

if TYPE_CHECKING:
    import pyarrow as pa

    from enfold.tokenizers.requests import Prepared

# The integers that hold them in Arrow, as in the `datasets` library.
_WIDTHS = {"input_ids": "int32", "token_type_ids": "int8", "attention_mask": "int8", "special_tokens_mask": "int8"}


class FlatEncoding(BatchEncoding):
    """The result of `tokenizer(batch)` inside a data set's `map`.

    Args:
        prepared: the call's options.
        inputs: the batch.
        batch: the engine's arrays of it.
    """

    def __init__(self, prepared: "Prepared", inputs: list, batch: Any):
        self._prepared = prepared
        self._batch = batch
        self._lists: dict[str, Any] | None = None
        self._added: dict[str, Any] = {}
        self._made = None
        self._source = (prepared.engine, inputs)
        self._inputs = inputs
        self._n_sequences = None

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        """The results as lists, made when somebody looks."""
        if self._lists is None:
            self._lists = {**self._prepared.engine.lists(self._inputs), **self._added}
        return self._lists

    def arrow_columns(self) -> "dict[str, pa.Array | Any]":
        """The results as Arrow lists, and what was added as it is; all as it is once the lists were looked at."""
        if self._lists is not None:
            return dict(self._lists)
        return {**_columns(self._prepared, self._batch), **self._added}

    def __setitem__(self, key: str, value: Any) -> None:
        if self._lists is None and key not in self._prepared.matrices:
            self._added[key] = value
        else:
            self.data[key] = value

    def __getitem__(self, item: Any) -> Any:
        return self._added[item] if self._lists is None and item in self._added else super().__getitem__(item)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self:
            return self[name]
        raise AttributeError(f"BatchEncoding has no attribute or key {name!r}; keys: {', '.join(self)}")

    def _names(self) -> list[str]:
        return list(self._lists) if self._lists is not None else [*self._prepared.matrices, *self._added]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, key: object) -> bool:
        return key in self._names()

    def __reduce__(self) -> Any:
        return BatchEncoding, (self.data, None, None, False, self._n_sequences)

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchEncoding:
        return BatchEncoding(deepcopy(self.data, memo), self._encodings, n_sequences=self._n_sequences)


def _columns(prepared: "Prepared", batch: Any) -> "dict[str, pa.Array]":
    """Name → lists, one a row."""
    import numpy as np

    padded = prepared.padded
    if padded:
        shape = prepared.engine.shape(batch)
        assert shape is not None
        rows, width = shape
        offsets = np.arange(rows + 1, dtype=np.int32) * width
        shapes = {key: (rows, width, 2) if key == "offset_mapping" else (rows, width) for key in prepared.matrices}
        flat: dict[str, Any] = {key: np.empty(shape, np.int64) for key, shape in shapes.items()}
        prepared.engine.fill(batch, width, flat)
    else:
        offsets = batch.row_splits.astype(np.int32)
        flat = {key: _flat(batch, key) for key in prepared.matrices}
    return {key: _lists(offsets, key, values) for key, values in flat.items()}


def _flat(batch: Any, key: str) -> Any:
    import numpy as np

    if key == "attention_mask":
        return np.ones(len(batch.ids), np.int8)
    return {
        "input_ids": lambda: batch.ids,
        "token_type_ids": lambda: batch.type_ids,
        "special_tokens_mask": lambda: batch.special_tokens_mask,
        "offset_mapping": lambda: batch.offsets,
    }[key]()


def _lists(offsets: Any, key: str, values: Any) -> "pa.Array":
    import numpy as np
    import pyarrow as pa

    if key == "offset_mapping":
        pairs = pa.array(values.reshape(-1).astype(np.int64, copy=False))
        inner = pa.ListArray.from_arrays(pa.array(np.arange(len(pairs) // 2 + 1, dtype=np.int32) * 2), pairs)
    else:
        inner = pa.array(values.reshape(-1).astype(_WIDTHS[key], copy=False))
    return pa.ListArray.from_arrays(pa.array(offsets), inner)
