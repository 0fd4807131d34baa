"""Gemma 2 (Gemma team 2024): norms on both sides of each step, capped scores, a window in every second layer."""

from dataclasses import replace

import torch
from torch import Tensor

from enfold.models.gemma import GemmaConfig, GemmaModel
from enfold.models.llama import LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification
from enfold.models.windows import LayeredConfig
from enfold.nn import spec
from enfold.weights.names import NameTable, Row


class Gemma2Config(LayeredConfig):
    """Entries of a Gemma 2 `config.json`."""

    model_type = "gemma2"
    defaults = {
        **GemmaConfig.defaults,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
    }

    def slides(self, depth: int) -> bool:
        return depth % 2 == 0


def sandwiched(names: NameTable) -> NameTable:
    """LLaMA's names, where the MLP's norm is the feed-forward's and both steps have one behind them."""
    rows = [row for row in names.rows if row.ours != "stack.layers.{i}.mlp.pre"]
    return NameTable(
        rows=[
            *rows,
            Row("stack.layers.{i}.attn.post", "layers.{i}.post_attention_layernorm"),
            Row("stack.layers.{i}.mlp.pre", "layers.{i}.pre_feedforward_layernorm"),
            Row("stack.layers.{i}.mlp.post", "layers.{i}.post_feedforward_layernorm"),
        ]
    )


class Gemma2Model(GemmaModel):
    """The decoder."""

    config_class = Gemma2Config
    names = sandwiched(GemmaModel.names)

    @classmethod
    def attention(cls, config: Gemma2Config, depth: int) -> spec.Attention:
        return replace(
            super().attention(config, depth),
            scale=config.query_pre_attn_scalar**-0.5,
            softcap=config.attn_logit_softcapping,
            window=config.window(depth),
        )

    @classmethod
    def layer(cls, config: Gemma2Config, depth: int) -> spec.Layer:
        norm = cls.norm(config)
        return spec.Layer(
            attn=spec.Step(cls.attention(config, depth), pre=norm, post=norm),
            mlp=spec.Step(cls.mlp(config, depth), pre=norm, post=norm),
        )


class Gemma2ForCausalLM(LlamaForCausalLM):
    """The next token; logits are capped."""

    base_class = Gemma2Model

    def scores(self, states: Tensor) -> Tensor:
        logits, cap = super().scores(states), self.config.final_logit_softcapping
        return logits if cap is None else cap * torch.tanh(logits / cap)


class Gemma2ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Gemma2Model


class Gemma2ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Gemma2Model
