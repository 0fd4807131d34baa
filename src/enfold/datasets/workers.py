"""Work in forked processes: what a function closes over goes with it, nothing is pickled but results and errors."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from enfold.base.errors import ArgumentError, DatasetError
from enfold.base.progress import advance

# A task gets a function to call with the number of rows done since the last call.
Task = Callable[[Callable[[int], None]], Any]

# Seconds that a process is given to end before it is killed.
_GRACE = 5.0


def run_tasks(
    tasks: Sequence[Task],
    processes: int | None,
    *,
    total: int,
    label: str,
    unit: str = "rows",
    shown: bool | None = None,
) -> list[Any]:
    """The results of `tasks`, in order.

    Args:
        processes: how many run at the same time, each task in a process of its own; None: one after the other, here.
        total: rows (or whatever `unit` says) to do, for the progress bar named `label`; `shown` as in
            `enfold.base.progress`.

    Raises:
        what a task raised, with a note that names its rank; DatasetError where a process died.
    """
    with _Bar(total, label, shown) as bar:
        return _forked(tasks, processes, bar, unit) if processes else [task(bar) for task in tasks]


class _Bar:
    """A progress bar that is told, where `advance` asks."""

    def __init__(self, total: int, label: str, shown: bool | None):
        self._rows = 0
        self._drawn = advance(self._told(), total=total, label=label, shown=shown)

    def __call__(self, rows: int) -> None:
        self._rows = rows
        next(self._drawn)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._drawn.close()  # type: ignore[attr-defined]

    def _told(self) -> Iterator[int]:
        while True:
            yield self._rows


def _forked(tasks: Sequence[Task], processes: int, bar: Callable[[int], None], unit: str) -> list[Any]:
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ArgumentError("num_proc needs processes that fork, which this system has not; leave num_proc out")
    context = multiprocessing.get_context("fork")
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Connection, tuple[int, Any]] = {}
    reached = [0] * len(tasks)
    results: list[Any] = [None] * len(tasks)
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                rank, task = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(task, theirs), daemon=True, name=f"enfold-map-{rank}")
                process.start()
                theirs.close()
                running[ours] = (rank, process)
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                rank, process = running[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    raise DatasetError(_death(rank, len(tasks), process.exitcode, reached[rank], unit)) from None
                if kind == "rows":
                    reached[rank] += content
                    bar(content)
                    continue
                del running[pipe]
                pipe.close()
                process.join()
                if kind == "error":
                    raise revived(content, rank, len(tasks))
                results[rank] = content
    finally:
        _end([process for _, process in running.values()])
    return results


def _child(task: Task, pipe: Connection) -> None:
    # The parent answers the user's Ctrl-C and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, name="enfold-parent", daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if "torch" in sys.modules:
        # OpenMP's threads don't survive a fork, and a team of one needs none.
        sys.modules["torch"].set_num_threads(1)
    try:
        result = task(lambda rows: pipe.send(("rows", rows)))
        pipe.send(("result", result))
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException as error:
        pipe.send(("error", packed(error)))
    finally:
        pipe.close()


def _end_with_the_parent() -> None:
    """A parent that is killed can't end us: no work goes on for nobody, in files that the next build removes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def packed(error: BaseException) -> tuple[bytes | None, str, list[str]]:
    """An exception in a form that travels between processes: itself where it can, its story and its notes."""
    text = "".join(traceback.format_exception(error))
    notes: list[str] = list(getattr(error, "__notes__", ()))
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        return None, text, notes
    return packed, text, notes


def revived(content: tuple[bytes | None, str, list[str]], rank: int, count: int) -> BaseException:
    """What `packed` made, as an exception again that names where it happened."""
    packed, text, notes = content
    if packed is None:
        # An exception that can't travel still tells its story.
        error: BaseException = DatasetError(f"process {rank} of {count} failed ({'; '.join(notes)}):\n{text}")
    else:
        error = pickle.loads(packed)
        error.__notes__ = notes
        error.add_note(f"in process {rank} of {count}:\n{text}")
    return error


def _death(rank: int, count: int, code: int | None, done: int, unit: str) -> str:
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += " (out of memory?)"
    else:
        how = f"ended with exit code {code}"
    return (
        f"process {rank} of {count} {how} after {done} of its {unit}; nothing of what it did is kept. "
        f"Run with num_proc=None to see why"
    )


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()
