"""The notes at the head of a GGUF file: keys with numbers, texts and lists.

Only the header is read, once and in order. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import re
import struct
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError

# Value types of the format → struct codes; strings (8) and arrays (9) have their own layout.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_KEYS = 1_000_000
_MAX_DEPTH = 4


def first_part(name: str) -> str:
    """The file that carries the notes, when `name` is a part of a model that was split over several."""
    return re.sub(r"-\d{5}-of-(\d{5})\.gguf$", r"-00001-of-\1.gguf", name)


def read_metadata(path: Path, prefix: str = "") -> dict[str, Any]:
    """The notes whose key starts with `prefix`, and the architecture; tensors are not touched.

    Raises:
        TokenizerError: no GGUF file, of a version other than 2 or 3, or cut short.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as blob:
            return _Header(blob, path).notes(prefix)
    except TokenizerError:
        raise
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{path}: can't be read as GGUF: {error}.") from error
    except struct.error as error:
        raise TokenizerError(f"{path}: its header runs past the end of the file; was it cut short?") from error


class _Header:
    """The bytes of a file and how far they were read; past the end, `struct.error` is raised."""

    def __init__(self, blob: mmap.mmap, path: Path):
        self.blob, self.path, self.size = blob, path, len(blob)
        self.at = 24

    def notes(self, prefix: str) -> dict[str, Any]:
        if self.blob[:4] != b"GGUF":
            raise TokenizerError(f"{self.path}: not a GGUF file (it starts with {self.blob[:4]!r}).")
        version, _, count = struct.unpack_from("<IQQ", self.blob, 4)
        if version not in (2, 3):
            raise TokenizerError(
                f"{self.path}: GGUF version {version}; versions 2 and 3 of little-endian files can be read."
            )
        if count > _MAX_KEYS:
            raise TokenizerError(f"{self.path}: its header claims {count} keys; it is damaged or hostile.")
        found = {}
        for _ in range(count):
            key = self._strings(1)[0]
            value = self._value(self._number("I"))
            if key.startswith(prefix) or key == "general.architecture":
                found[key] = value
        return found

    def _take(self, size: int) -> int:
        """Step over `size` bytes; where they start."""
        if size > self.size - self.at:
            raise struct.error
        self.at += size
        return self.at - size

    def _number(self, code: str) -> Any:
        return struct.unpack_from("<" + code, self.blob, self._take(struct.calcsize("<" + code)))[0]

    def _strings(self, count: int) -> list[str]:
        from enfold.tokenizers._engine import prefixed_strings

        try:
            texts, self.at = prefixed_strings(self.blob, self.at, count)
        except TokenizerError as error:
            raise TokenizerError(f"{self.path}: {error}") from error
        return texts

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._strings(1)[0]
        if kind != _ARRAY or depth > _MAX_DEPTH:
            raise TokenizerError(f"{self.path}: value of unknown type {kind} in the header.")
        kind, count = self._number("I"), self._number("Q")
        if kind in _SCALARS:
            code = f"<{count}{_SCALARS[kind]}" if count <= self.size else "<Q"
            return list(struct.unpack_from(code, self.blob, self._take(count * struct.calcsize("<" + _SCALARS[kind]))))
        if kind == _STRING:
            return self._strings(count)
        if count * 12 > self.size - self.at:  # an array takes twelve bytes at least
            raise struct.error
        return [self._value(kind, depth + 1) for _ in range(count)]
