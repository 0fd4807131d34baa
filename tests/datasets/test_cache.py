"""What is in the cache is whole, and was built once."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enfold.base.errors import DatasetError
from enfold.datasets import cache
from enfold.datasets.cache import build_once


def visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))


def test_a_file_and_a_folder(tmp_path):
    assert build_once(tmp_path / "a" / "b.arrow", lambda path: path.write_bytes(b"rows"))
    assert (tmp_path / "a" / "b.arrow").read_bytes() == b"rows"

    def folder(path: Path) -> None:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "c").write_text("c")

    assert build_once(tmp_path / "whole", folder)
    assert (tmp_path / "whole" / "deep" / "c").read_text() == "c"


def test_what_is_there_is_not_built(tmp_path):
    def never(path: Path) -> None:
        raise AssertionError("built twice")

    assert build_once(tmp_path / "a", lambda path: path.write_bytes(b"1"))
    assert not build_once(tmp_path / "a", never)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failed_build_leaves_nothing(tmp_path, error):
    def build(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("half")
        raise error

    with pytest.raises(type(error)):
        build_once(tmp_path / "a", build)
    assert visible(tmp_path) == []
    assert build_once(tmp_path / "a", lambda path: path.write_text("whole"))


def test_a_build_that_writes_nothing_is_told(tmp_path):
    with pytest.raises(DatasetError, match="Nothing was written"):
        build_once(tmp_path / "a", lambda path: None)


def test_a_full_disk_is_told(tmp_path):
    def build(path: Path) -> None:
        path.write_bytes(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DatasetError, match=r"No space left.*ENFOLD_DATASETS_CACHE"):
        build_once(tmp_path / "a", build)
    assert visible(tmp_path) == []


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        build_once(tmp_path / "file" / "a", lambda path: path.write_text("a"))


def _slow(folder: Path, name: str) -> None:
    def build(path: Path) -> None:
        with open(folder / "builders", "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.2)
        path.write_text(name)

    build_once(folder / name, build)


def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_slow, args=(tmp_path, "result")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert (tmp_path / "result").read_text() == "result"
    assert len((tmp_path / "builders").read_text().split()) == 1


KILLED = """
import sys, time
from pathlib import Path
from enfold.datasets.cache import build_once

def build(path):
    path.mkdir()
    with open(path / "part", "w") as file:
        file.write("torn")
        file.flush()
        print("half way", flush=True)
        time.sleep(60)

build_once(Path(sys.argv[1]), build)
"""


def test_killed_half_way(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "result")], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "half way\n"
        worker.send_signal(signal.SIGKILL)
    assert not (tmp_path / "result").exists()
    assert len(visible(tmp_path)) == 1  # the torn folder, under its temporary name
    assert build_once(tmp_path / "result", lambda path: path.write_text("whole"))
    assert visible(tmp_path) == ["result"]


def test_names_with_glob_characters(tmp_path):
    torn = tmp_path / ".a[1]*.00000000.unfinished"
    torn.write_text("torn")
    other = tmp_path / ".a1x.00000000.unfinished"
    other.write_text("another result's")
    assert build_once(tmp_path / "a[1]*", lambda path: path.write_text("whole"))
    assert visible(tmp_path) == [".a1x.00000000.unfinished", "a[1]*"]


def test_where_it_lies(monkeypatch, tmp_path):
    for name in ("ENFOLD_DATASETS_CACHE", "HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.cache_directory() == Path("~/.cache/enfold/datasets").expanduser()
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    assert cache.cache_directory() == tmp_path / "enfold"
    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "own"))
    assert cache.cache_directory() == tmp_path / "own"


def test_the_scratch_folder_goes_with_its_process(tmp_path):
    script = (
        "import os\n"
        "from enfold.datasets.cache import scratch_directory\n"
        "folder = scratch_directory()\n"
        "(folder / 'a').write_text('a')\n"
        "if os.fork() == 0: raise SystemExit\n"
        "os.wait()\n"
        "print(folder, (folder / 'a').exists())\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert printed[1] == "True"
    assert not Path(printed[0]).exists()
