"""The `enfold` command: arguments in, one function of a room called, an exit code out.

Exit codes: 0 done, 1 an error (one line on standard error; `--debug` shows where), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import enfold
from enfold.base.errors import EnfoldError
from enfold.cli import account, chat, download, environment, evaluate, launch, merge, run, train
from enfold.cli.arguments import Help

_EXAMPLES = """\
examples:
  enfold chat
  enfold run text-generation "Once upon a time" --option max_new_tokens=40
  enfold run feature-extraction --model sentence-transformers/all-MiniLM-L6-v2 --file lines.txt --json
  enfold train text-classification --model google-bert/bert-base-uncased --data reviews.csv --output-dir my-model
  enfold evaluate text-classification --model my-model --data reviews.csv --metric f1
  enfold download google-bert/bert-base-uncased --include "*.json" "*.safetensors"
  enfold env

`enfold VERB --help` has more of each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (argparse itself leaves with 2 on wrong usage)."""
    parser = build_parser()
    asked = parser.parse_args(arguments)
    if asked.run is None:
        parser.print_help()
        return 0
    try:
        return asked.run(asked) or 0
    except KeyboardInterrupt:
        print("\nenfold: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`). Python would complain at exit when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if asked.debug:
            raise
        kind = "" if isinstance(error, EnfoldError) else f"{type(error).__name__}: "
        said = " ".join(str(error).split())
        hint = "" if isinstance(error, EnfoldError) else " (--debug shows where)"
        print(f"enfold: error: {kind}{said}{hint}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; no room is imported for it."""
    parser = argparse.ArgumentParser(
        prog="enfold",
        description="Run, train, score, chat with and fetch open models.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"enfold {enfold.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=None)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for room in (run, train, launch, merge, evaluate, chat, download, account, environment):
        room.add_verbs(verbs, common)
    return parser


if __name__ == "__main__":
    sys.exit(main())
