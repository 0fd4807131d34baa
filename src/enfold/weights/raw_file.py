"""One file of raw tensors: a private memory map for views, positioned reads for copies."""

import mmap
import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from enfold.base.errors import CheckpointError

# Copies go piece by piece. Below 32,768 values torch stays on the calling thread; above, it would gather its team of
# threads for each piece, which stalls where the cores are busy. A multiple of every block size there is.
PIECE_VALUES = 31 << 10
# The kernel counts a private writable map against memory unless told not to, and would refuse one that is larger than
# the machine's memory although its pages are only ever read. Python 3.11 has no name for the flag.
_NO_RESERVE = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64", "riscv64") else 0


class RawFile:
    """An open regular file whose bytes become tensors."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if sys.byteorder != "little":
            raise CheckpointError(f"{self.path}: checkpoints are little-endian, and this machine is not")
        try:
            # A pipe in the place of the file must not make the call wait for a writer.
            self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise CheckpointError(f"{self.path} can't be opened: {error.strerror}") from error
        status = os.fstat(self._fd)
        self.size = status.st_size
        self._map: mmap.mmap | None = None
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise CheckpointError(f"{self.path} is not a regular file, so it can't be a checkpoint")

    def view(self, offset: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        """A tensor over the file's bytes, copy-on-write. It keeps the map alive, not the other way round."""
        count = 1
        for d in shape:
            count *= d
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        if self._map is None:
            self._map = self._mapped()
        # The map is never closed by hand: torch holds on to the object, not to its buffer, so a close would pull the
        # memory from under living tensors.
        flat = torch.frombuffer(self._map, dtype=torch.uint8, count=count * dtype.itemsize, offset=offset)
        return flat.view(dtype).view(shape)

    def _mapped(self) -> mmap.mmap:
        self._check_open()
        try:
            if not hasattr(mmap, "MAP_PRIVATE"):
                return mmap.mmap(self._fd, self.size, access=mmap.ACCESS_COPY)
            return mmap.mmap(
                self._fd, self.size, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
        except (OSError, ValueError) as error:  # ValueError: the file shrank since it was opened
            raise CheckpointError(f"{self.path} can't be mapped into memory: {error}") from error

    def bytes_at(self, offset: int, count: int) -> bytes:
        """`count` bytes, which the caller has checked against `size`."""
        buffer = bytearray(count)
        self.read_at(offset, memoryview(buffer))
        return bytes(buffer)

    def read_at(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`."""
        self._check_open()
        done = 0
        while done < len(buffer):
            try:
                got = self._read_some(offset + done, buffer[done:])
            except OSError as error:
                raise CheckpointError(f"{self.path} can't be read at byte {offset + done}: {error.strerror}") from error
            if got == 0:
                raise CheckpointError(
                    f"{self.path} ended at byte {offset + done}: it had {self.size} bytes when it was opened, and was "
                    "cut short since"
                )
            done += got

    def _read_some(self, offset: int, buffer: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [buffer], offset)
        os.lseek(self._fd, offset, os.SEEK_SET)
        data = os.read(self._fd, min(len(buffer), 1 << 20))
        buffer[: len(data)] = data
        return len(data)

    def fill(self, offset: int, dtype: torch.dtype, out: torch.Tensor) -> None:
        """Copy the row-major tensor at `offset` into `out`, whatever its strides, floating dtype and device."""
        out = out.detach()
        if out.dtype == dtype and out.device.type == "cpu" and out.is_contiguous():
            if out.numel():
                self.read_at(offset, bytes_of(out))
            return
        buffer = torch.empty(min(PIECE_VALUES, out.numel()), dtype=dtype)
        for piece in pieces(out, buffer.numel()):
            part = buffer[: piece.numel()]
            self.read_at(offset, bytes_of(part))
            piece.copy_(part.view(piece.shape))
            offset += part.nbytes

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._map = -1, None

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise CheckpointError(f"{self.path} was closed: open the checkpoint again to read more tensors")

    def starts_with(self, magic: bytes) -> bool:
        return self.size >= len(magic) and self.bytes_at(0, len(magic)) == magic


def refuse_pointer(file: RawFile) -> None:
    """Say so when the file is only the note that git-lfs leaves in the place of a large file."""
    if file.starts_with(b"version https://git-lfs"):
        raise CheckpointError(
            f"{file.path} is a git-lfs pointer ({file.size} bytes), not the weights: run `git lfs pull` in the "
            "repository, or download the file again"
        )


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    # A dimension of one may have any stride, which a plain view would trip over.
    return tensor.detach().as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data


def reach(tensor: torch.Tensor) -> int:
    """Elements from the first to the last in memory of a tensor that has any."""
    return sum((d - 1) * s for d, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1


def pieces(out: torch.Tensor, limit: int) -> Iterator[torch.Tensor]:
    """Views that cover `out` in row-major order, each of at most `limit` elements."""
    if out.numel() <= limit:
        if out.numel():
            yield out
        return
    row = out[0].numel()
    if row <= limit:
        yield from out.split(limit // row)
    else:
        for part in out.unbind():
            yield from pieces(part, limit)


def copy_serially(values: torch.Tensor, out: torch.Tensor) -> None:
    """Copy a contiguous tensor into one of as many elements, in row-major order, on this thread alone."""
    flat, done = values.view(-1), 0
    for piece in pieces(out, PIECE_VALUES):
        piece.copy_(flat[done : done + piece.numel()].view(piece.shape))
        done += piece.numel()


def listed(folder: Path, limit: int = 12) -> str:
    """The names in a folder, for a message."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"
