"""Fingerprints: which data a dataset holds, told by how it was made.

A dataset's fingerprint is that of the one it came from, the name of the method and its arguments. Equal fingerprints
mean equal rows, so a result in the cache is found again by it, in another process and on another day. A function
counts by what it does (`hashing_code`): a change in its code, in what it closes over, in a helper of the user's own,
or in the version of a package makes another fingerprint; a new comment doesn't. What a function reads from outside
(files, the clock, the network) can't be seen.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from enfold.base.logging import get_logger
from enfold.datasets.hashing import UnhashableError, digest

_logger = get_logger("enfold.datasets")
_warned: set[str] = set()


class Hasher:
    """The digest of any number of values, as 16 hexadecimal digits.

    >>> Hasher.hash([1, 2]) == Hasher.hash([1, 2])
    True
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @classmethod
    def hash(cls, value: Any) -> str:
        """The digest of one value.

        Raises:
            UnhashableError: part of it can't be told: an open file, a generator, a connection.
        """
        return digest(value).hex()[:16]

    def update(self, value: Any) -> None:
        """Add a value; their order counts."""
        self._parts.append(digest(value))

    def hexdigest(self) -> str:
        """The digest of what was added."""
        return digest(tuple(self._parts)).hex()[:16]


def random_fingerprint() -> str:
    """A fingerprint that nothing else has, for data whose origin can't be told."""
    return secrets.token_hex(8)


def next_fingerprint(previous: str, transform: str, arguments: Mapping[str, Any]) -> str:
    """The fingerprint of what `transform` makes of the dataset `previous`.

    Args:
        previous: the fingerprint of the dataset it is applied to.
        transform: a name for the method, `"map"`.
        arguments: everything the result depends on, by name, defaults included. Their order doesn't count.

    Returns:
        A fingerprint; where an argument can't be hashed a warning says which and why, and the fingerprint is random,
        so the result is never taken for another one and never found again.
    """
    hasher = Hasher()
    hasher.update((previous, transform))
    for name in sorted(arguments):
        try:
            hasher.update((name, arguments[name]))
        except UnhashableError as error:
            _warn(transform, name, error)
            return random_fingerprint()
    return hasher.hexdigest()


def _warn(transform: str, name: str, error: UnhashableError) -> None:
    if (key := f"{name} {error}") not in _warned:
        _warned.add(key)
        _logger.warning(
            "The result of %s can't be cached, because the content of %s can't be told: %s Open it inside the function "
            "instead, or pass new_fingerprint=.",
            transform,
            name,
            error,
        )


def table_fingerprint(table: pa.Table, indices: np.ndarray | None, files: Sequence[str]) -> str:
    """A name for rows that have none: by their files (name, size, time), or by their content."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(table.schema.serialize())
    if files:
        for path in files:
            status = os.stat(path)
            digest.update(f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}\n".encode())
        # The same files hold other rows for a slice of them.
        digest.update(
            f"{table.num_rows} {[chunk.offset for column in table.columns for chunk in column.chunks]}".encode()
        )
    else:
        with pa.ipc.new_stream(pa.PythonFile(_Digest(digest), "w"), table.schema) as writer:
            writer.write_table(table)
    if indices is not None:
        digest.update(np.ascontiguousarray(indices).view(np.uint8).data)
    return digest.hexdigest()


class _Digest:
    """A file that is only hashed."""

    closed = False

    def __init__(self, digest: Any):
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
