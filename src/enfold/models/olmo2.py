"""OLMo 2 (OLMo team 2025): norms behind each step instead of before it, and on queries and keys."""

from dataclasses import replace

from enfold.models.config import PreTrainedConfig
from enfold.models.llama import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel
from enfold.nn import spec
from enfold.weights.names import NameTable, Row


class Olmo2Config(LlamaConfig):
    """Entries of an OLMo 2 `config.json`."""

    model_type = "olmo2"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 50304,
        "rms_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": None,
        "eos_token_id": 50279,
    }


class Olmo2Model(LlamaModel):
    """The decoder."""

    config_class = Olmo2Config
    names = NameTable(
        rows=[
            *(row for row in LlamaModel.names.rows if not row.ours.endswith(".pre")),
            Row("stack.layers.{i}.attn.post", "layers.{i}.post_attention_layernorm"),
            Row("stack.layers.{i}.mlp.post", "layers.{i}.post_feedforward_layernorm"),
            Row("stack.layers.{i}.attn.op.q_norm", "layers.{i}.self_attn.q_norm"),
            Row("stack.layers.{i}.attn.op.k_norm", "layers.{i}.self_attn.k_norm"),
        ]
    )

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        return replace(super().attention(config, depth), qk_norm=cls.norm(config), qk_norm_over="all")

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        norm = cls.norm(config)
        return spec.Layer(
            attn=spec.Step(cls.attention(config, depth), post=norm), mlp=spec.Step(cls.mlp(config, depth), post=norm)
        )


class Olmo2ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = Olmo2Model


class Olmo2ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Olmo2Model
