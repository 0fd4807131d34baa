"""Sizes as settings write them: a number, two of them, or a dictionary of edges."""

from collections.abc import Mapping
from typing import Any

from enfold.base.errors import ArgumentError

KNOWN = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"max_height", "max_width"},
)


def size_entries(size: Any, *, square: bool = True, name: str = "size") -> dict[str, int]:
    """A size as a dictionary: a number is a square (or the shorter edge), a pair is (height, width).

    Raises:
        ArgumentError: none of these.
    """
    if isinstance(size, Mapping):
        found = {key: int(value) for key, value in size.items() if value is not None}
    elif isinstance(size, int):
        found = {"height": size, "width": size} if square else {"shortest_edge": size}
    elif isinstance(size, (list, tuple)) and len(size) == 2:
        found = {"height": int(size[0]), "width": int(size[1])}
    else:
        found = {}
    if set(found) not in KNOWN or any(value < 1 for value in found.values()):
        options = " or ".join("{" + ", ".join(sorted(keys)) + "}" for keys in KNOWN)
        raise ArgumentError(f"{name}={size!r}; expected a number, (height, width), or a dictionary with {options}")
    return found


def target(size: Mapping[str, int], height: int, width: int) -> tuple[int, int]:
    """(height, width) that a picture of this height and width is resized to."""
    if "height" in size:
        return size["height"], size["width"]
    if "max_height" in size:  # the largest that fits; small pictures grow
        scale = min(size["max_height"] / height, size["max_width"] / width)
        return int(height * scale), int(width * scale)
    short, exact = size["shortest_edge"], None
    least, most = min(height, width), max(height, width)
    if "longest_edge" in size and most / least * short > size["longest_edge"]:
        exact = size["longest_edge"] * float(least) / float(most)
        short = round(exact)
    if least == short and "longest_edge" in size:
        return height, width
    edge = short if exact is None else exact
    other = int(edge * most / least)
    return (short, other) if height <= width else (other, short)
