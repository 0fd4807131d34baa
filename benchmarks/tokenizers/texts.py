"""Documents of about 2 kB in several scripts, none of them seen by a tokenizer before it is timed on them."""

import glob
import os
import pydoc_data.topics
import sysconfig
from pathlib import Path

from tools.vocabularies import folder

BYTES = 2000  # of a document
PER_TEXT = 240_000  # bytes taken of each text, if it has as many

# The sentence of the call of 60 characters.
SENTENCE = "The quick brown fox jumps over the lazy dog and runs away!!!"


def documents() -> dict[str, list[str]]:
    """Name of a text → its documents."""
    sources = sorted(glob.glob(os.path.join(sysconfig.get_paths()["stdlib"], "*.py")))
    texts = {
        "English": "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics)),
        "Chinese": _read("typescript.zh.txt", "django.zh.txt"),
        "Japanese": _read("typescript.ja.txt", "django.ja.txt"),
        "Russian": _read("typescript.ru.txt", "django.ru.txt"),
        "Arabic": _read("django.ar.txt"),
        "code": "".join(Path(path).read_text(encoding="utf-8", errors="ignore") for path in sources[::3]),
    }
    cut = {name: list(_cut(text)) for name, text in texts.items() if text}
    # Every script in every document: a paragraph of each by turns.
    parts = [[document[i : i + 90] for document in of for i in range(0, len(document), 90)] for of in cut.values()]
    lines = "\n".join("\n".join(turn) for turn in zip(*parts, strict=False))
    return cut | {"mixed": list(_cut(lines))}


def _read(*names: str) -> str:
    return "\n".join((folder() / name).read_text(encoding="utf-8") for name in names if (folder() / name).is_file())


def _cut(text: str):
    """Documents of BYTES bytes, the same number of characters each."""
    text = text[: PER_TEXT * 2]
    step = max(1, int(BYTES * len(text) / len(text.encode())))
    for at in range(0, min(len(text), PER_TEXT // BYTES * step) - step // 2, step):
        yield text[at : at + step]
