"""Repositories of 8-bit floats with a scale for each block, as DeepSeek-V3 publishes its weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from enfold.base.errors import CheckpointError, NotBuiltError
from enfold.models.registry import class_by_name
from enfold.weights.fp8 import expand
from tests.models.pairs import error, inputs, pair, right_mask
from tests.models.rows import ONE_EACH

BLOCK = (16, 12)  # smaller than the published 128 × 128, so that small weights have several blocks and cut ones
LARGEST = 448.0  # float8_e4m3fn's


def packed(weight: torch.Tensor, block: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """8-bit floats and the scale of each block, which makes its largest value 448."""
    rows, columns = block
    scales = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // columns))
    values = torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            place = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
            scales[i, j] = weight[place].abs().max() / LARGEST
            values[place] = (weight[place] / scales[i, j]).to(torch.float8_e4m3fn)
    return values, scales


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A small DeepSeek-V3 in that format, and what its values stand for."""
    both = pair(next(row for row in ONE_EACH if row.head == "DeepseekV3ForCausalLM"))
    folder = tmp_path_factory.mktemp("fp8")
    tensors, exact = {}, {}
    for name, tensor in load_file(both.folder / "model.safetensors").items():
        tensors[name] = exact[name] = tensor
        if name.endswith("_proj.weight") or "_proj_with_mqa.weight" in name:
            values, scales = packed(tensor, BLOCK)
            tensors[name], tensors[name + "_scale_inv"] = values, scales
            wide = scales.repeat_interleave(BLOCK[0], 0).repeat_interleave(BLOCK[1], 1)
            exact[name] = values.float() * wide[: tensor.shape[0], : tensor.shape[1]]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((both.folder / "config.json").read_text())
    quantised = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [*BLOCK]}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    return both, folder, exact


@torch.no_grad()
def test_weights_are_what_their_blocks_say(published, tmp_path):
    both, folder, exact = published
    kind = class_by_name(both.row.head)
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == exact.keys()
    for name, tensor in exact.items():
        assert torch.equal(saved[name], tensor), name
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    given = inputs(both.row, right_mask())
    assert error(model(**given).logits, kind.from_pretrained(tmp_path)(**given).logits) == 0.0
    half = kind.from_pretrained(folder, dtype="bfloat16")
    for (name, a), b in zip(half.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b.bfloat16()), name


@pytest.mark.parametrize("shape", [(300, 200), (128, 128), (1, 257), (7, 5)])
def test_blocks_of_the_published_size(shape: tuple[int, int]):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values, scales = packed(weight, (128, 128))
    found = expand(values, scales, (128, 128))
    assert torch.equal(found[-1, -1], values[-1, -1].float() * scales[-1, -1])
    assert (found - weight).abs().max() <= weight.abs().max() / 16
    assert torch.equal(expand(values, scales[:1, :1], (128, 128)), values.float() * scales[0, 0])


def test_what_does_not_fit(published, tmp_path):
    both, folder, _ = published
    kind = class_by_name(both.row.head)
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    name = "model.layers.0.self_attn.o_proj.weight"
    for broken, message in ((None, "is missing"), (torch.ones(1, 3), r"has shape \(1, 3\)")):
        given = {key: value for key, value in tensors.items() if key != name + "_scale_inv"}
        if broken is not None:
            given[name + "_scale_inv"] = broken
        save_file(given, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=f"{name} of shape .*{message}"):
            kind.from_pretrained(tmp_path)
    config["quantization_config"]["quant_method"] = "awq"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotBuiltError, match="quantised by 'awq'; built are 'mxfp4', 'fp8' and 'compressed-tensors'"):
        kind.from_pretrained(tmp_path)
