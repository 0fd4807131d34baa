"""DeepSeek-V3 and R1 (DeepSeek-AI 2024): V2 whose experts are chosen by sigmoids and a bias that balances them."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.models.deepseek_v2 import DeepseekV2Config, DeepseekV2Model, Grouped, GroupedMoE, within_best
from enfold.models.latent import latent_attention
from enfold.models.llama import LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification
from enfold.nn import spec
from enfold.weights.names import NameTable


class DeepseekV3Config(DeepseekV2Config):
    """Entries of a DeepSeek-V3 `config.json`."""

    model_type = "deepseek_v3"
    aliases = {"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"}
    defaults = {
        **DeepseekV2Config.defaults,
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "max_position_embeddings": 4096,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "first_k_dense_replace": 3,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "n_group": 8,
        "topk_group": 4,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "rope_interleave": True,
        "num_nextn_predict_layers": 1,
    }


@dataclass(frozen=True)
class BalancedMoE(GroupedMoE):
    """Experts whose scores are corrected by a bias while they are chosen (Wang et al. 2024)."""

    def build(self, width: int) -> Any:
        return Balanced(self, width)


class Balanced(Grouped):
    """A group is as good as its two best experts; weights are sigmoids, without the correction."""

    correction: Tensor

    def __init__(self, given: BalancedMoE, width: int):
        super().__init__(given, width)
        self.register_buffer("correction", torch.empty(given.experts))

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """Fill a fresh correction."""
        parameter.zero_()

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = self.spec
        scores = F.linear(x.float(), self.router.weight.float())
        shares = scores.sigmoid()
        corrected = shares + self.correction
        groups = corrected.unflatten(-1, (given.groups, -1)).topk(2).values.sum(-1)
        chosen = corrected.masked_fill(~within_best(groups, given), float("-inf")).topk(given.chosen).indices
        weights = shares.gather(1, chosen)
        if given.normalised:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return scores, weights * given.scale, chosen


class DeepseekV3Model(DeepseekV2Model):
    """The decoder, without the layers that predict further tokens."""

    config_class = DeepseekV3Config
    ignorable = r".*rotary_emb\.inv_freq$|(model\.)?layers\.61\."
    names = DeepseekV2Model.names + NameTable("""
        stack.layers.{i}.mlp.op.correction   layers.{i}.mlp.gate.e_score_correction_bias
    """)

    @classmethod
    def attention(cls, config: DeepseekV3Config, depth: int) -> spec.Attention:
        return latent_attention(config, "neighbours" if config.rope_interleave else "halves")

    @classmethod
    def mixture(cls, config: DeepseekV3Config, given: GroupedMoE) -> GroupedMoE:
        kept = {field.name: getattr(given, field.name) for field in fields(given)}
        chosen = {"groups": config.n_group, "kept": config.topk_group, "normalised": bool(config.norm_topk_prob)}
        return BalancedMoE(**kept | chosen)


class DeepseekV3ForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = DeepseekV3Model


class DeepseekV3ForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = DeepseekV3Model


class DeepseekV3ForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = DeepseekV3Model
