"""Decoding: settings, loops, steps over scores, structured output, watermarks, streaming."""

from enfold.base.lazy import lazy_names
from enfold.names import CACHES, GENERATION, GENERATION_NOT_BUILT

__getattr__, __dir__ = lazy_names(__name__, GENERATION | CACHES, not_built=GENERATION_NOT_BUILT)
