"""Gemma (Gemma team 2024): LLaMA with wide heads, scaled embeddings and norms that count from one."""

from dataclasses import replace

from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.nn import spec


class GemmaConfig(LlamaConfig):
    """Entries of a Gemma `config.json`."""

    model_type = "gemma"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": None,
        "max_position_embeddings": 8192,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": None,
    }


class GemmaModel(LlamaModel):
    """The decoder."""

    config_class = GemmaConfig

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.rms_norm_eps, "rms_from_one")

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return replace(super().embed(config), token_scale=config.hidden_size**0.5)

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), causal=not config.use_bidirectional_attention)

    @classmethod
    def mlp(cls, config: PreTrainedConfig, depth: int) -> spec.MLP:
        # Early files name the exact GELU in `hidden_act`, which no Gemma was trained with.
        act = config.hidden_activation or "gelu_pytorch_tanh"
        return replace(super().mlp(config, depth), act=activation(act))


class GemmaForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = GemmaModel


class GemmaForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = GemmaModel


class GemmaForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = GemmaModel
