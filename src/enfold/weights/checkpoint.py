"""What a checkpoint is to the rest of enfold: named tensors on disk, read one at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import torch

from enfold.base.errors import ArgumentError, CheckpointError


class Checkpoint(ABC):
    """A read-only set of named tensors on disk, read lazily; a context manager.

    Tensors that `read` returned stay valid after `close` and after the checkpoint is gone: the memory map behind them
    lives as long as any view of it.

    Attributes:
        path: the file or folder, for messages.
        metadata: the file's own text notes (`{"format": "pt"}` in most safetensors files).
    """

    path: str
    metadata: Mapping[str, str]

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all tensors, in the order of the file."""

    @abstractmethod
    def __contains__(self, name: object) -> bool: ...

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape as a model sees it."""

    @abstractmethod
    def dtype(self, name: str) -> torch.dtype:
        """The tensor's dtype as stored; `torch.float32` for block-quantised tensors."""

    def is_quantized(self, name: str) -> bool:
        """Whether the tensor is stored as quantised blocks, which `read` and `read_into` expand."""
        self.dtype(name)
        return False

    @abstractmethod
    def is_mappable(self, name: str) -> bool:
        """Whether `read` returns a view of a private (copy-on-write) memory map instead of a copy."""

    @abstractmethod
    def read(self, name: str) -> torch.Tensor:
        """The tensor. Writing to it never changes the file.

        A view reads its pages when they are first touched, so a file that others overwrite in place while it is mapped
        changes the view, and one that they cut short ends the process, as with every memory map.

        Raises:
            CheckpointError: no such tensor, or the file was cut short after it was opened.
        """

    @abstractmethod
    def read_into(self, name: str, out: torch.Tensor) -> None:
        """Fill `out`, of the same shape and any strides, converting between floating dtypes.

        Peak memory is `out` plus a few megabytes: the file's pages are not kept.

        Raises:
            ArgumentError: `out` has another shape or a dtype that would lose the values' kind.
            CheckpointError: no such tensor, or the file was cut short after it was opened.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the files. Views that `read` returned stay valid."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r}, {len(self)} tensors)"


def shown(name: object) -> str:
    """A name from a file as it may stand in a message: quoted, and short however long the file made it."""
    text = repr(name)
    return text if len(text) <= 120 else f"{text[:80]}… ({len(text)} characters)"


def no_such_tensor(path: str, name: str, names: list[str]) -> CheckpointError:
    """The error for a name that the checkpoint lacks, with the nearest that it has."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=3)
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    return CheckpointError(f"{path} has no tensor {shown(name)} among its {len(names)}{hint}")


def check_destination(path: str, name: str, shape: tuple[int, ...], dtype: torch.dtype, out: torch.Tensor) -> None:
    """Refuse a destination that can't take the stored values as they are (but for floating precision)."""
    if out.is_meta:
        raise ArgumentError(f"{path}: {name!r} can't be read into a meta tensor: give it storage first (empty_like)")
    if tuple(out.shape) != shape:
        raise ArgumentError(f"{path}: {name!r} has shape {shape}, the destination {tuple(out.shape)}")
    if not converts(dtype, out.dtype):
        raise ArgumentError(
            f"{path}: {name!r} is stored as {dtype}, which {out.dtype} can't hold; read() gives it as is"
        )


def converts(stored: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values of `stored` may be copied into `wanted`: same kind, and no integer narrowing."""
    if stored == wanted:
        return True
    if torch.float4_e2m1fn_x2 in (stored, wanted):  # packed pairs: torch has no conversion
        return False
    if stored.is_complex or wanted.is_complex:
        return stored.is_complex and wanted.is_complex
    if stored.is_floating_point or wanted.is_floating_point:
        return stored.is_floating_point and wanted.is_floating_point
    try:
        return torch.promote_types(stored, wanted) == wanted
    except RuntimeError:  # torch promotes no two unlike unsigned types
        return False
