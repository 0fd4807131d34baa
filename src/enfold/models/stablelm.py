"""StableLM (Stability AI 2023): LLaMA with layer norms, a quarter of each head rotated, sometimes parallel steps."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
from enfold.nn.modules import Attention
from enfold.nn.split import Plan, blocks
from enfold.weights.names import NameTable


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


class HeadNorm(nn.Module):
    """A layer norm without bias for each head: [N · heads, d] → the same."""

    def __init__(self, heads: int, head_dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, head_dim))
        self.eps = eps

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        parameter.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        heads, d = self.weight.shape
        return (F.layer_norm(x, (d,), eps=self.eps).view(-1, heads, d) * self.weight).view(x.shape)


class NormedAttention(spec.Attention, spec.Op):
    """Attention whose queries and keys are normed in each head by weights of its own."""

    def build(self, width: int) -> "NormedHeads":
        return NormedHeads(self, width)


class NormedHeads(Attention):
    """x [N, D] → [N, D]."""

    def project(self, given: spec.Attention, width: int) -> None:
        super().project(given, width)
        assert given.qk_norm is not None
        self.q_norm, self.k_norm = (
            HeadNorm(heads, given.head_dim, given.qk_norm.eps) for heads in (given.heads, given.kv_heads)
        )

    def plan(self, ranks: int) -> Plan | None:
        found, norms = super().plan(ranks), {"q_norm": blocks(self.spec.heads), "k_norm": blocks(self.spec.kv_heads)}
        return found and replace(found, columns={**found.columns, **norms})


class StableLmModel(LlamaModel):
    """The decoder."""

    config_class = StableLmConfig
    names = LlamaModel.names + NameTable("""
        stack.layers.{i}.attn.op.q_norm.weight.{h}   layers.{i}.self_attn.q_layernorm.norms.{h}.weight   stacked
        stack.layers.{i}.attn.op.k_norm.weight.{h}   layers.{i}.self_attn.k_layernorm.norms.{h}.weight   stacked
    """)

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.layer_norm_eps)

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        plain = super().attention(config, depth)
        turned = rope(config, plain.head_dim, partial=0.25)
        plain = replace(plain, bias=config.use_qkv_bias, out_bias=False, rope=turned)
        if not config.qk_layernorm:
            return plain
        return spec.extended(plain, NormedAttention, qk_norm=spec.Norm(config.layer_norm_eps, bias=False))

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
