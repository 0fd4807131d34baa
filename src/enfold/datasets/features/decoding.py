"""Stored Python values → what a user sees."""

from collections.abc import Callable, Mapping
from typing import Any

from enfold.datasets.features.schema import require_decoding
from enfold.datasets.features.types import FeatureType, LargeList, List

Decoder = Callable[[Any], Any]


def decoder(feature: FeatureType, tokens: Mapping[str, Any] | None = None) -> Decoder | None:
    """What turns a stored value of this feature into what a user sees: images, audio, JSON, wherever they are nested.

    None where the two are the same; a value that is None stays None.

    Args:
        tokens: repository id → token, for files that must be fetched.
    """
    if not require_decoding(feature):
        return None
    if isinstance(feature, Mapping):
        return _structs({name: decoder(inner, tokens) for name, inner in feature.items()})
    if isinstance(feature, (List, LargeList)):
        item = decoder(feature.feature, tokens)
        assert item is not None
        return lambda value: None if value is None else [item(part) for part in value]
    if hasattr(feature, "embed_storage"):
        return lambda value: None if value is None else feature.decode_example(value, tokens)
    return lambda value: None if value is None else feature.decode_example(value)


def _structs(fields: Mapping[str, Decoder | None]) -> Decoder:
    def decode(value: Any) -> Any:
        if value is None:
            return None
        return {name: value.get(name) if field is None else field(value.get(name)) for name, field in fields.items()}

    return decode


def decode_value(feature: FeatureType, value: Any, tokens: Mapping[str, Any] | None = None) -> Any:
    """One stored value decoded."""
    decode = decoder(feature, tokens)
    return value if decode is None else decode(value)
