"""A data file as readers see it: plain bytes with a name, one or (from an archive) many.

Compression and archives are told by the first bytes, not by the name. Members of archives are read where they lie;
nothing is written, so a hostile name has nowhere to go, and it is refused all the same.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from enfold.base.errors import DatasetError, EnfoldError, UnsafePathError
from enfold.datasets.files import DataFile
from enfold.hub.paths import safe_relative_path

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_REFUSED = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}
# What is small is no bomb, whatever its ratio.
_HARMLESS_BYTES = 256 << 20
DEFAULT_MAX_EXPANSION = 250.0


@dataclass(frozen=True)
class Opened:
    """Something to read: its name for messages, how to open it, and its path if it is a plain file on this disk."""

    name: str
    opener: Callable[[], BinaryIO]
    path: Path | None = None

    def open(self) -> BinaryIO:
        return self.opener()

    def seekable(self) -> Any:
        """A source that can be read from any place, for formats whose index stands at the end: mapped, or in memory."""
        if self.path is not None:
            return pa.memory_map(str(self.path), "r") if self.path.stat().st_size else pa.BufferReader(b"")
        file = self.opener()
        if file.seekable():
            return file
        with file:
            return pa.BufferReader(file.read())


def contents(file: DataFile, max_expansion: float | None = DEFAULT_MAX_EXPANSION) -> Iterator[Opened]:
    """What is in a file: itself, decompressed, or the members of a zip or tar in the order of their names.

    Args:
        max_expansion: how many bytes one compressed byte may become, past the first 256 MiB; None for no limit.

    Raises:
        DatasetError: a torn archive, one of a kind that isn't read, or one that expands too much.
        UnsafePathError: a member whose name leaves the archive, a link, or a device.
    """
    with torn_archive(file.url), ExitStack() as stack:
        yield from _contents(file, max_expansion, stack)


@contextmanager
def members(file: DataFile, max_expansion: float | None = DEFAULT_MAX_EXPANSION) -> Iterator[dict[str, Opened]]:
    """An archive's members by their names in it, while the archive is open."""
    with torn_archive(file.url), ExitStack() as stack:
        yield {opened.name.partition(": ")[2]: opened for opened in _contents(file, max_expansion, stack)}


def _contents(file: DataFile, limit: float | None, stack: ExitStack) -> Iterator[Opened]:
    kind = _kind(_head(file))
    if kind == "zip":
        source = stack.enter_context(_seekable(file))
        yield from _zip_members(stack.enter_context(zipfile.ZipFile(source)), file.url, limit)
    elif kind == "tar" or (kind and _holds_tar(file, kind, limit)):
        source = file.open() if kind in (None, "tar") else _decompressed(file.open(), kind, file.url, limit)
        stack.enter_context(source)
        if not source.seekable():
            source = io.BytesIO(source.read())
        if source.seek(0, io.SEEK_END) % tarfile.BLOCKSIZE:
            raise EOFError("its last block is not whole")
        source.seek(0)
        archive = tarfile.TarFile(fileobj=source)
        yield from _tar_members(stack.enter_context(archive), file.url, limit)
    else:
        yield _plain(file, kind, limit)


def _plain(file: DataFile, kind: str | None, limit: float | None) -> Opened:
    if kind is None:
        return Opened(file.url, file.open, file.local_path())
    return Opened(file.url, lambda: _decompressed(file.open(), kind, file.url, limit))


def _head(file: DataFile) -> bytes:
    with file.open() as opened:
        return opened.read(512)


def _kind(head: bytes) -> str | None:
    for magic, kind in _REFUSED.items():
        if head.startswith(magic):
            raise DatasetError(f"It is a {kind} archive, which isn't read. Repack it as zip, tar or zst.")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _holds_tar(file: DataFile, kind: str, limit: float | None) -> bool:
    with _decompressed(file.open(), kind, file.url, limit) as opened:
        return opened.read(512)[257:262] == b"ustar"


def _zip_members(archive: zipfile.ZipFile, url: str, limit: float | None) -> Iterator[Opened]:
    found = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    for name in _in_order(found, url):
        info = found[name]
        if info.flag_bits & 0x1:
            raise DatasetError(f"{url}: {name} is encrypted. Decrypt the archive first.")
        if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise UnsafePathError(f"{url}: {name} is a link or a device. Repack the archive with plain files.")

        def opener(info: zipfile.ZipInfo = info) -> BinaryIO:
            inner: Any = _Guarded(archive.open(info), info.compress_size, limit, f"{url}: {info.filename}")
            return _unwrapped(inner, limit)

        yield Opened(f"{url}: {name}", opener)


