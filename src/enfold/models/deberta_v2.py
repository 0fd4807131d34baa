"""DeBERTa v2 and v3 (He et al. 2021): attention that also compares contents with the distances between tokens.

The new masked-language head (`legacy=False`) is the one that v3 was trained with; as in the reference library, files
that don't say get the legacy one.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ConfigError
from enfold.models.activations import activation
from enfold.models.base import dense
from enfold.models.bert import BertConfig
from enfold.models.config import PreTrainedConfig
from enfold.models.losses import sequence_loss
from enfold.models.stacks import SingleStack, States, first_tokens
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
from enfold.nn.cache import Packed
from enfold.nn.linear import Embedding, Linear
from enfold.nn.modules import ACTIVATIONS, Attention, Context, Embed, Layer, LayerNorm, norm
from enfold.nn.split import Plan, blocks
from enfold.nn.where import Where
from enfold.weights.names import NameTable

KINDS = ("c2p", "p2c")  # contents of the query with distances, contents of the key with distances


class DebertaV2Config(BertConfig):
    """Entries of a DeBERTa v2 or v3 `config.json`."""

    model_type = "deberta-v2"
    defaults = {
        **BertConfig.defaults,
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "relative_attention": False,
        "max_relative_positions": -1,
        "position_buckets": -1,
        "position_biased_input": True,
        "pos_att_type": None,
        "share_att_key": False,
        "norm_rel_ebd": "none",
        "conv_kernel_size": 0,
        "conv_groups": 1,
        "conv_act": "tanh",
        "pooler_dropout": 0.0,
        "pooler_hidden_act": "gelu",
        "cls_dropout": None,
        "legacy": True,
    }

    @property
    def compares(self) -> tuple[str, ...]:
        """What is compared with distances beside the contents themselves.

        Raises:
            ConfigError: a kind that isn't known.
        """
        kinds = self.pos_att_type or ()
        kinds = tuple(kind.strip() for kind in (kinds.lower().split("|") if isinstance(kinds, str) else kinds))
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise ConfigError(f"pos_att_type={self.pos_att_type!r} names {unknown}; known are {', '.join(KINDS)}")
        return kinds

    @property
    def furthest(self) -> int:
        """Distances that are told apart."""
        return self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings

    @property
    def embedding_width(self) -> int:
        return self.get("embedding_size") or self.hidden_size

    @property
    def pooler_hidden_size(self) -> int:
        return self.entries.get("pooler_hidden_size", self.hidden_size)

    @pooler_hidden_size.setter
    def pooler_hidden_size(self, size: int) -> None:
        self.entries["pooler_hidden_size"] = size


def buckets(distance: Tensor, count: int, furthest: int) -> Tensor:
    """Bucket of each query-minus-key distance: itself up to half of `count`, then logarithmic up to `furthest`."""
    if count <= 0:
        return distance
    middle, size = count // 2, distance.abs()
    steps = torch.log(size.clamp(min=middle) / middle) / torch.log(torch.tensor((furthest - 1) / middle))
    far = torch.ceil(steps * (middle - 1)) + middle
    return torch.where(size <= middle, distance, (far * distance.sign()).long())


class Distances(nn.Module):
    """A vector for each bucket of distances, shared by all layers."""

    counts = "columns"

    def __init__(self, config: DebertaV2Config):
        super().__init__()
        self.count, self.furthest = config.position_buckets, config.furthest
        self.span = self.count if self.count > 0 else self.furthest
        self.table = Embedding(2 * self.span, config.hidden_size)
        normed = "layer_norm" in [part.strip() for part in config.norm_rel_ebd.lower().split("|")]
        self.norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if normed else None

    def plan(self, ranks: int) -> Plan:
        """Whole on every rank, which reads them with its heads."""
        return Plan()

    def rows(self, distance: Tensor) -> Tensor:
        """The row of each query-minus-key distance."""
        return (buckets(distance, self.count, self.furthest) + self.span).clamp(0, 2 * self.span - 1)

    def within(self, where: Where) -> tuple[Tensor, int]:
        """Vectors of all distances that occur, [R, D], and the row that the first of them is."""
        reach = max(where.lengths, default=1) if where.columns is None else int(where.columns.max()) + 1
        first, last = self.rows(torch.tensor([1 - reach, reach - 1])).tolist()
        vectors = self.table.weight[first : last + 1]
        return vectors if self.norm is None else self.norm(vectors), first


@dataclass(frozen=True)
class Disentangled(spec.Attention, spec.Op):
    """Attention whose scores are q·k, q·(key of the distance) and k·(query of the distance), as `compares` says.

    Attributes:
        projections: whether distances have projections of their own or take those of the tokens.
        distance_dropout: on the vectors of distances.
    """

    compares: tuple[str, ...] = ()
    projections: Literal["own", "shared"] = "own"
    distance_dropout: float = 0.0

    def build(self, width: int) -> nn.Module:
        return DisentangledAttention(self, width)


class DisentangledAttention(Attention):
    """x [N, D] → [N, D]; the scores of contents with distances are biases of a run's own, [G, H, L, L]."""

    spec: Disentangled

    def __init__(self, given: Disentangled, width: int):
        super().__init__(given, width)
        own = given.projections == "own"
        self.distance_k = Linear(width, self.widths[0]) if own and "c2p" in given.compares else None
        self.distance_q = Linear(width, self.widths[0]) if own and "p2c" in given.compares else None

    def plan(self, ranks: int) -> Plan | None:
        found, given = super().plan(ranks), self.spec
        names = [name for name in ("distance_k", "distance_q") if getattr(self, name) is not None]
        columns = dict.fromkeys(names, blocks(given.heads, given.head_dim))
        draws = given.dropout > 0 or given.distance_dropout > 0
        return found and replace(found, columns={**found.columns, **columns}, draws=draws)

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        q, k, v = map(self.by_head, self.groups[0].parts(x))
        keys, where = Packed(k, v, context.where.lengths, context.where.offsets), context.where
        contents = None
        if context.relative is not None and self.spec.compares:
            assert isinstance(context.relative, Distances)
            vectors, first = context.relative.within(where)
            vectors = F.dropout(vectors, self.spec.distance_dropout, self.training)
            given = {}
            if "c2p" in self.spec.compares:
                given["c2p"] = self.by_head((self.distance_k or self.k)(vectors)).permute(1, 2, 0)  # [H, d, R]
            if "p2c" in self.spec.compares:
                given["p2c"] = self.by_head((self.distance_q or self.q)(vectors)).permute(1, 2, 0)
            contents = partial(self.compared, q, keys, given, where, context.relative.rows, first)
        return self.answer(q, keys, context, context.trace.attentions, contents)

    def compared(
        self,
        q: Tensor,
        keys: Packed,
        distances: dict[str, Tensor],
        where: Where,
        rows: Any,
        low: int,
        first: int,
        end: int,
    ) -> Tensor:
        """Scores of contents with distances in the run of sequences `first…end`: [G, H, L, L]."""
        length, memo = where.lengths[first], where.memo
        places = None if where.columns is None else where.columns[where.offsets[first] : where.offsets[first + 1]]
        key = ("distances", length, None if places is None else first)
        if key not in memo:
            places = torch.arange(length, device=q.device) if places is None else places
            memo[key] = rows(places[:, None] - places[None, :]) - low  # [L, L]
        index = memo[key]
        part = slice(where.offsets[first], where.offsets[end])
        total = None
        for kind, x, across in (("c2p", q, index), ("p2c", keys.keys, index.T)):
            if kind not in distances:
                continue
            x = x[part].view(end - first, length, *x.shape[1:]).transpose(1, 2)  # [G, H, L, d]
            found = (x @ distances[kind]).gather(-1, across.expand(*x.shape[:2], -1, -1))
            found = found if kind == "c2p" else found.transpose(-1, -2)
            total = found if total is None else total + found
        assert total is not None
        return total * self.rules[False].scale


