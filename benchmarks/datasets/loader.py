"""Rows in torch format into a DataLoader, beside the `datasets` library on the same Arrow file.

    python benchmarks/datasets/loader.py [rows]

Tokenised text (three columns of 128 integers, one label), ragged text (lists of 8 to 128) and float vectors; each read
row by row, by batches of a DataLoader in order and shuffled, and with `iter`. Rounds are interleaved; medians of rows a
second and their ratio are printed.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

import datasets as reference
from enfold.datasets import Dataset

ROUNDS = 5


def tables(rows: int) -> dict[str, dict]:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 50_000, (rows, 128))
    lengths = random.integers(8, 128, rows)
    return {
        "tokens": {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
            "label": random.integers(0, 2, rows),
        },
        "ragged": {"input_ids": [row[:length] for row, length in zip(tokens, lengths, strict=True)]},
        "vectors": {"vector": random.normal(size=(rows, 256)).astype(np.float32), "label": np.arange(rows)},
    }


def rows_of(data) -> int:
    return sum(1 for _ in data)


def padded(rows: list[dict]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)


def loaded(data, ragged: bool, **options) -> int:
    return sum(1 for _ in DataLoader(data, batch_size=32, collate_fn=padded if ragged else None, **options)) * 32


def batches(data) -> int:
    return sum(1 for _ in data.iter(32)) * 32


def measure(name: str, ours, theirs, work) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for who, data in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            work(data)
            seconds[who].append(time.perf_counter() - start)
    mine, other = statistics.median(seconds["ours"]), statistics.median(seconds["theirs"])
    print(f"{name:32} {len(ours) / mine:12,.0f} rows/s {len(ours) / other:12,.0f} {other / mine:8.2f} x")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    torch.set_num_threads(1)
    print(f"{rows} rows{'':24} {'enfold':>16} {'datasets':>12} {'ratio':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in tables(rows).items():
            Dataset.from_dict(columns).save_to_disk(str(Path(folder) / name))
            ours = Dataset.load_from_disk(str(Path(folder) / name)).with_format("torch")
            theirs = reference.load_from_disk(str(Path(folder) / name)).with_format("torch")
            ragged = name == "ragged"
            measure(f"{name}: rows", ours, theirs, rows_of)
            measure(f"{name}: DataLoader", ours, theirs, lambda data, r=ragged: loaded(data, r))
            measure(f"{name}: DataLoader, shuffled", ours, theirs, lambda data, r=ragged: loaded(data, r, shuffle=True))
            measure(f"{name}: batches", ours, theirs, batches)


if __name__ == "__main__":
    main()
