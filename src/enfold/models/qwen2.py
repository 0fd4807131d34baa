"""Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA with biases on q, k and v, and a window in some layers."""

from dataclasses import replace

from enfold.models.llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.windows import OptionalWindowConfig
from enfold.nn import spec


class Qwen2Config(OptionalWindowConfig):
    """Entries of a Qwen2 `config.json`."""

    model_type = "qwen2"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "bos_token_id": None,
        "eos_token_id": None,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
    }


class Qwen2Model(LlamaModel):
    """The decoder."""

    config_class = Qwen2Config

    @classmethod
    def attention(cls, config: Qwen2Config, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), bias=True, out_bias=False, window=config.window(depth))


class Qwen2ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = Qwen2Model


class Qwen2ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Qwen2Model


class Qwen2ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Qwen2Model


class Qwen2ForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = Qwen2Model
    base_model_prefix = "transformer"
