"""ModernBERT (Warner et al. 2024): a pre-norm encoder with rotary positions; most layers see a window on both sides."""

import math
from typing import Any

from torch import Tensor, nn

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import token_loss
from enfold.models.outputs import LogitsOutput
from enfold.models.positions import rope
from enfold.models.stacks import SingleStack, States, finish, first_tokens, mean_tokens
from enfold.models.tasks import (
    MaskedLM,
    MultipleChoice,
    QuestionAnswering,
    SequenceClassification,
    TaskModel,
    TokenClassification,
    Transform,
    Vocabulary,
    VocabularyModel,
)
from enfold.models.windows import LOCAL, LayeredConfig
from enfold.nn import spec
from enfold.weights.names import NameTable


class ModernBertConfig(LayeredConfig):
    """Entries of a ModernBERT `config.json`."""

    model_type = "modernbert"
    defaults = {
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "initializer_range": 0.02,
        "initializer_cutoff_factor": 2.0,
        "norm_eps": 1e-5,
        "norm_bias": False,
        "pad_token_id": 50283,
        "eos_token_id": 50282,
        "bos_token_id": 50281,
        "cls_token_id": 50281,
        "sep_token_id": 50282,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "embedding_dropout": 0.0,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "decoder_bias": True,
        "classifier_pooling": "cls",
        "classifier_dropout": 0.0,
        "classifier_bias": False,
        "classifier_activation": "gelu",
        "deterministic_flash_attn": False,
        "sparse_prediction": False,
        "sparse_pred_ignore_index": -100,
    }

    def slides(self, depth: int) -> bool:
        return bool(depth % self.global_attn_every_n_layers)

    @property
    def sliding_window(self) -> int:
        """Tokens that a windowed layer sees on each side, itself among them."""
        return self.local_attention // 2 + 1


class ModernBertModel(SingleStack):
    """The encoder."""

    config_class = ModernBertConfig
    base_model_prefix = "model"
    names = NameTable("""
        stack.embed.tokens               embeddings.tok_embeddings
        stack.embed.norm                 embeddings.norm
        stack.layers.{i}.attn.pre        layers.{i}.attn_norm
        stack.layers.{i}.attn.op.qkv     layers.{i}.attn.Wqkv
        stack.layers.{i}.attn.op.o       layers.{i}.attn.Wo
        stack.layers.{i}.mlp.pre         layers.{i}.mlp_norm
        stack.layers.{i}.mlp.op.gate_up  layers.{i}.mlp.Wi
        stack.layers.{i}.mlp.op.down     layers.{i}.mlp.Wo
        stack.norm                       final_norm
    """)

    @classmethod
    def layer(cls, config: ModernBertConfig, depth: int) -> spec.Layer:
        norm, heads, kind = cls.norm(config), config.num_attention_heads, config.layer_types[depth]
        head_dim, bias = config.hidden_size // heads, bool(config.attention_bias)
        base = config.local_rope_theta if kind == LOCAL else config.global_rope_theta
        attention = spec.Attention(
            heads=heads,
            head_dim=head_dim,
            kv_heads=heads,
            bias=bias,
            out_bias=bias,
            rope=rope(config, head_dim, default_base=base or config.global_rope_theta, kind=kind),
            together=True,
            dropout=config.attention_dropout,
            window=config.window(depth),
        )
        mlp = spec.MLP(
            config.intermediate_size,
            activation(config.hidden_activation),
            gated=True,
            together=True,
            bias=bool(config.mlp_bias),
            dropout=config.mlp_dropout,
        )
        return spec.Layer(
            attn=spec.Step(attention, pre=norm if depth else None, dropout=config.attention_dropout),
            mlp=spec.Step(mlp, pre=norm),
        )

    @classmethod
    def norm(cls, config: PreTrainedConfig) -> spec.Norm:
        return spec.Norm(config.norm_eps, bias=bool(config.norm_bias))

    @classmethod
    def spec(cls, config: ModernBertConfig) -> spec.Stack:
        return spec.Stack(
            width=config.hidden_size,
            layers=tuple(cls.layer(config, depth) for depth in range(config.num_hidden_layers)),
            embed=spec.Embed(
                vocab=config.vocab_size,
                norm=cls.norm(config),
                padding_id=config.pad_token_id,
                dropout=config.embedding_dropout,
            ),
            norm=cls.norm(config),
        )

    def std(self, name: str) -> float:
        """Maps out of a layer, and of a head's transform, by depth; classifiers by width."""
        spread = self.config.initializer_range
        if name.endswith(("classifier.weight", "qa_outputs.weight")):
            return self.config.hidden_size**-0.5
        if name.endswith((".o.weight", ".down.weight", ".dense.weight", ".decoder.weight")):
            return spread / math.sqrt(2.0 * self.config.num_hidden_layers)
        return spread

    def normal(self, parameter: Tensor, std: float) -> None:
        cut = self.config.initializer_cutoff_factor
        cut = (3.0 if cut is None else cut) * std
        nn.init.trunc_normal_(parameter, 0.0, std, -cut, cut)

    def padding_row(self, name: str) -> int | None:
        return None


