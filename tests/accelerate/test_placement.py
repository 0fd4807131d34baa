"""Models that don't fit: spread over places, with the plain model's results."""

import pytest
import torch
from torch import nn

import enfold
from enfold.accelerate import (
    cpu_offload,
    disk_offload,
    dispatch_model,
    infer_auto_device_map,
    init_empty_weights,
    init_on_device,
    load_checkpoint_and_dispatch,
    load_checkpoint_in_model,
)
from enfold.accelerate.device_map import compute_module_sizes
from enfold.base.errors import ArgumentError, WeightsMismatchError
from enfold.weights.saving import save_tensors


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.register_buffer("scale", torch.full((width,), 0.5))

    def forward(self, x):
        return x + self.scale * self.second(self.first(x).relu())


class Net(nn.Module):
    def __init__(self, *, tied=False, widths=(8, 8, 8)):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 20, bias=not tied)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


IDS = torch.arange(12).reshape(2, 6)


def net(**options):
    torch.manual_seed(0)
    return Net(**options).eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("whole", [None, ["Block"], "Linear"])
def test_maps_beside_the_reference(tied, whole):
    import accelerate

    model = net(tied=tied)
    for block in model.blocks:
        del block.scale  # the reference forgets the buffers of a module that it splits
    assert compute_module_sizes(model)[""] == accelerate.utils.compute_module_sizes(model)[""]
    total = compute_module_sizes(model)[""]
    plans = [{"cpu": cpu} for cpu in range(0, 2 * total, 450)]
    plans += [{0: gpu, "cpu": cpu} for gpu in range(0, 2 * total, 900) for cpu in (0, 1500, total)]
    plans += [{0: gpu, 1: 1800, "cpu": total} for gpu in range(0, total, 700)]
    for memory in plans:
        expected = accelerate.infer_auto_device_map(model, dict(memory), no_split_module_classes=whole)
        assert infer_auto_device_map(model, memory, whole) == expected, memory
    half = accelerate.infer_auto_device_map(model, {"cpu": 5000}, dtype=torch.float16)
    assert infer_auto_device_map(model, {"cpu": "5KB"}, dtype=torch.float16) == half


def test_empty_models_take_no_memory():
    with init_empty_weights():
        model = Net(tied=True)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not model.blocks[0].scale.is_meta
    assert model.head.weight is model.embed.weight
    with init_empty_weights(include_buffers=True):
        assert Block(4).scale.is_meta
    with init_on_device("meta"):
        assert nn.Linear(2, 2).weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "places",
    [
        {"": "disk"},
        {"embed": "cpu", "blocks": "disk", "norm": "disk", "head": "cpu"},
        {"embed": "disk", "blocks.0": "cpu", "blocks.1": "disk", "blocks.2.first": "disk"}
        | {"blocks.2.second": "cpu", "blocks.2.scale": "cpu", "norm": "cpu", "head": "disk"},
    ],
)
@pytest.mark.parametrize("buffers", [False, True])
def test_what_is_on_the_disk_comes_in_as_it_runs(places, tied, buffers, tmp_path):
    model, plain = net(tied=tied), net(tied=tied)
    if tied and places.get("embed") != places.get("head"):
        places = {**places, "head": places["embed"]}
    dispatch_model(model, places, offload_dir=tmp_path, offload_buffers=buffers)
    assert model.hf_device_map == places
    away = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    assert away
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(model(IDS), plain(IDS))
        assert [name for name, parameter in model.named_parameters() if parameter.is_meta] == away
    with pytest.raises(IndexError):
        model(IDS + 100)
    assert [name for name, parameter in model.named_parameters() if parameter.is_meta] == away
    with torch.no_grad():
        assert torch.equal(model(IDS), plain(IDS))


def test_all_weights_elsewhere(tmp_path):
    plain = net()
    for model in (cpu_offload(net()), disk_offload(net(), tmp_path)):
        assert all(parameter.is_meta for parameter in model.parameters())
        with torch.no_grad():
            assert torch.equal(model(IDS), plain(IDS))


