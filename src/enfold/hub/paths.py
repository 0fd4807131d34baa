"""Names that came from somebody else: a server's listing, an index file, an archive."""

import re
from pathlib import PurePosixPath

from enfold.base.errors import UnsafePathError

_DRIVE = re.compile(r"[A-Za-z]:")


def safe_relative_path(name: str) -> PurePosixPath:
    """The relative path that `name` spells, refused if it could leave the folder it will be joined to.

    The rules of every system hold on every system, so that a cache written on Linux is safe to read on Windows.

    Args:
        name: a path with forward slashes, as repositories spell them: `"onnx/model.onnx"`.

    Raises:
        UnsafePathError: for an empty or absolute path, `..`, a backslash, a drive letter or a control character.
    """
    if not isinstance(name, str):
        raise UnsafePathError(f"A file name must be a string, got {type(name).__name__}: {name!r}.")
    reason = ""
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        reason = "it holds a control character"
    elif "\\" in name:
        reason = "it holds a backslash"
    elif name.startswith("/"):
        reason = "it is absolute"
    elif ".." in name.split("/"):
        reason = "it climbs out of its folder with '..'"
    elif any(_DRIVE.match(part) for part in name.split("/")):
        reason = "it names a drive"
    elif not PurePosixPath(name).parts:
        reason = "it is empty"
    if reason:
        raise UnsafePathError(
            f"Refused the file name {name!r}: {reason}. Expected a relative path inside the repository, such as "
            f"'config.json' or 'onnx/model.onnx'; if a repository contains this name, don't trust it."
        )
    return PurePosixPath(name)
