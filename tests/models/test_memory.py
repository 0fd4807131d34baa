"""Loading needs little more memory than the weights do, and biases by distance none that grows by the square."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import enfold
from enfold.nn.relative import Alibi, Relative
from tests.models.pairs import inputs, pair, right_mask
from tests.models.rows import ROWS

# Prints (peak of resident memory while loading and reading every weight once, above that after a first small load) ÷
# size of the weights. Mapped pages count as resident once they are read.
MEASURE = """
import sys
from enfold import LlamaForCausalLM
def resident(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
LlamaForCausalLM.from_pretrained(sys.argv[1])
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
model = LlamaForCausalLM.from_pretrained(sys.argv[2])
loading = resident("VmHWM") - before
for parameter in model.parameters():
    parameter.sum()
size = sum(p.numel() * p.element_size() for p in model.parameters())
print(loading / size, (resident("VmHWM") - before) / size, size, model.dtype)
"""


def checkpoint(folder: Path, dtype: str, shards: str, **sizes: int) -> Path:
    config = enfold.LlamaConfig(num_attention_heads=4, **sizes)
    with torch.device("meta"):
        model = enfold.LlamaForCausalLM(config)
    model = model.to(getattr(torch, dtype)).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    model.save_pretrained(folder, max_shard_size=shards)
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("dtype", "layers"), [("float32", 6), ("bfloat16", 14)])
@pytest.mark.parametrize("shards", ["1GB", "40MB"])
def test_peak_of_loading(tmp_path, dtype: str, layers: int, shards: str):
    small = checkpoint(
        tmp_path / "small", dtype, "1GB", vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1
    )
    large = checkpoint(
        tmp_path / "large",
        dtype,
        shards,
        vocab_size=8000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=layers,
    )
    assert (len(list(large.glob("*.safetensors"))) > 2) == (shards == "40MB")
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    loading, reading, size, loaded = result.stdout.split()
    assert loaded == f"torch.{dtype}"
    assert int(size) > 200 * 10**6
    assert float(loading) < 1.15
    assert float(reading) < 1.15


@pytest.mark.parametrize("head", ["BloomForCausalLM", "T5ForConditionalGeneration", "UMT5EncoderModel"])
def test_biases_of_a_long_text_are_read_by_distance(head: str, monkeypatch):
    """No [heads, length, length] is made of them."""
    row = next(row for row in ROWS if row.head == head)
    given = inputs(row, right_mask())
    with torch.no_grad():
        wanted = pair(row).ours(**given)[0]
        for kind in (Alibi, Relative):
            monkeypatch.setattr(kind, "between", None)
        assert torch.equal(pair(row).ours(**given)[0], wanted)
