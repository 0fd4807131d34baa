"""The names of scalar types (`"int32"`, `"timestamp[us, tz=UTC]"`, `"decimal128(10, 2)"`) and their Arrow types."""

import re

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError

SIMPLE = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "bool_": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "date64": pa.date64(),
    "string": pa.string(),
    "utf8": pa.utf8(),
    "large_string": pa.large_string(),
    "large_utf8": pa.large_utf8(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "month_day_nano_interval": pa.month_day_nano_interval(),
}
ALIASES = {"float": "float32", "double": "float64"}
"""What Arrow prints for two types → the name they are stored under."""

_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:,\s*tz=([a-zA-Z0-9/_+\-:]+))?\]")
_DURATION = re.compile(r"duration\[(s|ms|us|ns)\]")
_TIME = re.compile(r"time(?:32\[(s|ms)\]|64\[(us|ns)\])")
_DECIMAL = re.compile(r"decimal(128|256)\((\d+),\s*(-?\d+)\)")
_FIXED = re.compile(r"fixed_size_binary\[(\d+)\]")


def arrow_dtype(name: str) -> pa.DataType:
    """The Arrow type of a scalar's name; ArgumentError for anything else."""
    name = ALIASES.get(name, name)
    if name in SIMPLE:
        return SIMPLE[name]
    if match := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(match[1], match[2])
    if match := _DURATION.fullmatch(name):
        return pa.duration(match[1])
    if match := _TIME.fullmatch(name):
        return pa.time32(match[1]) if match[1] else pa.time64(match[2])
    if match := _DECIMAL.fullmatch(name):
        make = pa.decimal128 if match[1] == "128" else pa.decimal256
        return make(int(match[2]), int(match[3]))
    if match := _FIXED.fullmatch(name):
        return pa.binary(int(match[1]))
    if name == "json":
        raise ArgumentError("'json' is no scalar type: use the feature Json() in place of Value('json').")
    raise ArgumentError(
        f"{name!r} is no type of a value. Known are {', '.join(SIMPLE)}, and with parameters timestamp[us], "
        "timestamp[us, tz=Europe/Paris], duration[ns], time32[s|ms], time64[us|ns], decimal128(10, 2), "
        "decimal256(40, 6) and fixed_size_binary[16]."
    )


def dtype_name(kind: pa.DataType) -> str:
    """The name of an Arrow scalar type; a dictionary-encoded type has the name of its values."""
    if pa.types.is_dictionary(kind):
        return dtype_name(kind.value_type)
    if pa.types.is_date32(kind):
        return "date32"
    if pa.types.is_date64(kind):
        return "date64"
    if pa.types.is_float16(kind):
        return "float16"
    name = ALIASES.get(str(kind), str(kind))
    try:
        known = arrow_dtype(name) == kind
    except ArgumentError:
        known = False
    if not known:
        raise DatasetError(f"The Arrow type {kind} has no counterpart among the features: cast the column first.")
    return name
