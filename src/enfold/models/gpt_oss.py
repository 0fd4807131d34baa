"""GPT-OSS (OpenAI 2025): a mixture of experts with attention sinks, every other layer over a window.

Experts are gated by a clamped SwiGLU, their gate and up rows interleaved, and stored together: in bf16 as [E, in, out],
or in MXFP4 blocks, which are expanded on loading (`weights/mxfp4.py`).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from enfold.models.llama import (
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.mixtures import ATTENTION, MixtureForCausalLM
from enfold.models.windows import LayeredConfig
from enfold.nn import moe, spec
from enfold.nn.linear import Linear
from enfold.nn.modules import Attention
from enfold.nn.split import Plan, blocks
from enfold.weights.names import NameTable


class GptOssConfig(LayeredConfig):
    """Entries of a GPT-OSS `config.json`."""

    model_type = "gpt_oss"
    aliases = {"num_experts": "num_local_experts"}
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150000.0,
        "bos_token_id": None,
        "eos_token_id": None,
        "attention_bias": True,
        "sliding_window": 128,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "swiglu_alpha": 1.702,
        "swiglu_limit": 7.0,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }

    @property
    def rope_parameters(self) -> dict[str, Any] | None:
        """YaRN's for contexts 32 times as long, where the file has neither these nor the older `rope_scaling`."""
        if self.entries.get("rope_parameters") or self.entries.get("rope_scaling"):
            return self.entries.get("rope_parameters")
        yarn = {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}
        return yarn | {"original_max_position_embeddings": 4096}

    @rope_parameters.setter
    def rope_parameters(self, entries: dict[str, Any] | None) -> None:
        self.entries["rope_parameters"] = entries

    def slides(self, depth: int) -> bool:
        return depth % 2 == 0


@dataclass(frozen=True)
class SinkAttention(spec.Attention, spec.Op):
    """Attention whose softmax also counts a learned score for each head, which has no value (Xiao et al. 2023)."""

    def build(self, width: int) -> "Sinks":
        return Sinks(self, width)


class Sinks(Attention):
    """x [N, D] → [N, D]."""

    def __init__(self, given: SinkAttention, width: int):
        super().__init__(given, width)
        self.sinks = nn.Parameter(torch.empty(given.heads))

    def plan(self, ranks: int) -> Plan | None:
        found = super().plan(ranks)
        return found and replace(found, columns={**found.columns, "sinks": blocks(self.spec.heads)})

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        parameter.normal_(0.0, std)


@dataclass(frozen=True)
class ClampedMoE(spec.MoE):
    """Experts of clamped SwiGLUs: `(up + 1) · gate · σ(alpha · gate)`, gate ≤ limit and |up| ≤ limit."""

    alpha: float = 1.702
    limit: float = 7.0

    def build(self, width: int) -> "Clamped":
        return Clamped(self, width)


class Router(Linear):
    """Scores of the experts; a fresh bias isn't zero."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh parameter."""
        parameter.normal_(0.0, std)


class ClampedExperts(moe.Experts):
    """Weights as `Experts`, but `gate_up` is [E, 2W, D] with rows gate, up, gate, up, …; and biases."""

    def __init__(self, given: ClampedMoE, width: int):
        super().__init__(given, width)
        self.gate_up = nn.Parameter(torch.empty(given.experts, 2 * given.width, width))
        self.gate_up_bias = nn.Parameter(torch.empty(given.experts, 2 * given.width))
        self.down_bias = nn.Parameter(torch.empty(given.experts, width))
        self.alpha, self.limit = given.alpha, given.limit

    def plan(self, ranks: int) -> Plan | None:
        found = super().plan(ranks)
        if found is None:
            return None
        pairs = blocks(self.down.shape[-1], 2, dim=1)
        columns = {**found.columns, "gate_up": pairs, "gate_up_bias": pairs}
        return replace(found, columns=columns, shares=("down_bias",))

    def runner(self):
        gate_up, down = self.product("gate_up", "gate_up_bias"), self.product("down", "down_bias")

        def run(expert: int, x: Tensor) -> Tensor:
            both = gate_up(expert, x)
            gate, up = both[:, ::2].clamp(max=self.limit), both[:, 1::2].clamp(-self.limit, self.limit)
            return down(expert, (up + 1) * gate * torch.sigmoid(gate * self.alpha))

        return run

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        if name.endswith("_bias"):
            parameter.zero_()
        else:
            parameter.normal_(0.0, std)


class Clamped(moe.MoE):
    """The softmax is over the chosen experts' scores."""

    experts_class = ClampedExperts  # type: ignore[assignment]

    def __init__(self, given: ClampedMoE, width: int):
        super().__init__(given, width)
        self.router = Router(width, given.experts)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = self.router(x)
        best, chosen = scores.topk(self.spec.chosen)
        return scores, best.softmax(-1, dtype=torch.float32), chosen


class GptOssModel(LlamaModel):
    """The decoder."""

    config_class = GptOssConfig
    names = ATTENTION + NameTable("""
        stack.layers.{i}.attn.op.sinks                layers.{i}.self_attn.sinks
        stack.layers.{i}.mlp.op.router                layers.{i}.mlp.router
        stack.layers.{i}.mlp.op.experts.gate_up       layers.{i}.mlp.experts.gate_up_proj     transposed
        stack.layers.{i}.mlp.op.experts.gate_up_bias  layers.{i}.mlp.experts.gate_up_proj_bias
        stack.layers.{i}.mlp.op.experts.down          layers.{i}.mlp.experts.down_proj        transposed
        stack.layers.{i}.mlp.op.experts.down_bias     layers.{i}.mlp.experts.down_proj_bias
    """)

    @classmethod
    def attention(cls, config: GptOssConfig, depth: int) -> spec.Attention:
        return SinkAttention(**{**vars(super().attention(config, depth)), "window": config.window(depth)})

    @classmethod
    def mlp(cls, config: GptOssConfig, depth: int) -> Any:
        return ClampedMoE(
            experts=config.num_local_experts,
            chosen=config.num_experts_per_tok,
            width=config.intermediate_size,
            act="silu",
            alpha=config.swiglu_alpha,
            limit=config.swiglu_limit,
        )


class GptOssForCausalLM(MixtureForCausalLM):
    """The next token."""

    base_class = GptOssModel


class GptOssForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = GptOssModel


class GptOssForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = GptOssModel
