"""Rows as numpy arrays."""

import sys
from typing import Any

import numpy as np

from enfold.datasets.formats.tensors import TensorFormat


class NumpyFormat(TensorFormat):
    """Arrays that may be written to; text stays in arrays of text.

    Args:
        options: of `numpy.asarray`, such as `dtype=`.
    """

    whole, real = np.int64, np.float32

    def is_tensor(self, value: Any) -> bool:
        torch = sys.modules.get("torch")
        return torch is not None and isinstance(value, torch.Tensor)

    def tensor(self, value: Any) -> Any:
        return super().tensor(value.detach().cpu().numpy()[()] if self.is_tensor(value) else value)

    def make(self, value: Any, kind: dict[str, Any]) -> Any:
        if isinstance(value, np.number):
            return value
        array = np.asarray(value, **{**kind, **self.options})
        return array if array.flags.writeable else array.copy()

    def stack(self, items: list[Any]) -> Any:
        first: Any = items[0] if items else None
        if isinstance(first, (np.ndarray, np.number, np.bool_)) and all(
            isinstance(item, (np.ndarray, np.number, np.bool_))
            and item.shape == first.shape
            and item.dtype == first.dtype
            for item in items
        ):
            return np.stack(items)
        out = np.empty(len(items), dtype=object)
        out[:] = items
        return out

    def split(self, flat: Any, lengths: list[int]) -> list[Any]:
        ends = np.cumsum(lengths)
        return [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]

    def text(self, value: Any) -> Any:
        return value
