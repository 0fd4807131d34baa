"""LLaMA (Touvron et al. 2023; Llama 2 and 3): pre-norm decoder with rotary positions and grouped heads."""

from torch import Tensor

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.positions import rope
from enfold.models.stacks import SingleStack
from enfold.models.tasks import CausalLM, LastTokenClassification, QuestionAnswering, TokenClassification
from enfold.nn import spec
from enfold.weights.names import NameTable


class LlamaConfig(PreTrainedConfig):
    """Entries of a LLaMA `config.json`."""

    model_type = "llama"
    defaults = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "head_dim": None,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
    }


class LlamaModel(SingleStack):
    """The decoder."""

    config_class = LlamaConfig
    base_model_prefix = "model"
    decoder = True
    ignorable = r".*rotary_emb\.inv_freq$"
    names = NameTable("""
        stack.embed.tokens             embed_tokens
        stack.layers.{i}.attn.pre      layers.{i}.input_layernorm
        stack.layers.{i}.attn.op.q     layers.{i}.self_attn.q_proj
        stack.layers.{i}.attn.op.k     layers.{i}.self_attn.k_proj
        stack.layers.{i}.attn.op.v     layers.{i}.self_attn.v_proj
        stack.layers.{i}.attn.op.o     layers.{i}.self_attn.o_proj
        stack.layers.{i}.mlp.pre       layers.{i}.post_attention_layernorm
        stack.layers.{i}.mlp.op.gate   layers.{i}.mlp.gate_proj
        stack.layers.{i}.mlp.op.up     layers.{i}.mlp.up_proj
        stack.layers.{i}.mlp.op.down   layers.{i}.mlp.down_proj
        stack.norm                     norm
    """)

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return spec.Embed(vocab=config.vocab_size, padding_id=config.pad_token_id)

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.rms_norm_eps, "rms")

    @classmethod
    def layer(cls, config: PreTrainedConfig, depth: int) -> spec.Layer:
        norm = cls.norm(config)
        return spec.Layer(
            attn=spec.Step(cls.attention(config, depth), pre=norm), mlp=spec.Step(cls.mlp(config, depth), pre=norm)
        )

    @classmethod
    def attention(cls, config: PreTrainedConfig, depth: int) -> spec.Attention:
        heads = config.num_attention_heads
        kv_heads = config.num_key_value_heads or heads
        head_dim = config.get("head_dim") or config.hidden_size // heads
        if heads % kv_heads:
            raise ConfigError(
                f"num_attention_heads={heads} is no multiple of num_key_value_heads={kv_heads}: heads can't be grouped"
            )
        bias = bool(config.get("attention_bias"))
        return spec.Attention(
            heads=heads,
            head_dim=head_dim,
            kv_heads=kv_heads,
            bias=bias,
            out_bias=bias,
            causal=True,
            rope=rope(config, head_dim),
            dropout=config.attention_dropout,
        )

    @classmethod
    def mlp(cls, config: PreTrainedConfig, depth: int) -> spec.MLP:
        bias = bool(config.get("mlp_bias"))
        return spec.MLP(config.intermediate_size, activation(config.hidden_act), gated=True, bias=bias)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return spec.Stack(
            width=config.hidden_size,
            layers=tuple(cls.layer(config, depth) for depth in range(config.num_hidden_layers)),
            embed=cls.embed(config),
            norm=cls.norm(config),
        )


class LlamaForCausalLM(GenerativeDecoder, CausalLM):
    """The next token."""

    base_class = LlamaModel
    head_names = "lm_head  lm_head"
    tied = {"lm_head.weight": "base.stack.embed.tokens.weight"}

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.lm_head = dense(config.hidden_size, config.vocab_size, bias=False)

    def scores(self, states: Tensor) -> Tensor:
        return self.lm_head(states)

    def get_output_embeddings(self):
        return self.lm_head


class LlamaForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = LlamaModel


class LlamaForTokenClassification(TokenClassification):
    """A class for every token."""

    base_class = LlamaModel
    head = "score"
    head_names = "score  score"


class LlamaForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = LlamaModel
    base_model_prefix = "transformer"
