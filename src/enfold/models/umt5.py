"""UMT5 (Chung et al. 2023): mT5 in which every layer has a table of relative biases of its own."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from enfold.models.config import PreTrainedConfig
from enfold.models.mt5 import MT5Config
from enfold.models.seq2seq import ConditionalGeneration
from enfold.models.t5 import (
    DECODER_NAMES,
    ENCODER_NAMES,
    T5EncoderModel,
    T5ForConditionalGeneration,
    T5ForQuestionAnswering,
    T5ForSequenceClassification,
    T5ForTokenClassification,
    T5Model,
    T5Stacks,
)
from enfold.nn import spec
from enfold.nn.attention import Bias
from enfold.nn.modules import Attention, Context
from enfold.nn.relative import Relative
from enfold.nn.split import Plan, blocks


class UMT5Config(MT5Config):
    """Entries of a UMT5 `config.json`."""

    model_type = "umt5"


class OwnBiasAttention(Attention):
    """Self-attention with a table of biases of its own."""

    def __init__(self, given: "OwnBias", width: int):
        super().__init__(given, width)
        self.relative = Relative(given.relative)

    def plan(self, ranks: int) -> Plan | None:
        found, table = super().plan(ranks), blocks(self.spec.heads, dim=1)
        return found and replace(found, columns={**found.columns, "relative.table": table})

    def bias(self, context: Context) -> Bias | None:
        return self.relative


@dataclass(frozen=True, kw_only=True)
class OwnBias(spec.Attention, spec.Op):
    """Attention that doesn't share its biases."""

    relative: spec.Relative

    def build(self, width: int) -> Any:
        return OwnBiasAttention(self, width)


class UMT5Stacks(T5Stacks):
    """What encoder and decoder share."""

    config_class = UMT5Config
    rows = (
        (ENCODER_NAMES + DECODER_NAMES)
        .replace("coder.relative.", "coder.layers.{i}.attn.op.relative.")
        .replace("block.0.layer.0.SelfAttention.relative", "block.{i}.layer.0.SelfAttention.relative")
    )

    @classmethod
    def side(cls, config: PreTrainedConfig, *, decoder: bool) -> spec.Stack:
        given = super().side(config, decoder=decoder)
        layer, relative = given.layers[0], given.relative
        assert relative is not None
        own = spec.extended(layer.attn.op, OwnBias, relative=relative)
        layer = replace(layer, attn=replace(layer.attn, op=own))
        return replace(given, layers=(layer,) * len(given.layers), relative=None)


class UMT5Model(UMT5Stacks, T5Model):
    """Encoder and decoder."""


class UMT5ForConditionalGeneration(T5ForConditionalGeneration):
    """Text to text."""

    base_class = UMT5Model

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab], of states scaled by D^−½."""
        return ConditionalGeneration.scores(self, states * self.config.d_model**-0.5)


class UMT5ForSequenceClassification(T5ForSequenceClassification):
    """A class for the whole text."""

    base_class = UMT5Model


class UMT5ForQuestionAnswering(T5ForQuestionAnswering):
    """Start and end of an answer."""

    base_class = UMT5Model


class UMT5EncoderModel(UMT5Stacks, T5EncoderModel):
    """The encoder alone."""


class UMT5ForTokenClassification(T5ForTokenClassification):
    """A class for every token of the source."""

    base_class = UMT5EncoderModel
