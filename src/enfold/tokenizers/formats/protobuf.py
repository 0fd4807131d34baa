"""Reading protobuf messages, as far as sentencepiece's files need it.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | bytes

_F32 = struct.Struct("<f")


class WireError(ValueError):
    """The bytes are no protobuf message; the text says at which byte they stop to be one."""


def fields(message: bytes) -> Iterator[tuple[int, int, Value]]:
    """The fields of one message in their order: (number, wire type, value), bytes as they are, numbers unsigned.

    Raises:
        WireError: cut short, or no protobuf.
    """
    at, size = 0, len(message)
    while at < size:
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise WireError(f"field number 0 at byte {at - 1}")
        if wire == VARINT:
            value, at = varint(message, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, at = varint(message, at)
        elif wire == FIXED32:
            length = 4
        elif wire == FIXED64:
            length = 8
        else:
            raise WireError(f"wire type {wire} at byte {at - 1}")
        if length > size - at:
            raise WireError(f"a field at byte {at} claims {length} bytes where {size - at} are left")
        chunk = message[at : at + length]
        at += length
        yield number, wire, chunk if wire == BYTES else int.from_bytes(chunk, "little")


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a byte, and the byte after it."""
    value = shift = 0
    for end in range(at, min(at + 10, len(message))):
        byte = message[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, end + 1
        shift += 7
    raise WireError(f"a number without an end at byte {at}")


def float32(value: int) -> float:
    """A number of wire type FIXED32 as the float that it spells."""
    return _F32.unpack(value.to_bytes(4, "little"))[0]


def int32(value: int) -> int:
    """A VARINT as a signed number of 32 bits; what is longer loses its upper bits."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
