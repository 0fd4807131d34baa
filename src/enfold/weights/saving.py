"""Saving as safetensors: the whole checkpoint or nothing, in shards of a bounded size."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch

from enfold.base.errors import ArgumentError, CheckpointError
from enfold.base.whole import sync_folder
from enfold.weights.checkpoint import shown
from enfold.weights.raw_file import PIECE_VALUES, bytes_of, pieces, reach
from enfold.weights.safetensors_file import DTYPE_NAMES

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def save_tensors(
    tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]],
    folder: str | os.PathLike[str],
    *,
    max_shard_size: int | str = "50GB",
    metadata: Mapping[str, str] | None = None,
    filename: str = "model.safetensors",
) -> list[Path]:
    """Write tensors as one safetensors file, or as shards and an index.

    Files are written beside their places and moved there once all are safe on the disk, so a full disk or a crash
    leaves an older save as it was. Shards of an older save that the new one doesn't use are removed at the end.

    Args:
        tensors: names and tensors, on any device and of any strides. Each must own its memory: for tied weights,
            leave out all names but one.
        max_shard_size: bytes, or text such as `"5GB"` (10⁹) or `"2GiB"` (2³⁰). A larger tensor gets its own shard.
        metadata: notes for the header; `{"format": "pt"}` by default.
        filename: `model.safetensors`, or with a variant `model.fp16.safetensors`.

    Returns:
        The files written, the index last.

    Raises:
        ArgumentError: two tensors share memory, one is sparse, on the meta device or of a dtype safetensors lacks.
        CheckpointError: the files could not be written.
    """
    folder = Path(folder)
    limit = _bytes(max_shard_size)
    named = _checked(tensors)
    notes = {"format": "pt"} if metadata is None else dict(metadata)
    if any(not isinstance(text, str) for pair in notes.items() for text in pair):
        raise ArgumentError(f"metadata must map text to text, got {notes!r}")
    stem, dot, suffix = filename.rpartition(".")
    if os.path.basename(filename) != filename or not stem or suffix != "safetensors":
        raise ArgumentError(f"filename must be a name that ends in .safetensors, got {filename!r}")

    shards = _split(named, limit)
    names = [filename]
    if len(shards) > 1:
        names = [f"{stem}-{i:05d}-of-{len(shards):05d}{dot}{suffix}" for i in range(1, len(shards) + 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = _write_all(folder, names, shards, notes, _index_name(filename))
    except OSError as error:
        raise CheckpointError(f"{folder}: the weights could not be saved ({error.strerror or error})") from error
    _remove_older(folder, filename, {path.name for path in written})
    return written


def _write_all(
    folder: Path, names: list[str], shards: list[dict[str, torch.Tensor]], notes: dict[str, str], index_name: str
) -> list[Path]:
    aside = {name: folder / f".{name}.{os.getpid()}.part" for name in [*names, index_name]}
    try:
        for name, shard in zip(names, shards, strict=True):
            _write_file(aside[name], shard, notes)
        if len(names) > 1:
            index = _index(names, shards)
            _write_bytes(aside[index_name], [json.dumps(index, indent=2, sort_keys=True).encode() + b"\n"])
            names = [*names, index_name]
        if any((folder / name).exists() for name in names):
            # A crash between two renames must not leave an old index over a mixture of shards.
            (folder / index_name).unlink(missing_ok=True)
        for name in names:
            os.replace(aside[name], folder / name)
        sync_folder(folder)
    finally:
        for path in aside.values():
            with contextlib.suppress(OSError):
                path.unlink()
    return [folder / name for name in names]


def _checked(tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    named: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items() if isinstance(tensors, Mapping) else tensors:
        if not isinstance(name, str) or name == "__metadata__" or name in named:
            why = "comes twice" if name in named else "is no name for a tensor"
            raise ArgumentError(f"{shown(name)} {why}")
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            what = "a tensor without data (meta)" if getattr(tensor, "is_meta", False) else f"{type(tensor).__name__}"
            what = str(tensor.layout) if isinstance(tensor, torch.Tensor) and tensor.layout != torch.strided else what
            raise ArgumentError(f"{shown(name)}: dense tensors can be saved, got {what}")
        if tensor.dtype not in DTYPE_NAMES:
            raise ArgumentError(f"{shown(name)}: safetensors has no {tensor.dtype}; known are {list(DTYPE_NAMES)}")
        if tensor.dtype is torch.float4_e2m1fn_x2 and not tensor.dim():
            raise ArgumentError(f"{shown(name)}: safetensors has no scalars of {tensor.dtype}")
        named[name] = tensor.detach()
    _refuse_overlap(named)
    return named


def _refuse_overlap(named: dict[str, torch.Tensor]) -> None:
    """Tied weights that slip through would be saved twice and come apart on loading."""
    spans: dict[torch.device, list[tuple[int, int, str]]] = {}
    for name, tensor in named.items():
        if tensor.numel():
            begin = tensor.data_ptr()
            spans.setdefault(tensor.device, []).append((begin, begin + reach(tensor) * tensor.element_size(), name))
    for on_device in spans.values():
        on_device.sort()
        # Names whose spans reach beyond the current begin; only their own elements decide (columns may interleave).
        near: list[tuple[int, str]] = []
        for begin, end, name in on_device:
            near = [(reached, other) for reached, other in near if reached > begin]
            for _, other in near:
                if _overlap(named[other], named[name]):
                    raise ArgumentError(
                        f"{other!r} and {name!r} share memory: save tied weights under one name, and give views their "
                        "own memory with .clone()"
                    )
            near.append((end, name))


def _overlap(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors, `first` at the lower address and with overlapping spans, share an element."""
    distance, uneven = divmod(second.data_ptr() - first.data_ptr(), first.element_size())
    if uneven or first.element_size() != second.element_size() or (first.is_contiguous() and second.is_contiguous()):
        return True
    taken = torch.zeros(max(reach(first), distance + reach(second)), dtype=torch.bool)
    taken.as_strided(first.shape, first.stride()).fill_(True)
    return bool(taken.as_strided(second.shape, second.stride(), distance).any())


