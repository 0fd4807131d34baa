"""The chat loop with a scripted answerer, for the terminal tests: `python scripted_chat.py [--plain]`."""

import sys
import time

if "--plain" in sys.argv:
    sys.modules["prompt_toolkit"] = None  # as if it were not installed

from enfold.base.errors import LengthError
from enfold.cli.conversation import Chat
from enfold.cli.terminal import line_reader


def answer(messages):
    text = messages[-1]["content"]
    if text == "long":
        raise LengthError("too long")
    if text == "slow":
        for number in range(1000):
            yield f"{number} "
            time.sleep(0.02)
    elif text == "stuck":
        time.sleep(60)
        yield "never"
    else:
        yield from (f"[{len(messages)}] ", "you said ", text.upper())


print("ready", flush=True)
Chat(answer, read_line=line_reader(), interactive=sys.stdin.isatty()).talk()
print("bye", flush=True)
