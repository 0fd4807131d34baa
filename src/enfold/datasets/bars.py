"""Progress bars on and off, by the reference's names. They are those of all of enfold: `ENFOLD_PROGRESS` tells."""

import os


def disable_progress_bars() -> None:
    """Draw no bars, here and in processes that are started from here."""
    os.environ["ENFOLD_PROGRESS"] = "0"


def enable_progress_bars() -> None:
    """Draw bars again, on a terminal and when the work lasts over a second."""
    os.environ["ENFOLD_PROGRESS"] = "1"


def are_progress_bars_disabled() -> bool:
    """Whether no bars are drawn."""
    return os.environ.get("ENFOLD_PROGRESS", "1") == "0"


def is_progress_bar_enabled() -> bool:
    """Whether bars are drawn."""
    return not are_progress_bars_disabled()


disable_progress_bar, enable_progress_bar = disable_progress_bars, enable_progress_bars
