"""GGUF files: the `gguf` package reads the container, enfold checks its numbers and expands the blocks."""

import functools
import os
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from enfold.base.errors import CheckpointError, EnfoldError
from enfold.base.lazy import require
from enfold.weights.checkpoint import Checkpoint, check_destination, no_such_tensor, shown
from enfold.weights.gguf_blocks import BLOCKS, BlockType
from enfold.weights.raw_file import RawFile, copy_serially, pieces, refuse_pointer

# Types whose values are stored one by one.
PLAIN = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
}
# Values expanded at a time: 512 KB of fp32, which stays in the cache and is long beside the cost of the calls.
PIECE_VALUES = 1 << 17
# Tensors of fewer pieces are done before other threads would have begun.
WORTH_THREADS = 4
MAX_WORKERS = 8
MAX_DIMS = 4
MAX_VALUES = 1 << 60


class Entry(NamedTuple):
    type_name: str
    shape: tuple[int, ...]
    begin: int  # byte in the file
    nbytes: int


class Fields(Mapping[str, Any]):
    """A GGUF file's notes: key → number, truth value, text or list. Lists are decoded when they are first asked for."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._values = raw

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, _Array):
            value = self._values[key] = value.decode(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def length(self, key: str) -> int:
        """How many items the list `key` has, without decoding it."""
        value = self._values[key]
        return value.count if isinstance(value, _Array) else len(value)


class GGUFCheckpoint(Checkpoint):
    """A GGUF file with the tensors' names and rows as they are stored.

    Args:
        path: the file.

    Attributes:
        fields: the file's notes by key (`general.architecture`, `tokenizer.ggml.tokens`, ...).

    Raises:
        CheckpointError: the container is torn or hostile.
        MissingDependencyError: the `gguf` package is not installed.
    """

    fields: Fields

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require("gguf", extra="gguf", purpose="Reading a GGUF file")
        self._file = RawFile(path)
        self.path = self._file.path
        try:
            refuse_pointer(self._file)
            if not self._file.starts_with(b"GGUF"):
                raise CheckpointError(f"{self.path} does not start as a GGUF file: it is torn or of another format")
            self.fields, self._entries = _read_container(self._file)
        except BaseException:
            self._file.close()
            raise
        self.metadata = {key: value for key, value in self.fields._values.items() if isinstance(value, str)}
        self._workers = min(os.cpu_count() or 1, MAX_WORKERS)
        self._pool: ThreadPoolExecutor | None = None

    def names(self) -> list[str]:
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        return PLAIN.get(self._entry(name).type_name, torch.float32)

    def type_name(self, name: str) -> str:
        """How the tensor is stored, in ggml's words: `"F16"`, `"Q4_1"`."""
        return self._entry(name).type_name

    def is_quantized(self, name: str) -> bool:
        return self._entry(name).type_name not in PLAIN

    def is_mappable(self, name: str) -> bool:
        dtype = PLAIN.get(self._entry(name).type_name)
        return dtype is not None and self._entry(name).begin % dtype.itemsize == 0

    def read(self, name: str) -> torch.Tensor:
        entry = self._entry(name)
        if self.is_mappable(name):
            return self._file.view(entry.begin, self.dtype(name), entry.shape)
        _check_known(self.path, name, entry)
        out = torch.empty(entry.shape, dtype=self.dtype(name))
        self.fill(name, out)
        return out

    def read_into(self, name: str, out: torch.Tensor) -> None:
        entry = self._entry(name)
        check_destination(self.path, name, entry.shape, self.dtype(name), out)
        self.fill(name, out)

    def fill(self, name: str, out: torch.Tensor) -> None:
        """Write the values in stored order into `out`, a view of any shape that ends in whole rows."""
        entry = self._entry(name)
        _check_known(self.path, name, entry)
        if entry.type_name in PLAIN:
            self._file.fill(entry.begin, PLAIN[entry.type_name], out)
            return
        kind, offset = BLOCKS[entry.type_name], entry.begin
        work: list[tuple[int, torch.Tensor]] = []
        for piece in pieces(out.detach(), PIECE_VALUES):
            work.append((offset, piece))
            offset += piece.numel() // kind.values * kind.size
        if len(work) < WORTH_THREADS or self._workers < 2:
            _expand(self._file, kind, work)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="enfold-gguf")
        shares = [work[i :: self._workers] for i in range(self._workers)]
        for _ in self._pool.map(_expand, repeat(self._file), repeat(kind), shares):
            pass

    def close(self) -> None:
        self._file.close()
        if self._pool is not None:
            self._pool.shutdown()

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise no_such_tensor(self.path, name, self.names())
        return entry


