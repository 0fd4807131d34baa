"""Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024): Qwen2 whose MLPs are mixtures, beside one expert for all tokens."""

from dataclasses import replace
from typing import Any

from enfold.models.llama import (
    LlamaConfig,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.mixtures import EXPERTS, MixtureForCausalLM, SparseConfig, SparseModel
from enfold.models.windows import OptionalWindowConfig
from enfold.nn import spec
from enfold.weights.names import NameTable


class Qwen2MoeConfig(SparseConfig, OptionalWindowConfig):
    """Entries of a Qwen2-MoE `config.json`."""

    model_type = "qwen2_moe"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 32768,
        "bos_token_id": None,
        "eos_token_id": None,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "qkv_bias": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4,
        "num_experts": 60,
        "norm_topk_prob": False,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }

    def slides(self, depth: int) -> bool:
        return bool(self.use_sliding_window and depth < self.max_window_layers and depth % 2 == 0)


class Qwen2MoeModel(SparseModel):
    """The decoder."""

    config_class = Qwen2MoeConfig
    names = (
        LlamaModel.names
        + NameTable(EXPERTS)
        + NameTable("""
        stack.layers.{i}.mlp.op.shared.gate   layers.{i}.mlp.shared_expert.gate_proj
        stack.layers.{i}.mlp.op.shared.up     layers.{i}.mlp.shared_expert.up_proj
        stack.layers.{i}.mlp.op.shared.down   layers.{i}.mlp.shared_expert.down_proj
        stack.layers.{i}.mlp.op.shared_gate   layers.{i}.mlp.shared_expert_gate
    """)
    )

    @classmethod
    def attention(cls, config: Qwen2MoeConfig, depth: int) -> spec.Attention:
        bias, window = bool(config.qkv_bias), config.window(depth)
        return replace(super().attention(config, depth), bias=bias, out_bias=False, window=window)

    @classmethod
    def mlp(cls, config: Qwen2MoeConfig, depth: int) -> Any:
        given = super().mlp(config, depth)
        if not isinstance(given, spec.MoE):
            return given
        shared = spec.MLP(config.shared_expert_intermediate_size, given.act, gated=True, bias=False)
        return replace(given, shared=shared, shared_gate=True)


class Qwen2MoeForCausalLM(MixtureForCausalLM):
    """The next token."""

    base_class = Qwen2MoeModel


class Qwen2MoeForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Qwen2MoeModel


class Qwen2MoeForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Qwen2MoeModel


class Qwen2MoeForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = Qwen2MoeModel
