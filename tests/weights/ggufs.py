"""GGUF files for tests: with the package's writer where they are honest, by hand where they are not."""

import struct
from pathlib import Path

import gguf
import numpy as np

UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 6, 7, 8, 9, 10
F32, Q4_0 = 0, 2


def write_gguf(
    path: Path, tensors: dict[str, tuple[np.ndarray, str]], fields: dict | None = None, arch="llama"
) -> Path:
    """`tensors`: name → (values or packed blocks, type name)."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in (fields or {}).items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, (array, kind) in tensors.items():
        if kind == "F16":
            writer.add_tensor(name, array.astype(np.float16))
        elif kind in ("F32", "F64", "I8", "I16", "I32", "I64"):
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, array, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_blocks(kind: str, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Packed rows with scales that are ordinary numbers."""
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (rows * columns // values, size), dtype=np.uint8)
    halves = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "Q4_0": (0,), "Q5_0": (0,), "Q8_0": (0,), "BF16": ()}
    for at in halves.get(kind, (0, 2)):
        raw[:, at : at + 2] = rng.standard_normal(len(raw)).astype(np.float16).view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, -1)


def expanded(packed: np.ndarray, kind: str) -> np.ndarray:
    return gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[kind])


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def note(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, dims: list[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def by_hand(path: Path, notes: list[bytes], tensors: list[bytes], data: bytes = b"", **claims: int) -> Path:
    """A file whose counts may be lies: `version`, `tensor_count`, `kv_count`."""
    counts = claims.get("tensor_count", len(tensors)), claims.get("kv_count", len(notes))
    head = b"GGUF" + struct.pack("<IQQ", claims.get("version", 3), *counts) + b"".join(notes) + b"".join(tensors)
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path
