"""Mistral (Jiang et al. 2023): LLaMA whose tokens see a window of those before them."""

from dataclasses import replace

from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.nn import spec


class MistralConfig(LlamaConfig):
    """Entries of a Mistral `config.json`."""

    model_type = "mistral"
    defaults = {
        **LlamaConfig.defaults,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    }


class MistralModel(LlamaModel):
    """The decoder."""

    config_class = MistralConfig

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        plain = super().attention(config, depth)
        return replace(plain, window=config.sliding_window, bias=False, out_bias=False)


class MistralForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = MistralModel


class MistralForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = MistralModel


class MistralForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = MistralModel


class MistralForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = MistralModel
