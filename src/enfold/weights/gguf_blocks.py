"""GGUF's quantised blocks, expanded to fp32.

A row of a quantised tensor is a run of blocks; each block stores a few scales and 32 or 256 small integers. The layouts
are those of ggml (`block_q4_1` and kin in ggml-common.h); each function below states the layout that it reads. All
arithmetic is in fp32, in ggml's order and without fused operations, so the results are exact to the bit.

It is numpy and not torch on purpose: these are many short operations, and where the cores are busy each one would wait
for torch's team of threads to gather (measured: 20 s instead of 0.5 s for a small model). numpy stays on its thread and
lets go of the interpreter, so whole pieces run side by side.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Expand = Callable[[np.ndarray, np.ndarray], None]


class BlockType(NamedTuple):
    """How one block is stored.

    Attributes:
        values: numbers in a block.
        size: bytes in a block.
        expand: fills `out` (`[n, values]`, fp32, contiguous) from `blocks` (`[n, size]`, uint8, contiguous).
    """

    values: int
    size: int
    expand: Expand


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """The fp16 number at byte `at` of each block, as fp32 `[n, 1]`."""
    return blocks[:, at : at + 2].copy().view(np.float16).astype(np.float32)


def _nibbles(packed: np.ndarray, out: np.ndarray) -> None:
    """`packed` `[..., k]` → `out` `[..., 2, k]`: low nibbles, then high ones."""
    out[..., 0, :] = packed & 15
    out[..., 1, :] = packed >> 4


def _bits(packed: np.ndarray, width: int, shifts: range) -> np.ndarray:
    """`packed` `[..., k]` → `[..., len(shifts), k]`: the `width` bits of each byte from each shift on."""
    steps = np.array(shifts, dtype=np.uint8)[:, None]
    return (packed[..., None, :] >> steps) & ((1 << width) - 1)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    """`packed` `[n, 4]`, one bit per number → `[n, 32]`, 16 where the bit is set."""
    return np.unpackbits(packed, axis=1, bitorder="little") << 4


def _q4_0(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | 16 bytes of nibbles: value = d (q - 8)
    _nibbles(blocks[:, 2:], out.reshape(-1, 2, 16))
    out -= 8
    out *= _half(blocks, 0)


def _q4_1(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | fp16 m | 16 bytes of nibbles: value = d q + m
    _nibbles(blocks[:, 4:], out.reshape(-1, 2, 16))
    out *= _half(blocks, 0)
    out += _half(blocks, 2)


def _q5_0(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | 4 bytes of fifth bits | 16 bytes of nibbles: value = d (q - 16)
    _nibbles(blocks[:, 6:], out.reshape(-1, 2, 16))
    out += _fifth_bits(blocks[:, 2:6])
    out -= 16
    out *= _half(blocks, 0)


def _q5_1(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | fp16 m | 4 bytes of fifth bits | 16 bytes of nibbles: value = d q + m
    _nibbles(blocks[:, 8:], out.reshape(-1, 2, 16))
    out += _fifth_bits(blocks[:, 4:8])
    out *= _half(blocks, 0)
    out += _half(blocks, 2)


def _q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | 32 int8: value = d q
    out[:] = blocks[:, 2:].view(np.int8)
    out *= _half(blocks, 0)


def _q2_k(blocks: np.ndarray, out: np.ndarray) -> None:
    # 16 bytes of (min << 4 | scale) | 64 bytes of pairs of bits | fp16 d | fp16 dmin: value = d scale q - dmin min
    packed = blocks[:, :16]
    scales, mins = _half(blocks, 80) * (packed & 15), _half(blocks, 82) * (packed >> 4)
    # Two runs of 128 numbers; the four pairs of bits of a run's 32 bytes lie 32 numbers apart.
    out[:] = _bits(blocks[:, 16:80].reshape(-1, 2, 32), 2, range(0, 8, 2)).reshape(-1, 256)
    groups = out.reshape(-1, 16, 16)
    groups *= scales[..., None]
    groups -= mins[..., None]


def _q3_k(blocks: np.ndarray, out: np.ndarray) -> None:
    # 32 bytes of third bits | 64 bytes of pairs of bits | 12 bytes with 16 six-bit scales | fp16 d:
    # value = d (scale - 32) (q - 4), q's third bit being the mask's
    third = _bits(blocks[:, :32], 1, range(8)).reshape(-1, 256)
    pairs = _bits(blocks[:, 32:96].reshape(-1, 2, 32), 2, range(0, 8, 2)).reshape(-1, 256)
    low = _bits(blocks[:, 96:104], 4, range(0, 8, 4)).reshape(-1, 16)
    high = _bits(blocks[:, 104:108], 2, range(0, 8, 2)).reshape(-1, 16)
    scales = _half(blocks, 108) * ((low | high << 4).astype(np.float32) - 32)
    out[:] = pairs | third << 2
    out -= 4
    groups = out.reshape(-1, 16, 16)
    groups *= scales[..., None]


def _scales_and_mins(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`packed` `[n, 12]` → eight six-bit scales and eight six-bit minimums, both uint8 `[n, 8]`.

    Bytes 0-3 and 4-7 hold the first four of each in their low six bits; bytes 8-11 hold the low nibbles of the last
    four of both, whose two high bits are the top bits of bytes 0-7.
    """
    scale, low, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([scale & 63, (rest & 15) | (scale >> 6 << 4)], axis=1)
    mins = np.concatenate([low & 63, (rest >> 4) | (low >> 6 << 4)], axis=1)
    return scales, mins


