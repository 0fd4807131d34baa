"""Several processes' rows in one result: real processes, one of them slow, killed, or left over from another run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enfold import evaluate
from enfold.base.errors import ArgumentError, GatheringError

PROGRAM = """
import sys, time
from enfold import evaluate
folder, process, count, behaviour = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
metric = evaluate.load("f1", cache_dir=folder, num_process=count, process_id=process, timeout=float(sys.argv[5]))
for turn in range(2):
    metric.add_batch(predictions=[process % 2, 1, turn], references=[0, 1, 1])
    print("added", flush=True)
    if behaviour == "hangs":
        time.sleep(60)
    if behaviour == "slow":
        time.sleep(0.5)
    print(metric.compute(), flush=True)
"""


def start(folder: Path, process: int, count: int, behaviour: str = "", timeout: float = 20) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(process), str(count), behaviour, str(timeout)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_three_processes_twice(tmp_path):
    # What a run that died left there: a request that nobody answers any more.
    left = tmp_path / "f1" / "default"
    left.mkdir(parents=True)
    (left / "default_experiment-3.request").write_text("0123456789abcdef\n")
    others = [start(tmp_path, 1, 3), start(tmp_path, 2, 3, "slow")]
    time.sleep(0.7)  # so that one of them meets the old request
    first = start(tmp_path, 0, 3)
    said = [process.communicate(timeout=40) for process in (first, *others)]
    expected = []
    for turn in range(2):
        ours = [value for process in range(3) for value in (process % 2, 1, turn)]
        expected.append(str(evaluate.metrics.f1(ours, [0, 1, 1] * 3)))
    assert [line for line in said[0][0].split("\n") if line.startswith("{")] == expected, said
    for out, error in said[1:]:
        assert out.split() == ["added", "None"] * 2, error
    assert not [path for path in left.iterdir() if path.suffix == ".request"]


def test_one_is_killed(tmp_path):
    killed = start(tmp_path, 1, 2, "hangs")
    assert killed.stdout.readline() == "added\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    metric = evaluate.load("f1", cache_dir=tmp_path, num_process=2, process_id=0, timeout=0.5)
    metric.add(prediction=1, reference=1)
    with pytest.raises(GatheringError, match=r"of 2 processes, 1 didn't hand in their rows within 0.5 s"):
        metric.compute()
    assert not list((tmp_path / "f1" / "default").glob("*"))


def test_process_0_never_comes(tmp_path):
    metric = evaluate.load("f1", cache_dir=tmp_path, num_process=2, process_id=1, timeout=0.2)
    metric.add(prediction=1, reference=1)
    with pytest.raises(GatheringError, match=r"process 1 waited 0.2 s for process 0"):
        metric.compute()


def test_arguments(tmp_path):
    for wrong in ({"process_id": 2, "num_process": 2}, {"process_id": -1}, {"num_process": 2, "keep_in_memory": True}):
        with pytest.raises(ArgumentError):
            evaluate.load("accuracy", **wrong)
    with pytest.raises(ArgumentError, match="experiment_id"):
        evaluate.load("accuracy", experiment_id="../x")
    with pytest.raises(ArgumentError, match="isn't initialised"):
        evaluate.load("accuracy", process_group=True).compute(predictions=[1], references=[1])


def over_group(rank: int, address: str, queue) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    metric = evaluate.load("accuracy", process_group=True)
    metric.add_batch(predictions=[rank, 1], references=[0, 1])
    queue.put((rank, metric.compute()))
    dist.destroy_process_group()


def test_over_torch_distributed(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    address = f"file://{tmp_path}/meet"
    processes = [context.Process(target=over_group, args=(rank, address, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
    assert found == {0: {"accuracy": 0.75}, 1: None}
