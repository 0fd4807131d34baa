"""Block expansion, beside a scalar reading of ggml's layouts and beside the gguf package: equal to the bit."""

import gguf
import numpy as np
import pytest

from enfold.weights.gguf_blocks import BLOCKS

F = np.float32


def half(block: bytes, at: int) -> np.float32:
    return F(np.frombuffer(block, np.float16, 1, at)[0])


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def q4_0(b):
    d = half(b, 0)
    return [d * F((b[2 + i] & 15) - 8) for i in range(16)] + [d * F((b[2 + i] >> 4) - 8) for i in range(16)]


def q4_1(b):
    d, m = half(b, 0), half(b, 2)
    return [d * F(b[4 + i] & 15) + m for i in range(16)] + [d * F(b[4 + i] >> 4) + m for i in range(16)]


def fifths(b, at):
    word = int.from_bytes(b[at : at + 4], "little")
    return [(word >> i & 1) << 4 for i in range(32)]


def q5_0(b):
    d, high = half(b, 0), fifths(b, 2)
    low = [b[6 + i] & 15 for i in range(16)] + [b[6 + i] >> 4 for i in range(16)]
    return [d * F((low[i] | high[i]) - 16) for i in range(32)]


def q5_1(b):
    d, m, high = half(b, 0), half(b, 2), fifths(b, 4)
    low = [b[8 + i] & 15 for i in range(16)] + [b[8 + i] >> 4 for i in range(16)]
    return [d * F(low[i] | high[i]) + m for i in range(32)]


def q8_0(b):
    return [half(b, 0) * F(signed(b[2 + i])) for i in range(32)]


def q2_k(b):
    d, low = half(b, 80), half(b, 82)
    out = []
    for i in range(256):
        run, within = divmod(i, 128)
        q = b[16 + 32 * run + within % 32] >> 2 * (within // 32) & 3
        scale = b[i // 16]
        out.append(d * F(scale & 15) * F(q) - low * F(scale >> 4))
    return out


def q3_k(b):
    d, packed = half(b, 108), b[96:108]
    out = []
    for i in range(256):
        run, within = divmod(i, 128)
        pair = b[32 + 32 * run + within % 32] >> 2 * (within // 32) & 3
        third = b[i % 32] >> i // 32 & 1
        j = i // 16
        scale = (packed[j] & 15 if j < 8 else packed[j - 8] >> 4) | (packed[8 + j % 4] >> 2 * (j // 4) & 3) << 4
        out.append(d * F(scale - 32) * F(pair - (0 if third else 4)))
    return out


def scale_and_min(j, s):
    if j < 4:
        return s[j] & 63, s[j + 4] & 63
    return s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4


def q4_k(b):
    d, low = half(b, 0), half(b, 2)
    out = []
    for i in range(256):
        scale, smallest = scale_and_min(i // 32, b[4:16])
        q = b[16 + 32 * (i // 64) + i % 32] >> 4 * (i // 32 % 2) & 15
        out.append(d * F(scale) * F(q) - low * F(smallest))
    return out


def q5_k(b):
    d, low = half(b, 0), half(b, 2)
    out = []
    for i in range(256):
        scale, smallest = scale_and_min(i // 32, b[4:16])
        q = b[48 + 32 * (i // 64) + i % 32] >> 4 * (i // 32 % 2) & 15
        q |= (b[16 + i % 32] >> i // 32 & 1) << 4
        out.append(d * F(scale) * F(q) - low * F(smallest))
    return out


def q6_k(b):
    d = half(b, 208)
    out = []
    for i in range(256):
        run, within = divmod(i, 128)
        low = b[64 * run + within % 64] >> 4 * (within // 64) & 15
        high = b[128 + 32 * run + within % 32] >> 2 * (within // 32) & 3
        out.append(d * F(signed(b[192 + i // 16])) * F((low | high << 4) - 32))
    return out


SCALAR = {
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q8_0": q8_0,
    "Q2_K": q2_k,
    "Q3_K": q3_k,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
}


def expand(name: str, raw: np.ndarray) -> np.ndarray:
    out = np.full((len(raw), BLOCKS[name].values), np.nan, dtype=np.float32)
    with np.errstate(all="ignore"):
        BLOCKS[name].expand(raw, out)
    return out


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the bit, sign of zero included; any NaN is as good as another."""
    return bool(np.all((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))))


def test_every_type_has_its_scalar_twin():
    assert SCALAR.keys() == BLOCKS.keys()
    for name, kind in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (kind.values, kind.size)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BLOCKS)
def test_random_bytes(name):
    """All bit patterns: scales may be denormal, negative, infinite or NaN."""
    raw = np.random.default_rng(7).integers(0, 256, (60, BLOCKS[name].size), dtype=np.uint8)
    raw[0], raw[1] = 0, 255
    ours = expand(name, raw)
    theirs = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name])
    scalar = np.array([SCALAR[name](block.tobytes()) for block in raw], dtype=np.float32)
    assert same(ours, theirs.reshape(ours.shape))
    assert same(ours, scalar)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_real_numbers_come_back_nearly(name):
    values = np.random.default_rng(8).standard_normal((50, 32)).astype(np.float32)
    raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name])
    steps = {"4": 14, "5": 28, "8": 250}[name[1]]
    bound = 8 / steps
    assert np.abs(expand(name, raw.reshape(50, -1)) - values).max() < bound
