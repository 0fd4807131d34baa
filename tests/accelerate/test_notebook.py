"""Functions in several processes, from a notebook; what all code can ask about the accelerator."""

import os
import subprocess
import sys

import pytest

from enfold.accelerate import Accelerator, AcceleratorState, DistributedType, notebook_launcher
from enfold.base.errors import ArgumentError

# As a notebook has it: the functions are in no file, and torch has computed already.
CELLS = """
import torch
from enfold.accelerate import Accelerator, DistributedType, notebook_launcher
from enfold.base.errors import ProcessFailedError

torch.ones(300, 300) @ torch.ones(300, 300)
print(Accelerator(cpu=True).num_processes, flush=True)

def work(number, fails=False):
    accelerator = Accelerator(cpu=True)
    assert accelerator.distributed_type == DistributedType.MULTI_CPU
    total = accelerator.reduce(torch.tensor(number + accelerator.process_index), "sum")
    accelerator.print(int(total), accelerator.mixed_precision, flush=True)
    if fails and accelerator.process_index == 1:
        raise ValueError("too much for me")

notebook_launcher(work, (20,), num_processes=2, mixed_precision="bf16")
try:
    notebook_launcher(work, (30, True), num_processes=2)
except ProcessFailedError as error:
    print(error)
"""


def test_functions_of_a_notebook():
    done = subprocess.run(
        [sys.executable, "-"],
        input=CELLS,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["1", "41 bf16", "61 no"]
    assert lines[3].startswith("rank 1 failed: ValueError: too much for me")


def test_one_process_is_this_one():
    seen = []
    notebook_launcher(
        lambda: seen.append(Accelerator(cpu=True).mixed_precision), num_processes=1, mixed_precision="bf16"
    )
    assert seen == ["bf16"]
    assert "ENFOLD_MIXED_PRECISION" not in os.environ
    state = AcceleratorState()
    assert (state.mixed_precision, state.num_processes, state.is_fsdp2) == ("bf16", 1, False)
    assert state.distributed_type is DistributedType.NO
    assert state.is_main_process
    with pytest.raises(ArgumentError, match="has 'bf16'"):
        AcceleratorState(mixed_precision="fp16")
    with pytest.raises(ArgumentError, match="use_port"):
        notebook_launcher(print, num_nodes=2)


def test_the_names_are_the_references():
    from accelerate.utils import DistributedType as Theirs

    assert {kind.value for kind in DistributedType} == {kind.value for kind in Theirs}
