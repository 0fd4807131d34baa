"""What the engine's Tokenizer leaves to Python: files from a hub, calls that asyncio waits for."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from enfold.tokenizers._engine import Tokenizer


def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
    """The tokenizer.json of a repository or of a local folder.

    Args:
        identifier: a repository on the hub, or a folder.
        revision: a branch, tag or commit.
        token: what opens a private repository.

    Raises:
        RepositoryNotFoundError, EntryNotFoundError, OfflineError: as `enfold.hub` raises them.
        TokenizerError: the file is no tokenizer.
    """
    folder = Path(identifier)
    if folder.is_dir():
        return Tokenizer.from_file(folder / "tokenizer.json")
    from enfold.hub.files import resolve_file

    path = resolve_file(identifier, "tokenizer.json", revision=revision, token=token)
    return Tokenizer.from_file(cast(Path, path))


def later(call: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> "asyncio.Future[Any]":
    """The call, made in a thread of the running event loop.

    Raises:
        RuntimeError: there is no running event loop.
    """
    return asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **options))
