"""What is written is whole or not there, also when the process that writes is killed at any point."""

import os
import signal
import subprocess
import sys

import pytest

from enfold.base import whole

# Replaces a folder, and is killed at the rename that the second argument counts.
KILLED = """
import os, signal, sys
from pathlib import Path
from enfold.base.whole import write_folder

left = int(sys.argv[2])

def hook(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
write_folder(Path(sys.argv[1]), lambda folder: (folder / "file").write_text("new"))
"""


def text(folder) -> str:
    return (folder / "file").read_text()


def filled(words: str):
    return lambda folder: (folder / "file").write_text(words)


@pytest.mark.parametrize(("at", "name"), [(1, "run"), (2, "run"), (2, "run.v1[a]*")])
def test_a_folder_survives_a_kill_while_it_is_replaced(at, name, tmp_path):
    folder = tmp_path / name
    whole.write_folder(folder, filled("old"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(at)])
    assert done.returncode == -signal.SIGKILL
    assert folder.exists() == (at == 1)
    whole.recover(tmp_path)
    assert text(folder) == "old"
    whole.write_folder(folder, filled("newer"))
    assert text(folder) == "newer"
    assert os.listdir(tmp_path) == [name]


def test_the_next_write_gives_back_before_it_may_fail(tmp_path):
    folder = tmp_path / "run"
    whole.write_folder(folder, filled("old"))
    subprocess.run([sys.executable, "-c", KILLED, str(folder), "2"])

    def fail(unfinished):
        (unfinished / "file").write_text("torn")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        whole.write_folder(folder, fail)
    assert text(folder) == "old"
    assert os.listdir(tmp_path) == ["run"]


def test_who_looks_while_a_folder_is_replaced_takes_nothing_away(tmp_path):
    """A process that gives the folder back between the two renames only makes the other one begin again."""
    code = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "recover(Path(sys.argv[1]).parent)")
    code = code.replace("import write_folder", "import recover, write_folder")
    folder = tmp_path / "run"
    whole.write_folder(folder, filled("old"))
    subprocess.run([sys.executable, "-c", code, str(folder), "2"], check=True)
    assert text(folder) == "new"
    assert os.listdir(tmp_path) == ["run"]


def test_names_that_begin_alike_are_left_alone(tmp_path):
    others = [".run.b.00000000.unfinished", ".runs.00000000.replaced.unfinished", ".run.unfinished", ".run.lock"]
    for other in others:
        (tmp_path / other).mkdir()
    (tmp_path / ".run.00000000.unfinished").write_text("torn")
    (tmp_path / "runs").mkdir()
    whole.recover(tmp_path)
    whole.write_folder(tmp_path / "run", filled("new"))
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "run", "runs"])
    whole.recover(tmp_path / "nowhere")


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "file"
    with whole.file_aside(path, synced=True) as unfinished:
        unfinished.write_text("old")

    def fail():
        with whole.file_aside(path) as unfinished:
            unfinished.write_text("torn")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert text(tmp_path) == "old"
    assert os.listdir(tmp_path) == ["file"]
