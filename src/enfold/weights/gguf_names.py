"""LLaMA-type GGUF files as the checkpoints they were converted from: names, row order and configuration."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from enfold.base.errors import CheckpointError, ConfigError
from enfold.base.logging import get_logger
from enfold.weights.checkpoint import Checkpoint, check_destination, no_such_tensor
from enfold.weights.gguf_file import Fields, GGUFCheckpoint

# theirs  ours, without the suffix (.weight, .bias); N stands for the layer.
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.N.attn_norm": "model.layers.N.input_layernorm",
    "blk.N.attn_q": "model.layers.N.self_attn.q_proj",
    "blk.N.attn_k": "model.layers.N.self_attn.k_proj",
    "blk.N.attn_v": "model.layers.N.self_attn.v_proj",
    "blk.N.attn_output": "model.layers.N.self_attn.o_proj",
    "blk.N.ffn_norm": "model.layers.N.post_attention_layernorm",
    "blk.N.ffn_gate": "model.layers.N.mlp.gate_proj",
    "blk.N.ffn_up": "model.layers.N.mlp.up_proj",
    "blk.N.ffn_down": "model.layers.N.mlp.down_proj",
}
_LAYER = re.compile(r"\.(\d+)\.")
# Facts of the rotary embedding, not weights: they enter the configuration.
_ROPE_FACTORS = "rope_freqs.weight"

# Keys below `llama.` that the configuration takes up or that change nothing in the model.
_READ = {
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "expert_count",
    "expert_used_count",
    "tensor_data_layout",
}


def open_gguf(path: str | os.PathLike[str]) -> "LlamaGGUF":
    """Open a GGUF file under the names of the checkpoint that it was converted from.

    Raises:
        CheckpointError: torn, hostile, one part of several, or of an architecture whose names enfold does not know.
    """
    checkpoint = GGUFCheckpoint(path)
    try:
        return LlamaGGUF(checkpoint)
    except BaseException:
        checkpoint.close()
        raise


class LlamaGGUF(Checkpoint):
    """A LLaMA-type GGUF file that reads like the safetensors checkpoint it came from.

    Names are the original ones and the rows of the query and key projections are back in their order: the converter
    stores each head's rows pairwise interleaved, as ggml's rotary embedding wants them. Tensors without a known name
    keep the one in the file.

    Args:
        checkpoint: the file; closed with this one.

    Attributes:
        fields: the file's notes.
    """

    def __init__(self, checkpoint: GGUFCheckpoint) -> None:
        self._stored = checkpoint
        self.path, self.metadata, self.fields = checkpoint.path, checkpoint.metadata, checkpoint.fields
        architecture = self.fields.get("general.architecture")
        if architecture != "llama":
            raise CheckpointError(
                f"{self.path} holds a model of architecture {architecture!r}; the names of 'llama' are known so far"
            )
        parts = self.fields.get("split.count", 1)
        if isinstance(parts, int) and parts > 1:
            raise CheckpointError(f"{self.path} is one of {parts} parts: join them with llama-gguf-split --merge first")
        self._heads = {".q_proj.": _number(self.fields, "llama.attention.head_count")}
        self._heads[".k_proj."] = _number(self.fields, "llama.attention.head_count_kv", self._heads[".q_proj."])
        self._names = {hf_name(name): name for name in checkpoint.names() if name != _ROPE_FACTORS}

    def config(self) -> dict[str, Any]:
        """The model's configuration; see `config_from_gguf`."""
        return config_from_gguf(self.fields, self._stored)

    def names(self) -> list[str]:
        return list(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return self._stored.shape(self._stored_name(name))

    def dtype(self, name: str) -> torch.dtype:
        return self._stored.dtype(self._stored_name(name))

    def is_quantized(self, name: str) -> bool:
        return self._stored.is_quantized(self._stored_name(name))

    def is_mappable(self, name: str) -> bool:
        return self._interleaved(name) == 0 and self._stored.is_mappable(self._stored_name(name))

    def read(self, name: str) -> torch.Tensor:
        if not self._interleaved(name):
            return self._stored.read(self._stored_name(name))
        out = torch.empty(self.shape(name), dtype=self.dtype(name))
        self.read_into(name, out)
        return out

    def read_into(self, name: str, out: torch.Tensor) -> None:
        stored = self._stored_name(name)
        shape, heads = self.shape(name), self._interleaved(name)
        check_destination(self.path, name, shape, self.dtype(name), out)
        if heads:
            if shape[0] % (2 * heads):
                raise CheckpointError(f"{self.path}: {stored!r} has {shape[0]} rows, which {heads} heads can't share")
            # In the file: head, pair, half; in the checkpoint: head, half, pair.
            out = out.detach().unflatten(0, (heads, 2, shape[0] // heads // 2)).transpose(1, 2)
        self._stored.fill(stored, out)

    def close(self) -> None:
        self._stored.close()

    def _stored_name(self, name: str) -> str:
        stored = self._names.get(name)
        if stored is None:
            raise no_such_tensor(self.path, name, self.names())
        return stored

    def _interleaved(self, name: str) -> int:
        """The number of heads whose rows are interleaved, 0 where the rows are in order."""
        self._stored_name(name)
        return next((heads for part, heads in self._heads.items() if part in name), 0)


def hf_name(name: str) -> str:
    """The Hugging Face checkpoint's name of a LLaMA-type GGUF tensor; an unknown name comes back as it is."""
    module, _, suffix = name.rpartition(".")
    layer = _LAYER.search(module)
    known = _NAMES.get(_LAYER.sub(".N.", module, count=1))
    if known is None or suffix not in ("weight", "bias"):
        return name
    return f"{known.replace('.N.', f'.{layer[1]}.') if layer else known}.{suffix}"


def config_from_gguf(fields: Mapping[str, Any], tensors: Checkpoint | None = None) -> dict[str, Any]:
    """The `config.json` of a LLaMA-type GGUF file.

    Args:
        fields: `GGUFCheckpoint.fields`.
        tensors: the file itself, under its own names. It says whether the embeddings are tied, whether projections
            have biases and how Llama-3's rotary frequencies are scaled; without it these are left out.

    Raises:
        ConfigError: another architecture, a missing size, or something that the LLaMA configuration can't say.
    """
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ConfigError(f"the GGUF file holds architecture {architecture!r}; 'llama' is known so far")
    _refuse_unknown(fields)
    heads = _number(fields, "llama.attention.head_count")
    hidden = _number(fields, "llama.embedding_length")
    head_dim = fields.get("llama.attention.key_length") or fields.get("llama.rope.dimension_count") or hidden // heads
    if fields.get("llama.rope.dimension_count", head_dim) != head_dim or (
        fields.get("llama.attention.value_length", head_dim) != head_dim
    ):
        raise ConfigError(
            f"heads of {head_dim} numbers with {fields.get('llama.rope.dimension_count')} rotated and values of "
            f"{fields.get('llama.attention.value_length')}: the LLaMA configuration has one size for all"
        )
    theta = _decimal(fields.get("llama.rope.freq_base", 10000.0))
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": _number(fields, "llama.feed_forward_length"),
        "num_hidden_layers": _number(fields, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _number(fields, "llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": _number(fields, "llama.context_length"),
        "rms_norm_eps": _decimal(_value(fields, "llama.attention.layer_norm_rms_epsilon", float)),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(fields),
        "vocab_size": _vocab_size(fields, tensors),
    }
    for key, field in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        token = fields.get(f"tokenizer.ggml.{field}_token_id")
        if token is not None:
            config[f"{key}_token_id"] = token
    if tensors is not None:
        config["tie_word_embeddings"] = "output.weight" not in tensors
        config["attention_bias"] = "blk.0.attn_q.bias" in tensors
        config["mlp_bias"] = "blk.0.ffn_up.bias" in tensors
        if _ROPE_FACTORS in tensors:
            factors = tensors.read(_ROPE_FACTORS).double().numpy()
            config["rope_scaling"] = llama3_scaling(factors, theta) or config["rope_scaling"]
    return config


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    if fields.get("llama.expert_count", 0):
        raise ConfigError(
            f"the GGUF file holds a mixture of {fields['llama.expert_count']} experts (Mixtral); dense LLaMA models "
            "are known so far"
        )
    unknown = [key for key in fields if key.startswith("llama.") and key.removeprefix("llama.") not in _READ]
    if unknown:
        get_logger("enfold.weights").warning("GGUF keys that the configuration can't take up: %s", ", ".join(unknown))


def _rope_scaling(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = fields.get("llama.rope.scaling.type")
    factor = fields.get("llama.rope.scaling.factor") or fields.get("llama.rope.scale_linear")
    if kind is None and factor and factor != 1.0:
        kind = "linear"  # files from before the key said only this
    if kind in (None, "none"):
        return None
    if kind not in ("linear", "yarn") or not factor:
        raise ConfigError(f"rotary scaling {kind!r} with factor {factor} in the GGUF file; linear and yarn are known")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": _decimal(factor)}
    if kind == "yarn":
        original = fields.get("llama.rope.scaling.original_context_length")
        attention = fields.get("llama.rope.scaling.attn_factor")
        scaling |= {"original_max_position_embeddings": original} if original else {}
        scaling |= {"attention_factor": _decimal(attention)} if attention else {}
    return scaling


def llama3_scaling(factors: np.ndarray, theta: float) -> dict[str, Any] | None:
    """Llama-3's rotary scaling from the divisors of the frequencies that the converter stored.

    The converter turns `(factor, low, high, original context)` into one divisor per frequency: 1 for short waves,
    `factor` for long ones, and between them `1 / ((1 - s) / factor + s)`, `s = (original / wave - low) / (high - low)`.
    `s` is linear in `1 / wave`, which gives two of the three other numbers; `low` is 1 in every published model.

    Args:
        factors: `[head_dim / 2]` divisors.
        theta: the rotary base.

    Returns:
        The `rope_scaling` entry, or None where nothing is scaled.

    Raises:
        ConfigError: no such numbers give these divisors.
    """
    factor = float(factors.max())
    if factors.ndim != 1 or not np.isfinite(factors).all() or factors.min() < 0.999:
        raise ConfigError(f"the GGUF file's {_ROPE_FACTORS} is no row of divisors from 1 up: {factors}")
    if factor == 1.0:
        return None
    per_wave = theta ** (-np.arange(factors.size) / factors.size) / (2 * math.pi)
    between = (factors > 1.0) & (factors < factor)
    guesses = [(4.0, 8192)]
    if between.sum() >= 2:
        smooth = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
        slope, intercept = np.polyfit(per_wave[between], smooth, 1)
        if intercept < 0 < slope:
            guesses.insert(0, (float(f"{1 - 1 / intercept:.6g}"), round(-slope / intercept)))
    for high, original in guesses:
        smooth = np.clip((original * per_wave - 1.0) / (high - 1.0), 0.0, 1.0)
        if np.allclose(1 / ((1 - smooth) / factor + smooth), factors, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise ConfigError(f"the GGUF file's {_ROPE_FACTORS} follows no Llama-3 scaling: {factors}")


def _vocab_size(fields: Mapping[str, Any], tensors: Checkpoint | None) -> int:
    if tensors is not None and "token_embd.weight" in tensors:
        return tensors.shape("token_embd.weight")[0]
    if "llama.vocab_size" in fields:
        return _number(fields, "llama.vocab_size")
    if "tokenizer.ggml.tokens" in fields:
        key = "tokenizer.ggml.tokens"
        return fields.length(key) if isinstance(fields, Fields) else len(fields[key])
    raise ConfigError("the GGUF file has neither llama.vocab_size nor tokens, so its vocabulary has no size")


def _number(fields: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = fields.get(key, default)
    if type(value) is not int or value <= 0:
        raise ConfigError(f"the GGUF file's {key} is {str(value)[:80]}, where a whole number above 0 was expected")
    return value


def _value(fields: Mapping[str, Any], key: str, kind: type) -> Any:
    if type(fields.get(key)) is not kind:
        raise ConfigError(f"the GGUF file's {key} is {str(fields.get(key))[:80]}, where a {kind.__name__} was expected")
    return fields[key]


def _decimal(value: float) -> float:
    """The shortest decimal that is the same fp32 number: 9.999999747378752e-06 was written as 1e-05."""
    return float(str(np.float32(value)))
