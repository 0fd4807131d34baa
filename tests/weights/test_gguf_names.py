"""LLaMA-type GGUF files as Hugging Face checkpoints: names, row order, configuration."""

import logging

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub import try_to_load_from_cache

from enfold.base.errors import CheckpointError, ConfigError
from enfold.weights.files import open_checkpoint
from enfold.weights.gguf_file import GGUFCheckpoint
from enfold.weights.gguf_names import LlamaGGUF, config_from_gguf, hf_name, llama3_scaling

from .ggufs import expanded, random_blocks, write_gguf

HIDDEN, INNER, HEADS, KV, HEAD, VOCAB = 64, 96, 4, 2, 16, 40
FIELDS = {
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.block_count": 2,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV,
    "llama.rope.freq_base": 500000.0,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": HEAD,
    "llama.vocab_size": VOCAB,
    "tokenizer.ggml.tokens": [str(i) for i in range(VOCAB)],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.padding_token_id": 0,
}


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """What the converter does to query and key rows: each head's two halves become pairs."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def theirs(name: str) -> str:
    """The package's own table, read the other way round."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    stem, _, suffix = name.rpartition(".")
    found = table.get_name(stem)
    assert found is not None
    return f"{found}.{suffix}"


def small_model(*, tied=False, bias=False):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV,
        max_position_embeddings=128,
        rope_theta=500000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        attention_bias=bias,
        mlp_bias=bias,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():  # biases start at zero, norms at one
        torch.nn.init.normal_(parameter)
    return model


def convert(path, model, fields=FIELDS, **more):
    tensors = dict(more)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        array = value.numpy()
        for part, heads in (("q_proj", HEADS), ("k_proj", KV)):
            array = interleave(array, heads) if part in name else array
        tensors[theirs(name)] = (np.ascontiguousarray(array), "F32")
    return write_gguf(path, tensors, fields)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_reads_like_the_checkpoint_it_came_from(tmp_path, tied, bias):
    model = small_model(tied=tied, bias=bias)
    convert(tmp_path / "model.gguf", model)
    wanted = model.state_dict()
    if tied:
        wanted.pop("lm_head.weight")
    with open_checkpoint(tmp_path) as checkpoint:
        assert isinstance(checkpoint, LlamaGGUF)
        assert sorted(checkpoint.names()) == sorted(wanted)
        for name, tensor in wanted.items():
            assert name in checkpoint
            assert checkpoint.shape(name) == tuple(tensor.shape)
            assert checkpoint.dtype(name) == torch.float32
            assert checkpoint.is_mappable(name) == ("q_proj" not in name and "k_proj" not in name)
            assert torch.equal(checkpoint.read(name), tensor)
            for out in (torch.empty_like(tensor), torch.empty(tensor.shape[::-1]).permute(*range(tensor.dim())[::-1])):
                checkpoint.read_into(name, out)
                assert torch.equal(out, tensor)
            half = torch.empty(tensor.shape, dtype=torch.bfloat16)
            checkpoint.read_into(name, half)
            assert torch.equal(half, tensor.bfloat16())
        config = checkpoint.config()
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": HEAD,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": None,
        "vocab_size": VOCAB,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": tied,
        "attention_bias": bias,
        "mlp_bias": bias,
    }
    rebuilt = type(model)(type(model.config)(**config))
    with open_checkpoint(tmp_path) as checkpoint:
        rebuilt.load_state_dict({name: checkpoint.read(name) for name in checkpoint}, strict=not tied)
    ids = torch.randint(0, VOCAB, (2, 17))
    with torch.no_grad():
        assert torch.equal(rebuilt(ids).logits, model(ids).logits)


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "Q6_K"])
def test_quantised_rows_are_put_back_in_order(tmp_path, kind):
    columns = 256
    packed = {name: random_blocks(kind, heads * HEAD, columns) for name, heads in (("attn_q", HEADS), ("attn_k", KV))}
    tensors = {f"blk.1.{name}.weight": (blocks, kind) for name, blocks in packed.items()}
    path = write_gguf(tmp_path / "a.gguf", tensors, FIELDS)
    with open_checkpoint(path) as checkpoint:
        for letter, heads in (("q", HEADS), ("k", KV)):
            name = f"model.layers.1.self_attn.{letter}_proj.weight"
            assert checkpoint.is_quantized(name)
            tensor = checkpoint.read(name)
            assert np.array_equal(interleave(tensor.numpy(), heads), expanded(packed[f"attn_{letter}"], kind))
            out = torch.empty(columns, heads * HEAD, dtype=torch.float16).t()
            checkpoint.read_into(name, out)
            assert torch.equal(out, tensor.half())


