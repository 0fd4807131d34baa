"""Weights of 8-bit floats with a scale for each block of rows and columns (DeepSeek-AI 2024, §3.3), as floats.

experts.0.up_proj.weight            [out, in] float8_e4m3fn
experts.0.up_proj.weight_scale_inv  [⌈out / 128⌉, ⌈in / 128⌉] fp32, what the values of a block are multiplied by
"""

import torch
from torch import Tensor

from enfold.base.errors import CheckpointError
from enfold.weights.checkpoint import Checkpoint
from enfold.weights.packed import PackedCheckpoint

SCALES = "_scale_inv"
BLOCK = (128, 128)
KINDS = (torch.float8_e4m3fn, torch.float8_e5m2)


def expand(values: Tensor, scales: Tensor, block: tuple[int, int]) -> Tensor:
    """The fp32 values of 8-bit floats [out, in], of which each block has a scale, or of which all have one."""
    wide = values.float()
    if scales.numel() == 1:
        return wide * scales.float().item()
    rows, columns = block
    each = scales.float().repeat_interleave(rows, 0)[: len(wide)]
    for start in range(0, wide.shape[1], columns):  # a block's columns at a time: no second matrix is made
        wide[:, start : start + columns] *= each[:, start // columns, None]
    return wide


class Fp8Checkpoint(PackedCheckpoint):
    """Another checkpoint, whose 8-bit floats appear as the weights that they and their scales stand for.

    Args:
        block: rows and columns that share a scale.

    Raises:
        CheckpointError: 8-bit floats without scales that fit them.
    """

    def __init__(self, inner: Checkpoint, block: tuple[int, int] = BLOCK):
        super().__init__(inner, KINDS, SCALES)
        self.block = block
        for name in sorted(self._packed):
            shape = inner.shape(name)
            scales = inner.shape(name + SCALES) if name + SCALES in inner else None
            wanted = tuple(-(-size // step) for size, step in zip(shape, block, strict=False))
            if scales is None or len(shape) != 2 or scales not in (wanted, (), (1,), (1, 1)):
                found = "is missing" if scales is None else f"has shape {scales}"
                raise CheckpointError(
                    f"{self.path}: {name} of shape {shape} holds 8-bit floats, and {name + SCALES} {found}; expected "
                    f"a matrix and scales of shape {wanted}, one a block of {block[0]} × {block[1]}, or one in all"
                )

    def read(self, name: str) -> Tensor:
        if name not in self._packed:
            return self.inner.read(name)
        return expand(self.inner.read(name), self.inner.read(name + SCALES), self.block)
