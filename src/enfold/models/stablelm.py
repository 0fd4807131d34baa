"""StableLM (Stability AI 2023): LLaMA with layer norms, a quarter of each head rotated, sometimes parallel steps."""

from dataclasses import replace

from enfold.base.errors import NotBuiltError
from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.positions import rope
from enfold.nn import spec


class StableLmConfig(LlamaConfig):
    """Entries of a StableLM `config.json`."""

    model_type = "stablelm"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 50304,
        "hidden_size": 2560,
        "intermediate_size": 6912,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "layer_norm_eps": 1e-5,
        "use_qkv_bias": False,
        "qk_layernorm": False,
        "use_parallel_residual": False,
        "hidden_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


class StableLmModel(LlamaModel):
    """The decoder."""

    config_class = StableLmConfig

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.layer_norm_eps)

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        if config.qk_layernorm:
            raise NotBuiltError("qk_layernorm=True (a norm of its own for every head) is not built for StableLM")
        plain = super().attention(config, depth)
        turned = rope(config, plain.head_dim, partial=0.25)
        return replace(plain, bias=config.use_qkv_bias, out_bias=False, rope=turned)

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        layer, drop, beside = super().layer(config, depth), config.hidden_dropout, config.use_parallel_residual
        assert layer.mlp is not None
        mlp = replace(layer.mlp, dropout=drop, beside=beside, pre=None if beside else layer.mlp.pre)
        return spec.Layer(attn=replace(layer.attn, dropout=drop if beside else 0.0), mlp=mlp)


class StableLmForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = StableLmModel


class StableLmForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = StableLmModel


class StableLmForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = StableLmModel
