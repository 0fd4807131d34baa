"""Checkpoints: whole or not there.

A checkpoint is a folder `checkpoint-<step>`, written under another name, synced and renamed. It holds the model as
`save_pretrained` writes it, and what a run needs to go on as if nothing had happened: `optimizer.pt`, `scheduler.pt`,
`scaler.pt`, `rng_state.pth` (of each rank), `trainer_state.json`, `training_args.json`.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from enfold.base.errors import CheckpointError
from enfold.base.logging import get_logger

PREFIX = "checkpoint"
_NAME = re.compile(rf"{PREFIX}-(\d+)")
_UNFINISHED = ".unfinished"
_logger = get_logger("enfold.training")


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in `folder`, from the first step to the last."""
    folder = Path(folder)
    found = [(int(match[1]), path) for path in folder.glob(f"{PREFIX}-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found) if path.is_dir()]


def get_last_checkpoint(folder: str | Path) -> str | None:
    """The checkpoint of the last step in `folder`."""
    found = checkpoints(folder)
    return str(found[-1]) if found else None


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder, and give it the name `path` once all of it is on the disk.

    A folder of that name is replaced. If `write` fails (the disk is full, say), nothing is left, and what was there
    stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*{_UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = path.parent / f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}"
    unfinished.mkdir()
    try:
        write(unfinished)
        sync(unfinished)
        if path.exists():
            replaced = path.parent / f".{path.name}.{secrets.token_hex(4)}.replaced{_UNFINISHED}"
            os.rename(path, replaced)
            os.rename(unfinished, path)
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


def rotate(folder: Path, limit: int | None, keep: list[str | None]) -> None:
    """Remove the oldest checkpoints until `limit` are left, but none of those to `keep`."""
    if limit is None or limit <= 0:
        return
    kept = {Path(path).name for path in keep if path is not None}
    found = checkpoints(folder)
    old = [path for path in found[:-1] if path.name not in kept]
    for path in old[: max(0, len(found) - limit)]:
        # Its name goes first, so that a half-removed folder is never taken for a checkpoint.
        gone = path.parent / f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}"
        os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)


def read(path: Path) -> Any:
    """What `torch.save` wrote: tensors, numbers, strings and containers of them; nothing else is built.

    Raises:
        CheckpointError: it is missing, torn, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: {path.parent} is no checkpoint of a training run, or not whole")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} can't be read ({error}): resume from another checkpoint") from error


def resolve(resume: str | bool | None, output_dir: str) -> Path | None:
    """The folder to resume from.

    Raises:
        CheckpointError: there is none where one was asked for.
    """
    if not resume:
        return None
    if resume is True:
        last = get_last_checkpoint(output_dir)
        if last is None:
            raise CheckpointError(
                f"resume_from_checkpoint=True, and {output_dir} holds no checkpoint; give a folder, or start anew"
            )
        return Path(last)
    path = Path(resume)
    if not (path / "trainer_state.json").is_file():
        raise CheckpointError(f"{path} is no checkpoint: there is no trainer_state.json in it")
    return path
