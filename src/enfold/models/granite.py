"""Granite (IBM 2024): LLaMA with fixed factors on embeddings, scores, steps and logits."""

from dataclasses import replace

from torch import Tensor

from enfold.models.config import PreTrainedConfig
from enfold.models.llama import LlamaConfig, LlamaForCausalLM, LlamaModel
from enfold.nn import spec


class GraniteConfig(LlamaConfig):
    """Entries of a Granite `config.json`."""

    model_type = "granite"
    defaults = {
        **LlamaConfig.defaults,
        "embedding_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
    }


class GraniteModel(LlamaModel):
    """The decoder."""

    config_class = GraniteConfig

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return replace(super().embed(config), scale=float(config.embedding_multiplier))

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), scale=float(config.attention_multiplier))

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        layer, scale = super().layer(config, depth), float(config.residual_multiplier)
        assert layer.mlp is not None
        return spec.Layer(attn=replace(layer.attn, scale=scale), mlp=replace(layer.mlp, scale=scale))


class GraniteForCausalLM(LlamaForCausalLM):
    """The next token; logits are divided by `logits_scaling`."""

    base_class = GraniteModel

    def scores(self, states: Tensor) -> Tensor:
        return super().scores(states) / self.config.logits_scaling
