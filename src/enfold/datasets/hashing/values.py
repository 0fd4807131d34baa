"""Data: containers, arrays, tensors, tables."""

import enum
import hashlib
import logging
import marshal
import os
import threading
import types
import weakref
from typing import Any

from enfold.datasets.hashing.walk import SCALARS, Walk, describes, describes_of, join, scalar


@describes(enum.Enum)
def _enum(walk: Walk, value: enum.Enum) -> bytes:
    return join("enum", walk.of(type(value)), scalar(value.name or ""), walk.of(value.value, ".value"))


@describes(logging.Logger)
def _logger(walk: Walk, value: logging.Logger) -> bytes:
    return join("logger", scalar(value.name))


@describes(type(threading.Lock()), type(threading.RLock()), threading.local)
def _lock(walk: Walk, value: Any) -> bytes:
    return join("lock")


@describes(os.PathLike)
def _path(walk: Walk, value: os.PathLike) -> bytes:
    return join("path", walk.of(type(value)), scalar(os.fspath(value)))


@describes(list, tuple, set, frozenset, dict, bytearray)
def _container(walk: Walk, value: Any) -> bytes:
    """Containers as they come; what is derived from them may carry more, which pickling knows."""
    kind = type(value)
    if kind is dict:
        return walk.mapping(value)
    if kind is list or kind is tuple:
        if SCALARS.issuperset(map(type, value)):
            return join(kind.__name__, marshal.dumps(value, 2))
        return join(kind.__name__, *walk.each(value))
    if kind is set or kind is frozenset:
        return join(kind.__name__, *sorted(walk.each(value)))
    if kind is bytearray:
        return join("bytearray", value)
    return walk.instance(value)


@describes(types.MappingProxyType)
def _view(walk: Walk, value: types.MappingProxyType) -> bytes:
    return walk.mapping(dict(value))


@describes(memoryview)
def _memory(walk: Walk, value: memoryview) -> bytes:
    return join("memory", scalar(value.format), scalar(value.shape), value.tobytes())


@describes(weakref.ref)
def _reference(walk: Walk, value: weakref.ref) -> bytes:
    return join("weak reference", walk.of(value(), "what it refers to"))


@describes_of("numpy", "ndarray")
def _array(walk: Walk, value: Any) -> bytes:
    kind = (walk.of(type(value)), scalar(str(value.dtype)), scalar(value.shape))
    if value.dtype.hasobject:
        return join("array", *kind, walk.of(value.tolist(), "its items"))
    return join("array", *kind, value.tobytes(), *([value.mask.tobytes()] if hasattr(value, "mask") else []))


@describes_of("torch", "Tensor")
def _tensor(walk: Walk, value: Any) -> bytes:
    import torch

    kind = (scalar(str(value.dtype)), scalar(tuple(value.shape)))
    if value.device.type == "meta":
        return join("meta tensor", *kind)
    if value.layout is not torch.strided or value.is_quantized:
        return walk.instance(value)
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    return join("tensor", *kind, flat.numpy())


@describes_of("torch", "Generator")
def _random(walk: Walk, value: Any) -> bytes:
    return join("generator", scalar(str(value.device)), walk.of(value.get_state(), "its state"))


@describes_of("pyarrow", "Table", "RecordBatch")
def _table(walk: Walk, value: Any) -> bytes:
    import pyarrow as pa

    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), value.schema) as writer:
        writer.write(value)
    return join("arrow", sink.state.digest())


@describes_of("pyarrow", "ChunkedArray", "Array")
def _column(walk: Walk, value: Any) -> bytes:
    import pyarrow as pa

    return _table(walk, pa.table({"": value}))


@describes_of("pyarrow", "DataType", "Field")
def _type(walk: Walk, value: Any) -> bytes:
    import pyarrow as pa

    field = value if isinstance(value, pa.Field) else pa.field("", value)
    return join("arrow type", pa.schema([field]).serialize().to_pybytes())


@describes_of("pyarrow", "Schema")
def _schema(walk: Walk, value: Any) -> bytes:
    return join("arrow schema", value.serialize().to_pybytes())


@describes_of("pandas", "DataFrame", "Series", "Index")
def _pandas(walk: Walk, value: Any) -> bytes:
    columns = [value.iloc[:, i] for i in range(value.shape[1])] if value.ndim == 2 else [value]
    parts = [join("", walk.of(c.name), scalar(str(c.dtype)), walk.of(c.to_numpy(), "its values")) for c in columns]
    index = getattr(value, "index", None)
    return join(type(value).__name__, b"" if index is None else walk.of(index, "its index"), *parts)


@describes_of("polars", "DataFrame", "Series")
def _polars(walk: Walk, value: Any) -> bytes:
    return join(type(value).__name__, walk.of(value.to_arrow(), "its values"), scalar(getattr(value, "name", None)))


class _Sink:
    """A file that keeps only the digest of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.state = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.state.update(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
