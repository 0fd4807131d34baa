"""GPT-NeoX (Black et al. 2022), and so Pythia: attention and MLP side by side, each over a norm of its own."""

from enfold.models.activations import activation
from enfold.models.config import PreTrainedConfig, head_dim
from enfold.models.llama import LlamaForCausalLM
from enfold.models.positions import rope
from enfold.models.stacks import SingleStack
from enfold.models.tasks import LastTokenClassification, QuestionAnswering, TokenClassification
from enfold.nn import spec
from enfold.weights.names import NameTable


class GPTNeoXConfig(PreTrainedConfig):
    """Entries of a GPT-NeoX `config.json`."""

    model_type = "gpt_neox"
    defaults = {
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "classifier_dropout": 0.1,
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "use_parallel_residual": True,
        "attention_bias": True,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000.0,
    }


class GPTNeoXModel(SingleStack):
    """The decoder."""

    config_class = GPTNeoXConfig
    base_model_prefix = "gpt_neox"
    decoder = True
    ignorable = r".*attention\.(bias|masked_bias|rotary_emb\.inv_freq)$"
    names = NameTable("""
        stack.embed.tokens              embed_in
        stack.layers.{i}.attn.pre       layers.{i}.input_layernorm
        stack.layers.{i}.attn.op.qkv    layers.{i}.attention.query_key_value   by_head
        stack.layers.{i}.attn.op.o      layers.{i}.attention.dense
        stack.layers.{i}.mlp.pre        layers.{i}.post_attention_layernorm
        stack.layers.{i}.mlp.op.up      layers.{i}.mlp.dense_h_to_4h
        stack.layers.{i}.mlp.op.down    layers.{i}.mlp.dense_4h_to_h
        stack.norm                      final_layer_norm
    """)

    def name_table(self) -> NameTable:
        return self.names.sized("by_head", self.config.num_attention_heads, self.config.num_attention_heads)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        heads, norm, drop = config.num_attention_heads, spec.Norm(config.layer_norm_eps), config.hidden_dropout
        size = head_dim(config.hidden_size, heads)
        attention = spec.Attention(
            heads=heads,
            head_dim=size,
            kv_heads=heads,
            bias=config.attention_bias,
            out_bias=config.attention_bias,
            causal=True,
            rope=rope(config, size, default_base=config.rotary_emb_base, partial=config.rotary_pct),
            together=True,
            dropout=config.attention_dropout,
        )
        mlp = spec.MLP(config.intermediate_size, activation(config.hidden_act))
        layer = spec.Layer(
            attn=spec.Step(attention, pre=norm, dropout=drop),
            mlp=spec.Step(mlp, pre=norm, dropout=drop, beside=config.use_parallel_residual),
        )
        return spec.Stack(
            width=config.hidden_size,
            layers=(layer,) * config.num_hidden_layers,
            embed=spec.Embed(vocab=config.vocab_size, dropout=drop),
            norm=norm,
        )


class GPTNeoXForCausalLM(LlamaForCausalLM):
    """The next token."""

    base_class = GPTNeoXModel
    head_names = "lm_head  embed_out"
    stored_aliases = {"lm_head.weight": "embed_out.weight"}  # files of some later versions


class GPTNeoXForSequenceClassification(LastTokenClassification):
    """A class for the whole text, read off its last token."""

    base_class = GPTNeoXModel


class GPTNeoXForTokenClassification(TokenClassification):
    """A class for every token."""

    base_class = GPTNeoXModel


class GPTNeoXForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = GPTNeoXModel
