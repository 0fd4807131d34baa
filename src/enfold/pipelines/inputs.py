"""What users hand to a pipeline: one item, a list of items, or a stream of them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from enfold.base.errors import ArgumentError

# A stream's window closes when its source has kept us waiting that long: what has arrived is answered first.
PATIENCE_SECONDS = 0.05
# Characters in a window; with its limit of items this bounds what is held at once.
WINDOW_CHARACTERS = 1 << 18


class Whole:
    """An item that is made of several parts and yet is one."""


def form(inputs: Any) -> str:
    """ "one", "list" or "stream".

    Raises:
        ArgumentError: nothing, or something that holds no items.
    """
    if isinstance(inputs, (str, Mapping, Whole)):
        return "one"
    if isinstance(inputs, (list, tuple)):
        return "list"
    if hasattr(inputs, "__next__") or hasattr(inputs, "__iter__"):
        return "stream" if not isinstance(inputs, (bytes, bytearray)) else _refuse(inputs)
    if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
        return "stream"
    return _refuse(inputs)


def _refuse(inputs: Any) -> str:
    given = "None" if inputs is None else f"a {type(inputs).__name__}"
    raise ArgumentError(
        f"the pipeline got {given}; expected a text, a list of texts, an iterator, or a dataset with a length and items"
    )


def items_of(source: Any) -> Iterator[Any]:
    """The items of a stream."""
    if hasattr(source, "__iter__"):
        return iter(source)
    return (source[i] for i in range(len(source)))


def length_of(source: Any) -> int | None:
    """How many items a stream has, where it knows."""
    try:
        return len(source)
    except TypeError:
        return None


def size(item: Any) -> int:
    """About how many characters an item holds."""
    if isinstance(item, str):
        return len(item)
    if isinstance(item, Mapping):
        return sum(map(size, item.values()))
    return sum(map(size, item)) if isinstance(item, (list, tuple)) else 1


def windows(items: Iterable[Any], most: int, *, eager: bool) -> Iterator[list[Any]]:
    """Cut items into windows that are worked on together.

    Args:
        most: items in a window.
        eager: the items are all there. Otherwise windows start at one item and double, so that the first answer comes
            soon; a source that makes us wait starts again at one.
    """
    window: list[Any] = []
    characters, allowed, began = 0, most if eager else 1, time.monotonic()
    for item in items:
        window.append(item)
        characters += size(item)
        slow = not eager and time.monotonic() - began > PATIENCE_SECONDS
        if len(window) >= allowed or characters >= WINDOW_CHARACTERS or slow:
            yield window
            allowed = 1 if slow else min(2 * allowed, most)
            window, characters, began = [], 0, time.monotonic()
    if window:
        yield window


class Answers(Iterator[Any]):
    """Answers in the order of the inputs, each computed when its window is reached. Has a length if the inputs had."""

    def __init__(self, answers: Iterator[Any], length: Callable[[], int | None]):
        self._answers = answers
        self._length = length

    def __next__(self) -> Any:
        return next(self._answers)

    def __len__(self) -> int:
        length = self._length()
        if length is None:
            raise TypeError("the inputs of this pipeline are a stream without a length")
        return length