def test_names():
    for layer in (0, 7, 123):
        assert hf_name(f"blk.{layer}.ffn_down.weight") == f"model.layers.{layer}.mlp.down_proj.weight"
    assert hf_name("output.weight") == "lm_head.weight"
    for unknown in ("blk.0.ffn_gate_exps.weight", "blk.x.attn_q.weight", "blk.0.attn_q", "v.blk.0.attn_q.weight", "x"):
        assert hf_name(unknown) == unknown


def test_an_unknown_tensor_keeps_its_name_so_that_it_is_reported(tmp_path):
    path = write_gguf(tmp_path / "a.gguf", {"blk.0.strange.weight": (np.ones(3, np.float32), "F32")}, FIELDS)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.names() == ["blk.0.strange.weight"]


def llama3_factors(theta, head, factor, low, high, original):
    """As the converter computes them."""
    found = []
    for frequency in 1.0 / theta ** (np.arange(0, head, 2, dtype=np.float32) / head):
        wave = 2 * np.pi / frequency
        if wave < original / high:
            found.append(1.0)
        elif wave > original / low:
            found.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


@pytest.mark.parametrize("head", [64, 128])
@pytest.mark.parametrize(("factor", "high", "original"), [(8.0, 4.0, 8192), (32.0, 4.0, 8192), (4.0, 6.0, 2048)])
def test_llama3_scaling_is_found_again(head, factor, high, original):
    factors = llama3_factors(500000.0, head, factor, 1.0, high, original)
    assert llama3_scaling(factors.astype(np.float64), 500000.0) == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def test_llama3_scaling_that_is_none():
    assert llama3_scaling(np.ones(32), 10000.0) is None
    rng = np.random.default_rng(0)
    for factors in (
        rng.uniform(1, 8, 32),
        np.zeros(4),
        np.array([np.nan, 1.0]),
        np.linspace(8, 1, 32),
        np.ones((2, 2)),
    ):
        if factors.ndim == 2:
            factors[0, 0] = 3
        with pytest.raises(ConfigError, match="rope_freqs"):
            llama3_scaling(factors, 10000.0)


def test_rope_factors_enter_the_configuration(tmp_path):
    factors = llama3_factors(500000.0, HEAD, 8.0, 1.0, 4.0, 8192)
    convert(tmp_path / "a.gguf", small_model(), **{"rope_freqs.weight": (factors, "F32")})
    with open_checkpoint(tmp_path) as checkpoint:
        assert "rope_freqs.weight" not in checkpoint.names()
        scaling = checkpoint.config()["rope_scaling"]
    assert scaling["rope_type"] == "llama3"
    assert (scaling["factor"], scaling["original_max_position_embeddings"]) == (8.0, 8192)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"llama.rope.scaling.type": "none"}, None),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
            {"rope_type": "linear", "factor": 4.0},
        ),
        ({"llama.rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"llama.rope.scale_linear": 1.0}, None),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 16.0,
                "llama.rope.scaling.original_context_length": 4096,
                "llama.rope.scaling.attn_factor": 0.1,
            },
            {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "attention_factor": 0.1},
        ),
    ],
)
def test_rope_scaling(fields, expected):
    plain = {"general.architecture": "llama", **FIELDS, **fields}
    config = config_from_gguf(plain)
    assert config["rope_scaling"] == expected
    assert "tie_word_embeddings" not in config  # only the tensors know


