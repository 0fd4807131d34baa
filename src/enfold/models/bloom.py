"""BLOOM (BigScience 2022): pre-norm decoder whose scores fall with distance (ALiBi); its embeddings have a norm."""

from enfold.base.errors import NotBuiltError
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.gpt2 import GPT2ForTokenClassification
from enfold.models.llama import LlamaForCausalLM
from enfold.models.stacks import SingleStack
from enfold.models.tasks import LastTokenClassification, QuestionAnswering
from enfold.nn import spec
from enfold.weights.names import NameTable


class BloomConfig(PreTrainedConfig):
    """Entries of a BLOOM `config.json`."""

    model_type = "bloom"
    aliases = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "n_embed": "hidden_size"}
    defaults = {
        "vocab_size": 250880,
        "hidden_size": 64,
        "n_layer": 2,
        "n_head": 8,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "apply_residual_connection_post_layernorm": False,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "pretraining_tp": 1,
        "slow_but_exact": False,
    }


class BloomModel(SingleStack):
    """The decoder."""

    config_class = BloomConfig
    base_model_prefix = "transformer"
    decoder = True
    names = NameTable("""
        stack.embed.tokens              word_embeddings
        stack.embed.norm                word_embeddings_layernorm
        stack.layers.{i}.attn.pre       h.{i}.input_layernorm
        stack.layers.{i}.attn.op.qkv    h.{i}.self_attention.query_key_value   by_head
        stack.layers.{i}.attn.op.o      h.{i}.self_attention.dense
        stack.layers.{i}.mlp.pre        h.{i}.post_attention_layernorm
        stack.layers.{i}.mlp.op.up      h.{i}.mlp.dense_h_to_4h
        stack.layers.{i}.mlp.op.down    h.{i}.mlp.dense_4h_to_h
        stack.norm                      ln_f
    """)

    def name_table(self) -> NameTable:
        return self.names.sized("by_head", self.config.n_head, self.config.n_head)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        for entry in ("apply_residual_connection_post_layernorm", "slow_but_exact"):
            if config.get(entry) and (entry != "slow_but_exact" or config.pretraining_tp > 1):
                raise NotBuiltError(f"BLOOM with {entry}=True is not built; no published checkpoint has it")
        width, heads = config.hidden_size, config.n_head
        norm, drop = spec.Norm(config.layer_norm_epsilon), config.hidden_dropout
        attention = spec.Attention(
            heads=heads,
            head_dim=head_dim(width, heads),
            kv_heads=heads,
            causal=True,
            together=True,
            biased=True,
            dropout=config.attention_dropout,
        )
        layer = spec.Layer(
            attn=spec.Step(attention, pre=norm, dropout=drop),
            mlp=spec.Step(spec.MLP(4 * width, "gelu_tanh"), pre=norm, dropout=drop),
        )
        return spec.Stack(
            width=width,
            layers=(layer,) * config.n_layer,
            embed=spec.Embed(vocab=config.vocab_size, norm=norm),
            norm=norm,
            relative=spec.Alibi(heads),
        )


class BloomForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = BloomModel


class BloomForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = BloomModel


class BloomForTokenClassification(GPT2ForTokenClassification):
    """A class for every token."""

    base_class = BloomModel


class BloomForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = BloomModel
