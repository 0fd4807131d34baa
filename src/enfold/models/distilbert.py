"""DistilBERT (Sanh et al. 2019): BERT with half the layers, no types and no pooler."""

from torch import Tensor
from torch.nn import functional as F

from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.stacks import SingleStack, States, first_tokens
from enfold.models.tasks import (
    MaskedLM,
    MultipleChoice,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
    VocabularyModel,
)
from enfold.nn import spec
from enfold.weights.names import NameTable


class DistilBertConfig(PreTrainedConfig):
    """Entries of a DistilBERT `config.json`."""

    model_type = "distilbert"
    aliases = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "intermediate_size": "hidden_dim",
    }
    defaults = {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "sinusoidal_pos_embds": False,
        "n_layers": 6,
        "n_heads": 12,
        "dim": 768,
        "hidden_dim": 3072,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation": "gelu",
        "initializer_range": 0.02,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "pad_token_id": 0,
    }


class DistilBertModel(SingleStack):
    """The encoder."""

    config_class = DistilBertConfig
    base_model_prefix = "distilbert"
    ignorable = r"(.*\.)?embeddings\.position_ids$"
    names = NameTable("""
        stack.embed.tokens             embeddings.word_embeddings
        stack.embed.positions          embeddings.position_embeddings
        stack.embed.norm               embeddings.LayerNorm
        stack.layers.{i}.attn.op.q     transformer.layer.{i}.attention.q_lin
        stack.layers.{i}.attn.op.k     transformer.layer.{i}.attention.k_lin
        stack.layers.{i}.attn.op.v     transformer.layer.{i}.attention.v_lin
        stack.layers.{i}.attn.op.o     transformer.layer.{i}.attention.out_lin
        stack.layers.{i}.attn.out      transformer.layer.{i}.sa_layer_norm
        stack.layers.{i}.mlp.op.up     transformer.layer.{i}.ffn.lin1
        stack.layers.{i}.mlp.op.down   transformer.layer.{i}.ffn.lin2
        stack.layers.{i}.mlp.out       transformer.layer.{i}.output_layer_norm
    """)

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        norm = spec.Norm(1e-12)
        attention = spec.Attention(
            heads=config.n_heads,
            head_dim=config.dim // config.n_heads,
            kv_heads=config.n_heads,
            dropout=config.attention_dropout,
        )
        mlp = spec.MLP(config.hidden_dim, activation(config.activation))
        layer = spec.Layer(attn=spec.Step(attention, out=norm), mlp=spec.Step(mlp, out=norm, dropout=config.dropout))
        return spec.Stack(
            width=config.dim,
            layers=(layer,) * config.n_layers,
            embed=spec.Embed(
                vocab=config.vocab_size,
                positions=config.max_position_embeddings,
                norm=norm,
                padding_id=config.pad_token_id,
                dropout=config.dropout,
            ),
        )


class DistilBertForMaskedLM(VocabularyModel, MaskedLM):
    """What stood behind a mask."""

    base_class = DistilBertModel
    head_names = """
        head.dense     vocab_transform
        head.norm      vocab_layer_norm
        head.decoder   vocab_projector
    """


class DistilBertForSequenceClassification(SequenceClassification):
    """A small network over the first token."""

    base_class = DistilBertModel
    head_names = """
        pre_classifier  pre_classifier
        classifier      classifier
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.pre_classifier = dense(config.dim, config.dim)
        self.classifier = dense(config.dim, config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        pooled = F.relu(self.pre_classifier(first_tokens(states)))
        return self.classifier(self.drop(pooled, self.config.seq_classif_dropout))


class DistilBertForMultipleChoice(MultipleChoice):
    """A score for each continuation."""

    base_class = DistilBertModel
    head_names = DistilBertForSequenceClassification.head_names

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.pre_classifier = dense(config.dim, config.dim)
        self.classifier = dense(config.dim, 1)

    classify = DistilBertForSequenceClassification.classify


class DistilBertForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = DistilBertModel

    def head_dropout(self) -> float:
        return self.config.dropout


class DistilBertForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = DistilBertModel

    def head_dropout(self) -> float:
        return self.config.qa_dropout
