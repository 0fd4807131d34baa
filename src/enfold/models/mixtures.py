"""What mixtures of experts share: a language model whose loss counts how unevenly its routers choose."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.models.config import PreTrainedConfig
from enfold.models.llama import LlamaForCausalLM, LlamaModel
from enfold.models.outputs import LogitsOutput
from enfold.models.stacks import States
from enfold.nn import spec
from enfold.weights.names import NameTable

# Experts stored one by one, as most families name them.
EXPERTS = """
    stack.layers.{i}.mlp.op.router                  layers.{i}.mlp.gate
    stack.layers.{i}.mlp.op.experts.gate_up.{e}.0   layers.{i}.mlp.experts.{e}.gate_proj.weight   stacked
    stack.layers.{i}.mlp.op.experts.gate_up.{e}.1   layers.{i}.mlp.experts.{e}.up_proj.weight     stacked
    stack.layers.{i}.mlp.op.experts.down.{e}        layers.{i}.mlp.experts.{e}.down_proj.weight   stacked
"""
ATTENTION = NameTable(rows=[row for row in LlamaModel.names.rows if ".mlp.op." not in row.ours])


class SparseConfig(PreTrainedConfig):
    """Entries that say which layers are mixtures (Qwen-MoE), and how many experts there are under either name."""

    @property
    def num_experts(self) -> int:
        """As published files write it, or as the reference library does since version 5."""
        return self.entries.get("num_experts", self.entries.get("num_local_experts", self.defaults["num_experts"]))

    @num_experts.setter
    def num_experts(self, count: int) -> None:
        self.entries.pop("num_local_experts", None)
        self.entries["num_experts"] = count

    num_local_experts = num_experts

    def sparse(self, depth: int) -> bool:
        """Whether a layer's MLP is a mixture of experts."""
        listed = depth in (self.mlp_only_layers or ())
        return not listed and self.num_experts > 0 and (depth + 1) % self.decoder_sparse_step == 0


class SparseModel(LlamaModel):
    """A decoder some of whose MLPs are mixtures."""

    @classmethod
    def mlp(cls, config: Any, depth: int) -> Any:
        plain = super().mlp(config, depth)
        if not config.sparse(depth):
            return plain
        return spec.MoE(
            experts=config.num_experts,
            chosen=config.num_experts_per_tok,
            width=config.moe_intermediate_size,
            act=plain.act,
            normalised=bool(config.norm_topk_prob),
        )


class MixtureForCausalLM(LlamaForCausalLM):
    """The next token; with `output_router_logits` the loss includes `router_aux_loss_coef · aux_loss`."""

    def result(self, states: States, **fields: Any) -> LogitsOutput:
        output = super().result(states, **fields)
        if states.trace.routers is not None:
            output.aux_loss = balance_loss(states.trace.routers, self.config.num_experts_per_tok)
            if output.loss is not None:
                output.loss = output.loss + self.config.router_aux_loss_coef * output.aux_loss
        return output


def balance_loss(routers: Sequence[Tensor], chosen: int) -> Tensor:
    """How unevenly experts are used (Fedus et al. 2021, eq. 4–6): E · Σ share of tokens · mean probability.

    Args:
        routers: scores [N, E] of each layer, of real tokens only.
        chosen: experts a token.
    """
    scores = torch.cat(list(routers))
    probabilities = scores.softmax(-1)
    numbers = probabilities.topk(chosen).indices
    used = numbers.flatten().bincount(minlength=scores.shape[-1]).float() / max(1, len(scores))
    return scores.shape[-1] * (used * probabilities.float().mean(0)).sum()
