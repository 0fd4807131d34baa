"""Models in parts: two processes train as one does, save as they are, and go on in any number."""

import copy
import dataclasses
import json
import os
import pickle
import shutil

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

import enfold
from enfold import TrainingArguments
from enfold.accelerate import Accelerator, FullyShardedDataParallelPlugin, merge_fsdp_weights, sharding
from enfold.base.errors import ArgumentError, CheckpointError, EnfoldError
from tests.accelerate import launching, sharded
from tests.models.pairs import fresh, inputs, labels
from tests.models.rows import ROWS


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes did: one job, of which many tests look at the results."""
    folder = tmp_path_factory.mktemp("two")
    sharded.Loop("tied", "adamw").run(0, 2).accelerator.save_state(folder / "one")
    torch.manual_seed(3)
    sharded.llama().save_pretrained(folder / "llama")
    out = launching.run(2, "tests.accelerate.sharded:job", str(folder))
    results = json.loads(out[0].splitlines()[-1])
    return folder, results, torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.parametrize(("name", "optimizer", "accumulation"), sharded.RUNS)
def test_two_processes_train_as_one(two, name, optimizer, accumulation):
    _, results, weights = two
    one = sharded.Loop(name, optimizer).run(0, 3)
    end = one.weights()
    for kind in ("fsdp", "ddp"):
        key = f"{kind} {name} {optimizer}"
        if key not in results:
            continue
        losses, norms = results[key]
        assert losses == pytest.approx(one.losses, rel=1e-5), key
        assert norms == pytest.approx(one.norms, rel=1e-4), key
        assert weights[key].keys() == end.keys() or kind == "ddp"
        for parameter, tensor in end.items():
            # Where a gradient is all but zero, AdamW and Lion move by its sign.
            atol = {"sgd": 2e-6, "adamw": 2e-4, "lion": 7e-3}.get(optimizer, 1e-4)
            torch.testing.assert_close(weights[key][parameter], tensor, rtol=1e-4, atol=atol)


def test_runs_go_on_in_any_number(two):
    folder, results, weights = two
    whole = sharded.Loop("tied", "adamw").run(0, 4)
    for form in ("SHARDED_STATE_DICT", "FULL_STATE_DICT"):
        assert results[form] == pytest.approx(whole.losses, rel=1e-4)
        one = sharded.Loop("tied", "adamw")
        one.accelerator.load_state(folder / form)
        one.run(2, 4)
        assert one.losses == pytest.approx(whole.losses[2:], rel=1e-4)
    assert results["to ddp"] == pytest.approx(whole.losses[2:], rel=1e-4)
    for name, tensor in whole.weights().items():
        torch.testing.assert_close(weights["from one"][name], tensor, rtol=1e-3, atol=2e-4)
    assert sorted(path.name for path in (folder / "SHARDED_STATE_DICT").iterdir()) == [
        "optimizer_0",
        "pytorch_model_fsdp_0",
        "random_states_0.pkl",
        "random_states_1.pkl",
    ]


def test_the_first_process_reads_for_all(two):
    folder, results, _ = two
    model = enfold.LlamaForCausalLM.from_pretrained(folder / "llama")
    ids = [model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=n, min_new_tokens=n)[0].tolist() for n in (8, 5)]
    assert results["generated"] == ids
    again = enfold.LlamaForCausalLM.from_pretrained(folder / "llama again")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert json.loads((folder / "llama again" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_merged_weights_are_everyones(two, tmp_path):
    import transformers

    folder, _, _ = two
    shutil.copytree(folder / "SHARDED_STATE_DICT", tmp_path / "parts")
    merge_fsdp_weights(tmp_path / "parts", tmp_path / "merged", remove_checkpoint_dir=True)
    assert not (tmp_path / "parts" / "pytorch_model_fsdp_0").exists()
    merge_fsdp_weights(folder / "SHARDED_STATE_DICT" / "pytorch_model_fsdp_0", tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["config.json", "model.safetensors"]
    ours, info = enfold.LlamaForCausalLM.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(info.values())
    one = sharded.Loop("tied", "adamw")
    one.accelerator.load_state(folder / "SHARDED_STATE_DICT")
    for name, tensor in one.weights().items():
        assert torch.equal(ours.state_dict()[name], tensor)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    batch = sharded.rows(0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(**batch).loss, ours(**batch).loss, rtol=1e-5, atol=1e-5)


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_hostile_and_torn_parts_are_refused(two, tmp_path):
    folder = tmp_path / "pytorch_model_fsdp_0"
    shutil.copytree(two[0] / "SHARDED_STATE_DICT" / folder.name, folder)
    good = (folder / ".metadata").read_bytes()
    merged = tmp_path / "merged"

    def refused(match):
        with pytest.raises(CheckpointError, match=match):
            merge_fsdp_weights(tmp_path, merged)
        assert not merged.exists()

    (folder / ".metadata").write_bytes(pickle.dumps(Evil(f"touch {tmp_path}/owned")))
    refused(r"posix\.system")
    (folder / ".metadata").write_bytes(b"cbuiltins\neval\n(S'1'\ntR.")
    refused(r"builtins\.eval")
    assert not (tmp_path / "owned").exists()
    (folder / ".metadata").write_bytes(good[: len(good) // 2])
    refused("can't be read")

    metadata = pickle.loads(good)
    index = next(iter(metadata.storage_data))
    info = metadata.storage_data[index]
    for path in ("../../secret", "/etc/passwd", "__0_9.distcp"):
        metadata.storage_data[index] = dataclasses.replace(info, relative_path=path)
        (folder / ".metadata").write_bytes(pickle.dumps(metadata))
        refused("no file of parts" if "/" in path else "missing or too short")
    metadata.storage_data[index] = dataclasses.replace(info, length=1 << 40)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    refused("missing or too short")
    del metadata.storage_data[index]
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    refused("parts of .* are missing")

    (folder / ".metadata").write_bytes(good)
    (folder / "weights.json").write_text('{"a": [["../b", [], ""]]}')
    refused("other weights than there are")
    (folder / ".metadata").unlink()
    refused("no weights in parts")


@pytest.fixture
def mesh():
    """Of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


