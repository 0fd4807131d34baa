"""One safetensors file, validated before any number in it is believed.

The format (https://github.com/huggingface/safetensors#format): eight bytes with the header's length, a JSON header
`{name: {dtype, shape, data_offsets}}`, then the tensors' bytes, side by side, without holes.
"""

import json
import os
from typing import Any, NamedTuple

import torch

from enfold.base.errors import CheckpointError
from enfold.weights.checkpoint import Checkpoint, check_destination, no_such_tensor, shown
from enfold.weights.raw_file import RawFile, refuse_pointer

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F4": torch.float4_e2m1fn_x2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The reference implementation's own limit: no honest header comes near it.
MAX_HEADER_BYTES = 100_000_000
MAX_RANK = 64
MAX_BYTES = 1 << 63


class Entry(NamedTuple):
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the data
    end: int


class SafetensorsCheckpoint(Checkpoint):
    """A `.safetensors` file.

    Args:
        path: the file.

    Raises:
        CheckpointError: the file can't be opened, or its header breaks the format in any way.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = RawFile(path)
        self.path = self._file.path
        try:
            self.metadata, self._entries, self._start = read_header(self._file)
        except BaseException:
            self._file.close()
            raise

    def names(self) -> list[str]:
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        return self._entry(name).dtype

    def is_mappable(self, name: str) -> bool:
        # Old writers did not pad the header, so a tensor may start at an odd address, where kernels can't read it.
        entry = self._entry(name)
        return (self._start + entry.begin) % entry.dtype.itemsize == 0

    def read(self, name: str) -> torch.Tensor:
        entry = self._entry(name)
        if self.is_mappable(name):
            return self._file.view(self._start + entry.begin, entry.dtype, entry.shape)
        out = torch.empty(entry.shape, dtype=entry.dtype)
        self.read_into(name, out)
        return out

    def read_into(self, name: str, out: torch.Tensor) -> None:
        entry = self._entry(name)
        check_destination(self.path, name, entry.shape, entry.dtype, out)
        self._file.fill(self._start + entry.begin, entry.dtype, out)

    def close(self) -> None:
        self._file.close()

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise no_such_tensor(self.path, name, self.names())
        return entry


def read_header(file: RawFile) -> tuple[dict[str, str], dict[str, Entry], int]:
    """The notes, the tensors and the byte where the data starts."""
    if file.size < 10:
        raise CheckpointError(f"{file.path} has {file.size} bytes: too short for a safetensors file, so it is torn")
    length = int.from_bytes(file.bytes_at(0, 8), "little")
    if length > MAX_HEADER_BYTES or length > file.size - 8:
        refuse_pointer(file)
        limit = "the format's limit of 100 MB" if length <= file.size - 8 else f"the file's {file.size} bytes"
        raise CheckpointError(
            f"{file.path} claims a header of {length} bytes, beyond {limit}: the file is torn or not safetensors"
        )
    header = _parse_json(file.path, file.bytes_at(8, length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{file.path}: __metadata__ must map text to text")
    start = 8 + length
    entries = {name: _checked(file.path, name, info, file.size - start) for name, info in header.items()}
    _check_cover(file.path, entries, file.size - start)
    return metadata, entries, start


def _parse_json(path: str, raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: the header is not UTF-8 ({error.reason} at byte {error.start})") from error
    if not text.startswith("{"):
        raise CheckpointError(f"{path}: the header starts with {shown(text[:1])} where a JSON object must open")
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except _DuplicateKeyError as error:
        raise CheckpointError(f"{path}: the header has {shown(error.args[0])} twice") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the header is not JSON ({error})") from error
    return header


class _DuplicateKeyError(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return found


def _checked(path: str, name: str, info: Any, data_bytes: int) -> Entry:
    """One tensor's entry, with every number within the file."""

    def refuse(cause: str) -> CheckpointError:
        return CheckpointError(f"{path}: tensor {shown(name)} {cause}")

    if not name.isascii() and any("\ud800" <= c <= "\udfff" for c in name):
        raise refuse("has half a surrogate pair in its name")
    if not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
        raise refuse("must have dtype, shape and data_offsets")
    dtype_name, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    dtype = DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        raise refuse(f"has dtype {shown(dtype_name)}, which torch has not; known are {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise refuse(f"has shape {shown(shape)}: at most {MAX_RANK} whole numbers from 0 are expected")
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_bytes:
        raise refuse(f"has data_offsets {shown(offsets)}: [begin, end] within the {data_bytes} bytes of data expected")
    if dtype is torch.float4_e2m1fn_x2:  # the file counts values, torch counts bytes that hold two
        if not shape or shape[-1] % 2:
            raise refuse(f"has shape {shape}: F4 values are stored in pairs, so the last dimension must be even")
        shape = [*shape[:-1], shape[-1] // 2]
    span = elements = dtype.itemsize
    for d in shape:
        elements *= d
        span *= d or 1  # torch computes strides past a zero, and they must not overflow
    begin, end = offsets
    if span >= MAX_BYTES:
        raise refuse(f"has shape {shown(shape)}, more than any memory holds")
    if elements != end - begin:
        raise refuse(f"holds {end - begin} bytes, but {dtype_name} of shape {shape} takes {elements}")
    return Entry(dtype, tuple(shape), begin, end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < MAX_BYTES for v in values)


def _check_cover(path: str, entries: dict[str, Entry], data_bytes: int) -> None:
    """The tensors must cover the data exactly: an overlap or a hole can hide something, or a torn write."""
    reached, last = 0, "the start of the data"
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != reached:
            what = "overlaps" if entry.begin < reached else f"leaves {entry.begin - reached} bytes unused after"
            raise CheckpointError(f"{path}: tensor {shown(name)} at byte {entry.begin} {what} {last}")
        reached, last = entry.end, shown(name)
    if reached != data_bytes:
        raise CheckpointError(f"{path}: {data_bytes - reached} bytes after {last} belong to no tensor")
