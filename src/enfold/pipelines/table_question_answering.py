"""table-question-answering: which cells of a table answer a question, and what is done with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines.base import Item, Options, Pipeline, Settings
from enfold.pipelines.encoding import Row, preview, stack_rows, tokenizer_options
from enfold.tokenizers.families.tapas_tables import Cell, Table

# Options of the tokenizer that would leave the model without what it reads.
_NOT_HERE = frozenset({"add_special_tokens", "return_token_type_ids", "split_special_tokens"})
# Among the seven types of a token: its column and row, both from 1 in cells, and whether it answered the last question.
_COLUMN, _ROW, _LAST = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class TableQuestionAnsweringOptions(Options):
    """Options of table-question-answering.

    Attributes:
        sequential: the questions about a table are a conversation: each is read together with the cells that answered
            the one before, as models trained on SQA expect.
    """

    sequential: bool = False


class TableCalls(Pipeline[Settings]):
    """How tables are asked: what the ways to answer share."""

    task = "table-question-answering"
    structured = True

    def __call__(self, *inputs: Any, table: Any = None, query: Any = None, **options: Any) -> Any:
        """Answer questions about tables.

        Args:
            inputs: a dictionary `{"table", "query"}`, a list or a stream of them, or a table and its query.
            table: instead: a mapping of header → cells, a list of rows (each a mapping of header → cell) or a pandas
                DataFrame; all of texts.
            query: a question about it, or a list of them.
            options: as of every pipeline, and the task's.

        Raises:
            ArgumentError: neither or both ways of saying what is asked, a missing question, an empty table or one that
                isn't of texts, unknown options.
            LengthError: a question and headers that leave no room for a row, or a table too long with truncation=False.
        """
        if len(inputs) == 2 and table is None and query is None:
            table, query = inputs
        elif len(inputs) == 1 and table is None:
            table = inputs[0]
        elif inputs or table is None:
            raise ArgumentError(f"{self.task} takes a table and a query about it, each once")
        if query is not None:
            return super().__call__({"table": table, "query": query}, **options)
        if hasattr(table, "itertuples"):
            raise ArgumentError(f"{self.task} got a table and no query: pass query=, a question or a list of them")
        return super().__call__(table, **options)

    def present(self, inputs: Any, answers: Any, options: Any, given: dict[str, Any]) -> Any:
        return answers[0] if isinstance(inputs, (list, tuple)) and len(inputs) == 1 else answers

    def parts(self, item: Any, number: int) -> tuple[Table, list[str]]:
        """The table and the questions of an item."""
        if not isinstance(item, Mapping) or not {"table", "query"} <= item.keys():
            raise ArgumentError(
                f"{self.task} takes dictionaries {{'table': …, 'query': …}}; input {number} is {preview(item)}"
            )
        query = item["query"]
        queries = list(query) if isinstance(query, (list, tuple)) else [query]
        if not queries or not all(isinstance(text, str) and text for text in queries):
            raise ArgumentError(f"the query of input {number} is {preview(query)}; expected a text, or a list of texts")
        try:
            table = Table.of(_columns(item["table"]))
        except ArgumentError as error:
            raise ArgumentError(f"the table of input {number}: {error}") from error
        if table is None:
            raise ArgumentError(
                f"the table of input {number} is a {type(item['table']).__name__}; expected a mapping of header → "
                "cells, a list of rows (mappings of header → cell) or a pandas DataFrame"
            )
        if not table.rows or not table.columns:
            raise ArgumentError(f"the table of input {number} is empty: it has no cell that could answer")
        return table, queries


class TableQuestionAnsweringPipeline(TableCalls[TableQuestionAnsweringOptions]):
    """Tables with questions → `{"answer", "coordinates", "cells", "aggregator"}` each; several questions about one
    table give a list.

    `coordinates` are (row, column) from 0 without headers, `cells` their texts, `answer` says it: "SUM > 3, 4".
    A model without aggregations gives no `aggregator`. A table that is too long loses tokens at the ends of its cells,
    then its last rows; `truncation=False` keeps it whole.
    """

    heads = ("table-question-answering",)
    options_class = TableQuestionAnsweringOptions

    @classmethod
    def serving(cls, model: Any) -> type[Pipeline]:
        if cls is not TableQuestionAnsweringPipeline or not model.config.is_encoder_decoder:
            return cls
        from enfold.pipelines.table_texts import TableTextPipeline

        return TableTextPipeline

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        if not hasattr(tokenizer, "convert_logits_to_predictions"):
            raise ArgumentError(
                f"table-question-answering needs a tokenizer of tables (TapasTokenizer), got {type(tokenizer).__name__}"
            )
        super().__init__(model, tokenizer, **options)

    # Options

    def settings(self, options: dict[str, Any]) -> TableQuestionAnsweringOptions:
        chosen = super().settings({name: value for name, value in options.items() if value is not None})
        if not isinstance(chosen.sequential, bool):
            raise ArgumentError(f"sequential is {chosen.sequential!r}; expected True or False")
        return chosen

    def absorb(self, chosen: TableQuestionAnsweringOptions, others: dict[str, Any]) -> TableQuestionAnsweringOptions:
        if refused := sorted(_NOT_HERE & others.keys()):
            raise ArgumentError(f"{self.task} takes no {', '.join(refused)}: the model reads every token's types")
        return super().absorb(chosen, others)

    def option_names(self) -> set[str]:
        return super().option_names() - _NOT_HERE

    def length(self, options: TableQuestionAnsweringOptions) -> int | None:
        # Positions that count anew in each cell don't limit a sequence.
        return None if self.model.config.reset_position_index_per_cell else self.limit

    # Steps

    def preprocess(self, inputs: list[Any], options: TableQuestionAnsweringOptions, first: int = 0) -> list[Item]:
        given = {"truncation": True} | options.tokenizer_kwargs
        call = tokenizer_options(given, self.tokenizer, self.length(options))
        items = []
        for number, item in enumerate(inputs, first):
            table, queries = self.parts(item, number)
            try:
                encoded = self.tokenizer(table, queries, **call, return_attention_mask=False)
            except (ArgumentError, LengthError) as error:
                raise type(error)(f"input {number}: {error}") from error
            rows = [Row(ids, types) for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)]
            for row, query in zip(rows, queries, strict=True):
                if self.length(options) is not None:
                    self.check_length(row, query, number)
                if not any(kind[_ROW] for kind in row.types or ()):
                    raise LengthError(
                        f"the query {preview(query)} of input {number} and the headers of its table leave no room for "
                        f"a row in {call.get('max_length')} tokens: shorten them, or pass truncation=False"
                    )
            items.append(Item(rows, table))
        return items

    def _window(
        self, window: list[Any], first: int, options: TableQuestionAnsweringOptions, cap: int | None
    ) -> Iterator[tuple[int, Item, list[Any]]]:
        if not options.sequential:
            return super()._window(window, first, options, cap)
        return self._in_turns(self.preprocess(window, options, first), options, cap)

    def _in_turns(
        self, items: list[Item], options: TableQuestionAnsweringOptions, cap: int | None
    ) -> Iterator[tuple[int, Item, list[Any]]]:
        """As a window runs, with the first questions of all tables before the second ones, and so on."""
        outputs: list[list[Any]] = [[] for _ in items]
        for turn in range(max(len(item.rows) for item in items)):
            asking = [index for index, item in enumerate(items) if turn < len(item.rows)]
            rows = [items[index].rows[turn] for index in asking]
            if turn:
                for index, row in zip(asking, rows, strict=True):
                    _mark(row, outputs[index][-1][0])
            for batch in self.batches(rows, options, cap):
                with torch.no_grad():
                    answers = self.forward([rows[k] for k in batch], options)
                for index, answer in zip([asking[k] for k in batch], answers, strict=True):
                    outputs[index].append(answer)
                    if len(outputs[index]) == len(items[index].rows):
                        yield index, items[index], outputs[index]

    def tensors(self, rows: Any) -> dict[str, Any]:
        pad = self.model.config.get("pad_token_id") or 0
        return stack_rows(rows, pad=pad, device=self.device, types=True)

    def forward(self, rows: list[Row], options: TableQuestionAnsweringOptions) -> list[tuple[list[Cell], int | None]]:
        """The chosen cells of each row, and what is done with them."""
        inputs = self.tensors(rows)
        output = self.model(**inputs)
        (cells,) = self.tokenizer.convert_logits_to_predictions(inputs, output.logits.float())
        if not self.model.config.aggregation_labels or output.logits_aggregation is None:
            return [(chosen, None) for chosen in cells]
        return list(zip(cells, output.logits_aggregation.argmax(-1).tolist(), strict=True))

    def postprocess(self, item: Item, outputs: list[Any], options: TableQuestionAnsweringOptions) -> Any:
        config, answers = self.model.config, []
        for chosen, aggregation in outputs:
            cells = [item.kept.rows[row][column] for row, column in chosen]
            answer: dict[str, Any] = {"answer": ", ".join(cells), "coordinates": chosen, "cells": cells}
            if aggregation is not None:
                answer["aggregator"] = config.aggregation_labels.get(aggregation, f"LABEL_{aggregation}")
                if aggregation != config.no_aggregation_label_index:
                    answer["answer"] = f"{answer['aggregator']} > {answer['answer']}"
            answers.append(answer)
        return answers if len(answers) > 1 else answers[0]


def _columns(table: Any) -> Any:
    """A list of rows as header → cells; anything else as it is.

    Raises:
        ArgumentError: rows that have no headers, or others than the first; a text where a column belongs.
    """
    if isinstance(table, Mapping):
        for header, column in table.items():
            if isinstance(column, (str, Mapping)) or not hasattr(column, "__len__"):
                raise ArgumentError(f"the column {header!r} is {preview(column)}; expected a list of its cells")
        return table
    if not isinstance(table, (list, tuple)):
        return table
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise ArgumentError(f"row {number} is {preview(row)}; expected a mapping of header → cell")
        if row.keys() != table[0].keys():
            raise ArgumentError(f"row {number} has the headers {list(row)}, and the first row {list(table[0])}")
    return {header: [row[header] for row in table] for header in (table[0] if table else ())}


def _mark(row: Row, cells: list[Cell]) -> None:
    """Say to the next question which cells answered the last one."""
    chosen = set(cells)
    for kind in row.types or ():
        kind[_LAST] = int((kind[_ROW] - 1, kind[_COLUMN] - 1) in chosen)
