"""Small helpers for files written by hand, and for comparing tensors of every dtype."""

import json
import struct
from pathlib import Path

import torch


def bits(tensor: torch.Tensor) -> tuple:
    """Dtype, shape and bytes: what bit-equal means for every dtype, NaNs included."""
    flat = tensor.detach().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy().tobytes()


def write_raw(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    """A safetensors file with any header: text, bytes, or something that becomes JSON."""
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
