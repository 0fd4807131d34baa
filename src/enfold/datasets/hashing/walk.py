"""The walk through a value: what was seen, what is being looked at, and how each kind of value is described."""

import copyreg
import hashlib
import marshal
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

from enfold.base.errors import DatasetError
from enfold.datasets.hashing.installed import named

# Exact types that `marshal` writes by value alone (in its version 2, which knows no references).
SCALARS = frozenset({int, float, complex, str, bytes, bool, type(None), type(...)})


class UnhashableError(DatasetError):
    """A value whose content can't be told: an open file, a generator, a connection. The message says where it hangs."""


def join(kind: str, *parts: Any) -> bytes:
    """The digest of `parts` (bytes) in this order, told apart from every other `kind` of value."""
    state = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        state.update(struct.pack("<q", len(part)))
        state.update(part)
    return state.digest()


def scalar(value: Any) -> bytes:
    """The digest of a number, a string, bytes, a truth value, None, or a tuple or list of them."""
    return join("scalar", marshal.dumps(value, 2))


def installed(module: Any, name: str) -> bytes | None:
    """The digest of something that an installed package defines: its name and version. None for the user's own."""
    version = named(module, name)
    return None if version is None else join("installed", scalar(module), scalar(name), scalar(version))


class Walk:
    """One walk: the digests of what was seen, and the way to what is being looked at."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, bytes]] = {}  # the value too: its id must stay taken
        self._open: dict[int, int] = {}
        self._way: list[str] = []

    def of(self, value: Any, step: str = "") -> bytes:
        """The digest of `value`; `step` says how one got there from its owner, for error messages."""
        if type(value) in SCALARS:
            return scalar(value)
        key = id(value)
        if key in self._done:
            return self._done[key][1]
        if key in self._open:
            return join("cycle", scalar(self._open[key]))
        self._open[key] = len(self._open)
        self._way.append(step or f"a {type(value).__name__}")
        try:
            found = self._describe(value)
        finally:
            del self._open[key]
            self._way.pop()
        self._done[key] = (value, found)
        return found

    def each(self, values: Iterable[Any]) -> list[bytes]:
        """The digests of `values`."""
        return [self.of(value, f"item {index}") for index, value in enumerate(values)]

    def attributes(self, state: dict[Any, Any]) -> bytes:
        """The digest of an object's attributes, which have no order that anybody could see."""
        return join("attributes", *sorted(join("", scalar(str(k)), self.of(v, f".{k}")) for k, v in state.items()))

    def mapping(self, value: dict[Any, Any]) -> bytes:
        """The digest of a dictionary in its order."""
        if SCALARS.issuperset(map(type, value)) and SCALARS.issuperset(map(type, value.values())):
            return join("dict", marshal.dumps(list(value.items()), 2))
        parts: list[bytes] = []
        for key, entry in value.items():
            parts += self.of(key, "a key"), self.of(entry, f"[{key!r:.80}]")
        return join("dict", *parts)

    def instance(self, value: Any) -> bytes:
        """The digest of any object: its class, and what pickling keeps of it."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            kept: Any = registered(value) if registered else value.__reduce_ex__(4)
        except Exception as error:
            name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
            if name and (found := installed(getattr(value, "__module__", None), name)):
                return found
            raise self._refusal(value, str(error)) from error
        if isinstance(kept, str):  # a global name
            return join("global", self.of(type(value)), scalar(kept))
        reduced: tuple[Any, ...] = (*kept, None, None, None)
        make, arguments, state, items, entries = reduced[:5]
        parts = [self.of(make, "its constructor"), self.of(arguments, "its arguments")]
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # slots beside a __dict__
            parts += self.attributes(state[0] or {}), self.attributes(state[1])
        else:
            parts.append(self.attributes(state) if type(state) is dict else self.of(state, "its state"))
        parts.append(join("items", *self.each(items)) if items is not None else b"")
        parts.append(self.mapping(dict(entries)) if entries is not None else b"")
        return join("object", *parts)

    def _describe(self, value: Any) -> bytes:
        if own := getattr(type(value), "__fingerprint__", None):
            return join("own", self.of(type(value)), self.of(own(value), "__fingerprint__()"))
        for kinds, describe in _FAMILIES:
            if isinstance(value, kinds):
                return describe(self, value)
        for library, known in _LIBRARIES.items():
            module = sys.modules.get(library)  # a library that isn't loaded has no values
            for name, describe in known if module is not None else ():
                kind = getattr(module, name, None)
                if isinstance(kind, type) and isinstance(value, kind):
                    return describe(self, value)
        return self.instance(value)

    def _refusal(self, value: Any, reason: str) -> UnhashableError:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return UnhashableError(f"{' → '.join(self._way)}: a {kind} can't be hashed ({reason}).")


_Describe = Callable[[Walk, Any], bytes]
# Types, and how their values are described; the first that fits counts.
_FAMILIES: list[tuple[tuple[type, ...], _Describe]] = []
_LIBRARIES: dict[str, list[tuple[str, _Describe]]] = {}


def describes(*kinds: type) -> Callable[[_Describe], _Describe]:
    """Register how values of these types, and of types derived from them, are described."""

    def register(describe: _Describe) -> _Describe:
        _FAMILIES.append((kinds, describe))
        return describe

    return register


def describes_of(library: str, *kinds: str) -> Callable[[_Describe], _Describe]:
    """The same for types of a library that need not be installed."""

    def register(describe: _Describe) -> _Describe:
        _LIBRARIES.setdefault(library, []).extend((kind, describe) for kind in kinds)
        return describe

    return register
