"""GPT-Neo (Black et al. 2021): GPT-2 whose every second layer sees a window, with scores that are not scaled."""

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.gpt2 import GPT2Model
from enfold.models.llama import LlamaForCausalLM
from enfold.models.tasks import LastTokenClassification, QuestionAnswering, TokenClassification
from enfold.nn import spec
from enfold.weights.names import NameTable


class GPTNeoConfig(PreTrainedConfig):
    """Entries of a GPT-Neo `config.json`."""

    model_type = "gpt_neo"
    aliases = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    defaults = {
        "vocab_size": 50257,
        "max_position_embeddings": 2048,
        "hidden_size": 2048,
        "num_layers": 24,
        "attention_types": [[["global", "local"], 12]],
        "num_heads": 16,
        "intermediate_size": None,
        "window_size": 256,
        "activation_function": "gelu_new",
        "resid_dropout": 0.0,
        "embed_dropout": 0.0,
        "attention_dropout": 0.0,
        "classifier_dropout": 0.1,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
    }

    @property
    def attention_layers(self) -> list[str]:
        """ "global" or "local" for every layer."""
        return [kind for kinds, times in self.attention_types for _ in range(times) for kind in kinds]

    @attention_layers.setter
    def attention_layers(self, kinds: list[str]) -> None:
        self.entries["attention_types"] = [[list(kinds), 1]]


class GPTNeoModel(GPT2Model):
    """The decoder."""

    config_class = GPTNeoConfig
    ignorable = r"(.*\.)?h\.\d+\.attn\.attention\.(bias|masked_bias)$"
    names = NameTable("""
        stack.embed.tokens              wte
        stack.embed.positions           wpe
        stack.layers.{i}.attn.pre       h.{i}.ln_1
        stack.layers.{i}.attn.op.q      h.{i}.attn.attention.q_proj
        stack.layers.{i}.attn.op.k      h.{i}.attn.attention.k_proj
        stack.layers.{i}.attn.op.v      h.{i}.attn.attention.v_proj
        stack.layers.{i}.attn.op.o      h.{i}.attn.attention.out_proj
        stack.layers.{i}.mlp.pre        h.{i}.ln_2
        stack.layers.{i}.mlp.op.up      h.{i}.mlp.c_fc
        stack.layers.{i}.mlp.op.down    h.{i}.mlp.c_proj
        stack.norm                      ln_f
    """)

    @classmethod
    def spec(cls, config: GPTNeoConfig) -> spec.Stack:
        width, heads, kinds = config.hidden_size, config.num_heads, config.attention_layers
        norm, drop = spec.Norm(config.layer_norm_epsilon), config.resid_dropout
        if len(kinds) != config.num_layers or not {"global", "local"}.issuperset(kinds):
            raise ConfigError(
                f"attention_types={config.attention_types} describes the layers {kinds}; expected 'global' or 'local' "
                f"for each of {config.num_layers} layers"
            )
        mlp = spec.MLP(config.intermediate_size or 4 * width, activation(config.activation_function))

        def layer(kind: str) -> spec.Layer:
            attention = spec.Attention(
                heads=heads,
                head_dim=head_dim(width, heads),
                kv_heads=heads,
                bias=False,
                causal=True,
                scale=1.0,
                window=config.window_size if kind == "local" else None,
                dropout=config.attention_dropout,
            )
            return spec.Layer(
                attn=spec.Step(attention, pre=norm, dropout=drop), mlp=spec.Step(mlp, pre=norm, dropout=drop)
            )

        positions = config.max_position_embeddings
        return spec.Stack(
            width=width,
            layers=tuple(map(layer, kinds)),
            embed=spec.Embed(vocab=config.vocab_size, positions=positions, dropout=config.embed_dropout),
            norm=norm,
        )

    def std(self, name: str) -> float:
        return self.config.initializer_range


class GPTNeoForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = GPTNeoModel


class GPTNeoForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = GPTNeoModel


class GPTNeoForTokenClassification(TokenClassification):
    """A class for every token."""

    base_class = GPTNeoModel


class GPTNeoForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = GPTNeoModel
