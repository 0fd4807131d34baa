"""T5 (Raffel et al. 2020) and v1.1: encoder–decoder with relative biases, root-mean-square norms, no other biases."""

from typing import Any

from torch import Tensor

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.base import PreTrainedModel
from enfold.models.config import PreTrainedConfig
from enfold.models.seq2seq import ConditionalGeneration, Seq2SeqQuestionAnswering, Seq2SeqSequenceClassification
from enfold.models.stacks import EncoderDecoder, SingleStack
from enfold.models.tasks import TokenClassification
from enfold.nn import spec
from enfold.weights.names import NameTable


class T5Config(PreTrainedConfig):
    """Entries of a T5 `config.json`."""

    model_type = "t5"
    aliases = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    defaults = {
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_decoder_layers": None,
        "num_heads": 8,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0,
        "feed_forward_proj": "relu",
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "classifier_dropout": 0.0,
    }

    @property
    def feed_forward(self) -> tuple[str, bool]:
        """(activation, gated) of `feed_forward_proj`."""
        kind, _, act = self.feed_forward_proj.rpartition("-")
        if kind not in ("", "gated") or not act:
            raise ConfigError(
                f"feed_forward_proj={self.feed_forward_proj!r}; expected an activation ('relu') or 'gated-' and one"
            )
        return ("gelu_new" if kind and act == "gelu" else act), bool(kind)


ENCODER_NAMES = """
    encoder.embed.tokens             shared
    encoder.relative.table           encoder.block.0.layer.0.SelfAttention.relative_attention_bias
    encoder.layers.{i}.attn.pre      encoder.block.{i}.layer.0.layer_norm
    encoder.layers.{i}.attn.op.q     encoder.block.{i}.layer.0.SelfAttention.q
    encoder.layers.{i}.attn.op.k     encoder.block.{i}.layer.0.SelfAttention.k
    encoder.layers.{i}.attn.op.v     encoder.block.{i}.layer.0.SelfAttention.v
    encoder.layers.{i}.attn.op.o     encoder.block.{i}.layer.0.SelfAttention.o
    encoder.layers.{i}.mlp.pre       encoder.block.{i}.layer.1.layer_norm
    encoder.layers.{i}.mlp.op.down   encoder.block.{i}.layer.1.DenseReluDense.wo
    encoder.norm                     encoder.final_layer_norm
"""
DECODER_NAMES = """
    decoder.relative.table           decoder.block.0.layer.0.SelfAttention.relative_attention_bias
    decoder.layers.{i}.attn.pre      decoder.block.{i}.layer.0.layer_norm
    decoder.layers.{i}.attn.op.q     decoder.block.{i}.layer.0.SelfAttention.q
    decoder.layers.{i}.attn.op.k     decoder.block.{i}.layer.0.SelfAttention.k
    decoder.layers.{i}.attn.op.v     decoder.block.{i}.layer.0.SelfAttention.v
    decoder.layers.{i}.attn.op.o     decoder.block.{i}.layer.0.SelfAttention.o
    decoder.layers.{i}.cross.pre     decoder.block.{i}.layer.1.layer_norm
    decoder.layers.{i}.cross.op.q    decoder.block.{i}.layer.1.EncDecAttention.q
    decoder.layers.{i}.cross.op.k    decoder.block.{i}.layer.1.EncDecAttention.k
    decoder.layers.{i}.cross.op.v    decoder.block.{i}.layer.1.EncDecAttention.v
    decoder.layers.{i}.cross.op.o    decoder.block.{i}.layer.1.EncDecAttention.o
    decoder.layers.{i}.mlp.pre       decoder.block.{i}.layer.2.layer_norm
    decoder.layers.{i}.mlp.op.down   decoder.block.{i}.layer.2.DenseReluDense.wo
    decoder.norm                     decoder.final_layer_norm
"""
MLP_NAMES = {
    False: """
        encoder.layers.{i}.mlp.op.up     encoder.block.{i}.layer.1.DenseReluDense.wi
        decoder.layers.{i}.mlp.op.up     decoder.block.{i}.layer.2.DenseReluDense.wi
    """,
    True: """
        encoder.layers.{i}.mlp.op.gate   encoder.block.{i}.layer.1.DenseReluDense.wi_0
        encoder.layers.{i}.mlp.op.up     encoder.block.{i}.layer.1.DenseReluDense.wi_1
        decoder.layers.{i}.mlp.op.gate   decoder.block.{i}.layer.2.DenseReluDense.wi_0
        decoder.layers.{i}.mlp.op.up     decoder.block.{i}.layer.2.DenseReluDense.wi_1
    """,
}
# Repeats of the shared embedding, and a bias that no cross-attention uses.
IGNORABLE = (
    r"(.*\.)?((encoder|decoder)\.embed_tokens\.weight|decoder\.block\.0\.layer\.1\..*relative_attention_bias\.weight)$"
)
ALIASES = {
    f"{prefix}{side}.embed_tokens.weight": f"{prefix}shared.weight"
    for prefix in ("", "transformer.")
    for side in ("encoder", "decoder")
}


