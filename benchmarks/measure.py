"""Fair timing on a noisy machine: the two sides take turns, and medians are compared."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def alternate(
    *sides: Callable[[], object], repeats: int = 7, warmup: int = 1, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each side, taking turns.

    Args:
        clock: `time.process_time` counts processor seconds, for a machine that has other work.
    """
    for _ in range(warmup):
        for side in sides:
            side()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for side, seconds in zip(sides, times, strict=True):
            started = clock()
            side()
            seconds.append(clock() - started)
    return [statistics.median(seconds) for seconds in times]


def alternate_processes(*programs: str, repeats: int = 5) -> list[tuple[float, float]]:
    """(median seconds, median peak MB) of fresh processes that run each program, taking turns."""
    results: list[list[tuple[float, float]]] = [[] for _ in programs]
    # Not ru_maxrss: that starts from the size of the process that forks.
    tail = "\nimport re; print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
    for _ in range(repeats):
        for program, runs in zip(programs, results, strict=True):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", program + tail], capture_output=True, text=True, check=True)
            runs.append((time.perf_counter() - started, float(done.stdout.split()[-1])))
    return [tuple(map(statistics.median, zip(*runs, strict=True))) for runs in results]  # type: ignore[misc]


def table(header: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
