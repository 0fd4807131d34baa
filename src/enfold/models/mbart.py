"""mBART (Liu et al. 2020): BART in many languages, with norms before each step; a text ends with its language."""

import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.models.bart import (
    BartConfig,
    BartDecoder,
    BartForCausalLM,
    BartForConditionalGeneration,
    BartForQuestionAnswering,
    BartForSequenceClassification,
    BartModel,
)


class MBartConfig(BartConfig):
    """Entries of an mBART `config.json`."""

    model_type = "mbart"
    defaults = {**BartConfig.defaults, "decoder_start_token_id": None, "num_labels": 2}


class MBartModel(BartModel):
    """Encoder and decoder."""

    config_class = MBartConfig
    normed = "pre"

    def shift_right(self, labels: Tensor) -> Tensor:
        """[B, T] decoder inputs that predict `labels`: the last token (the language), then the labels but the last."""
        pad = self.config.pad_token_id
        if pad is None:
            raise ArgumentError("config.pad_token_id is None: it is needed to make decoder inputs from labels")
        labels = labels.masked_fill(labels == -100, pad)
        last = (labels != pad).sum(1, keepdim=True) - 1
        return torch.cat([labels.gather(1, last.clamp(min=0)), labels[:, :-1]], dim=1)


class MBartForConditionalGeneration(BartForConditionalGeneration):
    """Text to text."""

    base_class = MBartModel


class MBartForSequenceClassification(BartForSequenceClassification):
    """A class for the whole text."""

    base_class = MBartModel


class MBartForQuestionAnswering(BartForQuestionAnswering):
    """Start and end of an answer."""

    base_class = MBartModel


class MBartDecoder(BartDecoder):
    """The decoder alone."""

    whole = MBartModel


class MBartForCausalLM(BartForCausalLM):
    """The decoder alone, as a model of text."""

    base_class = MBartDecoder
