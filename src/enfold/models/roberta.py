"""RoBERTa (Liu et al. 2019): BERT whose positions count from behind the padding's, with its own heads."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from enfold.models.base import dense
from enfold.models.bert import BertConfig, BertForMultipleChoice, BertModel, head_dropout
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.stacks import States, first_tokens
from enfold.models.tasks import (
    CausalLM,
    MaskedLM,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
    VocabularyModel,
)
from enfold.nn import spec


class RobertaConfig(BertConfig):
    """Entries of a RoBERTa `config.json`."""

    model_type = "roberta"
    defaults = {**BertConfig.defaults, "vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


class RobertaModel(BertModel):
    """The encoder. Tokens that aren't padding are counted from `pad_token_id + 1`; padding has a row of its own."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"

    def __init__(self, config: PreTrainedConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        assert self.stack.embed is not None
        assert self.stack.embed.positions is not None
        self.stack.embed.positions.padding_idx = self.padding(config)  # its row gets no gradient

    @staticmethod
    def padding(config: PreTrainedConfig) -> int:
        """The token that isn't counted, whose number is also its row."""
        return config.pad_token_id

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        offset = cls.padding(config) + 1
        return replace(super().embed(config), offset=offset, positions=config.max_position_embeddings - offset)

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **inputs: Any,
    ) -> States:
        """As every stack's; `position_ids` are rows of the table."""
        pad = self.padding(self.config)
        past = inputs.get("past_key_values")
        if position_ids is not None:
            position_ids = position_ids - pad - 1
        elif input_ids is not None and input_ids.ndim == 2 and inputs.get("sequence_ids") is None:
            real = (input_ids != pad).long()
            seen = torch.tensor(past.lengths or [0], device=real.device)[:, None] if past else 0
            position_ids = (real.cumsum(1) + seen) * real - 1
        return super().run(input_ids, attention_mask, token_type_ids, position_ids, **inputs)

    def padding_row(self, name: str) -> int | None:
        return self.padding(self.config) if name.endswith("embed.positions.weight") else super().padding_row(name)


class _WithVocabulary(VocabularyModel):
    """The masked-language head."""

    base_class = RobertaModel
    base_options = {"add_pooling_layer": False}
    head_names = """
        head.dense            lm_head.dense
        head.norm             lm_head.layer_norm
        head.decoder.weight   lm_head.decoder.weight
        head.decoder.bias     lm_head.bias
    """
    stored_aliases = {"lm_head.decoder.bias": "lm_head.bias"}
    head_act = "gelu"


class RobertaForMaskedLM(_WithVocabulary, MaskedLM):
    """What stood behind a mask."""


class RobertaForCausalLM(GenerativeDecoder, _WithVocabulary, CausalLM):
    """RoBERTa as a decoder (`is_decoder=True`)."""


class RobertaForSequenceClassification(SequenceClassification):
    """A small network over the first token."""

    base_class = RobertaModel
    base_options = {"add_pooling_layer": False}
    head_names = """
        dense     classifier.dense
        answer    classifier.out_proj
    """
    act = staticmethod(torch.tanh)

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.dense = dense(config.hidden_size, config.hidden_size)
        self.answer = dense(config.hidden_size, config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        drop = head_dropout(self.config)
        return self.answer(self.drop(self.act(self.dense(self.drop(first_tokens(states), drop))), drop))


class RobertaForMultipleChoice(BertForMultipleChoice):
    """A score for each continuation."""

    base_class = RobertaModel


class RobertaForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = RobertaModel
    base_options = {"add_pooling_layer": False}

    def head_dropout(self) -> float:
        return head_dropout(self.config)


class RobertaForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = RobertaModel
    base_options = {"add_pooling_layer": False}
