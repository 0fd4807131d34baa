"""`tokenizer(texts, padding=True, return_tensors="pt")` beside transformers', on slices of Python's own sources."""

import os
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import alternate, table

MODELS = ("sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct")


def slices(count: int) -> list[str]:
    """Texts of 200 to 1,100 characters, each from another file."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))[:count]
    read = (file.read_text(encoding="utf-8", errors="ignore") for file in files)
    return [text[300 : 500 + 97 * i % 900] for i, text in enumerate(read) if len(text) > 1500]


def main() -> None:
    import torch
    import transformers

    import enfold

    texts = slices(200)
    rows: list[list[object]] = []
    for name in MODELS:
        ours = enfold.AutoTokenizer.from_pretrained(name)
        with tempfile.TemporaryDirectory() as folder:
            ours.save_pretrained(folder)
            theirs = transformers.AutoTokenizer.from_pretrained(folder)
        calls = [partial(side, texts, padding=True, return_tensors="pt") for side in (ours, theirs)]
        first, second = (call()["input_ids"] for call in calls)
        assert torch.equal(first, second)
        mine, peer = alternate(*calls, repeats=15)
        rows.append([name, len(texts), mine * 1e3, peer * 1e3, peer / mine])
    table(["tokenizer", "texts", "enfold ms", "transformers ms", "times as fast"], rows)


if __name__ == "__main__":
    main()
