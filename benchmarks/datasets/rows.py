"""Rows of a data set beside the `datasets` library on the same Arrow file: map, filter, sort, shuffle, access, memory.

    python benchmarks/datasets/rows.py [rows] [tokenizer folder]

A tokenizer's folder adds `map` with it (each library with its own fast tokenizer), with 1 and 2 processes. Rounds are
interleaved; printed are medians of CPU seconds (children included) and their ratio (theirs / ours; above 1 enfold is
faster). polars and duckdb are there for orientation: they work on the whole table in their own way.
"""

import os
import random
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import duckdb
import numpy as np
import polars
import psutil

import datasets as reference
from enfold.datasets import Dataset

ROUNDS = 3
WORDS = [f"word{i}" for i in range(5000)] + ["the", "a", "of", "and", "to"] * 200


def columns(rows: int) -> dict[str, list]:
    chosen = random.Random(0)
    return {
        "id": list(range(rows)),
        "text": [" ".join(chosen.choices(WORDS, k=chosen.randint(10, 100))) for _ in range(rows)],
        "label": [chosen.randint(0, 4) for _ in range(rows)],
        "score": [chosen.random() for _ in range(rows)],
    }


def seconds(work: Callable[[], object]) -> float:
    started = _busy()
    work()
    return _busy() - started


def _busy() -> float:
    # What this process and its children compute: clocks on the wall mean little on a machine with other work.
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], **others: Callable[[], object]
) -> None:
    times: dict[str, list[float]] = {"enfold": [], "datasets": [], **{other: [] for other in others}}
    for _ in range(ROUNDS):
        times["enfold"].append(seconds(ours))
        times["datasets"].append(seconds(theirs))
        for other, work in others.items():
            times[other].append(seconds(work))
    medians = {side: statistics.median(values) for side, values in times.items()}
    shown = "  ".join(f"{side} {value * 1000:8.1f} ms" for side, value in medians.items())
    print(f"{name:34s} {shown}   {medians['datasets'] / medians['enfold']:6.1f} x", flush=True)


def last(iterable) -> object:
    item = None
    for item in iterable:  # noqa: B007
        pass
    return item


def transformations(ours, theirs, frame) -> None:
    fresh = {"load_from_cache_file": False}
    rows = len(ours)

    def length(row):
        return {"length": len(row["text"])}

    def lengths(batch):
        return {"length": [len(text) for text in batch["text"]]}

    measure("map, row by row", lambda: ours.map(length, **fresh), lambda: theirs.map(length, **fresh))
    measure(
        "map, batched",
        lambda: ours.map(lengths, batched=True, **fresh),
        lambda: theirs.map(lengths, batched=True, **fresh),
        polars=lambda: frame.with_columns(length=polars.col("text").str.len_chars()),
    )

    def keep(row):
        return row["label"] < 2

    measure(
        "filter, row by row",
        lambda: ours.filter(keep, **fresh),
        lambda: theirs.filter(keep, **fresh),
        polars=lambda: frame.filter(polars.col("label") < 2),
        duckdb=lambda: duckdb.from_arrow(ours.data).filter("label < 2").to_arrow_table(),
    )
    measure(
        "filter, a column, batched",
        lambda: ours.filter(lambda label: [n < 2 for n in label], input_columns="label", batched=True, **fresh),
        lambda: theirs.filter(lambda label: [n < 2 for n in label], input_columns="label", batched=True, **fresh),
    )
    measure(
        "sort by a number",
        lambda: ours.sort("score", **fresh),
        lambda: theirs.sort("score", **fresh),
        polars=lambda: frame.sort("score"),
        duckdb=lambda: duckdb.from_arrow(ours.data).order("score").to_arrow_table(),
    )
    measure("shuffle", lambda: ours.shuffle(seed=1, **fresh), lambda: theirs.shuffle(seed=1, **fresh))
    mixed, other = ours.shuffle(seed=1), theirs.shuffle(seed=1)
    measure("iterate", lambda: last(ours), lambda: last(theirs))
    some, others = mixed.take(3000), other.take(3000)
    measure("iterate 3000 rows, shuffled", lambda: last(some), lambda: last(others))
    measure("the same in batches of 64", lambda: last(some.iter(64)), lambda: last(others.iter(64)))
    picks = np.random.default_rng(0).integers(0, rows, 2000).tolist()
    measure("2000 random rows", lambda: [ours[i] for i in picks], lambda: [theirs[i] for i in picks])
    measure("2000 random rows at once", lambda: ours[picks], lambda: theirs[picks])
    measure(
        "write the shuffled rows",
        lambda: mixed.flatten_indices(new_fingerprint=secrets.token_hex(8)),
        lambda: other.flatten_indices(new_fingerprint=secrets.token_hex(8)),
    )


def tokenized(ours, theirs, folder: str) -> None:
    from transformers import AutoTokenizer as TheirTokenizer

    from enfold import AutoTokenizer

    one, other = AutoTokenizer.from_pretrained(folder), TheirTokenizer.from_pretrained(folder)
    for processes in (None, 2):
        for label, options in (("", {}), (", padded to 128", {"padding": True, "truncation": True, "max_length": 128})):
            measure(
                f"tokenize, {processes or 1} process(es){label}",
                lambda p=processes, o=options: ours.map(
                    lambda batch: one(batch["text"], **o), batched=True, num_proc=p, load_from_cache_file=False
                ),
                lambda p=processes, o=options: theirs.map(
                    lambda batch: other(batch["text"], **o), batched=True, num_proc=p, load_from_cache_file=False
                ),
            )


READING = """
import re, sys
sys.path[:0] = {path!r}
from {library} import load_from_disk

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

data = load_from_disk({folder!r})
next(iter(data))
before = most = held()
for number, row in enumerate(data):
    if number % 500 == 0:
        most = max(most, held())
print(f"{{most - before:.1f}}")
"""


def memory(folder: str) -> None:
    """What reading every row once adds to a process's memory, the pages of the mapped file left out."""
    for library in ("enfold.datasets", "datasets"):
        program = READING.format(path=sys.path, library=library, folder=folder)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        print(f"memory of reading every row once: {library} {done.stdout.strip()} MB")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    reference.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        data = Dataset.from_dict(columns(rows))
        data.save_to_disk(f"{folder}/ours")
        data.save_to_disk(f"{folder}/theirs")
        ours, theirs = Dataset.load_from_disk(f"{folder}/ours"), reference.load_from_disk(f"{folder}/theirs")
        size = sum(path.stat().st_size for path in Path(folder, "ours").iterdir()) / 2**20
        print(f"{rows} rows, {size:.0f} MB, {psutil.cpu_count()} cores; medians of {ROUNDS} rounds")
        transformations(ours, theirs, data.to_polars())
        if len(sys.argv) > 2:
            tokenized(ours.select_columns("text"), theirs.select_columns("text"), sys.argv[2])
        memory(f"{folder}/ours")


if __name__ == "__main__":
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
    else:
        main()
