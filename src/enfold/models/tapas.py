"""TAPAS (Herzig et al. 2020): BERT over a question and a table, whose answers are cells and what to do with them.

Padding stands in no cell here. The reference library counts it into the question's, so that with padding its scores of
the question's tokens, which no answer ever takes, are others.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from enfold.base.errors import ArgumentError, ConfigError
from enfold.models.base import check_ids, dense
from enfold.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from enfold.models.config import PreTrainedConfig
from enfold.models.outputs import ModelOutput
from enfold.models.stacks import States, finish
from enfold.models.tasks import TaskModel
from enfold.nn import spec
from enfold.nn.linear import Embedding
from enfold.nn.modules import Embed
from enfold.nn.where import Where
from enfold.weights.names import NameTable, Row

NEVER = -10000.0  # a score for what is never chosen
TINY = 1e-10
COLUMN, ROW = 1, 2  # among the seven types of a token


class TapasConfig(BertConfig):
    """Entries of a TAPAS `config.json`."""

    model_type = "tapas"
    defaults = {
        **BertConfig.defaults,
        "max_position_embeddings": 1024,
        "type_vocab_sizes": [3, 256, 256, 2, 256, 256, 10],
        "positive_label_weight": 10.0,
        "num_aggregation_labels": 0,
        "aggregation_loss_weight": 1.0,
        "use_answer_as_supervision": None,
        "answer_loss_importance": 1.0,
        "use_normalized_answer_loss": False,
        "huber_loss_delta": None,
        "temperature": 1.0,
        "aggregation_temperature": 1.0,
        "use_gumbel_for_cells": False,
        "use_gumbel_for_aggregation": False,
        "average_approximation_function": "ratio",
        "cell_selection_preference": None,
        "answer_loss_cutoff": None,
        "max_num_rows": 64,
        "max_num_columns": 32,
        "average_logits_per_cell": False,
        "select_one_column": True,
        "allow_empty_column_selection": False,
        "init_cell_selection_weights_to_zero": False,
        "reset_position_index_per_cell": True,
        "disable_per_token_loss": False,
        "aggregation_labels": None,
        "no_aggregation_label_index": None,
    }

    @property
    def aggregation_labels(self) -> dict[int, str] | None:
        given = self.entries.get("aggregation_labels")
        return given if given is None else {int(key): value for key, value in given.items()}

    @aggregation_labels.setter
    def aggregation_labels(self, labels: dict[int, str] | None) -> None:
        self.entries["aggregation_labels"] = labels


class TapasEmbed(Embed):
    """Tokens, positions, and a table for each of the types that say where in the table a token stands."""

    def __init__(self, given: spec.Embed, width: int, sizes: list[int]):
        super().__init__(given, width)
        self.tables = nn.ModuleList(Embedding(rows, width) for rows in sizes)

    def forward(self, ids: Tensor | None, where: Where, *, vectors: Tensor | None = None, types: Tensor | None = None):
        x = self.tokens(ids) if vectors is None else vectors
        if types is None:
            types = torch.zeros(len(x), len(self.tables), dtype=torch.long, device=x.device)
        if types.shape != (len(x), len(self.tables)):
            raise ArgumentError(
                f"token_type_ids hold {list(types.shape[1:])} numbers a token; expected [batch, length, "
                f"{len(self.tables)}], as TAPAS' tokenizer makes them"
            )
        for table, kinds in zip(self.tables, types.unbind(-1), strict=True):
            assert isinstance(table, Embedding)
            check_ids(kinds, table.num_embeddings, "token_type_ids")
            x = x + table(kinds)
        return super().forward(None, where, vectors=x)


class TapasModel(BertModel):
    """The encoder, with the pooler over its first token."""

    config_class = TapasConfig
    base_model_prefix = "tapas"
    names = NameTable(
        rows=[
            *(row for row in BertModel.names.rows if row.ours != "stack.embed.types"),
            Row("stack.embed.tables.{i}", "embeddings.token_type_embeddings_{i}"),
        ]
    )

    def __init__(self, config: PreTrainedConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        given = self.stack.spec.embed
        assert given is not None
        self.stack.embed = TapasEmbed(given, config.hidden_size, config.type_vocab_sizes)

    @classmethod
    def embed(cls, config: PreTrainedConfig) -> spec.Embed:
        return spec.Embed(
            vocab=config.vocab_size,
            positions=config.max_position_embeddings,
            norm=spec.Norm(config.layer_norm_eps),
            padding_id=config.pad_token_id,
            dropout=config.hidden_dropout_prob,
        )

    def run(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **inputs: Any,
    ) -> States:
        """As every stack's, with `token_type_ids` [B, T, 7]; positions count anew in every cell."""
        if position_ids is None and token_type_ids is not None and self.config.reset_position_index_per_cell:
            if token_type_ids.ndim != 3:
                raise ArgumentError(
                    f"token_type_ids have shape {list(token_type_ids.shape)}; expected [batch, length, 7], as TAPAS' "
                    "tokenizer makes them"
                )
            columns, rows = token_type_ids[..., COLUMN], token_type_ids[..., ROW]
            cells = columns * (rows.max() + 1) + rows if rows.numel() else rows
            places = torch.arange(cells.shape[1], device=cells.device).expand(cells.shape)
            count = int(cells.max()) + 1 if cells.numel() else 1
            firsts = places.new_zeros(len(cells), count).scatter_reduce(1, cells, places, "amin", include_self=False)
            position_ids = (places - firsts.gather(1, cells)).clamp(max=self.config.max_position_embeddings - 1)
        return super().run(input_ids, attention_mask, token_type_ids, position_ids, **inputs)


