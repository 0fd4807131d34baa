"""MPNet (Song et al. 2020): RoBERTa with T5's biases over bucketed distances, one table for all layers."""

from dataclasses import replace

from enfold.base.errors import ConfigError
from enfold.models.config import PreTrainedConfig
from enfold.models.roberta import (
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)
from enfold.nn import spec
from enfold.nn.linear import Embedding
from enfold.weights.names import NameTable

BUCKETS = 32  # that distances fall into, however many rows the table has


class MPNetConfig(RobertaConfig):
    """Entries of an MPNet `config.json`."""

    model_type = "mpnet"
    defaults = {**RobertaConfig.defaults, "vocab_size": 30527, "relative_attention_num_buckets": BUCKETS}


class MPNetModel(RobertaModel):
    """The encoder. Its padding is token 1, whatever `pad_token_id` says."""

    config_class = MPNetConfig
    base_model_prefix = "mpnet"
    names = NameTable("""
        stack.embed.tokens             embeddings.word_embeddings
        stack.embed.positions          embeddings.position_embeddings
        stack.embed.norm               embeddings.LayerNorm
        stack.relative.table           encoder.relative_attention_bias
        stack.layers.{i}.attn.op.q     encoder.layer.{i}.attention.attn.q
        stack.layers.{i}.attn.op.k     encoder.layer.{i}.attention.attn.k
        stack.layers.{i}.attn.op.v     encoder.layer.{i}.attention.attn.v
        stack.layers.{i}.attn.op.o     encoder.layer.{i}.attention.attn.o
        stack.layers.{i}.attn.out      encoder.layer.{i}.attention.LayerNorm
        stack.layers.{i}.mlp.op.up     encoder.layer.{i}.intermediate.dense
        stack.layers.{i}.mlp.op.down   encoder.layer.{i}.output.dense
        stack.layers.{i}.mlp.out       encoder.layer.{i}.output.LayerNorm
        pooler                         pooler.dense
    """)

    def __init__(self, config: PreTrainedConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        rows = config.relative_attention_num_buckets
        if rows < BUCKETS:
            raise ConfigError(f"relative_attention_num_buckets={rows}; MPNet's distances fall into {BUCKETS} buckets")
        assert self.stack.relative is not None
        self.stack.relative.table = Embedding(rows, config.num_attention_heads)

    @staticmethod
    def padding(config: PreTrainedConfig) -> int:
        return 1

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return replace(super().embed(config), types=0, padding_id=cls.padding(config))

    @classmethod
    def spec(cls, config: PreTrainedConfig) -> spec.Stack:
        stack = super().spec(config)
        biased = []
        for layer in stack.layers:
            assert isinstance(layer.attn.op, spec.Attention)
            biased.append(replace(layer, attn=replace(layer.attn, op=replace(layer.attn.op, biased=True))))
        table = spec.Relative(BUCKETS, max_distance=128, heads=config.num_attention_heads, bidirectional=True)
        return replace(stack, layers=tuple(biased), relative=table)

    def padding_row(self, name: str) -> int | None:
        tables = ("embed.tokens.weight", "embed.positions.weight")
        return self.padding(self.config) if name.endswith(tables) else None


class MPNetForMaskedLM(RobertaForMaskedLM):
    """What stood behind a mask."""

    base_class = MPNetModel


class MPNetForSequenceClassification(RobertaForSequenceClassification):
    """A small network over the first token."""

    base_class = MPNetModel


class MPNetForMultipleChoice(RobertaForMultipleChoice):
    """A score for each continuation."""

    base_class = MPNetModel


class MPNetForTokenClassification(RobertaForTokenClassification):
    """A classifier over every token."""

    base_class = MPNetModel


class MPNetForQuestionAnswering(RobertaForQuestionAnswering):
    """Start and end of an answer."""

    base_class = MPNetModel
