"""Phi-3 and Phi-3.5 (Abdin et al. 2024): LLaMA whose sibling products are stored as one matrix each."""

from dataclasses import replace

from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.nn import spec
from enfold.weights.names import NameTable


class Phi3Config(LlamaConfig):
    """Entries of a Phi-3 `config.json`."""

    model_type = "phi3"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "eos_token_id": 32000,
        "pad_token_id": 32000,
        "sliding_window": None,
    }


class Phi3Model(LlamaModel):
    """The decoder."""

    config_class = Phi3Config
    names = NameTable("""
        stack.embed.tokens               embed_tokens
        stack.layers.{i}.attn.pre        layers.{i}.input_layernorm
        stack.layers.{i}.attn.op.qkv     layers.{i}.self_attn.qkv_proj
        stack.layers.{i}.attn.op.o       layers.{i}.self_attn.o_proj
        stack.layers.{i}.mlp.pre         layers.{i}.post_attention_layernorm
        stack.layers.{i}.mlp.op.gate_up  layers.{i}.mlp.gate_up_proj
        stack.layers.{i}.mlp.op.down     layers.{i}.mlp.down_proj
        stack.norm                       norm
    """)

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), together=True, window=config.sliding_window)

    @classmethod
    def mlp(cls, config: PreTrainedConfig, depth: int) -> spec.MLP:
        return replace(super().mlp(config, depth), together=True)

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        layer, drop = super().layer(config, depth), config.resid_pdrop
        assert layer.mlp is not None
        return spec.Layer(attn=replace(layer.attn, dropout=drop), mlp=replace(layer.mlp, dropout=drop))


class Phi3ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = Phi3Model


class Phi3ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Phi3Model


class Phi3ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Phi3Model
