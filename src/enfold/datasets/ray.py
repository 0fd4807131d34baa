"""Work on a Ray cluster: shards travel as Arrow, results come back as Arrow, and the driver writes the files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.lazy import require
from enfold.datasets.workers import packed, revived


def check_executor(executor: str | None) -> str | None:
    """What runs functions: None (this machine's processes) or "ray"."""
    if executor not in (None, "ray"):
        raise ArgumentError(f"executor={executor!r}; it is None (processes of this machine) or 'ray'.")
    return executor


def cluster() -> Any:
    """The module `ray`, connected: to the cluster that RAY_ADDRESS names, else to one of this machine."""
    ray = require("ray", extra="ray", purpose="executor='ray'")
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    return ray


def cluster_size() -> int:
    """How many CPUs the cluster has."""
    return max(1, int(cluster().cluster_resources().get("CPU", 1)))


@contextmanager
def started(
    tasks: Sequence[Callable[[Path], bool]], ranks: Sequence[int], count: int
) -> Iterator[list[Callable[[], bytes | None]]]:
    """Hand tasks to the cluster; gives a function for each that waits for its file's content.

    Args:
        tasks: each writes a file to the path that it is given, and returns whether it did.
        ranks: their ranks among `count`, for messages.

    Raises (by the functions given):
        what a task raised, with a note that names its rank; DatasetError where its process died.
    """
    ray = cluster()
    run = ray.remote(max_retries=0)(_on_worker)
    running = [run.remote(task) for task in tasks]

    def result(reference: Any, rank: int) -> bytes | None:
        try:
            kind, content = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise DatasetError(f"process {rank} of {count} of the Ray cluster failed: {error}") from error
        if kind == "error":
            raise revived(content, rank, count)
        return content

    try:
        yield [
            lambda reference=reference, rank=rank: result(reference, rank)
            for reference, rank in zip(running, ranks, strict=True)
        ]
    except BaseException:
        # Those that run are interrupted as by Ctrl-C. Force, and cancelling what is done, can crash Ray (2.60).
        for reference in ray.wait(running, num_returns=len(running), timeout=0)[1]:
            ray.cancel(reference)
        raise


def _on_worker(task: Callable[[Path], bool]) -> tuple[str, Any]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        with tempfile.TemporaryDirectory(prefix="enfold-ray-") as folder:
            path = Path(folder, "shard.arrow")
            return "result", path.read_bytes() if task(path) else None
    except Exception as error:
        return "error", packed(error)


def packed_rows(tables: Iterator[pa.Table], schema: pa.Schema) -> bytes:
    """Rows as an Arrow stream that holds nothing but them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()