@pytest.mark.parametrize("shard", ["1GB", 700])
@pytest.mark.parametrize("tied", [False, True])
def test_checkpoints_go_where_the_map_says(shard, tied, tmp_path):
    plain = net(tied=tied)
    tensors = dict(plain.state_dict())
    if tied:
        tensors.pop("head.weight")
    save_tensors(tensors, tmp_path / "saved", max_shard_size=shard)
    with init_empty_weights():
        model = Net(tied=tied)
    load_checkpoint_and_dispatch(
        model.eval(), tmp_path / "saved", "auto", {"cpu": 3500}, ["Block"], offload_folder=tmp_path / "offloaded"
    )
    assert "disk" in model.hf_device_map.values()
    with torch.no_grad():
        assert torch.equal(model(IDS), plain(IDS))
    with init_empty_weights():
        whole = Net(tied=tied)
    load_checkpoint_in_model(whole.eval(), tmp_path / "saved", dtype=torch.bfloat16)
    assert whole.embed.weight.dtype == torch.bfloat16
    assert (whole.head.weight is whole.embed.weight) == tied
    assert all(parameter.requires_grad for parameter in whole.parameters())
    plain.extra = nn.Linear(2, 2)
    with pytest.raises(WeightsMismatchError, match=r"missing are \['extra"):
        load_checkpoint_in_model(plain, tmp_path / "saved", strict=True)
    with pytest.raises(WeightsMismatchError, match="has shape"):
        load_checkpoint_in_model(Net(widths=(8, 8, 4)), tmp_path / "saved")


def test_maps_that_can_not_be(tmp_path):
    with pytest.raises(ArgumentError, match="no place for"):
        dispatch_model(net(), {"embed": "cpu"})
    with pytest.raises(ArgumentError, match=r"names \['elsewhere'\]"):
        dispatch_model(net(), {"": "cpu", "elsewhere": "disk"})
    with pytest.raises(ArgumentError, match="give offload_dir"):
        dispatch_model(net(), {"": "disk"})
    with pytest.raises(ArgumentError, match="load them first"), init_empty_weights():
        dispatch_model(Net(), {"": "disk"}, offload_dir=tmp_path)
    with pytest.raises(ArgumentError, match="no size of memory"):
        infer_auto_device_map(net(), {"cpu": "much"})


def saved(kind, folder):
    import transformers

    torch.manual_seed(0)
    if kind == "llama":
        options = {"num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": False}
        config = transformers.LlamaConfig(
            vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, **options
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    elif kind == "bert":
        sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
        transformers.BertForMaskedLM(transformers.BertConfig(**sizes, intermediate_size=48)).save_pretrained(folder)
    else:
        config = transformers.T5Config(
            vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


CLASSES = {"llama": "AutoModelForCausalLM", "bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}


@pytest.mark.parametrize("kind", list(CLASSES))
def test_models_of_the_house_run_from_the_disk(kind, tmp_path):
    folder = saved(kind, tmp_path / "model")
    load = getattr(enfold, CLASSES[kind]).from_pretrained
    plain = load(folder)
    size = compute_module_sizes(plain)[""]
    inputs = {"input_ids": torch.arange(3, 15).reshape(2, 6)}
    if kind == "t5":
        inputs["decoder_input_ids"] = torch.arange(4, 12).reshape(2, 4)
    expected = plain(**inputs).logits
    for dtype in (None, torch.float64):
        model = load(
            folder,
            device_map="auto",
            max_memory={"cpu": size * 2 // 3},
            offload_folder=tmp_path / "offloaded",
            dtype=dtype,
        )
        assert set(model.hf_device_map.values()) == {"cpu", "disk"}
        assert model.device.type == "cpu"
        assert any(parameter.is_meta for parameter in model.parameters())
        with torch.no_grad():
            torch.testing.assert_close(model(**inputs).logits.float(), expected, rtol=1e-4, atol=1e-5)
    whole = load(folder, device_map={"": "disk"}, offload_folder=tmp_path / "offloaded")
    torch.testing.assert_close(whole(**inputs).logits, expected, rtol=1e-4, atol=1e-5)
    if kind != "bert":
        wanted = plain.generate(inputs["input_ids"], max_new_tokens=5, do_sample=False)
        assert torch.equal(whole.generate(inputs["input_ids"], max_new_tokens=5, do_sample=False), wanted)


def test_maps_by_the_names_of_the_checkpoint(tmp_path):
    folder = saved("llama", tmp_path / "model")
    load = enfold.AutoModelForCausalLM.from_pretrained
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "disk"}
    places |= {"model.norm": "cpu", "lm_head": "disk"}
    model = load(folder, device_map=places, offload_folder=tmp_path / "offloaded")
    ids = torch.arange(3, 15).reshape(2, 6)
    torch.testing.assert_close(model(ids).logits, load(folder)(ids).logits, rtol=1e-4, atol=1e-5)
    assert sum(parameter.is_meta for parameter in model.parameters()) == 2 * 9 + 1
    with pytest.raises(ArgumentError, match=r"\['model.layers.7'\]"):
        load(folder, device_map={**places, "model.layers.7": "cpu"}, offload_folder=tmp_path)
    with pytest.raises(ArgumentError, match="no place"):
        load(folder, device_map={"model.norm": "cpu", "lm_head": "disk"}, offload_folder=tmp_path)
    with pytest.raises(ArgumentError, match="give offload_folder"):
        load(folder, device_map=places)
    with pytest.raises(ArgumentError, match="max_memory is for"):
        load(folder, max_memory={"cpu": 100})