def _q4_k(blocks: np.ndarray, out: np.ndarray) -> None:
    # fp16 d | fp16 dmin | 12 bytes of scales and mins | 128 bytes of nibbles: value = d scale q - dmin min
    scales, mins = _scales_and_mins(blocks[:, 4:16])
    _nibbles(blocks[:, 16:].reshape(-1, 4, 32), out.reshape(-1, 4, 2, 32))
    groups = out.reshape(-1, 8, 32)
    groups *= (_half(blocks, 0) * scales)[..., None]
    groups -= (_half(blocks, 2) * mins)[..., None]


def _q5_k(blocks: np.ndarray, out: np.ndarray) -> None:
    # As q4_k, with 32 bytes of fifth bits before the nibbles: bit b of byte i belongs to number 32 b + i.
    scales, mins = _scales_and_mins(blocks[:, 4:16])
    _nibbles(blocks[:, 48:].reshape(-1, 4, 32), out.reshape(-1, 4, 2, 32))
    groups = out.reshape(-1, 8, 32)
    groups += _bits(blocks[:, 16:48], 1, range(8)) << 4
    groups *= (_half(blocks, 0) * scales)[..., None]
    groups -= (_half(blocks, 2) * mins)[..., None]


def _q6_k(blocks: np.ndarray, out: np.ndarray) -> None:
    # 128 bytes of nibbles | 64 bytes of high pairs | 16 int8 scales | fp16 d: value = d scale (q - 32)
    # Two runs of 128 numbers; in a run, 64 bytes of nibbles serve numbers 0-63 (low) and 64-127 (high).
    _nibbles(blocks[:, :128].reshape(-1, 2, 64), out.reshape(-1, 2, 2, 64))
    out += (_bits(blocks[:, 128:192].reshape(-1, 2, 32), 2, range(0, 8, 2)) << 4).reshape(-1, 256)
    out -= 32
    groups = out.reshape(-1, 16, 16)
    groups *= (_half(blocks, 208) * blocks[:, 192:208].view(np.int8))[..., None]


BLOCKS = {
    "Q4_0": BlockType(32, 18, _q4_0),
    "Q4_1": BlockType(32, 20, _q4_1),
    "Q5_0": BlockType(32, 22, _q5_0),
    "Q5_1": BlockType(32, 24, _q5_1),
    "Q8_0": BlockType(32, 34, _q8_0),
    "Q2_K": BlockType(256, 84, _q2_k),
    "Q3_K": BlockType(256, 110, _q3_k),
    "Q4_K": BlockType(256, 144, _q4_k),
    "Q5_K": BlockType(256, 176, _q5_k),
    "Q6_K": BlockType(256, 210, _q6_k),
}
