"""BART (Lewis et al. 2020): learned positions, a norm after each step; and the hooks by which its kin differ."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.outputs import Seq2SeqOutput
from enfold.models.seq2seq import ConditionalGeneration, Seq2SeqQuestionAnswering, Seq2SeqSequenceClassification
from enfold.models.stacks import EncoderDecoder, SingleStack, States
from enfold.models.tasks import CausalLM
from enfold.nn import spec
from enfold.nn.linear import Embedding
from enfold.weights.names import NameTable

NORM = spec.Norm(1e-5)


class BartConfig(PreTrainedConfig):
    """Entries of a BART `config.json`."""

    model_type = "bart"
    aliases = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    }
    defaults = {
        "vocab_size": 50265,
        "max_position_embeddings": 1024,
        "encoder_layers": 12,
        "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16,
        "decoder_layers": 12,
        "decoder_ffn_dim": 4096,
        "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "activation_function": "gelu",
        "d_model": 1024,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "classifier_dropout": 0.0,
        "init_std": 0.02,
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        "num_labels": 3,
    }


# NORM is the slot of each step that holds its norm.
NAMES = """
    encoder.embed.positions          encoder.embed_positions
    encoder.embed.norm               encoder.layernorm_embedding
    encoder.layers.{i}.attn.op.q     encoder.layers.{i}.self_attn.q_proj
    encoder.layers.{i}.attn.op.k     encoder.layers.{i}.self_attn.k_proj
    encoder.layers.{i}.attn.op.v     encoder.layers.{i}.self_attn.v_proj
    encoder.layers.{i}.attn.op.o     encoder.layers.{i}.self_attn.out_proj
    encoder.layers.{i}.attn.NORM     encoder.layers.{i}.self_attn_layer_norm
    encoder.layers.{i}.mlp.op.up     encoder.layers.{i}.fc1
    encoder.layers.{i}.mlp.op.down   encoder.layers.{i}.fc2
    encoder.layers.{i}.mlp.NORM      encoder.layers.{i}.final_layer_norm
    encoder.norm                     encoder.layer_norm
    decoder.embed.tokens             decoder.embed_tokens
    decoder.embed.positions          decoder.embed_positions
    decoder.embed.norm               decoder.layernorm_embedding
    decoder.layers.{i}.attn.op.q     decoder.layers.{i}.self_attn.q_proj
    decoder.layers.{i}.attn.op.k     decoder.layers.{i}.self_attn.k_proj
    decoder.layers.{i}.attn.op.v     decoder.layers.{i}.self_attn.v_proj
    decoder.layers.{i}.attn.op.o     decoder.layers.{i}.self_attn.out_proj
    decoder.layers.{i}.attn.NORM     decoder.layers.{i}.self_attn_layer_norm
    decoder.layers.{i}.cross.op.q    decoder.layers.{i}.encoder_attn.q_proj
    decoder.layers.{i}.cross.op.k    decoder.layers.{i}.encoder_attn.k_proj
    decoder.layers.{i}.cross.op.v    decoder.layers.{i}.encoder_attn.v_proj
    decoder.layers.{i}.cross.op.o    decoder.layers.{i}.encoder_attn.out_proj
    decoder.layers.{i}.cross.NORM    decoder.layers.{i}.encoder_attn_layer_norm
    decoder.layers.{i}.mlp.op.up     decoder.layers.{i}.fc1
    decoder.layers.{i}.mlp.op.down   decoder.layers.{i}.fc2
    decoder.layers.{i}.mlp.NORM      decoder.layers.{i}.final_layer_norm
    decoder.norm                     decoder.layer_norm
"""
SHARED = "encoder.embed.tokens  shared"
APART = """
    encoder.embed.tokens  encoder.embed_tokens
    shared                shared
"""
# One table stands for three: older files repeat it, files of untied models may hold it once.
ALIASES = {
    f"{prefix}{alias}.weight": f"{prefix}{name}.weight"
    for prefix in ("", "model.")
    for alias, name in (
        ("decoder.embed_tokens", "shared"),
        ("shared", "encoder.embed_tokens"),
        ("encoder.embed_tokens", "decoder.embed_tokens"),
    )
}


def embed_scale(config: PreTrainedConfig) -> float:
    """Factor on the tokens' vectors."""
    return config.d_model**0.5 if config.scale_embedding else 1.0


