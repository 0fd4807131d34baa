"""T5 (Raffel et al. 2020) and v1.1: encoder–decoder with relative biases, root-mean-square norms, no other biases."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import ArgumentError, ConfigError
from enfold.models.activations import activation
from enfold.models.base import PreTrainedModel, dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeSeq2Seq
from enfold.models.losses import sequence_loss, span_loss, token_loss
from enfold.models.outputs import Seq2SeqOutput
from enfold.models.stacks import EncoderDecoder, SingleStack, finish
from enfold.models.tasks import TokenClassification, spans
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


def stack(config: PreTrainedConfig, *, decoder: bool) -> spec.Stack:
    """Encoder or decoder."""
    norm, drop = spec.Norm(config.layer_norm_epsilon, "rms"), config.dropout_rate
    act, gated = config.feed_forward

    def attention(causal: bool, biased: bool) -> spec.Step:
        op = spec.Attention(
            heads=config.num_heads,
            head_dim=config.d_kv,
            kv_heads=config.num_heads,
            bias=False,
            out_bias=False,
            causal=causal,
            scale=1.0,
            biased=biased,
            dropout=drop,
        )
        return spec.Step(op, pre=norm, dropout=drop)

    mlp = spec.MLP(config.d_ff, activation(act), gated=gated, bias=False, dropout=drop)
    layer = spec.Layer(
        attn=attention(causal=decoder, biased=True),
        cross=attention(causal=False, biased=False) if decoder else None,
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


class _T5(PreTrainedModel):
    """Names, ties and initialisation of every T5 model."""

    config_class = T5Config
    base_model_prefix = "transformer"
    stored_aliases = ALIASES
    ignorable = IGNORABLE
    prefix = ""
    rows = ENCODER_NAMES + DECODER_NAMES
    head_rows = ""

    def name_table(self) -> NameTable:
        rows = self.rows + MLP_NAMES[self.config.feed_forward[1]]
        return NameTable(rows).under("", self.prefix) + NameTable(self.head_rows)

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


class T5Model(_T5, EncoderDecoder):
    """Encoder and decoder."""

    tied = {"decoder.embed.tokens.weight": "encoder.embed.tokens.weight"}

    @staticmethod
    def encoder_spec(config: PreTrainedConfig) -> spec.Stack:
        return stack(config, decoder=False)

    @staticmethod
    def decoder_spec(config: PreTrainedConfig) -> spec.Stack:
        return stack(config, decoder=True)


class T5ForConditionalGeneration(GenerativeSeq2Seq, T5Model):
    """Text to text."""

    head_rows = "lm_head  lm_head"
    tied = T5Model.tied | {"lm_head.weight": "encoder.embed.tokens.weight"}

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.lm_head = dense(config.d_model, config.vocab_size, bias=False)

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab]; where the head is tied by design, it sees states scaled by D^−½."""
        if self.config.get("scale_decoder_outputs", self.config.tie_word_embeddings is not False):
            states = states * self.config.d_model**-0.5
        return self.lm_head(states)

    def get_output_embeddings(self):
        return self.lm_head

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What data collators call: `shift_right`."""
        return self.shift_right(labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Logits [B, T, vocab]; with `labels` [B, T] and no decoder inputs, these are the labels shifted right."""
        if (
            labels is not None
            and inputs.get("decoder_input_ids") is None
            and inputs.get("decoder_inputs_embeds") is None
        ):
            inputs["decoder_input_ids"] = self.shift_right(labels)
        decoded, output = self.run(input_ids, attention_mask, **inputs)
        scores = self.scores(decoded.packed)
        if labels is not None:
            output.loss = token_loss(scores, decoded.packing.pack(labels))
        output.logits = decoded.packing.unpack(scores)
        return finish(output, self.config, return_dict)


class T5ForSequenceClassification(T5Model):
    """A class for the whole text, read off the decoder's state at its last end-of-text token."""

    prefix = "transformer."
    head_rows = """
        dense   classification_head.dense
        out     classification_head.out_proj
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.dense = dense(config.d_model, config.d_model)
        self.out = dense(config.d_model, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Logits [B, classes]; the decoder reads the source shifted right unless given its own input."""
        if input_ids is None:
            raise ArgumentError(
                "T5ForSequenceClassification reads input_ids: it looks for the end-of-text token in them"
            )
        if inputs.get("decoder_input_ids") is None and inputs.get("decoder_inputs_embeds") is None:
            inputs["decoder_input_ids"] = self.shift_right(input_ids)
        decoded, output = self.run(input_ids, attention_mask, **inputs)
        ends = input_ids == self.config.eos_token_id
        if not bool(ends.any(1).all()):
            raise ArgumentError(f"each row of input_ids must hold the end-of-text token {self.config.eos_token_id}")
        last = input_ids.shape[1] - 1 - ends.flip(1).long().argmax(1)
        x = decoded.unpack()[torch.arange(len(input_ids), device=input_ids.device), last]
        drop = self.config.classifier_dropout or 0.0
        x = torch.tanh(self.dense(F.dropout(x, drop, self.training)))
        logits = self.out(F.dropout(x, drop, self.training))
        output.logits = logits
        output.loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return finish(output, self.config, return_dict)


class T5ForQuestionAnswering(T5Model):
    """Start and end of an answer, read off the decoder's states."""

    head_rows = "qa_outputs  qa_outputs"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.qa_outputs = dense(config.d_model, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Seq2SeqOutput | tuple:
        """Start and end logits [B, T]."""
        if inputs.get("decoder_input_ids") is None and input_ids is not None:
            inputs["decoder_input_ids"] = self.shift_right(input_ids)
        decoded, output = self.run(input_ids, attention_mask, **inputs)
        output.start_logits, output.end_logits = spans(self.qa_outputs(decoded.packed), decoded)
        if start_positions is not None and end_positions is not None:
            output.loss = span_loss(output.start_logits, output.end_logits, start_positions, end_positions)
        return finish(output, self.config, return_dict)


class T5EncoderModel(_T5, SingleStack):
    """The encoder alone."""

    ignorable = IGNORABLE + r"|^decoder\.|^lm_head\."

    @staticmethod
    def spec(config: PreTrainedConfig) -> spec.Stack:
        return stack(config, decoder=False)

    def name_table(self) -> NameTable:
        return _encoder_table(self.config)


class T5ForTokenClassification(TokenClassification):
    """A class for every token of the source."""

    base_class = T5EncoderModel
    stored_aliases = ALIASES

    def name_table(self) -> NameTable:
        return _encoder_table(self.config).under("base.", "transformer.") + NameTable(self.head_names)

    def std(self, name: str) -> float:
        return self.base.std(name)

    def head_dropout(self) -> float:
        return self.config.classifier_dropout


def _encoder_table(config: PreTrainedConfig) -> NameTable:
    """The encoder's names, for models whose one stack it is."""
    rows = NameTable(ENCODER_NAMES + MLP_NAMES[config.feed_forward[1]]).rows
    kept = [row for row in rows if row.ours.startswith("encoder.")]
    return NameTable(rows=[type(row)("stack." + row.ours.removeprefix("encoder."), row.theirs) for row in kept])