class T5Stacks(PreTrainedModel):
    """What encoder and decoder share: spec, names, ties and initialisation."""

    config_class = T5Config
    base_model_prefix = "transformer"
    stored_aliases = ALIASES
    ignorable = IGNORABLE
    rows = ENCODER_NAMES + DECODER_NAMES

    @classmethod
    def side(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Stack:
        """Encoder or decoder."""
        norm, drop = spec.Norm(config.layer_norm_epsilon, "rms"), config.dropout_rate
        act, gated = config.feed_forward

        def attention(**options: Any) -> spec.Step:
            op = spec.Attention(
                heads=config.num_heads,
                head_dim=config.d_kv,
                kv_heads=config.num_heads,
                bias=False,
                out_bias=False,
                scale=1.0,
                dropout=drop,
                **options,
            )
            return spec.Step(op, pre=norm, dropout=drop)

        mlp = spec.MLP(config.d_ff, activation(act), gated=gated, bias=False, dropout=drop)
        layer = spec.Layer(
            attn=attention(causal=decoder, biased=True),
            cross=attention() if decoder else None,
            mlp=spec.Step(mlp, pre=norm, dropout=drop),
        )
        depth = config.num_layers if not decoder or config.num_decoder_layers is None else config.num_decoder_layers
        return spec.Stack(
            width=config.d_model,
            layers=(layer,) * depth,
            embed=spec.Embed(vocab=config.vocab_size, dropout=drop),
            norm=norm,
            relative=spec.Relative(
                buckets=config.relative_attention_num_buckets,
                max_distance=config.relative_attention_max_distance,
                heads=config.num_heads,
                bidirectional=not decoder,
            ),
            norm_dropout=drop,
        )

    def name_table(self) -> NameTable:
        return NameTable(self.rows + MLP_NAMES[self.config.feed_forward[1]])

    def ties(self) -> dict[str, str]:
        return self.tied  # whatever `tie_word_embeddings` says: v1.1 files say False and store a head of their own

    def std(self, name: str) -> float:
        """Mesh TensorFlow's scheme: by the number of inputs of each map."""
        config = self.config
        factor, width = config.initializer_factor, config.d_model**-0.5
        if name.endswith(("embed.tokens.weight", "lm_head.weight", "classifier.weight")):
            return factor
        if name.endswith(".q.weight"):
            return factor * (config.d_model * config.d_kv) ** -0.5
        if name.endswith(".o.weight"):
            return factor * (config.num_heads * config.d_kv) ** -0.5
        if name.endswith(".down.weight"):
            return factor * config.d_ff**-0.5
        return factor * width


class T5Model(T5Stacks, EncoderDecoder):
    """Encoder and decoder."""

    tied = {"decoder.embed.tokens.weight": "encoder.embed.tokens.weight"}

    @classmethod
    def encoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.side(config, decoder=False)

    @classmethod
    def decoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.side(config, decoder=True)


class T5ForConditionalGeneration(ConditionalGeneration):
    """Text to text."""

    base_class = T5Model
    prefix = ""
    tied = {"lm_head.weight": "base.encoder.embed.tokens.weight"}

    def ties(self) -> dict[str, str]:
        return super().ties() | self.tied

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab]; where the head is tied by design, it sees states scaled by D^−½."""
        if self.config.get("scale_decoder_outputs", self.config.tie_word_embeddings is not False):
            states = states * self.config.d_model**-0.5
        return super().scores(states)


class T5ForSequenceClassification(Seq2SeqSequenceClassification):
    """A class for the whole text, read off the decoder's state at its last end-of-text token."""

    base_class = T5Model


class T5ForQuestionAnswering(Seq2SeqQuestionAnswering):
    """Start and end of an answer, read off the decoder's states."""

    base_class = T5Model
    prefix = ""


class T5EncoderModel(T5Stacks, SingleStack):
    """The encoder alone."""

    ignorable = IGNORABLE + r"|^decoder\.|^lm_head\."

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.side(config, decoder=False)

    def name_table(self) -> NameTable:
        return super().name_table().part("encoder.", "stack.")


class T5ForTokenClassification(TokenClassification):
    """A class for every token of the source."""

    base_class = T5EncoderModel
    stored_aliases = ALIASES

    def head_dropout(self) -> float:
        return self.config.classifier_dropout
