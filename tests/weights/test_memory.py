"""Peak memory of filling tensors from a file, measured in a process of its own."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from .ggufs import random_blocks, write_gguf

ROWS, COLUMNS, COUNT = 3200, 2048, 8  # 8 × 26 MB = 210 MB in fp32

CHILD = """
import json, os, sys, torch
from enfold.weights.files import open_checkpoint

def kilobytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

def fill(path, dtype):
    with open_checkpoint(path) as checkpoint:
        tensors = {name: torch.empty(checkpoint.shape(name), dtype=dtype) for name in checkpoint}
        for name, tensor in tensors.items():
            checkpoint.read_into(name, tensor)
    return tensors

def peak(folder, name, dtype):
    fill(f"{folder}/small/{name}", dtype)  # pages of code that the first use brings in are not the weights' memory
    before = kilobytes("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    tensors = fill(f"{folder}/large/{name}", dtype)
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert all(torch.isfinite(tensor[-1].float()).all() for tensor in tensors.values())
    return size, kilobytes("VmHWM") * 1024 - before * 1024

folder, *names = sys.argv[1:]
for name in names:
    open_checkpoint(f"{folder}/small/{name}").close()
    for dtype in ("float32", "bfloat16"):
        if os.fork() == 0:  # the allocator keeps what one run freed, which would hide the next one's need
            print(json.dumps([f"{name} {dtype}", peak(folder, name, getattr(torch, dtype))]), flush=True)
            os._exit(0)
        os.wait()
"""
NAMES = ("model.safetensors", "pytorch_model.bin", "model.gguf")


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peaks")
    try:
        for size, rows in (("small", 64), ("large", ROWS)):
            (folder / size).mkdir()
            tensors = {f"w{i}": torch.rand(rows, COLUMNS) for i in range(COUNT)}
            save_file(tensors, folder / size / NAMES[0])
            torch.save(tensors, folder / size / NAMES[1])
            packed = random_blocks("Q4_1", rows, COLUMNS)
            blocks = {f"w{i}": (packed, "Q4_1") for i in range(COUNT)}
            write_gguf(folder / size / NAMES[2], blocks, {"llama.attention.head_count": 8})
        command = [sys.executable, "-c", CHILD, folder, *NAMES]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        shutil.rmtree(folder)
    return dict(json.loads(line) for line in output.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_peak_is_the_destination(peaks, name, dtype):
    size, peak = peaks[f"{name} {dtype}"]
    assert size == ROWS * COLUMNS * COUNT * getattr(torch, dtype).itemsize
    # What comes on top is buffers, which don't grow with the weights: the same bound for half the bytes.
    assert 0.9 * size < peak < size + 0.15 * ROWS * COLUMNS * COUNT * 4
