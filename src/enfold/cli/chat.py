"""`enfold chat [ID]`: a conversation in the terminal."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

from enfold.cli.arguments import add_loading, add_verb, positive_int

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

_EXAMPLES = """\
  enfold chat
  enfold chat ./my-model --system "You answer in one sentence."
  enfold chat --temperature 0.7 --top-p 0.9 --seed 1 --max-new-tokens 300
  echo "What is the capital of France?" | enfold chat

in the chat:
  /reset          forget the conversation        /system TEXT   set the system prompt
  /save FILE      write it down (.json, .md)     /exit          leave (or Ctrl-D)
  Ctrl-C stops an answer, not the program. A line that ends in \\ goes on in the next.
"""


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "chat",
        help="chat with a model in the terminal",
        description="Chat with a model in the terminal; its answers appear as they are made.",
        examples=_EXAMPLES,
    )
    parser.add_argument("model", metavar="ID", nargs="?", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    add_loading(parser)
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument("--max-new-tokens", type=positive_int, metavar="N", default=512, help="default: 512")
    parser.add_argument("--temperature", type=float, metavar="T", help="above 0 samples; 0 takes the likeliest token")
    parser.add_argument("--top-p", type=float, metavar="P", help="sample among the likeliest tokens that sum to P")
    parser.add_argument("--top-k", type=int, metavar="K", help="sample among the K likeliest tokens")
    parser.add_argument("--seed", type=int, metavar="S", help="the same answers again")
    parser.set_defaults(run=run, error=parser.error)


def run(asked: argparse.Namespace) -> None:
    options = generation_options(asked)
    from enfold.cli.answer import model_answer
    from enfold.cli.conversation import Chat
    from enfold.cli.terminal import line_reader

    # A terminal that can't show a letter gets a question mark instead of an end.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    interactive = sys.stdin.isatty()
    if interactive:
        print(f"loading {asked.model} …", file=sys.stderr, flush=True)
    answer = model_answer(asked.model, revision=asked.revision, device=asked.device, dtype=asked.dtype, **options)
    if interactive:
        print("/help shows the commands; Ctrl-C stops an answer, Ctrl-D leaves.", file=sys.stderr)
    Chat(answer, read_line=line_reader(), system=asked.system, interactive=interactive).talk()


def generation_options(asked: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, under the names of a generation configuration; sampling if any of its knobs was turned.

    What wasn't asked for is left to the model's own settings.
    """
    knobs = {"temperature": asked.temperature, "top_p": asked.top_p, "top_k": asked.top_k}
    given = {name: value for name, value in knobs.items() if value is not None}
    options: dict[str, Any] = {"max_new_tokens": asked.max_new_tokens}
    if asked.temperature == 0:
        if len(given) > 1 or asked.seed is not None:
            asked.error("--temperature 0 takes the likeliest token: --top-p, --top-k and --seed would do nothing")
        return options | {"do_sample": False}
    if given:
        options |= {"do_sample": True, **given}
    return options | ({"seed": asked.seed} if asked.seed is not None else {})
