"""GPT-J (Wang & Komatsuzaki 2021): attention and MLP side by side over one norm, neighbouring dimensions turned."""

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from enfold.models.tasks import LastTokenClassification, QuestionAnswering
from enfold.nn import spec
from enfold.weights.names import NameTable


class GPTJConfig(PreTrainedConfig):
    """Entries of a GPT-J `config.json`."""

    model_type = "gptj"
    aliases = GPT2Config.aliases
    defaults = {
        "vocab_size": 50400,
        "n_positions": 2048,
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "rotary_dim": 64,
        "n_inner": None,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "tie_word_embeddings": False,
    }


class GPTJModel(GPT2Model):
    """The decoder."""

    config_class = GPTJConfig
    ignorable = r"(.*\.)?h\.\d+\.attn\.(bias|masked_bias|embed_positions)$"
    names = NameTable("""
        stack.embed.tokens              wte
        stack.layers.{i}.attn.pre       h.{i}.ln_1
        stack.layers.{i}.attn.op.q      h.{i}.attn.q_proj
        stack.layers.{i}.attn.op.k      h.{i}.attn.k_proj
        stack.layers.{i}.attn.op.v      h.{i}.attn.v_proj
        stack.layers.{i}.attn.op.o      h.{i}.attn.out_proj
        stack.layers.{i}.mlp.op.up      h.{i}.mlp.fc_in
        stack.layers.{i}.mlp.op.down    h.{i}.mlp.fc_out
        stack.norm                      ln_f
    """)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        width, heads, norm, drop = (
            config.n_embd,
            config.n_head,
            spec.Norm(config.layer_norm_epsilon),
            config.resid_pdrop,
        )
        size = head_dim(width, heads)
        turned = config.rotary_dim or width
        if turned > size or turned % 2:
            raise ConfigError(f"rotary_dim={config.rotary_dim}: expected an even number up to the {size} of a head")
        attention = spec.Attention(
            heads=heads,
            head_dim=size,
            kv_heads=heads,
            bias=False,
            out_bias=False,
            causal=True,
            rope=spec.Rope(turned, pairs="neighbours"),
            dropout=config.attn_pdrop,
        )
        mlp = spec.MLP(config.n_inner or 4 * width, activation(config.activation_function))
        layer = spec.Layer(
            attn=spec.Step(attention, pre=norm, dropout=drop), mlp=spec.Step(mlp, dropout=drop, beside=True)
        )
        return spec.Stack(
            width=width,
            layers=(layer,) * config.n_layer,
            embed=spec.Embed(vocab=config.vocab_size, dropout=config.embd_pdrop),
            norm=norm,
        )

    def std(self, name: str) -> float:
        return self.config.initializer_range


class GPTJForCausalLM(GPT2LMHeadModel):
    """The next token."""

    base_class = GPTJModel

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.lm_head = dense(config.n_embd, config.vocab_size)


class GPTJForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = GPTJModel


class GPTJForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = GPTJModel
