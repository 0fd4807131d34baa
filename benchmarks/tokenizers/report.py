"""Runs the cells and prints the tables."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.vocabularies import folder
from tools.vocabularies.__main__ import provide_all

from benchmarks.measure import table
from benchmarks.tokenizers.peers import PEERS, installed

# Name → file of tools.vocabularies.
VOCABULARIES = {
    "GPT-2": "gpt2.json",
    "Llama-3": "llama3.json",
    "Qwen3": "qwen3.json",
    "cl100k": "cl100k_base.json",
    "o200k": "o200k_base.json",
    "Llama-2": "llama2.json",
    "Gemma-3": "gemma3.json",
    "BERT": "bert.json",
    "Unigram": "unigram.json",
}
TIMEOUT = 240  # seconds for one vocabulary
SOME_TEXTS = ("English", "mixed")  # on two threads


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizers")
    parser.add_argument("--vocabularies", nargs="*", default=list(VOCABULARIES), help="some of the names in the tables")
    parser.add_argument("--libraries", nargs="*", default=list(PEERS))
    parser.add_argument("--passes", type=int, default=2)
    asked = parser.parse_args(list(arguments))
    names = {name.lower().replace("-", ""): name for name in VOCABULARIES}
    wanted = [names[name.lower().replace("-", "")] for name in asked.vocabularies]
    provide_all()
    from benchmarks.tokenizers.unigram import provide_unigram

    provide_unigram()
    there = installed()
    for name in PEERS:
        if name not in there:
            print(f"{name} is not installed and left out.")
    there = [name for name in there if name in (*asked.libraries, "enfold", "tokenizers")]
    paths = {name: folder() / VOCABULARIES[name] for name in wanted}
    for name in [name for name, path in paths.items() if not path.is_file()]:
        print(f"The vocabulary of {name} could not be had and is left out.")
        del paths[name]

    one = _cells(paths, there, 1, ["--passes", str(asked.passes)])
    two = _cells(paths, there, 2, ["--passes", str(asked.passes), "--texts", *SOME_TEXTS])
    print("\n### Full encodings, one thread: MB/s, and times the wheel's speed\n")
    _full(one)
    print("\n### Ids only, one thread: MB/s, and times the speed of the fastest other that gives the same ids\n")
    _ids(one)
    print("\n### All libraries, ids only, one thread: median over the texts\n")
    _libraries(one, there)
    print("\n### One document of 2 kB a call, ids: MB/s, median over the texts; then µs of a call of 60 characters\n")
    _ways(one, there)
    print(f"\n### Two threads, {' and '.join(SOME_TEXTS)}: MB/s, and times the wheel's speed\n")
    _two(two)
    print("\n### Load ms / peak MB of a process that loads it and encodes 80 kB\n")
    _loads(one, paths, there)
    _remarks(one)


def _environment(threads: int) -> dict[str, str]:
    settings = {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    return {**os.environ, **settings, "OMP_NUM_THREADS": "1"}


def _run(arguments: list[str], threads: int) -> Any:
    """A cell's JSON; None if it failed or took too long."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    bind = (lambda: os.sched_setaffinity(0, cores[:threads])) if cores else None
    command = [sys.executable, "-m", "benchmarks.tokenizers.cell", *arguments]
    try:
        environment = _environment(threads)
        done = subprocess.run(
            command, env=environment, preexec_fn=bind, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        print(f"{' '.join(arguments)}: stopped after {TIMEOUT} s.")
        return None
    if done.returncode:
        print(f"{' '.join(arguments)}: failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def _cells(paths: dict[str, Path], libraries: list[str], threads: int, more: list[str]) -> dict[str, Any]:
    cells = {}
    for name, path in paths.items():
        arguments = [str(path), "--threads", str(threads), "--libraries", *libraries, *more]
        if (cell := _run(arguments, threads)) is not None:
            cells[name] = cell
    return cells


def _rate(found: list[float] | None) -> float | None:
    return found[0] / found[1] / 1e6 if found else None


def _against(mine: list[float] | None, other: list[float] | None) -> str:
    """My MB/s and how many times the other's they are."""
    if not mine:
        return "differs"
    return f"{_rate(mine):.0f}" + (f", {other[1] / mine[1]:.1f} ×" if other else "")


def _texts(cells: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(text for cell in cells.values() for text in cell["speed"]["ids"]))


def _full(cells: dict[str, Any]) -> None:
    texts = _texts(cells)
    rows: list[list[object]] = []
    for name, cell in cells.items():
        speeds = [cell["speed"]["full"].get(text, {}) for text in texts]
        ratios = [s["tokenizers"][1] / s["enfold"][1] for s in speeds if "enfold" in s]
        median = f"{statistics.median(ratios):.1f} ×" if ratios else "–"
        rows.append([name, *(_against(s.get("enfold"), s.get("tokenizers")) for s in speeds), median])
    table(["vocabulary", *texts, "median"], rows)


def _ids(cells: dict[str, Any]) -> None:
    texts = _texts(cells)
    rows: list[list[object]] = []
    for name, cell in cells.items():
        row: list[object] = [name]
        ratios = []
        for text in texts:
            speeds = dict(cell["speed"]["ids"].get(text, {}))
            mine = speeds.pop("enfold", None)
            if not mine or not speeds:
                row.append("differs" if not mine else f"{_rate(mine):.0f}")
                continue
            best = min(speeds, key=lambda peer: speeds[peer][1])
            ratios.append(speeds[best][1] / mine[1])
            row.append(f"{_rate(mine):.0f}, {ratios[-1]:.1f} × {best}")
        rows.append([*row, f"{statistics.median(ratios):.1f} ×" if ratios else "–"])
    table(["vocabulary", *texts, "median"], rows)


def _median_rate(cell: dict[str, Any], way: str, library: str) -> str:
    rates = [_rate(speeds[library]) for speeds in cell["speed"][way].values() if library in speeds]
    if not rates:
        return "–"
    missing = len(cell["speed"][way]) - len(rates)
    return f"{statistics.median(rates):.0f}" + (f" ({missing} differ)" if missing else "")


def _libraries(cells: dict[str, Any], libraries: list[str]) -> None:
    rows = [[name, *(_median_rate(cell, "ids", library) for library in libraries)] for name, cell in cells.items()]
    table(["MB/s", *libraries], rows)


def _ways(cells: dict[str, Any], libraries: list[str]) -> None:
    rows = [[name, *(_median_rate(cell, "one", library) for library in libraries)] for name, cell in cells.items()]
    table(["MB/s", *libraries], rows)
    print()
    rows = []
    for name, cell in cells.items():
        calls = [cell["call"].get(library) for library in libraries]
        rows.append([name, *(f"{seconds * 1e6:.1f}" if seconds else "–" for seconds in calls)])
    table(["µs", *libraries], rows)


def _two(cells: dict[str, Any]) -> None:
    rows: list[list[object]] = []
    for name, cell in cells.items():
        row: list[object] = [name]
        for way in ("full", "ids"):
            for text in SOME_TEXTS:
                speeds = cell["speed"][way].get(text, {})
                row.append(_against(speeds.get("enfold"), speeds.get("tokenizers")))
        rows.append(row)
    table(["vocabulary", *(f"{way}, {text}" for way in ("full", "ids") for text in SOME_TEXTS)], rows)


def _loads(cells: dict[str, Any], paths: dict[str, Path], libraries: list[str]) -> None:
    rows: list[list[object]] = []
    for name, cell in cells.items():
        row: list[object] = [name]
        for library in libraries:
            if library not in cell["load"]:
                row.append("–")
                continue
            peak = _run([str(paths[name]), "--memory", library], 1)
            row.append(f"{cell['load'][library] * 1e3:.0f} / {'–' if peak is None else f'{peak:.0f}'}")
        rows.append(row)
    table(["ms / MB", *libraries], rows)


def _remarks(cells: dict[str, Any]) -> None:
    lines = []
    for name, cell in cells.items():
        lines += [f"- {name}: {library} left out: {why}" for library, why in cell["out"].items()]
        for text, differing in cell["differs"].items():
            lines += [f"- {name}, {text}: {library} differs in {what}" for library, what in differing.items()]
    if lines:
        print("\n### Who is missing where\n")
        print("\n".join(lines))
