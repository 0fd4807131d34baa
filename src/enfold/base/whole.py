"""Files and folders that are whole or not there: written under another name, synced to the disk, renamed.

A process that is killed leaves a name that begins with a point and ends with `.unfinished`. The next one that writes
the same thing removes it, or, where it is the folder that was about to be replaced, gives it its name back.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# How the name of what is being written, or is on its way out, ends.
UNFINISHED = ".unfinished"
_REPLACED = f".replaced{UNFINISHED}"
_LEFT = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{8}}(?P<replaced>\.replaced)?{re.escape(UNFINISHED)}", re.DOTALL)
# How often another process may give a folder its name back while we replace it, before we give up.
_ATTEMPTS = 10


def aside(path: Path, end: str = UNFINISHED) -> Path:
    """A free name beside `path` for what will become it."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{end}"


def remove(path: Path) -> None:
    """Remove a file or folder. A folder's name goes first: a half-removed one is never taken for a whole one."""
    if path.is_dir() and not path.is_symlink():
        gone = path if path.name.endswith(UNFINISHED) else aside(path)
        if gone is not path:
            os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_left(path: Path) -> None:
    """Remove what dead processes began to write for `path`. Only for who alone writes it."""
    for left, _ in _left_behind(path.parent, path.name):
        remove(left)


def recover(parent: Path, name: str | None = None) -> None:
    """Give folders of `parent` their names back, where a process was killed between the two renames that replace one.

    Args:
        name: that of the one folder to look for; None: all.
    """
    for left, replaced in _left_behind(parent, name):
        if replaced is not None and not os.path.lexists(parent / replaced):
            # Somebody else may do the same, or the folder may be one that we can only read.
            with contextlib.suppress(OSError):
                os.rename(left, parent / replaced)


def _left_behind(parent: Path, name: str | None) -> Iterator[tuple[Path, str | None]]:
    """What begins as `aside` names it in a folder, and the names that were taken from what was to be replaced."""
    try:
        entries = sorted(os.listdir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        match = _LEFT.fullmatch(entry)
        if match is not None and name in (None, match["name"]):
            yield parent / entry, match["name"] if match["replaced"] else None


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder, and give it the name `path` once all of it is on the disk.

    A folder of that name is replaced. If `write` fails (the disk is full, say), nothing is left, and what was there
    stays.
    """
    unfinished = begin_folder(path)
    try:
        write(unfinished)
        finish_folder(path, unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def begin_folder(path: Path) -> Path:
    """A new folder beside `path` for what will become it. Only for who alone writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path.parent, path.name)
    remove_left(path)
    unfinished = aside(path)
    unfinished.mkdir()
    return unfinished


def finish_folder(path: Path, unfinished: Path) -> None:
    """Put a folder that is filled on the disk, and give it the name `path`."""
    sync(unfinished)
    _replace(path, unfinished)
    sync_folder(path.parent)


def _replace(path: Path, whole: Path) -> None:
    """Give a folder the name of another, which goes. Between the two renames a kill leaves what `recover` finds."""
    for attempt in range(_ATTEMPTS):
        if not path.exists():
            os.rename(whole, path)
            return
        replaced = aside(path, _REPLACED)
        os.rename(path, replaced)
        try:
            os.rename(whole, path)
        except BaseException as error:
            if os.path.lexists(replaced):
                if not os.path.lexists(path):
                    os.rename(replaced, path)
                raise
            # Who looked for the folder has given it its name back meanwhile.
            if attempt + 1 == _ATTEMPTS or not isinstance(error, OSError):
                raise
            continue
        shutil.rmtree(replaced, ignore_errors=True)
        return


@contextlib.contextmanager
def file_aside(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """A name to write a file to, which becomes `path` when all went well: readers see the old file or the new one.

    Args:
        synced: wait until it is on the disk.
    """
    unfinished = aside(path)
    try:
        yield unfinished
        if synced:
            sync(unfinished)
        os.replace(unfinished, path)
        if synced:
            sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file, or every file below a folder, on the disk."""
    if not path.is_dir():
        _sync_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_file(Path(folder, name))
        sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Put a folder's names on the disk, where the system can: renames last through a power cut."""
    if os.name == "nt":  # folders can't be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)
