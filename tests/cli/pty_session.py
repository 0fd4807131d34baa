"""A program at a real pseudo-terminal: type keys, wait for what appears."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time


class Session:
    """`with Session([...]) as s`: `s.wait("> ")`, `s.type("hi\\r")`, `s.key("c-c")`."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self.seen = ""
        self._at = 0
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self._fd = ours
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"} | (env or {})
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def wait(self, text: str, seconds: float = 30) -> str:
        """Everything from the last wait up to `text`; fails with what is on the screen."""
        end = time.monotonic() + seconds
        while text not in self.seen[self._at :]:
            if not self._read(end - time.monotonic()):
                raise AssertionError(
                    f"{text!r} did not appear; since the last wait there was {self.seen[self._at :]!r}"
                )
        stop = self.seen.index(text, self._at) + len(text)
        part, self._at = self.seen[self._at : stop], stop
        return part

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C as the terminal's driver sends it: a signal, or a key in raw mode."""
        self.type("\x03")

    def exit_code(self, seconds: float = 30) -> int:
        end = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < end:
            self._read(0.05)
        return self._process.wait(timeout=1)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        if b"\x1b[6n" in data:
            os.write(self._fd, b"\x1b[1;1R")  # prompt_toolkit asks where the cursor is
        # What a reader sees: without colours and cursor moves.
        self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07", "", data.decode(errors="replace"))
        return True


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
