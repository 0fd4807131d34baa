"""Progress bars on long work, silent where nobody looks."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# A bar appears only once the work has lasted this long, so short calls print nothing.
DELAY_SECONDS = 1.0


def progress(
    items: Iterable[T], *, total: int | None = None, label: str = "", shown: bool | None = None
) -> Iterator[T]:
    """Yield `items` and draw a bar on standard error.

    Args:
        total: number of items; taken from `len(items)` where there is one.
        label: text before the bar.
        shown: True or False forces it; None shows it on a terminal when the work lasts over a second, unless
            `ENFOLD_PROGRESS=0`.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    return _drawn(items, lambda _: 1, total, label, shown)


def advance(
    steps: Iterable[int], *, total: int | None = None, label: str = "", shown: bool | None = None
) -> Iterator[int]:
    """Yield `steps`, each the number of units (bytes, texts, …) done since the one before, and draw a bar.

    The other arguments are those of `progress`; `total` counts units.
    """
    return _drawn(steps, lambda step: step, total, label, shown)


def _drawn(
    items: Iterable[T], size: Callable[[T], int], total: int | None, label: str, shown: bool | None
) -> Iterator[T]:
    if shown is None:
        shown = sys.stderr.isatty() and os.environ.get("ENFOLD_PROGRESS", "1") != "0"
    if not shown:
        yield from items
        return
    started, bar, done = time.monotonic(), None, 0
    try:
        for item in items:
            yield item
            done += size(item)
            if bar is None and time.monotonic() - started > DELAY_SECONDS:
                bar = _start_bar(label, total)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done)
    finally:
        if bar is not None:
            bar.stop()


def _start_bar(label: str, total: int | None):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task(label, total=total)
    bar.start()
    return bar
