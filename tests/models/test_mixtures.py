"""Mixtures of experts: routers seen and balanced, experts stored one by one, and read only where they are chosen."""

import json

import pytest
import torch
import transformers

import enfold
from enfold.base.errors import ArgumentError, CheckpointError, NotBuiltError
from enfold.weights.files import open_checkpoint, save_tensors
from enfold.weights.mxfp4 import expand
from tests.models.moe_kin import CONFIGURATIONS
from tests.models.pairs import error, fresh, fresh_theirs, inputs, labels, ours_class, pair, right_mask
from tests.models.rows import DECODERS, Row

MIXTURES = [row for row in DECODERS if row.family in CONFIGURATIONS]
every_mixture = pytest.mark.parametrize("row", MIXTURES, ids=str)
STORED_APART = [row for row in MIXTURES if row.variant == "plain"]


@every_mixture
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_router_logits_and_the_balance_of_experts(row: Row, padded: bool):
    given = inputs(row, right_mask() if padded else None)
    given |= labels(row, given) | {"output_router_logits": True}
    ours, theirs = fresh(row), fresh_theirs(row)
    found, wanted = ours(**given), theirs(**given)
    assert len(found.router_logits) == len(wanted.router_logits)
    kept = right_mask().flatten() != 0 if padded else slice(None)
    for a, b in zip(found.router_logits, wanted.router_logits, strict=True):
        assert a.shape == b.shape
        assert error(a[kept], b[kept]) <= 1e-5
    assert ("aux_loss" in found) == ("aux_loss" in wanted)
    if "aux_loss" in wanted:
        assert error(found.aux_loss, wanted.aux_loss) <= 1e-5
    assert error(found.loss, wanted.loss) <= 1e-5
    found.loss.backward()
    wanted.loss.backward()
    routers = [p.grad for name, p in ours.named_parameters() if name.endswith(".router.weight")]
    named = (".mlp.gate.weight", ".mlp.router.weight")
    theirs_routers = [p.grad for name, p in theirs.named_parameters() if name.endswith(named)]
    assert len(routers) == len(theirs_routers) > 0
    for a, b in zip(routers, theirs_routers, strict=True):
        assert (a - b).abs().max() <= 5e-5 * b.abs().max() + 1e-7


@every_mixture
@torch.inference_mode()
def test_a_token_reads_the_weights_of_its_own_experts_only(row: Row):
    model, ids = fresh(row), torch.tensor([[11]])
    wanted = model(ids, output_router_logits=True)
    for layer in model.base.stack.layers:
        experts, seen = getattr(layer.mlp.op, "experts", None), []
        if experts is None:
            continue
        hook = experts.register_forward_pre_hook(lambda _, given, seen=seen: seen.extend(given[2].unique().tolist()))
        model(ids)
        hook.remove()
        others = [e for e in range(layer.mlp.op.spec.experts) if e not in seen]
        for weight in experts.parameters():
            weight[others] = float("nan")
    assert torch.equal(model(ids).logits, wanted.logits)


def test_models_without_routers_refuse_to_show_them():
    row = next(row for row in DECODERS if row.family == "llama")
    with pytest.raises(ArgumentError, match="no routers"):
        pair(row).ours(torch.tensor([[5]]), output_router_logits=True)


@pytest.mark.parametrize("row", STORED_APART, ids=str)
def test_an_expert_that_a_checkpoint_lacks_is_reported_and_the_others_are_kept(row: Row, tmp_path):
    both = pair(row)
    with open_checkpoint(both.folder) as checkpoint:
        tensors = {name: checkpoint.read(name).clone() for name in checkpoint}
    lost = [name for name in tensors if ".experts.1." in name and name.split(".experts")[0].endswith("1.mlp")]
    lost = lost or [name for name in tensors if ".1.block_sparse_moe.experts.1." in name]
    if not lost:
        pytest.skip("experts of this family are stored together")
    save_tensors({name: tensor for name, tensor in tensors.items() if name not in lost}, tmp_path)
    both.ours.config.save_pretrained(tmp_path)
    loaded, report = ours_class(row).from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(report["missing_keys"]) == sorted(lost)
    ours, theirs = loaded.base.stack.layers[1].mlp.op.experts, both.ours.base.stack.layers[1].mlp.op.experts
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a[[0, 2, 3]], b[[0, 2, 3]])
        assert a[1].isfinite().all()


def test_jitter_in_training_only():
    row = next(row for row in MIXTURES if row.head == "MixtralForCausalLM")
    model, given = fresh(row, router_jitter_noise=0.3), inputs(row)
    with torch.no_grad():
        assert torch.equal(model(**given).logits, pair(row).ours(**given).logits)
        model.train()
        assert not torch.equal(model(**given).logits, model(**given).logits)


