"""mT5 (Xue et al. 2021): T5 v1.1 in many languages."""

from torch import Tensor

from enfold.models.seq2seq import ConditionalGeneration
from enfold.models.t5 import (
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    T5ForQuestionAnswering,
    T5ForSequenceClassification,
    T5ForTokenClassification,
    T5Model,
)


class MT5Config(T5Config):
    """Entries of an mT5 `config.json`."""

    model_type = "mt5"
    defaults = {
        **T5Config.defaults,
        "vocab_size": 250112,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    }


class MT5Model(T5Model):
    """Encoder and decoder."""

    config_class = MT5Config


class MT5ForConditionalGeneration(T5ForConditionalGeneration):
    """Text to text."""

    base_class = MT5Model

    def scores(self, states: Tensor) -> Tensor:
        """[N, D] → [N, vocab], of states as they are."""
        return ConditionalGeneration.scores(self, states)


class MT5ForSequenceClassification(T5ForSequenceClassification):
    """A class for the whole text."""

    base_class = MT5Model


class MT5ForQuestionAnswering(T5ForQuestionAnswering):
    """Start and end of an answer."""

    base_class = MT5Model


class MT5EncoderModel(T5EncoderModel):
    """The encoder alone."""

    config_class = MT5Config


class MT5ForTokenClassification(T5ForTokenClassification):
    """A class for every token of the source."""

    base_class = MT5EncoderModel
