"""Checkpoints whose weights are packed in few bits, with scales beside them."""

import torch
from torch import Tensor

from enfold.weights.checkpoint import Checkpoint, check_destination


class PackedCheckpoint(Checkpoint):
    """Another checkpoint, whose packed tensors appear as what they and their scales stand for, in fp32.

    A subclass reads them.

    Args:
        inner: the files as they are.
        kinds: dtypes of packed tensors.
        scales: how the name of a tensor's scales ends.
    """

    def __init__(self, inner: Checkpoint, kinds: tuple[torch.dtype, ...], scales: str):
        self.inner, self.path, self.metadata = inner, inner.path, inner.metadata
        self._packed = {name for name in inner.names() if inner.dtype(name) in kinds}
        self._beside = {name + scales for name in self._packed}

    def names(self) -> list[str]:
        return [name for name in self.inner.names() if name not in self._beside]

    def __contains__(self, name: object) -> bool:
        return name not in self._beside and name in self.inner

    def shape(self, name: str) -> tuple[int, ...]:
        return self.inner.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        return torch.float32 if name in self._packed else self.inner.dtype(name)

    def is_quantized(self, name: str) -> bool:
        return name in self._packed or self.inner.is_quantized(name)

    def is_mappable(self, name: str) -> bool:
        return name not in self._packed and self.inner.is_mappable(name)

    def read_into(self, name: str, out: Tensor) -> None:
        if name not in self._packed:
            return self.inner.read_into(name, out)
        check_destination(self.path, name, self.inner.shape(name), torch.float32, out)
        out.copy_(self.read(name))

    def close(self) -> None:
        self.inner.close()
