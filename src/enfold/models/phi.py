"""Phi-1, Phi-1.5 and Phi-2 (Li et al. 2023): attention and MLP side by side over one norm, half of a head rotated."""

from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.llama import (
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
)
from enfold.models.positions import rope
from enfold.nn import spec
from enfold.weights.names import NameTable


class PhiConfig(PreTrainedConfig):
    """Entries of a Phi `config.json`."""

    model_type = "phi"
    defaults = {
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attention_dropout": 0.0,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "qk_layernorm": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


class PhiModel(LlamaModel):
    """The decoder."""

    config_class = PhiConfig
    names = NameTable("""
        stack.embed.tokens                embed_tokens
        stack.layers.{i}.attn.pre         layers.{i}.input_layernorm
        stack.layers.{i}.attn.op.q        layers.{i}.self_attn.q_proj
        stack.layers.{i}.attn.op.k        layers.{i}.self_attn.k_proj
        stack.layers.{i}.attn.op.v        layers.{i}.self_attn.v_proj
        stack.layers.{i}.attn.op.o        layers.{i}.self_attn.dense
        stack.layers.{i}.attn.op.q_norm   layers.{i}.self_attn.q_layernorm
        stack.layers.{i}.attn.op.k_norm   layers.{i}.self_attn.k_layernorm
        stack.layers.{i}.mlp.op.up        layers.{i}.mlp.fc1
        stack.layers.{i}.mlp.op.down      layers.{i}.mlp.fc2
        stack.norm                        final_layernorm
    """)

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.layer_norm_eps)

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return spec.Embed(vocab=config.vocab_size, padding_id=config.pad_token_id, dropout=config.embd_pdrop)

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        heads, drop = config.num_attention_heads, config.resid_pdrop
        head_dim = config.hidden_size // heads
        attention = spec.Attention(
            heads=heads,
            head_dim=head_dim,
            kv_heads=config.num_key_value_heads or heads,
            causal=True,
            rope=rope(config, head_dim, partial=0.5),
            dropout=config.attention_dropout,
            qk_norm=cls.norm(config) if config.qk_layernorm else None,
        )
        mlp = spec.MLP(config.intermediate_size, activation(config.hidden_act))
        return spec.Layer(
            attn=spec.Step(attention, pre=cls.norm(config), dropout=drop), mlp=spec.Step(mlp, beside=True, dropout=drop)
        )


class PhiForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = PhiModel

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.lm_head = dense(config.hidden_size, config.vocab_size)


class PhiForSequenceClassification(LlamaForSequenceClassification):
    """A class for the whole text, read off its last token."""

    base_class = PhiModel


class PhiForTokenClassification(LlamaForTokenClassification):
    """A class for every token."""

    base_class = PhiModel
