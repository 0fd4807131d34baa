"""Mixtral (Jiang et al. 2024): Mistral with a mixture of experts in the place of each MLP."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaConfig,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
)
from enfold.models.mistral import MistralModel
from enfold.models.mixtures import ATTENTION, MixtureForCausalLM
from enfold.nn import moe, spec
from enfold.nn.modules import Context
from enfold.weights.names import NameTable


class MixtralConfig(PreTrainedConfig):
    """Entries of a Mixtral `config.json`."""

    model_type = "mixtral"
    aliases = {"num_experts": "num_local_experts"}
    defaults = {
        **LlamaConfig.defaults,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
        "sliding_window": None,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
    }


@dataclass(frozen=True)
class JitteredMoE(spec.MoE):
    """Its input is multiplied by numbers near one while training.

    Attributes:
        jitter: how far from one they may be.
    """

    jitter: float = 0.0

    def build(self, width: int) -> "Jittered":
        return Jittered(self, width)


class Jittered(moe.MoE):
    """x [N, D] → [N, D]."""

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        jitter = self.spec.jitter  # type: ignore[attr-defined]
        if self.training and jitter:
            x = x * torch.empty_like(x).uniform_(1 - jitter, 1 + jitter)
        return super().forward(x, context, depth)


class MixtralModel(MistralModel):
    """The decoder."""

    config_class = MixtralConfig
    names = ATTENTION + NameTable("""
        stack.layers.{i}.mlp.op.router                  layers.{i}.block_sparse_moe.gate
        stack.layers.{i}.mlp.op.experts.gate_up.{e}.0   layers.{i}.block_sparse_moe.experts.{e}.w1.weight   stacked
        stack.layers.{i}.mlp.op.experts.gate_up.{e}.1   layers.{i}.block_sparse_moe.experts.{e}.w3.weight   stacked
        stack.layers.{i}.mlp.op.experts.down.{e}        layers.{i}.block_sparse_moe.experts.{e}.w2.weight   stacked
    """)

    @classmethod
    def mlp(cls, config: PreTrainedConfig, depth: int) -> Any:
        return JitteredMoE(
            experts=config.num_local_experts,
            chosen=config.num_experts_per_tok,
            width=config.intermediate_size,
            act=activation(config.hidden_act),
            jitter=config.router_jitter_noise,
        )


class MixtralForCausalLM(MixtureForCausalLM):
    """The next token."""

    base_class = MixtralModel


class MixtralForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = MixtralModel


class MixtralForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = MixtralModel


class MixtralForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = MixtralModel
