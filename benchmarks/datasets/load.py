"""load_dataset of csv, jsonl and parquet files beside the `datasets` library: cold (read into Arrow files) and cached.

    python benchmarks/datasets/load.py [megabytes]

Each measurement is a fresh process that has loaded a small file before, so that imports don't count; rounds are
interleaved. Printed: median seconds and processor seconds, milliseconds from the cache, peak memory. polars and duckdb
read the same file into memory, for orientation.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ROUNDS = 3
ROW_BYTES = 273  # of csv
WORDS = "the of and to in a is that for it as was with be by on not he this are or his from at"
NAMES = {"csv": "x.csv", "json": "x.jsonl", "parquet": "x.parquet"}
PROGRAM = """
import re, sys, tempfile, time
which, format, path, small = sys.argv[1:]
if which == "enfold":
    from enfold.datasets import load_dataset
else:
    from datasets import disable_progress_bars, load_dataset
    disable_progress_bars()
with tempfile.TemporaryDirectory(dir=__import__("os").path.dirname(path)) as cache:
    load_dataset(format, data_files=small, split="train", cache_dir=cache)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = len(load_dataset(format, data_files=path, split="train", cache_dir=cache))
    cold, busy = time.perf_counter() - wall, time.process_time() - cpu
    wall = time.perf_counter()
    load_dataset(format, data_files=path, split="train", cache_dir=cache)
    cached = time.perf_counter() - wall
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(cold, busy, cached * 1000, peak)
"""
READERS = {
    "polars": {
        "csv": "import polars; polars.read_csv(path)",
        "json": "import polars; polars.read_ndjson(path)",
        "parquet": "import polars; polars.read_parquet(path)",
    },
    "duckdb": {
        "csv": "import duckdb; duckdb.sql(f\"from read_csv('{path}')\").to_arrow_table()",
        "json": "import duckdb; duckdb.sql(f\"from read_json('{path}')\").to_arrow_table()",
        "parquet": "import duckdb; duckdb.sql(f\"from read_parquet('{path}')\").to_arrow_table()",
    },
}


def write(folder: Path, rows: int) -> None:
    """The same rows in each format: a number, a text, a float, a label, a list (a tag, in csv)."""
    random = np.random.default_rng(0)
    words = np.array(WORDS.split())
    table = pa.table(
        {
            "id": range(rows),
            "text": [" ".join(words[row]) for row in random.integers(0, len(words), (rows, 60))],
            "score": random.random(rows),
            "label": random.integers(0, 5, rows),
            "tag": [f"t{row % 7}" for row in range(rows)],
        }
    )
    folder.mkdir()
    pa.csv.write_csv(table, folder / NAMES["csv"])
    pa.parquet.write_table(table, folder / NAMES["parquet"], row_group_size=50_000)
    with open(folder / NAMES["json"], "w") as file:
        for row in table.to_pylist():
            file.write(json.dumps({**row, "tag": [row["tag"], "z"]}) + "\n")


def measured(*arguments: str, program: str = PROGRAM) -> list[float]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as place:
        write(Path(place) / "large", megabytes * 1_000_000 // ROW_BYTES)
        write(Path(place) / "small", 100)
        print(f"{megabytes} MB{'':10} {'cold s':>8} {'cpu s':>8} {'cached ms':>10} {'peak MB':>9}")
        for format, name in NAMES.items():
            large, small = (str(Path(place) / size / name) for size in ("large", "small"))
            runs: dict[str, list[list[float]]] = {"enfold": [], "datasets": []}
            for _ in range(ROUNDS):
                for which, found in runs.items():
                    found.append(measured(which, format, large, small))
            middle = {
                which: [statistics.median(values) for values in zip(*found, strict=True)]
                for which, found in runs.items()
            }
            for which, (cold, busy, cached, peak) in middle.items():
                print(f"{format:8} {which:8} {cold:8.2f} {busy:8.2f} {cached:10.1f} {peak:9.0f}")
            ratios = [theirs / ours for ours, theirs in zip(middle["enfold"], middle["datasets"], strict=True)]
            print(f"{format:8} {'ratio':8} {ratios[0]:7.2f}x {ratios[1]:7.2f}x {ratios[2]:9.1f}x {ratios[3]:8.2f}x")
            for reader, programs in READERS.items():
                timed = f"import time; path = {large!r}; {programs[format].split(';')[0]}"
                timed += "; duckdb.sql('set enable_progress_bar = false')" if reader == "duckdb" else ""
                timed += "; wall = time.perf_counter()"
                timed += f"; cpu = time.process_time(); {programs[format]}"
                timed += "; print(time.perf_counter() - wall, time.process_time() - cpu)"
                wall, cpu = measured(program=timed)
                print(f"{format:8} {reader:8} {wall:8.2f} {cpu:8.2f}")


if __name__ == "__main__":
    main()
