"""Streamed rows beside the `datasets` library on the same files: rows a second, and memory.

    python benchmarks/datasets/streaming.py [rows] [--rounds N]

Parquet and JSON lines in four files each, of short texts, numbers and lists of 64 integers. Read row by row; through a
batched function; filtered by row; shuffled; as batches of numpy; and mapped and batched into a DataLoader without
workers and with two. Rounds are interleaved; medians of rows per second of processor time (threads and workers counted)
and their ratio are printed, and what a process holds at most while it shuffles.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILES = 4
WORDS = ["rows", "that", "are", "read", "when", "somebody", "iterates", "through", "steps", "as", "they", "go", "by"]


def write(folder: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    for file in range(FILES):
        count = rows // FILES
        words = random.choice(WORDS, (count, 12))
        columns = {
            "text": [" ".join(line) for line in words],
            "label": random.integers(0, 5, count),
            "ids": list(random.integers(0, 30_000, (count, 64))),
        }
        table = pa.table(columns)
        pq.write_table(table, folder / f"{file}.parquet", row_group_size=5000)
        with open(folder / f"{file}.jsonl", "w") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in table.to_pylist())


def counted(rows: dict) -> dict:
    return {"words": [text.count(" ") + 1 for text in rows["text"]]}


def odd(row: dict) -> bool:
    return row["label"] % 2 == 1


def loaded(data, workers: int) -> int:
    from torch.utils.data import DataLoader

    stream = data.map(counted, batched=True, remove_columns=["text"]).batch(32)
    return 32 * sum(1 for _ in DataLoader(stream, batch_size=None, num_workers=workers, collate_fn=same))


def same(batch):
    return batch


WORK = {
    "rows": lambda data: sum(1 for _ in data),
    "map by batch": lambda data: sum(1 for _ in data.map(counted, batched=True)),
    "filter by row": lambda data: 2 * sum(1 for _ in data.filter(odd)),
    "shuffle": lambda data: sum(1 for _ in data.shuffle(seed=1, buffer_size=1000)),
    "select, rename, take": lambda data: sum(
        1 for _ in data.select_columns(["label", "text"]).rename_column("label", "l").skip(10)
    ),
    "numpy batches of 256": lambda data: 256 * sum(1 for _ in data.with_format("numpy").iter(256)),
    "map, batch, DataLoader": lambda data: loaded(data, 0),
    "map, batch, DataLoader, 2 workers": lambda data: loaded(data, 2),
}


def opened(library: str, kind: str, folder: Path):
    if library == "ours":
        from enfold.datasets import load_dataset
    else:
        from datasets import load_dataset
    files = [str(path) for path in sorted(folder.glob(f"*.{'parquet' if kind == 'parquet' else 'jsonl'}"))]
    return load_dataset(kind, data_files=files, split="train", streaming=True)


def processor_time() -> float:
    """Seconds of this process and of those that it started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak(library: str, kind: str, folder: Path) -> float:
    """The most memory that a process of its own holds, in MB, above what importing takes."""
    code = (
        "import re, sys; sys.path.insert(0, sys.argv[4]); import streaming; from pathlib import Path;"
        "data = streaming.opened(sys.argv[1], sys.argv[2], Path(sys.argv[3]));"
        "held = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]);"
        "before = held(); streaming.WORK['shuffle'](data); print(held() - before)"
    )
    arguments = [sys.executable, "-c", code, library, kind, str(folder), str(Path(__file__).parent)]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, chosen.rows)
        print(f"{'':45} {'ours':>10} {'datasets':>10}  ratio   (rows a second of processor time)")
        for kind in ("parquet", "json"):
            for what, work in WORK.items():
                seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
                for _ in range(chosen.rounds):
                    for library, spent in seconds.items():
                        data = opened(library, kind, folder)
                        start = processor_time()
                        work(data)
                        spent.append(processor_time() - start)
                ours, theirs = (chosen.rows / statistics.median(spent) for spent in seconds.values())
                print(f"{kind + ': ' + what:45} {ours:10,.0f} {theirs:10,.0f} {ours / theirs:6.1f}", flush=True)
            held = [peak(library, kind, folder) for library in ("ours", "theirs")]
            print(f"{kind + ': memory held while shuffling, MB':45} {held[0]:10,.0f} {held[1]:10,.0f}", flush=True)


if __name__ == "__main__":
    main()
