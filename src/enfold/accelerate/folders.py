"""Folders that are whole or not there, and files whose reading runs nothing."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from enfold.base.errors import CheckpointError

# How the name of a folder ends that is being written, or on its way out.
UNFINISHED = ".unfinished"


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder, and give it the name `path` once all of it is on the disk.

    A folder of that name is replaced. If `write` fails (the disk is full, say), nothing is left, and what was there
    stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*{UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = path.parent / f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}"
    unfinished.mkdir()
    try:
        write(unfinished)
        sync(unfinished)
        if path.exists():
            replaced = path.parent / f".{path.name}.{secrets.token_hex(4)}.replaced{UNFINISHED}"
            os.rename(path, replaced)
            try:
                os.rename(unfinished, path)
            except BaseException:
                os.rename(replaced, path)
                raise
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.rename(unfinished, path)
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def sync(folder: Path) -> None:
    """Put every file below `folder` on the disk."""
    for where, _, names in os.walk(folder):
        for name in names:
            with open(Path(where) / name, "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(where))


def _sync_folder(path: Path) -> None:
    if os.name != "nt":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a folder; its name goes first, so that a half-removed one is never taken for a whole one."""
    gone = path.parent / f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}"
    os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


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