# MXFP4


@pytest.fixture(scope="module")
def packed_experts(tmp_path_factory):
    """A GPT-OSS checkpoint as published: the experts' weights in MXFP4 blocks."""
    row = next(row for row in MIXTURES if row.family == "gpt_oss" and row.variant == "plain")
    entries = row.entries | {"hidden_size": 64, "intermediate_size": 32}
    theirs = transformers.GptOssForCausalLM(transformers.GptOssConfig(**entries)).eval()
    folder = tmp_path_factory.mktemp("mxfp4")
    draw = torch.Generator().manual_seed(3)
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, inner, out = tensor.shape
            blocks = torch.randint(0, 256, (experts, out, inner // 32, 16), generator=draw, dtype=torch.uint8)
            tensors[f"{name}_blocks"] = blocks
            tensors[f"{name}_scales"] = torch.randint(119, 126, blocks.shape[:3], generator=draw, dtype=torch.uint8)
        else:
            tensors[name] = torch.randn(tensor.shape, generator=draw).bfloat16() * 0.2
    save_tensors(tensors, folder)
    config = theirs.config.to_dict() | {"dtype": "bfloat16", "quantization_config": {"quant_method": "mxfp4"}}
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["GptOssForCausalLM"]}))
    return folder


@torch.no_grad()
def test_mxfp4_experts_are_expanded_as_the_reference_expands_them(packed_experts, tmp_path):
    ours = enfold.GptOssForCausalLM.from_pretrained(packed_experts)
    assert ours.dtype == torch.bfloat16
    theirs = transformers.GptOssForCausalLM.from_pretrained(
        packed_experts,
        quantization_config=transformers.Mxfp4Config(dequantize=True),
        dtype=torch.bfloat16,
        attn_implementation="eager",
    ).eval()
    ours.save_pretrained(tmp_path)
    wanted = theirs.state_dict()
    with open_checkpoint(tmp_path) as checkpoint:
        assert sorted(checkpoint) == sorted(wanted)
        for name in checkpoint:
            assert torch.equal(checkpoint.read(name).float(), wanted[name].float()), name
    again = enfold.GptOssForCausalLM.from_pretrained(tmp_path)
    ids = torch.arange(5, 14)[None]
    assert torch.equal(again(ids).logits, ours(ids).logits)
    exact = enfold.GptOssForCausalLM.from_pretrained(packed_experts, dtype="float32")
    assert error(exact(ids).logits, theirs.float()(ids).logits) <= 1e-5


def test_blocks_that_fit_no_scales_are_refused(packed_experts, tmp_path):
    with open_checkpoint(packed_experts) as checkpoint:
        tensors = {name: checkpoint.read(name).clone() for name in checkpoint}
    name = "model.layers.1.mlp.experts.down_proj_scales"
    save_tensors(tensors | {name: tensors[name][:, :-1].contiguous()}, tmp_path)
    (tmp_path / "config.json").write_text((packed_experts / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"down_proj_blocks has shape .* MXFP4 expects"):
        enfold.GptOssForCausalLM.from_pretrained(tmp_path)


def test_other_quantisations_are_refused(packed_experts, tmp_path):
    entries = json.loads((packed_experts / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(entries | {"quantization_config": {"quant_method": "bitsandbytes"}})
    )
    (tmp_path / "model.safetensors").write_bytes((packed_experts / "model.safetensors").read_bytes())
    with pytest.raises(NotBuiltError, match="quantised by 'bitsandbytes'"):
        enfold.GptOssForCausalLM.from_pretrained(tmp_path)


def test_the_values_of_mxfp4():
    blocks = torch.arange(16, dtype=torch.uint8).reshape(1, 16)
    values = expand(blocks | (blocks << 4), torch.tensor([128], dtype=torch.uint8))
    wanted = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6]) * 2
    assert torch.equal(values, torch.cat([wanted, -wanted]).repeat_interleave(2))
    assert expand(blocks, torch.tensor([255], dtype=torch.uint8)).isnan().all()
    assert float(expand(blocks + 2, torch.tensor([0], dtype=torch.uint8))[0]) == 2.0**-127


@torch.no_grad()
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_every_backend_knows_sinks(backend: str):
    row = next(row for row in MIXTURES if row.family == "gpt_oss")
    model, given = fresh(row, attn_implementation=backend), inputs(row, right_mask())
    kept = given["attention_mask"] != 0
    assert error(model(**given).logits[kept], pair(row).theirs(**given).logits[kept]) <= 1e-5
    whole = model(given["input_ids"]).logits
    cache = model(given["input_ids"][:, :-1], use_cache=True).past_key_values
    assert error(model(given["input_ids"][:, -1:], past_key_values=cache).logits, whole[:, -1:]) <= 1e-5
