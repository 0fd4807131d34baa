"""Gemma 3, its text part (Gemma team 2025): five windowed layers to a full one, each kind with its own rotary base."""

from dataclasses import replace

from enfold.models.gemma2 import Gemma2Config, Gemma2ForCausalLM, Gemma2Model
from enfold.models.llama import LlamaForSequenceClassification
from enfold.models.positions import rope
from enfold.models.windows import FULL, LOCAL
from enfold.nn import spec
from enfold.weights.names import NameTable


class Gemma3TextConfig(Gemma2Config):
    """Entries of a Gemma 3 text `config.json`."""

    model_type = "gemma3_text"
    defaults = {
        **Gemma2Config.defaults,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "_sliding_window_pattern": 6,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10000.0,
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
        "use_bidirectional_attention": False,
    }

    def slides(self, depth: int) -> bool:
        return bool((depth + 1) % self.get("sliding_window_pattern", self._sliding_window_pattern))


class Gemma3TextModel(Gemma2Model):
    """The decoder."""

    config_class = Gemma3TextConfig
    names = Gemma2Model.names + NameTable("""
        stack.layers.{i}.attn.op.q_norm   layers.{i}.self_attn.q_norm
        stack.layers.{i}.attn.op.k_norm   layers.{i}.self_attn.k_norm
    """)

    @classmethod
    def attention(cls, config: Gemma3TextConfig, depth: int) -> spec.Attention:
        plain, kind = super().attention(config, depth), config.layer_types[depth]
        if FULL in (config.get("rope_parameters") or {}):
            turned = rope(config, plain.head_dim, kind=kind)
        elif kind == LOCAL:
            turned = spec.Rope(plain.head_dim, float(config.rope_local_base_freq))
        else:
            turned = rope(config, plain.head_dim)
        return replace(plain, rope=turned, qk_norm=cls.norm(config))


class Gemma3ForCausalLM(Gemma2ForCausalLM):
    """The next token."""

    base_class = Gemma3TextModel


class Gemma3TextForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Gemma3TextModel