class TapasForMaskedLM(BertForMaskedLM):
    """What stood behind a mask."""

    base_class = TapasModel


class TapasForSequenceClassification(BertForSequenceClassification):
    """Whether a table entails a sentence, say."""

    base_class = TapasModel


@dataclass
class TableQuestionAnsweringOutput(ModelOutput):
    """Scores of each token to be in the answer [B, T], and of what is done with the cells [B, aggregations]."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    logits_aggregation: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Cells:
    """The cells that packed tokens stand in, and sums over them; those of row 0 or column 0 are no cells of the table.

    Args:
        types: [N, 7].
        lengths: tokens of each of the B sequences.
        rows, columns: how many are told apart; those beyond count as the last.
    """

    def __init__(self, types: Tensor, lengths: tuple[int, ...], rows: int, columns: int):
        self.texts, self.rows, self.columns = len(lengths), rows, columns
        counts = torch.tensor(lengths, device=types.device)
        self.text = torch.arange(self.texts, device=types.device).repeat_interleave(counts)  # [N]
        row, self.column = types[:, ROW].clamp(max=rows - 1), types[:, COLUMN].clamp(max=columns - 1)
        self.cell = (self.text * rows + row) * columns + self.column  # [N], among B · rows · columns
        self.tokens = self._sum(torch.ones_like(self.cell, dtype=torch.float32), self.cell, rows * columns)
        self.exists = (self.tokens > 0).float()  # [B, rows · columns]
        self.column_of = torch.arange(rows * columns, device=types.device) % columns

    def _sum(self, values: Tensor, index: Tensor, each: int) -> Tensor:
        return values.new_zeros(self.texts * each).index_add(0, index, values).view(self.texts, each)

    def by_text(self, values: Tensor) -> Tensor:
        """[N] → [B]."""
        return self._sum(values, self.text, 1)[:, 0]

    def by_column(self, values: Tensor) -> Tensor:
        """[N] → [B, columns]."""
        return self._sum(values, self.text * self.columns + self.column, self.columns)

    def mean(self, values: Tensor) -> Tensor:
        """Of the tokens of each cell: [N] → [B, rows · columns]."""
        return self._sum(values.float(), self.cell, self.rows * self.columns) / self.tokens.clamp(min=1)

    def any(self, labels: Tensor) -> Tensor:
        """Whether a token of each cell is labelled: [N] → [B, rows · columns]."""
        return (self._sum(labels, self.cell, self.rows * self.columns) > 0).float()

    def at_tokens(self, values: Tensor) -> Tensor:
        """[B, rows · columns] → [N]."""
        return values.reshape(-1)[self.cell]

    def column_logits(self, token_logits: Tensor, *, empty: bool) -> Tensor:
        """Mean over each column's cells, [B, columns]; `empty`: column 0, which stands for none, may be chosen."""
        shape = (self.texts, self.rows, self.columns)
        count = self.exists.view(shape).sum(1)
        logits = (self.mean(token_logits) * self.exists).view(shape).sum(1) / (count + TINY)
        first = torch.arange(self.columns, device=logits.device) == 0
        logits = logits + NEVER * ((count < 0.5) & ~first)
        return logits if empty else logits + NEVER * first