# One layer many times, a relative table beside the layers, states, parallel steps, experts, an encoder's states.
HEADS = (
    *("AlbertForMaskedLM", "DebertaV2ForMaskedLM", "MambaForCausalLM", "GPTNeoXForCausalLM", "MixtralForCausalLM"),
    *("ModernBertForMaskedLM", "BartForConditionalGeneration"),
)


def test_every_shape_of_model_can_be_in_parts(mesh):
    for row in (next(row for row in ROWS if row.head == head) for head in HEADS):
        model = fresh(row)
        given = inputs(row, None)
        given |= labels(row, given)
        other = copy.deepcopy(model)
        sharding.shard(other, FullyShardedDataParallelPlugin(), mesh, torch.device("cpu"))
        for one in (model, other):
            one(**given).loss.backward()
        for (name, whole), part in zip(model.named_parameters(), other.parameters(), strict=True):
            expected = torch.zeros_like(whole) if whole.grad is None else whole.grad
            found = torch.zeros_like(whole) if part.grad is None else part.grad.full_tensor()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=f"{row} {name}")


def test_what_is_gathered_as_one():
    model = sharded.llama()
    size = sum(p.numel() for p in model.base.stack.layers[0].parameters())

    def count(**options):
        return len(sharding.units(model, FullyShardedDataParallelPlugin(**options)))

    assert count() == count(auto_wrap_policy="size_based_wrap", min_num_params=size) == 3
    assert count(auto_wrap_policy="size_based_wrap", min_num_params=size + 1) == count(auto_wrap_policy="no_wrap") == 0
    assert count(transformer_cls_names_to_wrap="Step") == 6
    assert count(auto_wrap_policy=lambda module: isinstance(module, torch.nn.Embedding)) == 1
    with pytest.raises(ArgumentError, match=r"names \['LlamaDecoderLayer'\]"):
        count(transformer_cls_names_to_wrap=["LlamaDecoderLayer"])


def test_options_by_their_older_names(monkeypatch):
    made = TrainingArguments("x", fsdp="shard_grad_op auto_wrap", fsdp_config='{"min_num_params": 3}').sharding()
    assert made == FullyShardedDataParallelPlugin(reshard_after_forward=False, min_num_params=3)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    assert Accelerator(cpu=True).fsdp_plugin == made
    assert TrainingArguments("x").sharding() is None
    for options, match in (
        ({"fsdp": "hybrid_shard"}, "HYBRID_SHARD|hybrid_shard"),
        ({"fsdp": True, "fsdp_config": {"colour": 1}}, "no option 'colour'"),
        ({"fsdp": True, "fsdp_config": {"state_dict_type": "LOCAL_STATE_DICT"}}, "LOCAL_STATE_DICT"),
        ({"fsdp_config": {"min_num_params": 3}}, "fsdp=True was not"),
    ):
        with pytest.raises(EnfoldError, match=match):
            TrainingArguments("x", **options)
    config = enfold.M2M100Config(**{**M2M100, "encoder_layerdrop": 0.1})
    model = enfold.M2M100ForConditionalGeneration(config)
    with pytest.raises(ArgumentError, match="layerdrop"):
        sharding.shard(model, made, None, torch.device("cpu"))  # type: ignore[arg-type]


M2M100 = {"vocab_size": 20, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
M2M100 |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