def _tar_members(archive: tarfile.TarFile, url: str, limit: float | None) -> Iterator[Opened]:
    found = {}
    for member in archive:
        if not (member.isreg() or member.isdir()):
            raise UnsafePathError(
                f"{url}: {member.name} is a {'link' if member.islnk() or member.issym() else 'device'}. Repack the "
                "archive with plain files."
            )
        if member.isreg():
            found[member.name] = member
    for name in _in_order(found, url):

        def opener(member: tarfile.TarInfo = found[name]) -> BinaryIO:
            inner: Any = archive.extractfile(member)
            return _unwrapped(inner, limit)

        yield Opened(f"{url}: {name}", opener)


def _in_order(names: Any, url: str) -> list[str]:
    """Files of a folder before those of its folders, each sorted; hidden ones left out."""
    kept = []
    for name in names:
        try:
            parts = safe_relative_path(name.removeprefix("./")).parts
        except EnfoldError as error:
            raise UnsafePathError(f"{url} holds {name!r}, a name that leaves the archive. Don't trust it.") from error
        if not any(part.startswith((".", "__")) for part in parts):
            kept.append(([*((1, part) for part in parts[:-1]), (0, parts[-1])], name))
    return [name for _, name in sorted(kept)]


def _unwrapped(inner: BinaryIO, limit: float | None) -> BinaryIO:
    """A member that is compressed itself, decompressed."""
    buffered = io.BufferedReader(inner)  # type: ignore[arg-type]
    kind = _kind(buffered.peek(512)[:512])
    return buffered if kind in (None, "zip", "tar") else _decompressed(buffered, kind, str(inner), limit)


@contextmanager
def _seekable(file: DataFile) -> Iterator[BinaryIO]:
    with file.open() as source:
        yield source if source.seekable() else io.BytesIO(source.read())


def _decompressed(source: BinaryIO, kind: str, name: str, limit: float | None) -> BinaryIO:
    counted = _Counted(source)
    if kind == "gzip":
        opened: Any = gzip.GzipFile(fileobj=counted)
    elif kind == "bz2":
        opened = bz2.BZ2File(counted)  # type: ignore[arg-type]
    elif kind == "xz":
        opened = lzma.LZMAFile(counted)  # type: ignore[arg-type]  # noqa: SIM115
    else:
        opened = pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), kind)
    return io.BufferedReader(_Guarded(opened, counted, limit, name), 1 << 20)


class _Counted(io.RawIOBase):
    """Bytes of a file and how many were taken."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.taken += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


class _Guarded(io.RawIOBase):
    """Decompressed bytes, refused once they are far more than what they came from."""

    def __init__(self, source: Any, compressed: int | _Counted, limit: float | None, name: str) -> None:
        self._source, self._compressed, self._limit, self._name = source, compressed, limit, name
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with torn_archive(self._name):
            data = self._source.read(len(buffer))
        self._given += len(data)
        if self._limit is not None and self._given > _HARMLESS_BYTES:
            taken = self._compressed.taken if isinstance(self._compressed, _Counted) else self._compressed
            if self._given > self._limit * max(taken, 1):
                raise DatasetError(
                    f"{self._name} expands more than {self._limit:g} times ({self._given} bytes from {taken}): it may "
                    "be a bomb. If it is meant to, raise max_expansion= (None for no limit)."
                )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
            if isinstance(self._compressed, _Counted):
                self._compressed.close()
        super().close()


@contextmanager
def torn_archive(name: str) -> Iterator[None]:
    """Turn what the decompressors raise into one error that names the file."""
    try:
        yield
    except EnfoldError as error:
        if name not in str(error) and isinstance(error, DatasetError) and type(error) is DatasetError:
            raise DatasetError(f"{name}: {error}") from error
        raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DatasetError(f"{name} is torn, or not what it seems: {error}. Get the file again.") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DatasetError(f"{name} can't be read to its end: {error}. Get the file again.") from error


def stem(name: str) -> str:
    """The last path component of a file's or a member's name."""
    return PurePosixPath(name.rpartition(": ")[2]).name
