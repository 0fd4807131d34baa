"""Qwen3-MoE (Yang et al. 2025): Qwen3 whose MLPs are mixtures of experts."""

from enfold.models.llama import (
    LlamaConfig,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
)
from enfold.models.mixtures import EXPERTS, MixtureForCausalLM, SparseConfig, SparseModel
from enfold.models.qwen3 import Qwen3Model
from enfold.models.windows import OptionalWindowConfig
from enfold.weights.names import NameTable


class Qwen3MoeConfig(SparseConfig, OptionalWindowConfig):
    """Entries of a Qwen3-MoE `config.json`."""

    model_type = "qwen3_moe"
    defaults = {
        **LlamaConfig.defaults,
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "bos_token_id": None,
        "eos_token_id": None,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "num_experts": 128,
        "norm_topk_prob": False,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }

    def slides(self, depth: int) -> bool:
        return self.sliding_window is not None


class Qwen3MoeModel(SparseModel, Qwen3Model):
    """The decoder."""

    config_class = Qwen3MoeConfig
    names = Qwen3Model.names + NameTable(EXPERTS)


class Qwen3MoeForCausalLM(MixtureForCausalLM):
    """The next token."""

    base_class = Qwen3MoeModel


class Qwen3MoeForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = Qwen3MoeModel


class Qwen3MoeForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = Qwen3MoeModel


class Qwen3MoeForQuestionAnswering(LlamaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = Qwen3MoeModel
    base_model_prefix = "transformer"
