"""ALBERT (Lan et al. 2020): BERT with narrow embeddings, and few distinct layers that run many times."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import NotBuiltError
from enfold.models.base import dense
from enfold.models.bert import BertConfig, BertModel
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import token_loss
from enfold.models.outputs import ModelOutput
from enfold.models.stacks import States, finish
from enfold.models.tasks import (
    MaskedLM,
    MultipleChoice,
    QuestionAnswering,
    SequenceClassification,
    TaskModel,
    TokenClassification,
    VocabularyModel,
)
from enfold.nn import spec
from enfold.weights.names import NameTable


class AlbertConfig(BertConfig):
    """Entries of an ALBERT `config.json`."""

    model_type = "albert"
    defaults = {
        **BertConfig.defaults,
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_hidden_groups": 1,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "inner_group_num": 1,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": 0.1,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }


class AlbertModel(BertModel):
    """The encoder, with the pooler over its first token."""

    config_class = AlbertConfig
    base_model_prefix = "albert"
    names = NameTable("""
        stack.embed.tokens             embeddings.word_embeddings
        stack.embed.positions          embeddings.position_embeddings
        stack.embed.types              embeddings.token_type_embeddings
        stack.embed.norm               embeddings.LayerNorm
        stack.embed.widen              encoder.embedding_hidden_mapping_in
        stack.layers.{i}.attn.op.q     encoder.albert_layer_groups.{i}.albert_layers.0.attention.query
        stack.layers.{i}.attn.op.k     encoder.albert_layer_groups.{i}.albert_layers.0.attention.key
        stack.layers.{i}.attn.op.v     encoder.albert_layer_groups.{i}.albert_layers.0.attention.value
        stack.layers.{i}.attn.op.o     encoder.albert_layer_groups.{i}.albert_layers.0.attention.dense
        stack.layers.{i}.attn.out      encoder.albert_layer_groups.{i}.albert_layers.0.attention.LayerNorm
        stack.layers.{i}.mlp.op.up     encoder.albert_layer_groups.{i}.albert_layers.0.ffn
        stack.layers.{i}.mlp.op.down   encoder.albert_layer_groups.{i}.albert_layers.0.ffn_output
        stack.layers.{i}.mlp.out       encoder.albert_layer_groups.{i}.albert_layers.0.full_layer_layer_norm
        pooler                         pooler
    """)

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return replace(super().embed(config), width=config.embedding_size)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        if config.inner_group_num != 1:
            raise NotBuiltError(f"inner_group_num={config.inner_group_num} is not built; every published ALBERT has 1")
        stack, depth, groups = super().spec(config), config.num_hidden_layers, config.num_hidden_groups
        schedule = tuple(int(i / (depth / groups)) for i in range(depth))
        return replace(stack, layers=stack.layers[:1] * groups, schedule=schedule)


HEAD_NAMES = """
    head.dense            predictions.dense
    head.norm             predictions.LayerNorm
    head.decoder.weight   predictions.decoder.weight
    head.decoder.bias     predictions.bias
"""


class _WithVocabulary(VocabularyModel):
    """The masked-language head."""

    base_class = AlbertModel
    base_options = {"add_pooling_layer": False}
    head_names = HEAD_NAMES
    stored_aliases = {"predictions.decoder.bias": "predictions.bias"}


class AlbertForMaskedLM(_WithVocabulary, MaskedLM):
    """What stood behind a mask."""


@dataclass
class AlbertForPreTrainingOutput(ModelOutput):
    """Token logits [B, T, vocab], order logits [B, 2], and the sum of both losses."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    sop_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class AlbertForPreTraining(_WithVocabulary):
    """Masked tokens, and which of two texts came first."""

    base_options = {}
    head_names = HEAD_NAMES + "order  sop_classifier.classifier"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.order = dense(config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> AlbertForPreTrainingOutput | tuple:
        """Both answers; `sentence_order_label` [B] is 1 where the texts were swapped."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        scores, pooled = self.scores(states.packed), self.base.pool(states)
        assert pooled is not None
        order = self.order(self.drop(pooled, self.config.classifier_dropout_prob))
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = token_loss(scores, states.packing.pack(labels)) + F.cross_entropy(
                order, sentence_order_label.view(-1)
            )
        return finish(
            AlbertForPreTrainingOutput(
                loss, states.packing.unpack(scores), order, states.hidden_states, states.attentions
            ),
            self.config,
            return_dict,
        )


class _Pooled(TaskModel):
    """A classifier over the pooled first token."""

    base_class = AlbertModel
    head_names = "classifier  classifier"
    outputs: int | None = None

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.classifier = dense(config.hidden_size, self.outputs or config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        pooled = self.base.pool(states)
        assert pooled is not None
        return self.classifier(self.drop(pooled, self.config.classifier_dropout_prob))


class AlbertForSequenceClassification(_Pooled, SequenceClassification):
    """A class for the whole text."""


class AlbertForMultipleChoice(_Pooled, MultipleChoice):
    """A score for each continuation."""

    outputs = 1


class AlbertForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = AlbertModel
    base_options = {"add_pooling_layer": False}

    def head_dropout(self) -> float:
        drop = self.config.classifier_dropout_prob
        return self.config.hidden_dropout_prob if drop is None else drop


class AlbertForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = AlbertModel
    base_options = {"add_pooling_layer": False}
