"""`dtype="int8"`: every family, with the weights of its linear maps rounded to bytes."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from enfold.base.errors import ArgumentError, CheckpointError, NotBuiltError
from enfold.nn.int8 import Int8Linear
from enfold.nn.linear import Linear
from tests.models.pairs import ANSWERS, at_tokens, fresh, inputs, ours_class, pair, right_mask
from tests.models.rows import DECODERS, ONE_EACH, Row

every_family = pytest.mark.parametrize("row", ONE_EACH, ids=str)


@every_family
@torch.no_grad()
def test_answers_stay_near(row: Row):
    exact, rounded, given = pair(row).ours, fresh(row, dtype="int8"), inputs(row, right_mask())
    assert any(isinstance(module, Int8Linear) for module in rounded.modules())
    for stack in rounded.stacks():
        left = {name.rpartition(".")[2] for name, module in stack.named_modules() if type(module) is Linear}
        assert left <= {"router", "shared_gate"}
    assert not any("experts" in name and p.dim() > 2 for name, p in rounded.named_parameters())
    routed = any(name.endswith(".router") for name, _ in rounded.named_modules())  # a near tie chooses another expert
    assert rounded.dtype is torch.float32
    assert rounded.num_parameters() == exact.num_parameters()
    ours, wanted = rounded(**given), exact(**given)
    for name in ANSWERS:
        if name in wanted:
            a, b = (at_tokens(name, x[name], given).flatten(1) for x in (ours, wanted))
            assert F.cosine_similarity(a, b).mean() > (0.9 if routed else 0.99), name


@pytest.mark.parametrize("row", [row for row in DECODERS if row in ONE_EACH], ids=str)
def test_generates(row: Row):
    model, given = fresh(row, dtype="int8"), inputs(row, right_mask())
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    given = {name: given[name] for name in ("input_ids", "attention_mask") if name in given}
    found = model.generate(**given, **settings)
    assert torch.equal(found, model.generate(**given, **settings))
    assert found.shape[1] >= 8


def row_of(head: str) -> Row:
    return next(row for row in ONE_EACH if row.head == head)


def test_a_tied_head_has_bytes_of_its_own_and_the_table_stays():
    row = next(r for r in ONE_EACH if r.head == "GPT2LMHeadModel")
    model = fresh(row, dtype="int8")
    assert isinstance(model.lm_head, Int8Linear)
    assert torch.equal(model.get_input_embeddings().weight, pair(row).ours.get_input_embeddings().weight)


@every_family
def test_files_hold_the_bytes(row: Row, tmp_path):
    model = fresh(row, dtype="int8")
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    scales = {name.removesuffix("_scale") for name in stored if name.endswith("_scale")}
    assert scales == {name for name, tensor in stored.items() if tensor.dtype is torch.int8}
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    wanted, found = model.state_dict(), again.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype is tensor.dtype
        assert torch.equal(found[name], tensor), name


@torch.no_grad()
def test_bytes_as_floats(tmp_path):
    """A floating dtype gives what the bytes stand for, and that is saved as any floating model is."""
    row = row_of("GPT2LMHeadModel")
    model, kind = fresh(row, dtype="int8"), ours_class(row)
    model.save_pretrained(tmp_path / "bytes")
    floats = kind.from_pretrained(tmp_path / "bytes", dtype="float32")
    up = "base.stack.layers.0.mlp.op.up"
    assert torch.equal(floats.get_submodule(up).weight, model.get_submodule(up).weight)
    floats.save_pretrained(tmp_path / "floats")
    assert "quantization_config" not in json.loads((tmp_path / "floats" / "config.json").read_text())
    given = inputs(row, right_mask())
    assert torch.equal(kind.from_pretrained(tmp_path / "floats")(**given).logits, floats(**given).logits)


def test_a_head_that_differs_from_its_table_is_saved(tmp_path):
    model = fresh(row_of("GPT2LMHeadModel"), dtype="int8")
    model.get_input_embeddings().weight.data.mul_(1.5)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.packed, model.lm_head.packed)
    assert torch.equal(again.lm_head.scale, model.lm_head.scale)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "pack-quantized"}, "pack-quantized"),
        ({"config_groups": {}}, "int-quantized"),
        ({"kv_cache_scheme": {"num_bits": 8}}, "quantised caches"),
        ({"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "strategy": "group"}}}}, "num_bits"),
    ],
)
def test_other_layouts_are_refused(changed, said, tmp_path):
    model = fresh(row_of("GPT2LMHeadModel"), dtype="int8")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] |= changed
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotBuiltError, match=said):
        type(model).from_pretrained(tmp_path)


def test_bytes_without_their_scales_are_refused(tmp_path):
    model = fresh(row_of("GPT2LMHeadModel"), dtype="int8")
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in stored if name.endswith("_scale"))
    del stored[lost]
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{lost} is missing"):
        type(model).from_pretrained(tmp_path)


def test_only_the_cpu_has_kernels_for_it():
    with pytest.raises(ArgumentError, match="runs on the CPU"):
        fresh(row_of("GPT2LMHeadModel"), dtype="int8", device="meta")


def test_a_fresh_model_can_be_rounded():
    row = row_of("GPT2LMHeadModel")
    model = ours_class(row).from_config(pair(row).ours.config, dtype="int8")
    assert isinstance(model.lm_head, Int8Linear)
