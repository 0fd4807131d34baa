"""Rows as TensorFlow tensors."""

import sys
from typing import Any

from enfold.base.lazy import require
from enfold.datasets.formats.tensors import TensorFormat


class TensorFlowFormat(TensorFormat):
    """Tensors, text included; lists of numbers of different lengths are ragged tensors.

    Args:
        options: of `tf.convert_to_tensor`, such as `dtype=`.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.tf = require("tensorflow", extra="tensorflow", purpose="The tensorflow format")
        self.whole, self.real = self.tf.int64, self.tf.float32

    def is_tensor(self, value: Any) -> bool:
        torch = sys.modules.get("torch")
        return isinstance(value, self.tf.Tensor) or (torch is not None and isinstance(value, torch.Tensor))

    def tensor(self, value: Any) -> Any:
        foreign = self.is_tensor(value) and not isinstance(value, self.tf.Tensor)
        return super().tensor(value.detach().cpu().numpy()[()] if foreign else value)

    def make(self, value: Any, kind: dict[str, Any]) -> Any:
        return self.tf.convert_to_tensor(value, **{**kind, **self.options})

    def text(self, value: Any) -> Any:
        return self.tensor(value)

    def stack(self, items: list[Any]) -> Any:
        first: Any = items[0] if items else None
        plain, ragged = self.tf.Tensor, (self.tf.Tensor, self.tf.RaggedTensor)
        if isinstance(first, plain) and all(
            isinstance(item, plain) and item.shape == first.shape and item.dtype == first.dtype for item in items
        ):
            return self.tf.stack(items)
        if isinstance(first, ragged) and all(
            isinstance(item, ragged) and len(item.shape) == 1 and item.dtype == first.dtype for item in items
        ):
            return self.tf.ragged.stack(items)
        return items
