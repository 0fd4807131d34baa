"""Rows as PyTorch tensors."""

from typing import Any

import numpy as np

from enfold.base.errors import DatasetError
from enfold.base.lazy import require
from enfold.datasets.formats.base import Format
from enfold.datasets.formats.tensors import TensorFormat


class TorchFormat(TensorFormat):
    """Tensors of their own memory; pictures are `[channels, height, width]`.

    Args:
        options: of `torch.tensor`: `dtype=`, `device=`, `requires_grad=`, `pin_memory=`.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.torch = require("torch", extra="torch", purpose="The torch format")
        self.whole, self.real = self.torch.int64, self.torch.float32

    def is_tensor(self, value: Any) -> bool:
        return False

    def make(self, value: Any, kind: dict[str, Any]) -> Any:
        if isinstance(value, self.torch.Tensor):
            return value.clone() if not self.options else value.to(**_movable(self.options))
        value = np.asarray(value) if isinstance(value, np.generic) else value
        if kind and isinstance(value, np.ndarray) and value.dtype in (np.uint16, np.uint32):
            value = value.astype(np.int64)
        try:
            return self.torch.tensor(value, **{**kind, **self.options})
        except (TypeError, RuntimeError) as error:
            what = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise DatasetError(
                f"Values of {what} can't be shown as torch tensors ({error}): leave the column out with columns=[…]"
            ) from error

    def stack(self, items: list[Any]) -> Any:
        first: Any = items[0] if items else None
        tensor = self.torch.Tensor
        if isinstance(first, tensor) and all(
            isinstance(item, tensor) and item.shape == first.shape and item.dtype == first.dtype for item in items
        ):
            return self.torch.stack(items)
        return items

    def split(self, flat: Any, lengths: list[int]) -> list[Any] | None:
        if self.options.get("requires_grad"):
            return None
        return list(self.torch.split(flat, lengths))

    def rows(self, table: Any) -> Any:
        # a view of a tensor that wants gradients is no leaf: nobody could read its gradient
        return Format.rows(self, table) if self.options.get("requires_grad") else super().rows(table)

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        return pixels.transpose(2, 0, 1)


def _movable(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key in ("dtype", "device")}
