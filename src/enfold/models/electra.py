"""ELECTRA (Clark et al. 2020): BERT with narrow embeddings, trained to find replaced tokens."""

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import NotBuiltError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.bert import BertConfig, BertModel, head_dropout
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.outputs import LogitsOutput
from enfold.models.roberta import RobertaForSequenceClassification
from enfold.models.stacks import States, finish, first_tokens
from enfold.models.tasks import (
    CausalLM,
    MaskedLM,
    MultipleChoice,
    QuestionAnswering,
    TaskModel,
    TokenClassification,
    VocabularyModel,
)
from enfold.nn import spec
from enfold.nn.modules import ACTIVATIONS
from enfold.weights.names import NameTable, Row


class ElectraConfig(BertConfig):
    """Entries of an ELECTRA `config.json`."""

    model_type = "electra"
    defaults = {
        **BertConfig.defaults,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
    }


class ElectraModel(BertModel):
    """The encoder; it has no pooler."""

    config_class = ElectraConfig
    base_model_prefix = "electra"
    names = NameTable(
        rows=[
            *(row for row in BertModel.names.rows if row.ours != "pooler"),
            Row("stack.embed.widen", "embeddings_project"),
        ]
    )

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config, add_pooling_layer=False)

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        narrow = config.embedding_size if config.embedding_size != config.hidden_size else None
        return replace(super().embed(config), width=narrow)


class _WithVocabulary(VocabularyModel):
    """The generator's head."""

    base_class = ElectraModel
    head_names = """
        head.dense     generator_predictions.dense
        head.norm      generator_predictions.LayerNorm
        head.decoder   generator_lm_head
    """
    head_act = "gelu"


class ElectraForMaskedLM(_WithVocabulary, MaskedLM):
    """What stood behind a mask: the generator."""


class ElectraForCausalLM(GenerativeDecoder, _WithVocabulary, CausalLM):
    """ELECTRA as a decoder (`is_decoder=True`)."""


class ElectraForPreTraining(TaskModel):
    """Whether each token was replaced: the discriminator."""

    base_class = ElectraModel
    head_names = """
        dense    discriminator_predictions.dense
        answer   discriminator_predictions.dense_prediction
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.dense = dense(config.hidden_size, config.hidden_size)
        self.answer = dense(config.hidden_size, 1)
        self.act = ACTIVATIONS[activation(config.hidden_act)]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T]; `labels` [B, T] are 1 where a token was replaced, and padding doesn't count."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        scores = self.answer(self.act(self.dense(states.packed))).squeeze(-1)
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(scores, states.packing.pack(labels).to(scores.dtype))
        return finish(self.result(states, loss=loss, logits=states.packing.unpack(scores)), self.config, return_dict)


class ElectraForSequenceClassification(RobertaForSequenceClassification):
    """A small network over the first token."""

    base_class = ElectraModel
    base_options = {}
    act = staticmethod(F.gelu)


class ElectraForMultipleChoice(MultipleChoice):
    """A score for each continuation."""

    base_class = ElectraModel
    head_names = """
        summary      sequence_summary.summary
        classifier   classifier
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        if config.summary_type != "first" or not config.summary_use_proj:
            raise NotBuiltError(
                f"summary_type={config.summary_type!r} with summary_use_proj={config.summary_use_proj} is not built; "
                "expected 'first' with a projection"
            )
        self.summary = dense(config.hidden_size, config.hidden_size)
        self.classifier = dense(config.hidden_size, 1)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        found = self.summary(first_tokens(states))
        if self.config.summary_activation:
            found = ACTIVATIONS[activation(self.config.summary_activation)](found)
        return self.classifier(self.drop(found, self.config.summary_last_dropout))


class ElectraForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = ElectraModel

    def head_dropout(self) -> float:
        return head_dropout(self.config)


class ElectraForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = ElectraModel
