"""Files as memory: mapped without reading ahead, and without a file descriptor for as long as they are mapped."""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa


class _Mapping:
    """A file's bytes in this process's address space, until nobody refers to them."""

    def __init__(self, address: int, size: int, libc: Any):
        self.address, self.size, self._libc = address, size, libc

    def advise(self, advice: int) -> None:
        self._libc.madvise(self.address, self.size, advice)

    def __del__(self) -> None:
        self._libc.munmap(self.address, self.size)


@contextlib.contextmanager
def mapped(path: str) -> Iterator[pa.NativeFile]:
    """A file to read buffers from that are views of the disk's cache.

    Arrow's own mapping asks the system to read all that lies between the headers that it looks at: opening a file that
    is not in memory then costs as much as reading it. Python's keeps a descriptor for each file.
    """
    size = os.path.getsize(path)
    if not hasattr(mmap, "MADV_RANDOM") or size == 0:
        with pa.memory_map(path) as source:
            yield source
        return
    mapping = _map(path, size)
    mapping.advise(mmap.MADV_RANDOM)
    yield pa.BufferReader(pa.foreign_buffer(mapping.address, size, mapping))
    mapping.advise(mmap.MADV_NORMAL)


def _map(path: str, size: int) -> _Mapping:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return _Mapping(address, size, libc)