def _split(named: dict[str, torch.Tensor], limit: int) -> list[dict[str, torch.Tensor]]:
    """Fill shards in the order of the names: a new one begins where the next tensor would not fit."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in named.items():
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _index(names: list[str], shards: list[dict[str, torch.Tensor]]) -> dict[str, object]:
    total = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    owner = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    return {"metadata": {"total_size": total}, "weight_map": owner}


def _write_file(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, str]) -> None:
    # Wide types first, so that every tensor starts at a multiple of its item size and can be mapped.
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    header: dict[str, object] = {"__metadata__": notes} if notes else {}
    offset = 0
    for name in order:
        tensor = tensors[name]
        shape = list(tensor.shape)
        if tensor.dtype is torch.float4_e2m1fn_x2:  # torch counts pairs, the format counts values
            shape[-1] *= 2
        end = offset + tensor.nbytes
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    _write_bytes(path, chain([len(text).to_bytes(8, "little"), text], _parts(tensors, order)))


def _parts(tensors: dict[str, torch.Tensor], order: list[str]) -> Iterator[memoryview]:
    """The tensors' bytes; strided and device tensors pass through a small buffer on the CPU."""
    for name in order:
        tensor = tensors[name]
        if tensor.dtype is torch.float4_e2m1fn_x2:  # no copy kernel of its own
            tensor = tensor.view(torch.uint8)
        if tensor.device.type == "cpu" and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg():
            if tensor.numel():
                yield bytes_of(tensor)
            continue
        for piece in pieces(tensor, PIECE_VALUES):
            yield bytes_of(piece.resolve_conj().resolve_neg().to("cpu").contiguous())


def _write_bytes(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _remove_older(folder: Path, filename: str, kept: set[str]) -> None:
    """Remove what an older save of the same name left behind, so that nothing mixes with the new one."""
    stem = re.escape(filename.removesuffix(".safetensors"))
    older = re.compile(rf"{stem}(-[0-9]{{5}}-of-[0-9]{{5}})?\.safetensors")
    for path in folder.iterdir():
        if path.name not in kept and (older.fullmatch(path.name) or path.name == _index_name(filename)):
            path.unlink()


def _index_name(filename: str) -> str:
    """model.safetensors → model.safetensors.index.json, model.fp16.safetensors → model.safetensors.index.fp16.json."""
    stem, _, variant = filename.removesuffix(".safetensors").partition(".")
    return f"{stem}.safetensors.index.{variant}.json" if variant else f"{stem}.safetensors.index.json"


def _bytes(size: int | str) -> int:
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        unit = _UNITS.get(match[2].upper()) if match else None
        count = int(float(match[1]) * unit) if match and unit else 0
    else:
        count = size
    if count <= 0:
        raise ArgumentError(f"max_shard_size must be bytes or text such as '5GB' or '2GiB', got {size!r}")
    return count
