"""How far a training is, as lines of JSON on stderr, for programs that watch it."""

import json
import sys


class Stage:
    """One stage of a training.

    Args:
        name: what is done.
        total: of how many steps, as far as that is known.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.current = name, total, 0
        self._write(0)

    def reach(self, step: int) -> None:
        """Report every step up to this one."""
        while self.current < step:
            self.current += 1
            self._write(self.current)

    def end(self, total: int) -> None:
        """Report that all is done, and how much it was."""
        self.total = total
        self._write(total)

    def _write(self, current: int) -> None:
        fields = {"stage": self.name, "current": current, "total": self.total}
        print(json.dumps(fields, separators=(",", ":")), file=sys.stderr, flush=True)