def test_what_files_leave_out():
    fields = {"general.architecture": "llama", **FIELDS}
    for key in ("rope.freq_base", "attention.head_count_kv", "rope.dimension_count", "vocab_size"):
        del fields[f"llama.{key}"]
    config = config_from_gguf(fields)
    assert config["rope_theta"] == 10000.0
    assert config["num_key_value_heads"] == HEADS
    assert config["head_dim"] == HEAD
    assert config["vocab_size"] == VOCAB


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"general.architecture": "qwen2"}, "'qwen2'"),
        ({"general.architecture": None}, "None"),
        ({"llama.embedding_length": None}, "embedding_length"),
        ({"llama.block_count": 0}, "block_count"),
        ({"llama.block_count": True}, "block_count"),
        ({"llama.attention.head_count": [4, 4]}, "head_count"),
        ({"llama.context_length": "128"}, "context_length"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, "epsilon"),
        ({"llama.expert_count": 8}, "8 experts"),
        ({"llama.rope.dimension_count": 8, "llama.attention.key_length": 16}, "one size for all"),
        ({"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 2.0}, "longrope"),
        ({"llama.rope.scaling.type": "linear"}, "factor None"),
        ({"llama.vocab_size": None, "tokenizer.ggml.tokens": None}, "vocabulary"),
    ],
)
def test_what_the_configuration_can_not_say(change, cause):
    fields = {"general.architecture": "llama", **FIELDS, **change}
    fields = {key: value for key, value in fields.items() if value is not None}
    with pytest.raises(ConfigError, match=cause):
        config_from_gguf(fields)


def test_keys_that_are_not_taken_up_are_named(monkeypatch):
    said = []
    monkeypatch.setattr(logging.getLogger("enfold.weights"), "warning", lambda text, *args: said.append(text % args))
    config_from_gguf({"general.architecture": "llama", **FIELDS, "llama.attention.clamp_kqv": 8.0})
    assert len(said) == 1
    assert "llama.attention.clamp_kqv" in said[0]


def test_files_that_are_not_one_llama(tmp_path):
    array = {"w": (np.ones(3, np.float32), "F32")}
    with pytest.raises(CheckpointError, match="architecture 'falcon'"):
        open_checkpoint(write_gguf(tmp_path / "a.gguf", array, arch="falcon"))
    with pytest.raises(CheckpointError, match="one of 3 parts"):
        open_checkpoint(write_gguf(tmp_path / "b.gguf", array, {**FIELDS, "split.count": 3}))
    odd = {"blk.0.attn_q.weight": (np.ones((HEADS * 3, 4), np.float32), "F32")}
    with open_checkpoint(write_gguf(tmp_path / "c.gguf", odd, FIELDS)) as checkpoint:
        name = "model.layers.0.self_attn.q_proj.weight"
        with pytest.raises(CheckpointError, match="12 rows, which 4 heads"):
            checkpoint.read(name)


@pytest.mark.weights
def test_the_real_smollm2():
    """Every tensor of a real file, beside the package's expansion and the converter's permutation undone."""
    path = try_to_load_from_cache("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not isinstance(path, str):
        pytest.skip("SmolLM2-135M-Instruct is not in the hub cache (make weights)")
    with open_checkpoint(path) as checkpoint, GGUFCheckpoint(path) as stored:
        assert len(checkpoint) == 272
        config = checkpoint.config()
        assert (config["num_attention_heads"], config["num_key_value_heads"]) == (9, 3)
        assert config["tie_word_embeddings"]
        assert len(checkpoint.fields["tokenizer.ggml.tokens"]) == config["vocab_size"] == 49152
        reader = gguf.GGUFReader(path)
        for entry in reader.tensors:
            value = gguf.quants.dequantize(entry.data, entry.tensor_type)
            assert stored.shape(entry.name) == value.shape
            ours = checkpoint.read(hf_name(entry.name)).numpy()
            if ".attn_q." in entry.name or ".attn_k." in entry.name:
                ours = interleave(ours, 9 if ".attn_q." in entry.name else 3)
            assert np.array_equal(ours, value), entry.name
