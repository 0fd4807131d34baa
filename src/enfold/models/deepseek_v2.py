"""DeepSeek-V2 (DeepSeek-AI 2024): latent attention, and experts chosen within the best groups of them."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.latent import NAMES, latent_attention
from enfold.models.llama import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel
from enfold.models.mixtures import EXPERTS
from enfold.nn import moe, spec
from enfold.weights.names import NameTable


class DeepseekV2Config(LlamaConfig):
    """Entries of a DeepSeek-V2 `config.json`."""

    model_type = "deepseek_v2"
    aliases = {"num_experts": "n_routed_experts"}
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 102400,
        "num_key_value_heads": None,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "first_k_dense_replace": 0,
        "moe_intermediate_size": 1407,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": None,
        "n_group": None,
        "topk_group": None,
        "topk_method": "greedy",
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "output_router_logits": False,
    }

    @property
    def qk_head_dim(self) -> int:
        """Dimensions of a head's queries and keys."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


@dataclass(frozen=True)
class GroupedMoE(spec.MoE):
    """Experts in equal groups; those of the best `kept` groups can be chosen.

    Attributes:
        groups: how many there are.
        scale: factor on the weights.
    """

    groups: int = 1
    kept: int = 1
    scale: float = 1.0

    def build(self, width: int) -> Any:
        return Grouped(self, width)


class Grouped(moe.MoE):
    """A group is as good as its best expert. Scores are computed in fp32."""

    spec: GroupedMoE

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = self.spec
        scores = F.linear(x.float(), self.router.weight.float())
        shares = scores.softmax(-1)
        if given.groups > 1:
            by_group = shares.unflatten(-1, (given.groups, -1))
            shares = shares.masked_fill(~within_best(by_group.amax(-1), given), 0.0)
        weights, chosen = shares.topk(given.chosen)
        return scores, weights * given.scale, chosen


def within_best(groups: Tensor, given: GroupedMoE) -> Tensor:
    """[N, E]: whether each expert's group is among the `kept` best, of scores [N, groups]."""
    best = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, groups.topk(given.kept).indices, True)
    return best.repeat_interleave(given.experts // given.groups, dim=1)


class DeepseekV2Model(LlamaModel):
    """The decoder."""

    config_class = DeepseekV2Config
    names = (
        NameTable(rows=[row for row in LlamaModel.names.rows if ".attn.op." not in row.ours])
        + NameTable(EXPERTS)
        + NameTable(NAMES)
        + NameTable("""
        stack.layers.{i}.mlp.op.shared.gate   layers.{i}.mlp.shared_experts.gate_proj
        stack.layers.{i}.mlp.op.shared.up     layers.{i}.mlp.shared_experts.up_proj
        stack.layers.{i}.mlp.op.shared.down   layers.{i}.mlp.shared_experts.down_proj
    """)
    )

    @classmethod
    def attention(cls, config: DeepseekV2Config, depth: int) -> spec.Attention:
        return latent_attention(config, "neighbours")

    @classmethod
    def mlp(cls, config: DeepseekV2Config, depth: int) -> Any:
        plain = super().mlp(config, depth)
        if depth < config.first_k_dense_replace:
            return plain
        shared = config.moe_intermediate_size * (config.n_shared_experts or 0)
        return cls.mixture(
            config,
            GroupedMoE(
                experts=config.n_routed_experts,
                chosen=config.num_experts_per_tok,
                width=config.moe_intermediate_size,
                act=activation(config.hidden_act),
                shared=replace(plain, width=shared) if shared else None,
                scale=config.routed_scaling_factor,
            ),
        )

    @classmethod
    def mixture(cls, config: DeepseekV2Config, given: GroupedMoE) -> GroupedMoE:
        """How this family chooses experts."""
        if config.norm_topk_prob or config.topk_method not in ("greedy", "group_limited_greedy"):
            raise ConfigError(
                f"topk_method={config.topk_method!r} with norm_topk_prob={config.norm_topk_prob}: DeepSeek-V2 chooses "
                "experts by 'greedy' or 'group_limited_greedy', and doesn't normalise their weights"
            )
        if config.topk_method == "greedy":
            return given
        return replace(given, groups=config.n_group, kept=config.topk_group)


class DeepseekV2ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = DeepseekV2Model


class DeepseekV2ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = DeepseekV2Model