class BartStacks(EncoderDecoder):
    """Encoder and decoder, with hooks for what differs among BART's kin.

    Class attributes of a family:
        normed: the slot of each step that holds its norm; before the step, the stack has a norm at its end.
    """

    base_model_prefix = "model"
    stored_aliases = ALIASES
    ignorable = r"(.*\.)?(encoder|decoder)\.(version|embed_positions\.weights)$"
    omissible = r"final_logits_bias$"
    normed: ClassVar[Literal["pre", "out"]] = "out"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        if self.one_vocabulary and not self.ties():  # such files hold a third table, which nothing reads
            self.shared = Embedding(config.vocab_size, config.d_model)

    @property
    def one_vocabulary(self) -> bool:
        """Whether source and target are written in the same tokens."""
        return True

    def ties(self) -> dict[str, str]:
        tied = self.one_vocabulary and self.config.tie_word_embeddings
        return {"decoder.embed.tokens.weight": "encoder.embed.tokens.weight"} if tied else {}

    def name_table(self) -> NameTable:
        return NameTable((SHARED if self.ties() else APART) + NAMES.replace("NORM", self.normed))

    def std(self, name: str) -> float:
        return self.config.init_std

    def padding_row(self, name: str) -> int | None:
        return self.config.pad_token_id if name.endswith(("tokens.weight", "shared.weight")) else None

    @classmethod
    def embed(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Embed:
        """The embeddings of one side."""
        return spec.Embed(
            vocab=config.vocab_size,
            positions=config.max_position_embeddings,
            offset=2,
            token_scale=embed_scale(config),
            norm=NORM,
            dropout=config.dropout,
            padding_id=config.pad_token_id,
        )

    @classmethod
    def side(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Stack:
        """Encoder or decoder."""
        name = "decoder" if decoder else "encoder"
        heads, width = config.get(f"{name}_attention_heads"), config.get(f"{name}_ffn_dim")

        def step(op: spec.Attention | spec.MLP) -> spec.Step:
            if cls.normed == "pre":
                return spec.Step(op, pre=NORM, dropout=config.dropout)
            return spec.Step(op, out=NORM, dropout=config.dropout)

        def attention(causal: bool) -> spec.Step:
            head_dim, drop = config.d_model // heads, config.attention_dropout
            return step(spec.Attention(heads, head_dim, heads, causal=causal, dropout=drop))

        layer = spec.Layer(
            attn=attention(causal=decoder),
            cross=attention(causal=False) if decoder else None,
            mlp=step(spec.MLP(width, activation(config.activation_function), dropout=config.activation_dropout)),
        )
        return spec.Stack(
            width=config.d_model,
            layers=(layer,) * config.get(f"{name}_layers"),
            embed=cls.embed(config, decoder=decoder),
            norm=NORM if cls.normed == "pre" else None,
            layer_drop=config.get(f"{name}_layerdrop"),
        )

    @classmethod
    def encoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.side(config, decoder=False)

    @classmethod
    def decoder_spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.side(config, decoder=True)


class BartModel(BartStacks):
    """Encoder and decoder; without an input of its own, the decoder reads the source shifted right."""

    config_class = BartConfig

    def run(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **inputs: Any
    ) -> tuple[States, Seq2SeqOutput]:
        fed = inputs.get("decoder_input_ids"), inputs.get("decoder_inputs_embeds")
        if input_ids is not None and fed == (None, None):
            inputs["decoder_input_ids"] = self.shift_right(input_ids)
        return super().run(input_ids, attention_mask, **inputs)


class LogitsBias(nn.Module):
    """A constant [1, vocab] on the scores, kept in the checkpoint and not trained."""

    bias: Tensor

    def __init__(self, vocab: int):
        super().__init__()
        self.register_buffer("bias", torch.zeros(1, vocab))

    def forward(self, scores: Tensor) -> Tensor:
        return scores + self.bias.to(scores.dtype)

    def resize(self, rows: int) -> None:
        """As many scores as the vocabulary has now; new ones get nothing added."""
        kept = self.bias[:, :rows]
        self.bias = torch.cat([kept, kept.new_zeros(1, rows - kept.shape[1])], dim=1)


class BartForConditionalGeneration(ConditionalGeneration):
    """Text to text."""

    base_class = BartModel
    head_names = """
        lm_head             lm_head
        final.bias          final_logits_bias
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.final = LogitsBias(self.lm_head.out_features)

    def scores(self, states: Tensor) -> Tensor:
        return self.final(super().scores(states))


class BartForSequenceClassification(Seq2SeqSequenceClassification):
    """A class for the whole text, read off the decoder's state at its last end-of-text token."""

    base_class = BartModel


class BartForQuestionAnswering(Seq2SeqQuestionAnswering):
    """Start and end of an answer, read off the decoder's states."""

    base_class = BartModel


class BartDecoder(SingleStack):
    """The decoder alone; its steps over a source rest unless a call brings `encoder_hidden_states`."""

    whole: ClassVar[type[BartStacks]] = BartModel
    config_class = BartConfig
    base_model_prefix = "model"
    ignorable = BartStacks.ignorable + r"|^(model\.)?(encoder\.|shared\.)|^final_logits_bias$"
    decoder = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.config_class, cls.omissible = cls.whole.config_class, cls.whole.omissible

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        return cls.whole.decoder_spec(config)

    def name_table(self) -> NameTable:
        return NameTable(NAMES.replace("NORM", self.whole.normed)).part("decoder.", "stack.")

    def std(self, name: str) -> float:
        return self.config.init_std


class BartForCausalLM(GenerativeDecoder, CausalLM):
    """The decoder alone, as a model of text. Its labels stand where they are predicted: they aren't shifted."""

    base_class = BartDecoder
    head_names = "lm_head  lm_head"
    tied = {"lm_head.weight": "base.stack.embed.tokens.weight"}
    stored_aliases = ALIASES

    def __init__(self, config: PreTrainedConfig):
        super().__init__(type(config).from_dict(config.entries | {"is_decoder": True, "is_encoder_decoder": False}))
        embed = self.base.stack.spec.embed
        assert embed is not None
        self.lm_head = dense(self.width, embed.vocab, bias=False)

    def targets(self, labels: Tensor, mask: Tensor | None, sequence_ids: Tensor | None = None) -> Tensor:
        return labels

    def scores(self, states: Tensor) -> Tensor:
        return self.lm_head(states)

    def get_output_embeddings(self):
        return self.lm_head
