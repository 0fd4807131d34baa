"""MXFP4 weights (OCP Microscaling Formats 1.0, 2023), expanded as they are read.

A block of 32 values along the input is 16 bytes of two 4-bit floats (sign, 2 exponent bits, 1 mantissa bit; the low
four bits first) and one byte, its power of two. A checkpoint has two tensors for a weight [E, in, out]:

    experts.gate_up_proj_blocks  [E, out, in / 32, 16] uint8
    experts.gate_up_proj_scales  [E, out, in / 32]     uint8, 2^(s − 127); 255 is NaN
"""

import torch
from torch import Tensor

from enfold.base.errors import CheckpointError
from enfold.weights.checkpoint import Checkpoint, check_destination

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
BLOCKS, SCALES = "_blocks", "_scales"


def expand(blocks: Tensor, scales: Tensor) -> Tensor:
    """The fp32 values of blocks [..., B, 16] and scales [..., B], both uint8: [..., 32 · B]."""
    signed = torch.tensor([*VALUES, *(-value for value in VALUES)])
    pairs = torch.cartesian_prod(signed, signed).flip(-1)  # of every byte, the low half first
    powers = torch.ldexp(torch.ones(256, dtype=torch.float64), torch.arange(256) - 127).float()
    powers[255] = float("nan")
    return (pairs[blocks.int()].flatten(-2) * powers[scales.int()].unsqueeze(-1)).flatten(-2)


class Mxfp4Checkpoint(Checkpoint):
    """Another checkpoint, whose pairs of blocks and scales appear as the weights [E, in, out] that they stand for.

    Raises:
        CheckpointError: blocks without scales that fit them.
    """

    def __init__(self, inner: Checkpoint):
        self.inner, self.path, self.metadata = inner, inner.path, inner.metadata
        self._shapes: dict[str, tuple[int, ...]] = {}
        names = set(inner.names())
        for name in names:
            weight = name.removesuffix(BLOCKS)
            if weight == name or weight + SCALES not in names:
                continue
            blocks, scales = inner.shape(name), inner.shape(weight + SCALES)
            kinds = {inner.dtype(name), inner.dtype(weight + SCALES)}
            if len(blocks) != 4 or blocks[3] != 16 or scales != blocks[:3] or kinds != {torch.uint8}:
                raise CheckpointError(
                    f"{self.path}: {name} has shape {blocks} and its scales {scales}; MXFP4 expects uint8 blocks "
                    "[experts, out, in / 32, 16] and scales of the same shape but the last dimension"
                )
            self._shapes[weight] = (blocks[0], 32 * blocks[2], blocks[1])

    def names(self) -> list[str]:
        hidden = {weight + suffix for weight in self._shapes for suffix in (BLOCKS, SCALES)}
        return [name for name in self.inner.names() if name not in hidden] + list(self._shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name] if name in self._shapes else self.inner.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        return torch.float32 if name in self._shapes else self.inner.dtype(name)

    def is_quantized(self, name: str) -> bool:
        return name in self._shapes or self.inner.is_quantized(name)

    def is_mappable(self, name: str) -> bool:
        return name not in self._shapes and self.inner.is_mappable(name)

    def read(self, name: str) -> Tensor:
        if name not in self._shapes:
            return self.inner.read(name)
        out = torch.empty(self._shapes[name])
        self.read_into(name, out)
        return out

    def read_into(self, name: str, out: Tensor) -> None:
        if name not in self._shapes:
            return self.inner.read_into(name, out)
        check_destination(self.path, name, self._shapes[name], torch.float32, out)
        blocks, scales = self.inner.read(name + BLOCKS), self.inner.read(name + SCALES)
        for expert, target in enumerate(out):  # one by one: expanded to fp32 they are eight times as large
            target.copy_(expand(blocks[expert], scales[expert]).mT)

    def close(self) -> None:
        self.inner.close()
