"""Legacy `pytorch_model.bin` files: pickles, opened without running anything that they ask for."""

import contextlib
import ctypes
import functools
import io
import mmap
import os
import pickle
import pickletools
import re
import struct
import sys
import zipfile
from collections.abc import Callable

import torch

from enfold.base.errors import CheckpointError
from enfold.weights.checkpoint import Checkpoint, check_destination, no_such_tensor, shown
from enfold.weights.raw_file import PIECE_VALUES, RawFile, pieces, reach, refuse_pointer

# How torch's restricted unpickler names what it refuses to import.
_REFUSED = re.compile(r"GLOBAL (\S+)")
_READ_FOR_NAMES = 1 << 24
_CONVERT = "if you trust its maker, convert it to safetensors where it was made (safetensors.torch.save_file)"


class TorchCheckpoint(Checkpoint):
    """A state dict that `torch.save` wrote, in the zip format (memory-mapped) or the older one (read whole).

    Args:
        path: the file.

    Raises:
        CheckpointError: the file is torn, asks for anything but tensors, or is no flat mapping of names to tensors.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.metadata = {}
        file = RawFile(self.path)
        try:
            refuse_pointer(file)
            self._zipped = file.starts_with(b"PK\x03\x04")
        finally:
            file.close()
        if self._zipped:
            _check_zip(self.path)
        self._views: dict[str, torch.Tensor] = _load(self.path, mapped=self._zipped)
        self._copies: dict[str, torch.Tensor] | None = None
        self._closed = False

    def names(self) -> list[str]:
        return list(self._views)

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def dtype(self, name: str) -> torch.dtype:
        return self._tensor(name).dtype

    def is_mappable(self, name: str) -> bool:
        return self._zipped and self._tensor(name).numel() > 0

    def read(self, name: str) -> torch.Tensor:
        return self._tensor(name)

    def read_into(self, name: str, out: torch.Tensor) -> None:
        tensor = self._tensor(name)
        check_destination(self.path, name, tuple(tensor.shape), tensor.dtype, out)
        out = out.detach()
        if not self._zipped or sys.platform != "linux":
            out.copy_(tensor)
            return
        # A map of our own, never handed out: dropping its pages can't undo what someone wrote into a view.
        if self._copies is None:
            self._copies = _load(self.path, mapped=True)
        source = self._copies[name]
        if source.is_contiguous():
            flat = source.view(-1)
            done = 0
            for piece in pieces(out, PIECE_VALUES):
                part = flat[done : done + piece.numel()]
                piece.copy_(part.view(piece.shape))
                _release(part)
                done += piece.numel()
            _release(flat)  # the kernel maps pages around each fault, behind the part too
        else:
            out.copy_(source)
            _release(source.as_strided((reach(source),), (1,)))

    def close(self) -> None:
        self._views, self._copies, self._closed = {}, None, True

    def _tensor(self, name: str) -> torch.Tensor:
        if self._closed:
            raise CheckpointError(f"{self.path} was closed: open the checkpoint again to read more tensors")
        tensor = self._views.get(name)
        if tensor is None:
            raise no_such_tensor(self.path, name, self.names())
        return tensor


def _load(path: str, *, mapped: bool) -> dict[str, torch.Tensor]:
    """The file's tensors by name, through torch's restricted unpickler."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        named = _REFUSED.search(str(error))
        refused = named[1] if named else _foreign_global(path)
        what = f"asks for {refused}" if refused else f"is no plain state dict ({_first_line(error)})"
        raise CheckpointError(
            f"{path} {what}: a pickle that holds anything but tensors may run code, so it was not opened; {_CONVERT}"
        ) from error
    except Exception as error:  # a torn pickle can fail in any way that Python can
        raise CheckpointError(f"{path} is torn or no torch file ({_first_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a mapping of names to tensors; {_CONVERT}")
    tensors = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path} holds {shown(name)}: {type(value).__name__}, where a name and a tensor were expected; if the "
                "state dict lies deeper in the file (a training checkpoint), save it alone"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(
                f"{path}: {shown(name)} is a {value.layout} {value.dtype} tensor; dense ones expected"
            )
        tensors[name] = value.detach()
    return tensors


def _foreign_global(path: str) -> str | None:
    """The first name outside torch that the file's pickles import, found by reading them and not by running them.

    torch's own message does not name it where the pickle is of protocol 4 or later.
    """
    texts = ["", ""]
    with contextlib.suppress(Exception):  # what can't be parsed names nothing
        content = _pickle_of(path)
        stream = io.BytesIO(content)
        while stream.tell() < len(content):  # the older format is several pickles in a row
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name == "GLOBAL":
                    name = str(argument).replace(" ", ".")
                elif operation.name == "STACK_GLOBAL":
                    name = ".".join(texts)
                else:
                    texts = [texts[1], argument] if isinstance(argument, str) else texts
                    continue
                if not name.startswith(("torch.", "collections.OrderedDict")):
                    return shown(name).strip("'")
    return None


def _pickle_of(path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read(_READ_FOR_NAMES)
    if not content.startswith(b"PK\x03\x04"):
        return content
    with zipfile.ZipFile(path) as archive:
        record = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(record) as file:
            return file.read(_READ_FOR_NAMES)


def _check_zip(path: str) -> None:
    """Refuse archives that `torch.save` never writes: a map would show their compressed bytes as weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(f"{path} is torn: its zip directory can't be read ({error})") from error
    packed = next((record.filename for record in records if record.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise CheckpointError(f"{path}: record {shown(packed)} is compressed, which torch.save never does; {_CONVERT}")


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _release(part: torch.Tensor) -> None:
    """Drop the mapped pages under `part` from memory; the next look reads them from the file again."""
    if not part.numel():
        return
    page = mmap.PAGESIZE
    begin = part.data_ptr() // page * page
    end = -(-(part.data_ptr() + part.nbytes) // page) * page
    _madvise()(begin, end - begin, mmap.MADV_DONTNEED)


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    # torch's own maps have no method for it.
    call = ctypes.CDLL(None, use_errno=True).madvise
    call.argtypes, call.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    return call
