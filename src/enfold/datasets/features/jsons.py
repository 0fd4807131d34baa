"""`Json`: values of any shape in a column, stored as JSON text under Arrow's own `arrow.json` type."""

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from enfold.base.errors import DatasetError
from enfold.datasets.features.types import is_text, register_feature


@dataclass
class Json:
    """A JSON value per row: objects whose keys differ, lists of mixed types.

    A text that is JSON is stored as it is; any other value, other texts included, is stored as its JSON.

    Args:
        decode: whether rows come back as Python values, or as the JSON text.
    """

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    pa_type: ClassVar[Any] = pa.json_()
    _type: str = field(default="Json", init=False, repr=False)

    def __call__(self) -> pa.DataType:
        return self.pa_type

    def encode_example(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, str) and _is_json(value):
            return value
        return dumps(value)

    def decode_example(self, value: str | None) -> Any:
        return value if value is None or not isinstance(value, str) else json.loads(value)

    def cast_storage(self, array: pa.Array) -> pa.Array:
        """JSON text or anything else → `arrow.json`."""
        if isinstance(array, pa.JsonArray):
            return array
        if not is_text(array.type):
            return pa.array([None if value is None else dumps(value) for value in array.to_pylist()], self.pa_type)
        texts = array.to_pylist()
        if not all(text is None or _is_json(text) for text in texts):
            return pa.array([None if text is None else dumps(text) for text in texts], self.pa_type)
        return pa.array(texts, self.pa_type)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def dumps(value: Any) -> str:
    """Compact JSON; numpy's numbers and arrays, dates (ISO 8601) and bytes of UTF-8 included."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{str(value)[:200]} has no JSON form: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is no JSON value")


register_feature(Json, "Json")
