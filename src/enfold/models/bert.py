"""BERT (Devlin et al. 2019): an encoder with post-norm steps."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from enfold.base.errors import NotBuiltError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.generative import GenerativeDecoder
from enfold.models.losses import token_loss
from enfold.models.outputs import LogitsOutput, PreTrainingOutput
from enfold.models.stacks import SingleStack, States, finish, first_tokens
from enfold.models.tasks import (
    CausalLM,
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


class BertConfig(PreTrainedConfig):
    """Entries of a BERT `config.json`."""

    model_type = "bert"
    defaults = {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
    }


class BertModel(SingleStack):
    """The encoder, with the pooler over its first token."""

    config_class = BertConfig
    base_model_prefix = "bert"
    ignorable = r"(.*\.)?embeddings\.position_ids$"
    names = NameTable("""
        stack.embed.tokens             embeddings.word_embeddings
        stack.embed.positions          embeddings.position_embeddings
        stack.embed.types              embeddings.token_type_embeddings
        stack.embed.norm               embeddings.LayerNorm
        stack.layers.{i}.attn.op.q     encoder.layer.{i}.attention.self.query
        stack.layers.{i}.attn.op.k     encoder.layer.{i}.attention.self.key
        stack.layers.{i}.attn.op.v     encoder.layer.{i}.attention.self.value
        stack.layers.{i}.attn.op.o     encoder.layer.{i}.attention.output.dense
        stack.layers.{i}.attn.out      encoder.layer.{i}.attention.output.LayerNorm
        stack.layers.{i}.cross.op.q    encoder.layer.{i}.crossattention.self.query
        stack.layers.{i}.cross.op.k    encoder.layer.{i}.crossattention.self.key
        stack.layers.{i}.cross.op.v    encoder.layer.{i}.crossattention.self.value
        stack.layers.{i}.cross.op.o    encoder.layer.{i}.crossattention.output.dense
        stack.layers.{i}.cross.out     encoder.layer.{i}.crossattention.output.LayerNorm
        stack.layers.{i}.mlp.op.up     encoder.layer.{i}.intermediate.dense
        stack.layers.{i}.mlp.op.down   encoder.layer.{i}.output.dense
        stack.layers.{i}.mlp.out       encoder.layer.{i}.output.LayerNorm
        pooler                         pooler.dense
    """)

    def __init__(self, config: PreTrainedConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.pooler = dense(config.hidden_size, config.hidden_size) if add_pooling_layer else None

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        """Its kin's embeddings differ."""
        return spec.Embed(
            vocab=config.vocab_size,
            positions=config.max_position_embeddings,
            types=config.type_vocab_size,
            norm=spec.Norm(config.layer_norm_eps),
            padding_id=config.pad_token_id,
            dropout=config.hidden_dropout_prob,
        )

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        if config.position_embedding_type != "absolute":
            raise NotBuiltError(
                f"position_embedding_type={config.position_embedding_type!r} is not built; expected 'absolute'"
            )
        norm = spec.Norm(config.layer_norm_eps)
        drop, heads = config.hidden_dropout_prob, config.num_attention_heads

        def attention(causal: bool) -> spec.Step:
            op = spec.Attention(
                heads=heads,
                head_dim=config.hidden_size // heads,
                kv_heads=heads,
                causal=causal,
                dropout=config.attention_probs_dropout_prob,
            )
            return spec.Step(op, out=norm, dropout=drop)

        layer = spec.Layer(
            attn=attention(bool(config.is_decoder)),
            cross=attention(False) if config.add_cross_attention else None,
            mlp=spec.Step(spec.MLP(config.intermediate_size, activation(config.hidden_act)), out=norm, dropout=drop),
        )
        return spec.Stack(
            width=config.hidden_size,
            layers=(layer,) * config.num_hidden_layers,
            embed=cls.embed(config),
        )

    def pool(self, states: States) -> Tensor | None:
        return None if self.pooler is None else torch.tanh(self.pooler(first_tokens(states)))


def head_dropout(config: PreTrainedConfig) -> float:
    """Dropout before a classifier."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


HEAD_NAMES = """
    head.dense            cls.predictions.transform.dense
    head.norm             cls.predictions.transform.LayerNorm
    head.decoder.weight   cls.predictions.decoder.weight
    head.decoder.bias     cls.predictions.bias
"""


class _WithVocabulary(VocabularyModel):
    """The masked-language head."""

    base_class = BertModel
    base_options = {"add_pooling_layer": False}
    head_names = HEAD_NAMES
    stored_aliases = {"cls.predictions.decoder.bias": "cls.predictions.bias"}


class BertForMaskedLM(_WithVocabulary, MaskedLM):
    """What stood behind a mask."""


class BertLMHeadModel(GenerativeDecoder, _WithVocabulary, CausalLM):
    """BERT as a decoder (`is_decoder=True`)."""


class BertForPreTraining(_WithVocabulary):
    """Masked tokens and next sentence together."""

    base_options = {}
    head_names = HEAD_NAMES + "next_sentence  cls.seq_relationship"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.next_sentence = dense(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> PreTrainingOutput | tuple:
        """Token logits [B, T, vocab] and next-sentence logits [B, 2]; the loss is the sum of both."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        scores = self.head(states.packed)
        relation = self.next_sentence(self.base.pool(states))
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(scores, states.packing.pack(labels)) + F.cross_entropy(
                relation, next_sentence_label.view(-1)
            )
        return finish(
            PreTrainingOutput(loss, states.packing.unpack(scores), relation, states.hidden_states, states.attentions),
            self.config,
            return_dict,
        )


class BertForNextSentencePrediction(TaskModel):
    """Whether the second text follows the first: class 0 says it does."""

    base_class = BertModel
    head_names = "next_sentence  cls.seq_relationship"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.next_sentence = dense(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, 2]."""
        states = self.base.run(input_ids, attention_mask, **inputs)
        logits = self.next_sentence(self.base.pool(states))
        loss = None if labels is None else F.cross_entropy(logits, labels.view(-1))
        return finish(self.result(states, loss=loss, logits=logits), self.config, return_dict)


class BertForSequenceClassification(SequenceClassification):
    """A classifier over the pooled first token."""

    base_class = BertModel
    head_names = "classifier  classifier"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.classifier = dense(config.hidden_size, config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        pooled = self.base.pool(states)
        assert pooled is not None
        return self.classifier(self.drop(pooled, head_dropout(self.config)))


class BertForMultipleChoice(MultipleChoice):
    """A score for each continuation."""

    base_class = BertModel
    head_names = "classifier  classifier"

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.classifier = dense(config.hidden_size, 1)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        pooled = self.base.pool(states)
        assert pooled is not None
        return self.classifier(self.drop(pooled, head_dropout(self.config)))


class BertForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = BertModel
    base_options = {"add_pooling_layer": False}

    def head_dropout(self) -> float:
        return head_dropout(self.config)


class BertForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = BertModel
    base_options = {"add_pooling_layer": False}