class TapasForQuestionAnswering(TaskModel):
    """Which cells answer a question, and whether they are summed, averaged or counted."""

    base_class = TapasModel
    head_names = """
        output_weights           output_weights
        output_bias              output_bias
        column_output_weights    column_output_weights
        column_output_bias       column_output_bias
        aggregation_classifier   aggregation_classifier
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.output_weights = nn.Parameter(torch.empty(config.hidden_size))
        self.output_bias = nn.Parameter(torch.empty([]))
        self.column_output_weights = nn.Parameter(torch.empty(config.hidden_size))
        self.column_output_bias = nn.Parameter(torch.empty([]))
        aggregations = config.num_aggregation_labels
        self.aggregation_classifier = dense(config.hidden_size, aggregations) if aggregations > 0 else None

    def draw(self, name: str, parameter: Tensor, std: float) -> None:
        """A fresh weight of the cell selection."""
        zero = name.endswith("bias") or self.config.init_cell_selection_weights_to_zero
        parameter.zero_() if zero else parameter.normal_(0.0, std)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        table_mask: Tensor | None = None,
        labels: Tensor | None = None,
        aggregation_labels: Tensor | None = None,
        float_answer: Tensor | None = None,
        numeric_values: Tensor | None = None,
        numeric_values_scale: Tensor | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> TableQuestionAnsweringOutput | tuple:
        """Scores of cells by token [B, T], −10000 at padding, and of aggregations.

        Args:
            token_type_ids: [B, T, 7].
            table_mask: [B, T], 1 at the table's cells; default those of a row from 1 on.
            labels: [B, T], 1 at tokens of the answer.
            aggregation_labels: [B], what is done with the cells, where that is known.
            float_answer: [B], the answer as a number, NaN where it is cells (with `use_answer_as_supervision`).
            numeric_values, numeric_values_scale: [B, T], the tokens as numbers, and tokens of the cell of each.
        """
        config = self.config
        states = self.base.run(input_ids, attention_mask, token_type_ids, **inputs)
        packing, x = states.packing, self.drop(states.packed, config.hidden_dropout_prob)
        pooled = self.base.pool(states)
        assert pooled is not None
        types = x.new_zeros(len(x), ROW + 1).long() if token_type_ids is None else packing.pack(token_type_ids)
        cells = Cells(types, states.where.lengths, config.max_num_rows, config.max_num_columns)
        logits = (x @ self.output_weights + self.output_bias) / config.temperature
        column_logits = None
        if config.select_one_column:
            scores = x @ self.column_output_weights + self.column_output_bias
            column_logits = cells.column_logits(scores, empty=config.allow_empty_column_selection)
        aggregation = None if self.aggregation_classifier is None else self.aggregation_classifier(pooled)
        loss = None
        if labels is None:
            if column_logits is not None:
                logits = one_column(cells, logits, column_logits)
        else:
            marked = packing.pack(labels).float()
            if config.average_logits_per_cell:
                logits = cells.at_tokens(cells.mean(logits))
            if column_logits is None:
                weight = torch.where(marked == 0, 1.0, config.positive_label_weight)
                each = F.binary_cross_entropy_with_logits(logits.float(), marked, reduction="none") * weight
                selection = cells.by_text(each) / (cells.by_text(torch.ones_like(each)) + TINY)
            else:
                selection = selection_loss(cells, logits, column_logits, marked)
                logits = one_column(cells, logits, column_logits)
            table = types[:, ROW] > 0 if table_mask is None else packing.pack(table_mask)
            numbers = [None if n is None else packing.pack(n) for n in (numeric_values, numeric_values_scale)]
            loss = self.loss(
                cells, selection, logits, aggregation, marked, table.float(), aggregation_labels, float_answer, *numbers
            )
        whole = logits.new_full((packing.shape[0] * packing.shape[1],), NEVER)
        whole = logits if packing.index is None else whole.index_copy(0, packing.index, logits)
        return finish(
            TableQuestionAnsweringOutput(
                loss, whole.view(packing.shape).to(x.dtype), aggregation, states.hidden_states, states.attentions
            ),
            config,
            return_dict,
        )

    def loss(
        self,
        cells: Cells,
        selection: Tensor,
        logits: Tensor,
        aggregation: Tensor | None,
        marked: Tensor,
        table: Tensor,
        wanted: Tensor | None,
        answer: Tensor | None,
        values: Tensor | None,
        scales: Tensor | None,
    ) -> Tensor:
        """The selection's [B], and where there are aggregations, theirs and the answer's (Herzig et al. 2020, §3.2)."""
        config, total = self.config, selection.new_zeros(())
        weak = aggregation is not None and bool(config.use_answer_as_supervision)
        aggregates = None  # [B]: whether the cells of an example are aggregated, as far as is known
        if weak:
            if answer is None or values is None or scales is None:
                raise ArgumentError(
                    "use_answer_as_supervision needs float_answer, numeric_values and numeric_values_scale beside "
                    "labels"
                )
            assert aggregation is not None
            some = aggregation.softmax(-1)[:, 1:].sum(1) > config.cell_selection_preference
            aggregates = ((some | (cells.by_text(marked) <= 0)) & ~answer.isnan()).float().detach()
        if not config.disable_per_token_loss:
            total = total + (selection if aggregates is None else selection * (1 - aggregates)).mean()
        if aggregation is None:
            return total
        if aggregates is None:
            if wanted is None:
                raise ArgumentError("this model aggregates cells: pass aggregation_labels [batch] beside labels")
            each = F.cross_entropy(aggregation.float(), wanted, reduction="none")
            return total + (config.aggregation_loss_weight * each).mean()
        none = -aggregation.log_softmax(-1)[:, 0]
        some = -torch.log(aggregation.softmax(-1)[:, 1:].sum(1))
        each = config.aggregation_loss_weight * (none * (1 - aggregates) + some * aggregates)
        assert answer is not None
        assert values is not None
        assert scales is not None
        expected = expected_result(config, cells, logits, aggregation, values, scales, table)
        off = answer_loss(config, expected * aggregates, answer.nan_to_num(nan=0.0) * aggregates, expected, answer)
        each = each + config.answer_loss_importance * off * aggregates
        if config.answer_loss_cutoff is not None:
            each = each * (off <= config.answer_loss_cutoff)
        return total + each.mean()


def one_column(cells: Cells, logits: Tensor, column_logits: Tensor) -> Tensor:
    """Scores [N] of tokens, where only the cells of the best column can be chosen, and all tokens of a cell agree."""
    chosen = cells.column_of == column_logits.argmax(-1, keepdim=True)
    open_cells = cells.exists * (chosen & (cells.column_of != 0))
    return cells.at_tokens(cells.mean(logits) + NEVER * (1.0 - open_cells))


def selection_loss(cells: Cells, logits: Tensor, column_logits: Tensor, marked: Tensor) -> Tensor:
    """Of the column with most marked tokens, and of the cells in it: [B]."""
    most, column = cells.by_column(marked).max(-1)
    nothing = most == 0
    column = column.masked_fill(nothing, 0)
    of_column = F.cross_entropy(column_logits, column, reduction="none")
    inside = (cells.column_of == column[:, None]).float() * cells.exists
    each = F.binary_cross_entropy_with_logits(cells.mean(logits), cells.any(marked), reduction="none")
    of_cells = (each * inside).sum(1) / (inside.sum(1) + TINY)
    return of_column + of_cells.masked_fill(nothing, 0.0)


def expected_result(
    config: PreTrainedConfig,
    cells: Cells,
    logits: Tensor,
    aggregation: Tensor,
    values: Tensor,
    scales: Tensor,
    table: Tensor,
) -> Tensor:
    """The number that comes out when cells and aggregations are drawn by their probabilities: [B]."""
    if config.use_gumbel_for_cells:
        relaxed = torch.distributions.RelaxedBernoulli(
            torch.tensor(config.temperature), logits=logits * config.temperature
        )
        chances: Any = relaxed.sample()
    else:
        chances = logits.sigmoid()
    chances, values = chances / scales * table, values.nan_to_num(nan=0.0)
    count, summed = cells.by_text(chances), cells.by_text(chances * values)
    others = count[cells.text] - chances + 1  # one token, and what is expected of the others
    match config.average_approximation_function:
        case "ratio":
            average = summed / (count + TINY)
        case "first_order":
            average = cells.by_text(values * chances / others)
        case "second_order":
            spread = chances * (1 - chances)
            spread = cells.by_text(spread)[cells.text] - spread
            average = cells.by_text(values * chances * (spread / others**2 + 1) / others)
        case other:
            raise ConfigError(
                f"average_approximation_function={other!r}; expected 'ratio', 'first_order' or 'second_order'"
            )
    kinds = aggregation[:, 1:] / config.aggregation_temperature
    if config.use_gumbel_for_aggregation:
        temperature = torch.tensor(config.aggregation_temperature)
        weights: Any = torch.distributions.RelaxedOneHotCategorical(temperature, logits=aggregation[:, 1:]).sample()
    else:
        weights = kinds.softmax(-1)
    return (torch.stack([summed, average, count], dim=1) * weights).sum(1)


def answer_loss(config: PreTrainedConfig, found: Tensor, wanted: Tensor, expected: Tensor, answer: Tensor) -> Tensor:
    """Huber's loss of numbers [B], relative to the larger of them if the configuration says so."""
    delta = config.huber_loss_delta
    if config.use_normalized_answer_loss:
        size = torch.maximum(expected.abs(), answer.nan_to_num(nan=0.0).abs()).detach() + TINY
        found, wanted, delta = found / size, wanted / size, 1.0
    elif delta is None:
        raise ConfigError("huber_loss_delta is None: a loss on the answer needs it, or use_normalized_answer_loss")
    return F.huber_loss(found, wanted, reduction="none", delta=delta)
