"""Metrics: pure functions over arrays and strings. Planned, not built yet."""

from enfold.base.lazy import room_not_built

__getattr__ = room_not_built(__name__)