def _expand(file: RawFile, kind: BlockType, work: list[tuple[int, torch.Tensor]]) -> None:
    """Read and expand pieces of a tensor, each `(byte in the file, destination)`."""
    most = max((piece.numel() for _, piece in work), default=0)
    packed = np.empty((most // kind.values, kind.size), dtype=np.uint8)
    buffer: torch.Tensor | None = None
    for offset, piece in work:
        blocks = packed[: piece.numel() // kind.values]
        file.read_at(offset, blocks.reshape(-1).data)
        direct = piece.dtype == torch.float32 and piece.device.type == "cpu" and piece.is_contiguous()
        if not direct and buffer is None:
            buffer = torch.empty(most)
        values = piece if direct or buffer is None else buffer[: piece.numel()]
        with np.errstate(all="ignore"):  # a scale may be infinite: that is the file's value
            kind.expand(blocks, values.view(-1, kind.values).numpy())
        if not direct:
            copy_serially(values, piece)


def _check_known(path: str, name: str, entry: Entry) -> None:
    if entry.type_name not in PLAIN and entry.type_name not in BLOCKS:
        raise CheckpointError(
            f"{path}: tensor {shown(name)} is stored as {entry.type_name}, which enfold can't expand; it knows "
            f"{', '.join([*PLAIN, *BLOCKS])}. Take a file of another quantisation"
        )


class _Array(NamedTuple):
    """A list in the notes, not decoded yet. `data` is a view of the file's map."""

    item: Any  # numpy scalar type, or None for text
    count: int
    data: np.ndarray

    def decode(self, key: str) -> list[Any]:
        if self.item is not None:
            return self.data.view(self.item).tolist()
        raw, at, texts = self.data.tobytes(), 0, []
        for _ in range(self.count):
            (length,) = _LENGTH.unpack_from(raw, at)
            at += 8 + length
            texts.append(raw[at - length : at])
        try:
            return [text.decode() for text in texts]
        except UnicodeDecodeError as error:
            raise CheckpointError(f"the GGUF file's {key} holds text that is not UTF-8 ({error})") from error


_LENGTH = struct.Struct("<Q")


def _read_container(file: RawFile) -> tuple[Fields, dict[str, Entry]]:
    try:
        # A hostile number may wrap in numpy's fixed-width arithmetic; the checks below see to it.
        with np.errstate(over="ignore"):
            found = _reader_class()(file.path)
        values = {}
        for key, field in found.fields.items():
            if not key.startswith("GGUF."):  # the container's own counts
                part = field.parts[field.data[0]]
                values[key] = part if isinstance(part, _Array) else field.contents()
    except EnfoldError:
        raise
    except Exception as error:  # the package checks little: a torn file fails it in any way
        cause = str(error) or type(error).__name__
        raise CheckpointError(f"{file.path} is no whole GGUF file ({cause[:200]})") from error
    if found.byte_order == "S":
        raise CheckpointError(f"{file.path} is a big-endian GGUF file: convert it with gguf_convert_endian.py")
    return Fields(values), _checked(file, found.infos, found.data_offset, int(found.alignment))


@functools.cache
def _reader_class() -> Any:
    import gguf

    class Reader(gguf.GGUFReader):
        """The package's reader, with bounds on every read, lists left packed and tensors left to enfold.

        As it stands it makes one numpy view per list item, which takes seconds for a vocabulary, and counts up to
        whatever length a list claims.
        """

        infos: list[Any]

        def _get(self, offset, dtype, count=1, override_order=None):  # pyright: ignore[reportIncompatibleMethodOverride]
            if int(offset) + int(count) * np.dtype(dtype).itemsize > self.data.size:
                raise CheckpointError(
                    f"{self.data.filename}: a header entry at byte {int(offset)} claims more than the file's "
                    f"{self.data.size} bytes: it is torn or hostile"
                )
            return super()._get(offset, dtype, count, override_order)

        def _get_field_parts(self, orig_offs, raw_type):
            if raw_type != gguf.GGUFValueType.ARRAY:
                return super()._get_field_parts(orig_offs, raw_type)
            item = gguf.GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
            count = int(self._get(orig_offs + 4, np.uint64)[0])
            start = orig_offs + 12
            scalar = self.gguf_scalar_to_np.get(item)
            if scalar is None and item != gguf.GGUFValueType.STRING:
                raise CheckpointError(f"{self.data.filename}: a list of {item.name} in the notes can't be read")
            end = start
            if scalar is not None:
                end += count * np.dtype(scalar).itemsize
            else:
                self._get(start, np.uint64, count)  # each text takes eight bytes or more
                view, unpack = self.data.data, _LENGTH.unpack_from
                for _ in range(count):
                    end += 8 + unpack(view, end)[0]
            packed = self._get(start, np.uint8, end - start)
            return end - orig_offs, [_Array(scalar, count, packed)], [0], [gguf.GGUFValueType.ARRAY, item]

        def _build_tensors(self, start_offs, fields):
            self.infos = fields

    return Reader


def _checked(file: RawFile, infos: list[Any], start: int, alignment: int) -> dict[str, Entry]:
    """The tensors, with every number within the file."""
    import gguf

    entries: dict[str, Entry] = {}
    for info in infos:
        name = info.name
        _, _, dims, type_id, offset = info.parts[1:]

        def refuse(cause: str, name: str = name) -> CheckpointError:
            return CheckpointError(f"{file.path}: tensor {shown(name)} {cause}")

        if name in entries:
            raise refuse("comes twice")
        try:
            kind = gguf.GGMLQuantizationType(int(type_id[0]))
        except ValueError as error:
            raise refuse(
                f"is of type {int(type_id[0])}, which the gguf package does not know: a newer one may"
            ) from error
        values, size = gguf.GGML_QUANT_SIZES[kind]
        shape = tuple(int(d) for d in reversed(dims))  # the fastest dimension comes first in the file
        count = 1
        for d in shape:
            count *= d
        if len(shape) > MAX_DIMS or count > MAX_VALUES or max(shape, default=0) > MAX_VALUES:
            raise refuse(f"has shape {shown(shape)}: at most {MAX_DIMS} dimensions that fit a file are expected")
        if shape and shape[-1] % values:
            raise refuse(f"has rows of {shape[-1]} numbers, but {kind.name} packs them by {values}")
        entry = Entry(kind.name, shape, start + int(offset[0]), count // values * size)
        if int(offset[0]) % alignment:
            raise refuse(f"starts at byte {int(offset[0])} of the data, not at a multiple of {alignment}")
        if entry.begin + entry.nbytes > file.size:
            raise refuse(f"ends at byte {entry.begin + entry.nbytes} of a file of {file.size} bytes: it is torn")
        entries[name] = entry
    reached, holder = 0, ""
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin < reached and entry.nbytes:
            raise CheckpointError(f"{file.path}: tensors {shown(holder)} and {shown(name)} overlap")
        reached, holder = max((reached, holder), (entry.begin + entry.nbytes, name))
    return entries
