"""SmolLM3 (Hugging Face 2025): LLaMA without rotary positions in every fourth layer (NoPE: Yang et al. 2025)."""

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


class SmolLM3Config(OptionalWindowConfig):
    """Entries of a SmolLM3 `config.json`."""

    model_type = "smollm3"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "pad_token_id": 128004,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "rope_theta": 2_000_000.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "no_rope_layer_interval": 4,
        "tie_word_embeddings": True,
    }

    @property
    def no_rope_layers(self) -> list[int]:
        """1 for each layer with rotary positions, 0 for each without."""
        interval = self.no_rope_layer_interval
        turning = [int((depth + 1) % interval != 0) for depth in range(self.num_hidden_layers)]
        return self.entries.get("no_rope_layers") or turning

    @no_rope_layers.setter
    def no_rope_layers(self, listed: list[int] | None) -> None:
        self.entries["no_rope_layers"] = listed

    def slides(self, depth: int) -> bool:
        return self.sliding_window is not None and not self.no_rope_layers[depth]


class SmolLM3Model(LlamaModel):
    """The decoder."""

    config_class = SmolLM3Config

    @classmethod
    def attention(cls, config: SmolLM3Config, depth: int) -> spec.Attention:
        plain = super().attention(config, depth)
        turned = plain.rope if config.no_rope_layers[depth] else None
        return replace(plain, rope=turned, window=config.window(depth))


class SmolLM3ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = SmolLM3Model


class SmolLM3ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = SmolLM3Model


class SmolLM3ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = SmolLM3Model


class SmolLM3ForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = SmolLM3Model
    base_model_prefix = "transformer"