class DebertaEmbed(Embed):
    """Narrow vectors are widened before the norm."""

    def __init__(self, given: spec.Embed, width: int):
        super().__init__(given, width)
        self.norm = norm(given.norm, width)
        self.widen = Linear(given.width, width, bias=False) if given.width else None

    def finish(self, x: Tensor) -> Tensor:
        x = x if self.widen is None else self.widen(x)
        x = x if self.norm is None else self.norm(x)
        return F.dropout(x, self.spec.dropout, self.training)


class Convolution(nn.Conv1d):
    """Over neighbouring tokens; weights start uninitialised."""

    def reset_parameters(self) -> None:
        """Nothing: see `Linear.reset_parameters`."""

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh weight or bias."""
        parameter.zero_() if name == "bias" else parameter.normal_(0.0, std)


class ConvolvedLayer(Layer):
    """A layer whose input is also convolved, and added to its output: x → norm(layer(x) + act(conv(x)))."""

    def __init__(self, given: spec.Layer, config: DebertaV2Config):
        super().__init__(given, config.hidden_size)
        width, size = config.hidden_size, config.conv_kernel_size
        if size % 2 == 0:
            raise ConfigError(f"conv_kernel_size={size}; expected an odd number, so that each token is in the middle")
        self.conv = Convolution(width, width, size, padding=size // 2, groups=config.conv_groups)
        self.norm = LayerNorm(width, eps=config.layer_norm_eps)
        self.act, self.dropout = ACTIVATIONS[activation(config.conv_act)], config.hidden_dropout_prob

    def forward(self, x: Tensor, context: Context, depth: int) -> Tensor:
        mixed = F.dropout(self.convolved(x, context.where), self.dropout, self.training)
        return self.norm(self.act(mixed), super().forward(x, context, depth))

    def convolved(self, x: Tensor, where: Where) -> Tensor:
        """[N, D] → [N, D], each sequence for itself, zeros where a column is padding."""
        if where.columns is None:
            runs, places = where.runs, None
        else:
            runs, places = [(i, i + 1) for i in range(len(where.lengths))], where.columns
        parts = []
        for first, end in runs:
            part = slice(where.offsets[first], where.offsets[end])
            if part.start == part.stop:
                continue
            rows = x[part].view(end - first, where.lengths[first], -1)
            if places is not None:
                spread = x.new_zeros(1, int(places[part.stop - 1]) + 1, x.shape[-1])
                rows = spread.index_copy(1, places[part], rows)
            rows = self.conv(rows.transpose(1, 2)).transpose(1, 2)
            parts.append((rows if places is None else rows[:, places[part]]).reshape(-1, x.shape[-1]))
        return torch.cat(parts) if parts else x


class DebertaV2Model(SingleStack):
    """The encoder."""

    config_class = DebertaV2Config
    base_model_prefix = "deberta"
    ignorable = r"(.*\.)?embeddings\.position_(ids|embeddings\.weight)$|mask_predictions\."
    names = NameTable("""
        stack.embed.tokens                       embeddings.word_embeddings
        stack.embed.positions                    embeddings.position_embeddings
        stack.embed.types                        embeddings.token_type_embeddings
        stack.embed.norm                         embeddings.LayerNorm
        stack.embed.widen                        embeddings.embed_proj
        stack.relative.table                     encoder.rel_embeddings
        stack.relative.norm                      encoder.LayerNorm
        stack.layers.{i}.attn.op.q               encoder.layer.{i}.attention.self.query_proj
        stack.layers.{i}.attn.op.k               encoder.layer.{i}.attention.self.key_proj
        stack.layers.{i}.attn.op.v               encoder.layer.{i}.attention.self.value_proj
        stack.layers.{i}.attn.op.o               encoder.layer.{i}.attention.output.dense
        stack.layers.{i}.attn.op.distance_k      encoder.layer.{i}.attention.self.pos_key_proj
        stack.layers.{i}.attn.op.distance_q      encoder.layer.{i}.attention.self.pos_query_proj
        stack.layers.{i}.attn.out                encoder.layer.{i}.attention.output.LayerNorm
        stack.layers.{i}.mlp.op.up               encoder.layer.{i}.intermediate.dense
        stack.layers.{i}.mlp.op.down             encoder.layer.{i}.output.dense
        stack.layers.{i}.mlp.out                 encoder.layer.{i}.output.LayerNorm
        stack.layers.0.conv                      encoder.conv.conv
        stack.layers.0.norm                      encoder.conv.LayerNorm
    """)

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        given = self.stack.spec
        assert isinstance(config, DebertaV2Config)
        assert given.embed is not None
        self.stack.embed = DebertaEmbed(given.embed, given.width)
        if config.relative_attention:
            self.stack.relative = Distances(config)  # type: ignore[assignment]
        if config.conv_kernel_size > 0:
            self.stack.layers[0] = ConvolvedLayer(given.layers[0], config)

    @classmethod
    def spec(cls, config: DebertaV2Config) -> spec.Stack:
        normed, drop = spec.Norm(config.layer_norm_eps), config.hidden_dropout_prob
        heads, head_dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        related = bool(config.relative_attention)
        attention = Disentangled(
            heads=heads,
            head_dim=head_dim,
            kv_heads=heads,
            scale=(head_dim * (1 + len(set(config.compares)))) ** -0.5,  # whether distances are looked at or not
            dropout=config.attention_probs_dropout_prob,
            compares=config.compares if related else (),
            projections="shared" if config.share_att_key else "own",
            distance_dropout=drop,
        )
        mlp = spec.MLP(config.intermediate_size, activation(config.hidden_act))
        layer = spec.Layer(
            attn=spec.Step(attention, out=normed, dropout=drop), mlp=spec.Step(mlp, out=normed, dropout=drop)
        )
        narrow = config.embedding_width
        return spec.Stack(
            width=config.hidden_size,
            layers=(layer,) * config.num_hidden_layers,
            embed=spec.Embed(
                vocab=config.vocab_size,
                positions=config.max_position_embeddings if config.position_biased_input else 0,
                types=config.type_vocab_size,
                norm=normed,
                padding_id=config.pad_token_id,
                dropout=drop,
                width=narrow if narrow != config.hidden_size else None,
            ),
        )


NEW_HEAD = NameTable("""
    head.dense          lm_predictions.lm_head.dense
    head.norm           lm_predictions.lm_head.LayerNorm
    head.decoder.bias   lm_predictions.lm_head.bias
