"""Lines from a person at a terminal, or from a pipe."""

import contextlib
import sys

from enfold.cli.conversation import ReadLine


def line_reader() -> ReadLine:
    """A reader with editing and history: prompt_toolkit where it is installed, else Python's own; a pipe as it is.

    History is kept in memory only.
    """
    if not sys.stdin.isatty():
        return _from_pipe
    if sys.stdout.isatty():
        try:
            from prompt_toolkit import PromptSession
        except ImportError:
            pass
        else:
            return PromptSession(reserve_space_for_menu=0).prompt  # there is no menu
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (importing it gives input() editing and history)
    return input


def _from_pipe(prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")
