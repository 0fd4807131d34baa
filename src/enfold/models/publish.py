"""Upload what `save_pretrained` writes."""

import tempfile
from collections.abc import Callable
from typing import Any


def push(save: Callable[[str], Any], repo_id: str, **kwargs: Any) -> Any:
    """Let `save` fill a temporary folder and upload it as `repo_id`, by the official client."""
    from enfold.hub.files import push_folder

    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return push_folder(folder, repo_id, **kwargs)
