"""Builds that a full disk, a Ctrl-C or a killed process cuts off: what they leave, and what the next one does."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from enfold.datasets import Dataset, load_dataset

# Loads numbers from a generator that waits, once it has begun, until somebody interrupts it.
WAITING = """
import sys, time
from pathlib import Path
from enfold.datasets import Dataset

def numbers(parts, mark, wait):
    for part in parts:
        for number in range(3000):
            if number == 2500 and wait:
                Path(mark, str(part)).write_text("")
                time.sleep(60)
            yield {"part": part, "number": number}

folder, wait, processes = sys.argv[1], sys.argv[2] == "wait", int(sys.argv[3]) or None
data = Dataset.from_generator(numbers, gen_kwargs={"parts": [0, 1], "mark": folder, "wait": wait}, num_proc=processes,
                              cache_dir=folder + "/cache", fingerprint="numbers")
print(len(data), sum(data["number"]))
"""

FULL = """
mount -t tmpfs -o size=400k none "$1" || exit 77
"$2" -c '
import sys
from enfold.datasets import load_dataset
from enfold.base.errors import DatasetError
folder, file, processes = sys.argv[1], sys.argv[2:4], sys.argv[4]
try:
    load_dataset("text", data_files=file, cache_dir=folder, num_proc=int(processes) or None)
except DatasetError as error:
    print(error)
import os
print([name for _, _, names in os.walk(folder) for name in names if not name.endswith(".lock")])
' "$1" "$3" "$4" "$5"
"""


def left(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_load(how, processes, tmp_path):
    command = [sys.executable, "-c", WAITING, str(tmp_path)]
    running = subprocess.Popen([*command, "wait", str(processes)], stderr=subprocess.PIPE, text=True)
    marks = [tmp_path / "0", tmp_path / "1"][: max(processes, 1)]
    for _ in range(600):
        if all(mark.exists() for mark in marks):
            break
        assert running.poll() is None
        time.sleep(0.05)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(how)
    _, said = running.communicate(timeout=20)
    assert running.returncode != 0
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in said
        assert left(tmp_path / "cache") == []
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    # Nothing of it is taken for whole, and the next one begins anew.
    done = subprocess.run([*command, "go", str(processes)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["6000", str(2 * sum(range(3000)))]
    assert not [path for path in left(tmp_path / "cache") if "unfinished" in str(path) or "incomplete" in str(path)]


@pytest.mark.parametrize("processes", [0, 2])
def test_a_full_disk(processes, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("a line of text\n" * 50_000)
    disk = tmp_path / "disk"
    disk.mkdir()
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL, "sh", str(disk), sys.executable, *files, str(processes)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    if run.returncode == 77 or "unshare" in run.stderr:
        pytest.skip("a small disk can't be mounted without rights to do so (issue 5)")
    assert run.returncode == 0, run.stderr
    said, files = run.stdout.strip().split("\n")
    assert "No space left" in said
    assert "ENFOLD_DATASETS_CACHE" in said
    assert files == "[]"


def test_a_generator_s_error_comes_as_it_is(tmp_path):
    def broken(parts):
        yield {"a": 1}
        raise KeyError(parts[0])

    for processes in (None, 2):
        with pytest.raises(KeyError, match="x"):
            Dataset.from_generator(
                broken, gen_kwargs={"parts": ["x", "x"]}, cache_dir=str(tmp_path), num_proc=processes
            )
    assert left(tmp_path) == []


def test_a_generator_by_its_format(tmp_path):
    def rows(start):
        for number in range(3):
            yield {"a": start + number}

    options = {"generator": rows, "gen_kwargs": {"start": 4}, "cache_dir": tmp_path}
    data = load_dataset("generator", split="held_out", **options)
    assert (data["a"][:], str(data.split)) == ([4, 5, 6], "held_out")
    assert list(load_dataset("generator", **options)) == ["train"]
    stream = load_dataset("generator", split="train", streaming=True, **options)
    assert list(stream) == list(Dataset.from_generator(rows, gen_kwargs={"start": 4}, cache_dir=str(tmp_path)))
    assert load_dataset("generator", split="held_out[1:]", **options)["a"][:] == [5, 6]