def transform(config: PreTrainedConfig) -> Transform:
    """What every head has before its last map."""
    width, bias = config.hidden_size, bool(config.classifier_bias)
    return Transform(width, width, activation(config.classifier_activation), ModernBertModel.norm(config), bias=bias)


class ModernBertForMaskedLM(VocabularyModel, MaskedLM):
    """What stood behind a mask."""

    base_class = ModernBertModel
    head_names = """
        head.dense     head.dense
        head.norm      head.norm
        head.decoder   decoder
    """

    def vocabulary(self, config: PreTrainedConfig) -> nn.Module:
        bias, last = bool(config.classifier_bias), bool(config.decoder_bias)
        act = activation(config.classifier_activation)
        return Vocabulary(self.base.stack.spec, act, bias=bias, decoder_bias=last)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> LogitsOutput | tuple:
        """Logits [B, T, vocab], or with `sparse_prediction` and labels [M, vocab] of the M labelled tokens."""
        config = self.config
        if labels is None or not config.sparse_prediction:
            return super().forward(input_ids, attention_mask, labels=labels, return_dict=return_dict, **inputs)
        states = self.base.run(input_ids, attention_mask, **inputs)
        wanted = states.packing.pack(labels)
        kept = wanted != config.sparse_pred_ignore_index
        scores = self.scores(states.packed[kept])
        return finish(self.result(states, loss=token_loss(scores, wanted[kept]), logits=scores), config, return_dict)


HEAD_NAMES = """
    transform.dense   head.dense
    transform.norm    head.norm
"""


class _Pooled(TaskModel):
    """A classifier over the transformed first token, or over the mean of all."""

    base_class = ModernBertModel
    head_names = HEAD_NAMES + "classifier  classifier"
    outputs: int | None = None

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.transform = transform(config)
        self.classifier = dense(config.hidden_size, self.outputs or config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        match self.config.classifier_pooling:
            case "cls":
                pooled = first_tokens(states)
            case "mean":
                pooled = mean_tokens(states)
            case other:
                raise ConfigError(f"classifier_pooling={other!r}; expected 'cls' or 'mean'")
        return self.classifier(self.drop(self.transform(pooled), self.config.classifier_dropout))


class ModernBertForSequenceClassification(_Pooled, SequenceClassification):
    """A class for the whole text."""


class ModernBertForMultipleChoice(_Pooled, MultipleChoice):
    """A score for each continuation."""

    outputs = 1


class _Tokens(TaskModel):
    """A map of every transformed token."""

    base_class = ModernBertModel

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.transform = transform(config)

    def features(self, states: Tensor) -> Tensor:
        return self.drop(self.transform(states), self.config.classifier_dropout)


class ModernBertForTokenClassification(_Tokens, TokenClassification):
    """A classifier over every token."""

    head_names = HEAD_NAMES + "classifier  classifier"


class ModernBertForQuestionAnswering(_Tokens, QuestionAnswering):
    """Start and end of an answer."""

    head_names = HEAD_NAMES + "qa_outputs  classifier"
