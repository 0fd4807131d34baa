"""`enfold run TASK`: a pipeline over texts from the command line, a file or standard input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import enfold
from enfold.base.errors import ArgumentError
from enfold.cli.arguments import add_loading, add_verb, key_value, positive_int
from enfold.cli.show import as_json, as_text, printable

_EXAMPLES = """\
  enfold run text-classification "This makes NLP easy!"
  enfold run token-classification "I has a apple ." --model enfold-starter/gector-distilbert-cased
  enfold run fill-mask "Paris is the [MASK] of France." --model enfold-starter/splade-tiny --option top_k=3
  enfold run feature-extraction --file sentences.txt --batch-size 32 --json > vectors.jsonl
  enfold run zero-shot-classification "It ended in a draw." --option candidate_labels=sport,politics
  enfold run question-answering '{"question": "Where?", "context": "She lived in Paris."}'
  enfold run text-ranking '{"query": "Where is Paris?", "documents": ["In France.", "Cats sleep."]}'
  cat prompts.txt | enfold run text-generation --option max_new_tokens=40 --option do_sample=false
"""


def add_verbs(verbs, common: argparse.ArgumentParser) -> None:
    parser = add_verb(
        verbs,
        common,
        "run",
        help="run a task on texts",
        description="Run a task (as `enfold.pipeline` knows them) on texts: those given, or each line of a file or of "
        "standard input. Results come in the order of the texts, each as soon as it is there.",
        examples=_EXAMPLES,
    )
    parser.add_argument("task", metavar="TASK", help="text-generation, summarization, question-answering, …")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="one or more texts (of questions and rankings: JSON)")
    parser.add_argument("--model", metavar="ID", help="repository id or folder (default: the task's own)")
    add_loading(parser)
    parser.add_argument("--batch-size", type=positive_int, metavar="N", help="texts that go through the model together")
    parser.add_argument("--file", metavar="F", help="read texts from this file, one a line; - is standard input")
    parser.add_argument(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=key_value,
        help="an option of the task's call",
    )
    parser.add_argument("--json", action="store_true", help="one JSON value a line for each text, in full")
    parser.set_defaults(run=run, error=parser.error)


def run(asked: argparse.Namespace) -> None:
    if asked.file and asked.texts:
        asked.error("give TEXT or --file, not both")
    if not asked.texts and not asked.file and sys.stdin.isatty():
        asked.error("no text: give TEXT, --file F, or lines on standard input")
    texts = iter(asked.texts) if asked.texts else _lines(asked.file or "-")
    pipeline: Any = enfold.pipeline

    loading = {"revision": asked.revision, "device": asked.device, "dtype": asked.dtype, "batch_size": asked.batch_size}
    task = pipeline(
        asked.task, model=asked.model, **{key: value for key, value in loading.items() if value is not None}
    )
    given = map(_object, texts) if getattr(task, "structured", False) else texts
    for number, result in enumerate(task(given, **dict(asked.option))):
        if asked.json:
            print(as_json(result), flush=True)
            continue
        lines = as_text(result)
        if number and "\n" in lines:
            print()  # else nobody could tell where one text's result ends
        print(printable(lines) if sys.stdout.isatty() else lines, flush=True)


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a text holds."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ArgumentError(
            f'This task takes JSON objects, such as {{"question": …, "context": …}}, not {text[:40]!r}.'
        )
    return found


def _lines(path: str) -> Iterator[str]:
    """Each line of a UTF-8 file, without its end; a byte order mark is not text."""
    file = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                name = "standard input" if path == "-" else path
                raise ArgumentError(f"Line {number} of {name} is not UTF-8 text: {error.reason}.") from error
