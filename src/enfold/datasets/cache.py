"""Where results of the datasets room lie, and how they get there: whole, once.

A file or folder in the cache is either absent or complete. It is written under another name, synced to the disk and
renamed; a process that is killed leaves only a temporary name, which the next one that wants the same result removes.
"""

import errno
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from enfold.base import whole
from enfold.base.errors import DatasetError
from enfold.base.logging import get_logger

_logger = get_logger("enfold.datasets")
# Waiting longer than this for another process is worth a line.
_PATIENCE_SECONDS = 5.0
# Until what was built is brought to the disk.
_PAUSE_SECONDS = 2.0

_syncing: set[Path] = set()
_enabled = True
_scratch: tempfile.TemporaryDirectory | None = None


def cache_directory() -> Path:
    """`ENFOLD_DATASETS_CACHE`, else the folder `enfold` in `HF_DATASETS_CACHE`, else `~/.cache/enfold/datasets`."""
    if own := os.environ.get("ENFOLD_DATASETS_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("HF_DATASETS_CACHE"):
        return Path(shared).expanduser() / "enfold"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "enfold" / "datasets"


def enable_caching() -> None:
    """Results of `map`, `filter` and kin are kept and found again (the default)."""
    global _enabled
    _enabled = True


def disable_caching() -> None:
    """Results of `map`, `filter` and kin are computed anew each time, into files that go when the process ends."""
    global _enabled
    _enabled = False


def is_caching_enabled() -> bool:
    """Whether results are kept and found again."""
    return _enabled


def scratch_directory() -> Path:
    """A folder that goes when the process ends: for results that have no cache to lie in."""
    global _scratch
    if _scratch is None or not Path(_scratch.name).exists():
        _scratch = tempfile.TemporaryDirectory(prefix="enfold-datasets-", ignore_cleanup_errors=True)
        # A forked child inherits the object, and must not remove its parent's folder when it ends.
        _only_in_this_process(_scratch)
    return Path(_scratch.name)


def _only_in_this_process(folder: tempfile.TemporaryDirectory) -> None:
    owner = os.getpid()
    folder._finalizer.detach()  # type: ignore[attr-defined]

    def remove(name: str = folder.name) -> None:
        if os.getpid() == owner:
            shutil.rmtree(name, ignore_errors=True)

    weakref.finalize(folder, remove)


def build_once(path: Path | str, build: Callable[[Path], None], *, sync: bool = True) -> bool:
    """Make the file or folder `path`, unless it is there.

    Two processes that want the same result build it once: the second waits for the first, and takes over if that dies.

    Args:
        path: the file or folder to have.
        build: called with a temporary path beside `path`, where it writes a file or makes a folder. If it raises,
            what it wrote is removed and `path` stays absent.
        sync: wait until all of it is on the disk. Without, a machine that loses its power may lose parts of it.

    Returns:
        True when this call built it, False when it was there or another process built it meanwhile.

    Raises:
        DatasetError: the disk is full, or the folder can't be written to.
    """
    path = Path(path)
    if path.exists():
        return False
    with _writable(path), _lock(path):
        if path.exists():
            return False
        # We hold the lock, so whoever began something is dead.
        whole.remove_left(path)
        unfinished = whole.aside(path)
        try:
            build(unfinished)
            if not unfinished.exists():
                raise DatasetError(f"Nothing was written for {path}: the function that builds it left no file.")
            if sync:
                whole.sync(unfinished)
            os.rename(unfinished, path)
            if sync:
                whole.sync_folder(path.parent)
        except BaseException:
            whole.remove(unfinished)
            raise
    return True


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        advice = "Set ENFOLD_DATASETS_CACHE (or cache_dir=) to a folder with room."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(f"No space left on the disk while {path} was written. {advice}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            named = error.filename or path.parent
            raise DatasetError(f"{named} can't be written to ({error.strerror}). {advice}") from error
        raise


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    # The kernel lets go of these locks when their process ends, however it ends.
    from filelock import FileLock, Timeout

    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS)
    except Timeout:
        _logger.warning("Waiting for another process that builds %s.", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def boot_id() -> str:
    """Names the time since the machine was started; `""` where that can't be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def sync_later(folder: Path, mark: str) -> None:
    """Bring a folder to the disk while the program goes on, then remove the file `mark` from it.

    It waits a moment: who reads what was just written would wait behind the disk.
    """

    def work() -> None:
        time.sleep(_PAUSE_SECONDS)
        try:
            whole.sync(folder)
            whole.sync_folder(folder.parent)
            (folder / mark).unlink(missing_ok=True)
        except OSError as error:
            _logger.debug("%s was not synced: %s", folder, error)
        finally:
            _syncing.discard(folder)

    if folder in _syncing:
        return
    _syncing.add(folder)
    threading.Thread(target=work, name="enfold-sync", daemon=True).start()
