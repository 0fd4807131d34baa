"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa over a hundred languages."""

from enfold.models.roberta import (
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)


class XLMRobertaConfig(RobertaConfig):
    """Entries of an XLM-RoBERTa `config.json`."""

    model_type = "xlm-roberta"
    defaults = {**RobertaConfig.defaults, "vocab_size": 30522}


class XLMRobertaModel(RobertaModel):
    """The encoder."""

    config_class = XLMRobertaConfig


class XLMRobertaForMaskedLM(RobertaForMaskedLM):
    """What stood behind a mask."""

    base_class = XLMRobertaModel


class XLMRobertaForCausalLM(RobertaForCausalLM):
    """The next token, as a decoder (`is_decoder=True`)."""

    base_class = XLMRobertaModel


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification):
    """A small network over the first token."""

    base_class = XLMRobertaModel


class XLMRobertaForMultipleChoice(RobertaForMultipleChoice):
    """A score for each continuation."""

    base_class = XLMRobertaModel


class XLMRobertaForTokenClassification(RobertaForTokenClassification):
    """A classifier over every token."""

    base_class = XLMRobertaModel


class XLMRobertaForQuestionAnswering(RobertaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = XLMRobertaModel
