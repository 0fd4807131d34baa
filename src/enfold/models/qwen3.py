"""Qwen3 (Yang et al. 2025): LLaMA with a norm on every head's queries and keys."""

from dataclasses import replace

from enfold.models.llama import (
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.qwen2 import Qwen2Config
from enfold.nn import spec
from enfold.weights.names import NameTable


class Qwen3Config(Qwen2Config):
    """Entries of a Qwen3 `config.json`."""

    model_type = "qwen3"
    defaults = {**Qwen2Config.defaults, "head_dim": 128}


class Qwen3Model(LlamaModel):
    """The decoder."""

    config_class = Qwen3Config
    names = LlamaModel.names + NameTable("""
        stack.layers.{i}.attn.op.q_norm   layers.{i}.self_attn.q_norm
        stack.layers.{i}.attn.op.k_norm   layers.{i}.self_attn.k_norm
    """)

    @classmethod
    def attention(cls, config: Qwen3Config, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), qk_norm=cls.norm(config), window=config.window(depth))


class Qwen3ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = Qwen3Model


class Qwen3ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Qwen3Model


class Qwen3ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Qwen3Model


class Qwen3ForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = Qwen3Model
    base_model_prefix = "transformer"
