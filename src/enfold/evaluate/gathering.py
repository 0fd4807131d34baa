"""Several processes' rows in one: through a folder that all of them see, or through torch.distributed.

In the folder, process 0 asks under a name that nobody used before, each other process answers with a file under that
name and waits until it is taken. A file appears whole or not at all, and what an earlier run that died left there has
another name.
"""

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError, GatheringError
from enfold.base.whole import file_aside
from enfold.evaluate.columns import from_line

_PAUSE = 0.02


@dataclass(frozen=True)
class Meeting:
    """Where processes meet.

    Attributes:
        folder: on a file system that all of them see.
        experiment_id: what this evaluation is called; no other that runs at the time may be called so.
        count, process: how many processes, and which this one is.
        timeout: seconds that one waits for the others.
    """

    folder: Path
    experiment_id: str
    count: int
    process: int
    timeout: float

    def gather(self, lines: Iterable[str]) -> list[dict[str, Any]] | None:
        """Process 0 gets every process's batches, in the order of the processes; the others None.

        Raises:
            GatheringError: a process didn't come in time, or another evaluation has the same name.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._collect(lines) if self.process == 0 else self._hand_in(lines)

    @property
    def _request(self) -> Path:
        return self.folder / f"{self.experiment_id}-{self.count}.request"

    def _part(self, name: str, process: int) -> Path:
        return self.folder / f"{self.experiment_id}-{self.count}-{name}-{process}.jsonl"

    def _collect(self, lines: Iterable[str]) -> list[dict[str, Any]]:
        name = uuid.uuid4().hex
        _write_whole(self._request, [name])
        parts = {process: self._part(name, process) for process in range(1, self.count)}
        try:
            missing = self._wait_for(parts, name)
            if missing:
                raise GatheringError(
                    f"of {self.count} processes, {', '.join(map(str, missing))} didn't hand in their rows within "
                    f"{self.timeout:g} s: they ended, never called compute, or use another experiment_id than "
                    f"{self.experiment_id!r} or another cache_dir than {self.folder}. If they are slow, raise timeout="
                )
            batches = [from_line(line) for line in lines]
            for part in parts.values():
                batches.extend(_read_whole(part))
        finally:
            if _text(self._request) == name:
                self._request.unlink(missing_ok=True)
            for part in parts.values():  # each process waits for its own to vanish
                part.unlink(missing_ok=True)
        return batches

    def _wait_for(self, parts: dict[int, Path], name: str) -> list[int]:
        """The processes whose part isn't there in time."""
        end = time.monotonic() + self.timeout
        while missing := [process for process, part in parts.items() if not part.exists()]:
            if _text(self._request) != name:
                raise GatheringError(
                    f"another evaluation with experiment_id {self.experiment_id!r} and {self.count} processes runs in "
                    f"{self.folder}: give each its own experiment_id"
                )
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)
        return missing

    def _hand_in(self, lines: Iterable[str]) -> None:
        end = time.monotonic() + self.timeout
        written, answered = [*lines], None
        while True:
            name = _text(self._request)
            if name and name != answered:  # a request of an earlier run gives way to the present one's
                if answered:
                    self._part(answered, self.process).unlink(missing_ok=True)
                if self._part(name, self.process).exists():
                    raise ArgumentError(
                        f"two processes have process_id={self.process}: number them 0 to {self.count - 1}"
                    )
                _write_whole(self._part(name, self.process), written)
                answered = name
            elif answered and not self._part(answered, self.process).exists():
                return
            elif time.monotonic() > end:
                if answered:
                    self._part(answered, self.process).unlink(missing_ok=True)
                raise GatheringError(
                    f"process {self.process} waited {self.timeout:g} s for process 0 to take its rows: it ended, never "
                    f"called compute, or uses another experiment_id than {self.experiment_id!r} or another "
                    f"cache_dir than {self.folder}"
                )
            time.sleep(_PAUSE)


def _write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a file that appears only when all of it is on the disk."""
    with file_aside(path, synced=True) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return None


def _read_whole(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        yield from map(from_line, file)


def gather_over_group(group: Any, lines: Iterable[str]) -> list[dict[str, Any]] | None:
    """The same over a torch.distributed process group (True is the default one).

    Raises:
        ArgumentError: torch.distributed isn't initialised.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        raise ArgumentError(
            "process_group was given, and torch.distributed isn't initialised: call init_process_group first"
        )
    chosen: Any = dist.group.WORLD if group is True else group
    rank, first = dist.get_rank(chosen), dist.get_global_rank(chosen, 0)
    parts: list[Any] | None = [None] * dist.get_world_size(chosen) if rank == 0 else None
    dist.gather_object("\n".join(lines), parts, dst=first, group=chosen)
    if parts is None:
        return None
    return [from_line(line) for part in parts for line in part.splitlines()]
