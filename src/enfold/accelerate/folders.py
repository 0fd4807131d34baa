"""Folders that all processes write together, and files whose reading runs nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from enfold.accelerate import operations
from enfold.accelerate.processes import PartialState
from enfold.base.errors import CheckpointError
from enfold.base.whole import begin_folder, finish_folder, remove, write_folder


def write_together(path: Path, write: Callable[[Path], None]) -> None:
    """`write_folder` by all processes: each lets `write` fill the folder, which gets its name once all have.

    Raises:
        CheckpointError: another process failed; the one that did raises its own error.
    """
    state = PartialState()
    if not state.use_distributed:
        write_folder(path, write)
        return
    failed: Exception | None = None
    folder = None
    if state.is_main_process:
        try:
            folder = begin_folder(path)
        except Exception as error:
            failed = error
    folder = operations.broadcast_object_list([folder])[0]
    if folder is not None:
        try:
            write(folder)
        except Exception as error:
            failed = error
    _agree(path, failed, folder)
    if state.is_main_process and folder is not None:
        try:
            finish_folder(path, folder)
        except Exception as error:
            failed = error
    _agree(path, failed, folder)


def _agree(path: Path, failed: Exception | None, folder: Path | None) -> None:
    """Go on where no process has failed; a process that waits for one that has given up would wait for long."""
    reasons = operations.gather_object([None if failed is None else f"{type(failed).__name__}: {failed}"])
    wrong = next((rank for rank, reason in enumerate(reasons) if reason is not None), None)
    if wrong is None:
        return
    if PartialState().is_main_process and folder is not None:
        remove(folder)
    if failed is not None:
        raise failed
    raise CheckpointError(f"{path} was not written: process {wrong} failed ({reasons[wrong]})")


def read(path: Path) -> Any:
    """What `torch.save` wrote: tensors, numbers, strings and containers of them; nothing else is built.

    Raises:
        CheckpointError: it is missing, torn, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: {path.parent} is no checkpoint, or not whole")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} can't be read ({error}): resume from another checkpoint") from error