""")


class DebertaV2ForMaskedLM(VocabularyModel, MaskedLM):
    """What stood behind a mask."""

    base_class = DebertaV2Model
    head_names = """
        head.dense            cls.predictions.transform.dense
        head.norm             cls.predictions.transform.LayerNorm
        head.decoder.weight   cls.predictions.decoder.weight
        head.decoder.bias     cls.predictions.bias
    """
    stored_aliases = {"cls.predictions.decoder.bias": "cls.predictions.bias"}

    def name_table(self) -> NameTable:
        if self.config.legacy:
            return super().name_table()
        return self.base_class.names.under("base.", f"{self.base_model_prefix}.") + NEW_HEAD

    def ties(self) -> dict[str, str]:
        return super().ties() if self.config.legacy else self.tied  # the new head has no map of its own

    def aliases(self) -> dict[str, str]:
        return super().aliases() if self.config.legacy else {}


class _Pooled(TaskModel):
    """A classifier over a small network over the first token."""

    base_class = DebertaV2Model
    head_names = """
        pooler       pooler.dense
        classifier   classifier
    """
    outputs: int | None = None

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.pooler = dense(config.pooler_hidden_size, config.pooler_hidden_size)
        self.classifier = dense(config.hidden_size, self.outputs or config.num_labels)

    def classify(self, states: States, input_ids: Tensor | None) -> Tensor:
        config = self.config
        pooled = self.pooler(self.drop(first_tokens(states), config.pooler_dropout))
        pooled = ACTIVATIONS[activation(config.pooler_hidden_act)](pooled)
        drop = config.hidden_dropout_prob if config.cls_dropout is None else config.cls_dropout
        return self.classifier(self.drop(pooled, drop))


class DebertaV2ForSequenceClassification(_Pooled, SequenceClassification):
    """A class for the whole text."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Without a `problem_type`: several labels are shares of one whole, and classes below 0 don't count."""
        if self.config.problem_type is not None:
            return sequence_loss(logits, labels, self.config)
        if self.config.num_labels == 1:
            return F.mse_loss(logits.view(-1).to(labels.dtype), labels.view(-1))
        if labels.ndim == 1 or labels.shape[-1] == 1:
            kept = labels.view(-1) >= 0
            classes = labels.view(-1)[kept].long()
            return F.cross_entropy(logits[kept].float(), classes) if len(classes) else logits.new_zeros(())
        return -(logits.log_softmax(-1) * labels).sum(-1).mean()


class DebertaV2ForMultipleChoice(_Pooled, MultipleChoice):
    """A score for each continuation."""

    outputs = 1


class DebertaV2ForTokenClassification(TokenClassification):
    """A classifier over every token."""

    base_class = DebertaV2Model

    def head_dropout(self) -> float:
        return self.config.hidden_dropout_prob


class DebertaV2ForQuestionAnswering(QuestionAnswering):
    """Start and end of an answer."""

    base_class = DebertaV2Model
