"""Files whose reading runs nothing."""

from pathlib import Path
from typing import Any

import torch

from enfold.base.errors import CheckpointError


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
