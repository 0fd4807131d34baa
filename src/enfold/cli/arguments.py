"""What several verbs take, and how their parsers are made."""

import argparse
import json
from typing import Any


class Help(argparse.HelpFormatter):
    """Wraps a description and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def add_verb(verbs, common: argparse.ArgumentParser, name: str, *, help: str, description: str, examples: str):
    """A subparser whose help ends in examples."""
    return verbs.add_parser(
        name,
        parents=[common],
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=Help,
    )


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Which revision of a model, on which device, in which dtype."""
    parser.add_argument("--revision", help="branch, tag or commit of the model (default: main)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the library's choice)")
    parser.add_argument("--dtype", help="float32, bfloat16, float16, int8, auto (default: the library's choice)")


def key_value(text: str) -> tuple[str, Any]:
    """`max_new_tokens=40` → `("max_new_tokens", 40)`: JSON where the value is JSON, text otherwise."""
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"expected key=value, such as top_k=5, got {text!r}")
    spelled = {"True": "true", "False": "false", "None": "null"}.get(value, value)
    try:
        return key, json.loads(spelled)
    except json.JSONDecodeError:
        return key, value


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
