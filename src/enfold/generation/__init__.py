"""Decoding: settings, the loop, streaming."""

from enfold.base.lazy import lazy_names

_WHERE = {
    "GenerationConfig": "enfold.generation.config",
    "TextStreamer": "enfold.generation.streaming",
    "TextIteratorStreamer": "enfold.generation.streaming",
    "IncrementalDecoder": "enfold.generation.streaming",
}
__getattr__, __dir__ = lazy_names(__name__, _WHERE)
