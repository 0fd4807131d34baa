"""Checkpoints: whole or not there.

A checkpoint is a folder `checkpoint-<step>`, written under another name, synced and renamed. It holds the model as
`save_pretrained` writes it, and what a run needs to go on as if nothing had happened: `optimizer.pt`, `scheduler.pt`,
`scaler.pt`, `rng_state.pth` (of each rank), `trainer_state.json`, `training_args.json`.
"""

import re
from pathlib import Path

from enfold.base.errors import CheckpointError
from enfold.base.whole import recover, remove

PREFIX = "checkpoint"
_NAME = re.compile(rf"{PREFIX}-(\d+)")


def checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints in `folder`, from the first step to the last."""
    folder = Path(folder)
    recover(folder)
    found = [(int(match[1]), path) for path in folder.glob(f"{PREFIX}-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found) if path.is_dir()]


def get_last_checkpoint(folder: str | Path) -> str | None:
    """The checkpoint of the last step in `folder`."""
    found = checkpoints(folder)
    return str(found[-1]) if found else None


def rotate(folder: Path, limit: int | None, keep: list[str | None]) -> None:
    """Remove the oldest checkpoints until `limit` are left, but none of those to `keep`."""
    if limit is None or limit <= 0:
        return
    kept = {Path(path).name for path in keep if path is not None}
    found = checkpoints(folder)
    old = [path for path in found[:-1] if path.name not in kept]
    for path in old[: max(0, len(found) - limit)]:
        remove(path)


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
    recover(path.parent, path.name)
    if not (path / "trainer_state.json").is_file():
        raise CheckpointError(f"{path} is no checkpoint: there is no trainer_state.json in it")
    return path
