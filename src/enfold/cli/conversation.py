"""The loop of a chat: lines in, answers out piece by piece, a few commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from enfold.base.errors import EnfoldError
from enfold.cli.show import printable

Message = dict[str, str]
# The conversation so far, its last message the user's → the pieces of the answer.
Answer = Callable[[list[Message]], Iterable[str]]
# A prompt → the line that was typed; EOFError at the end, KeyboardInterrupt for Ctrl-C.
ReadLine = Callable[[str], str]

_HELP = """\
/reset          forget the conversation (the system prompt stays)
/system TEXT    set the system prompt; without TEXT, show it
/save FILE      write the conversation down: .json for its messages, anything else for text
/exit           leave (or Ctrl-D)
//…             a message that begins with a slash
Ctrl-C stops an answer, not the program. A line that ends in \\ goes on in the next."""


class Chat:
    """A conversation with `answer`, read by `read_line` and written to `out`.

    Args:
        interactive: somebody is there to go on after Ctrl-C or an error; otherwise both end the loop.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        read_line: ReadLine,
        system: str | None = None,
        interactive: bool = True,
        out: TextIO | None = None,
    ) -> None:
        self.answer = answer
        self.read_line = read_line
        self.out = out or sys.stdout
        self.interactive = interactive
        self.system = system
        self.messages: list[Message] = []  # without the system prompt
        self._commands = {
            "reset": self._reset,
            "system": self._set_system,
            "save": self._save,
            "help": lambda _: self._say(_HELP),
        }

    def talk(self) -> None:
        """Read and answer until /exit or the end of the input."""
        while True:
            try:
                line = self._read()
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                self._say("(Ctrl-D or /exit leaves)")
                continue
            if not line.strip():
                continue
            if line.startswith("/") and not line.startswith("//"):
                name, _, rest = line[1:].partition(" ")
                if name in ("exit", "quit"):
                    return
                self._command(name, rest.strip())
            else:
                self.reply(line.removeprefix("/"))

    def reply(self, text: str) -> None:
        """Answer one message. What came before Ctrl-C stays in the conversation; a failed answer leaves no trace."""
        self.messages.append({"role": "user", "content": text})
        said = ""
        try:
            pieces = iter(self.answer(self.conversation()))
            try:
                for piece in pieces:
                    said += piece
                    self.out.write(printable(piece))
                    self.out.flush()
            finally:
                getattr(pieces, "close", lambda: None)()
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self._say(" …" if said else "(stopped)")
        except EnfoldError as error:
            self.messages.pop()
            if not self.interactive:
                raise
            self._say("\n" * bool(said) + f"error: {' '.join(str(error).split())}")
            return
        else:
            self._say("")
        if said:
            self.messages.append({"role": "assistant", "content": said})
        else:
            self.messages.pop()

    def conversation(self) -> list[Message]:
        """Every message, the system prompt first."""
        return ([{"role": "system", "content": self.system}] if self.system else []) + self.messages

    def _read(self) -> str:
        line = self.read_line("> ")
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{self.read_line('  ')}"
        return line

    def _command(self, name: str, rest: str) -> None:
        if name not in self._commands:
            self._say(f"There is no command /{printable(name)}. /help shows those there are; // begins a message.")
            return
        self._commands[name](rest)

    def _reset(self, _: str) -> None:
        self.messages.clear()
        self._say("(forgotten)")

    def _set_system(self, text: str) -> None:
        if text:
            self.system = text
            self._say("(system prompt set)")
        else:
            self._say(self.system or "(no system prompt)")

    def _save(self, name: str) -> None:
        if not name:
            self._say("/save needs the name of a file: /save chat.json")
            return
        path = Path(name).expanduser()
        if path.suffix == ".json":
            text = json.dumps(self.conversation(), indent=2, ensure_ascii=False)
        else:
            text = "\n\n".join(f"**{message['role']}**\n\n{message['content']}" for message in self.conversation())
        try:
            # "x": a conversation is never written over another file.
            with path.open("x", encoding="utf-8") as file:
                file.write(text + "\n")
        except FileExistsError:
            self._say(f"error: {path} is there already; give another name.")
        except OSError as error:
            self._say(f"error: {path} can't be written: {error.strerror}.")
        else:
            self._say(f"(saved to {path})")

    def _say(self, text: str) -> None:
        print(text, file=self.out, flush=True)
