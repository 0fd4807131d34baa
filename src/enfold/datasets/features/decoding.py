"""Stored Python values → what a user sees."""

from collections.abc import Mapping
from typing import Any

from enfold.datasets.features.schema import require_decoding
from enfold.datasets.features.types import FeatureType, LargeList, List


def decode_value(feature: FeatureType, value: Any, tokens: Mapping[str, Any] | None = None) -> Any:
    """One stored value decoded: images, audio and JSON, wherever they are nested. None stays None."""
    if value is None or not require_decoding(feature):
        return value
    return _decode(feature, value, tokens)


def _decode(feature: FeatureType, value: Any, tokens: Mapping[str, Any] | None) -> Any:
    if value is None:
        return None
    if isinstance(feature, Mapping):
        return {name: _decode(inner, value.get(name), tokens) for name, inner in feature.items()}
    if isinstance(feature, (List, LargeList)):
        return [_decode(feature.feature, item, tokens) for item in value]
    if hasattr(feature, "decode_example") and getattr(feature, "decode", True):
        return (
            feature.decode_example(value, tokens)
            if hasattr(feature, "embed_storage")
            else feature.decode_example(value)
        )
    return value
