"""TAPAS: a question and a table as one row of tokens, each with seven types. https://arxiv.org/abs/2004.02349"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError, LengthError
from enfold.base.logging import get_logger
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.calls import refuse_unknown
from enfold.tokenizers.families.basic_words import BasicWords, WordPieces
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.families.tapas_numbers import Value, column_values, ranks, relations, values_in
from enfold.tokenizers.families.tapas_tables import Cell, Table, TokenizedTable
from enfold.tokenizers.formats.reading import read_vocab_txt
from enfold.tokenizers.loading import VOCAB_TXT
from enfold.tokenizers.special_tokens import EXTRA

logger = get_logger(__name__)

_DROP_ROWS = "drop_rows_to_fit"
# Numbers per token: question or table, column, row, part of the last answer, rank, rank from the end, relations.
_TYPES = 7
_NO_NUMBER = float("nan")

Numbers = list[dict[int, Value]]  # for each column, row → the value of its cell


class TapasTokenizer(PlainTokenizer):
    """BERT's WordPiece over a question and the headers and cells of a table.

    `tokenizer(table, questions)` takes a pandas DataFrame of texts or a mapping of header → cells. What isn't written
    here is as for BERT.

    Args:
        vocab_file: vocab.txt.
        cell_trim_length: tokens of a cell that are kept when rows are dropped; without it cells give way before rows.
        max_column_id, max_row_id: columns and rows that a table must stay below; `model_max_length` by default.
        strip_column_names: leave headers out.
        update_answer_coordinates: find answers in the table by their texts.
        min_question_length, max_question_length: tokens; other questions are left out.
    """

    model_input_names = ["input_ids", "attention_mask", "token_type_ids"]
    defaults = {
        "do_lower_case": True,
        "do_basic_tokenize": True,
        "never_split": None,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "empty_token": "[EMPTY]",
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "cell_trim_length": -1,
        "max_column_id": None,
        "max_row_id": None,
        "strip_column_names": False,
        "update_answer_coordinates": False,
        "min_question_length": None,
        "max_question_length": None,
        "model_max_length": 512,
        "clean_up_tokenization_spaces": True,
    }
    files = {"vocab_file": VOCAB_TXT}
    single, pair = "cls $A sep", "cls $A sep $B"

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
        self._vocab = read_vocab_txt(Path(vocab_file))
        self.ids_to_tokens = {index: token for token, index in self._vocab.items()}
        given = {**self.defaults, **options}
        extra = list(options.pop(EXTRA, None) or options.pop("additional_special_tokens", None) or [])
        if str(given["empty_token"]) not in map(str, extra):
            extra.append(given["empty_token"])
        self._words = BasicWords(
            lowercase=given["do_lower_case"],
            never_split=frozenset(given["never_split"] or ()),
            split_chinese=given["tokenize_chinese_chars"],
            strip_accents=given["strip_accents"],
        )
        self._pieces = WordPieces(self._vocab, str(given["unk_token"]))
        self._empty = str(extra[0])
        super().__init__(**options, additional_special_tokens=extra)
        self.max_column_id = self.model_max_length if self.max_column_id is None else self.max_column_id
        self.max_row_id = self.model_max_length if self.max_row_id is None else self.max_row_id
        # Text is cut at words that the vocabulary lacks only.
        self._added = {index: token for index, token in self._added.items() if token.content not in self._vocab}
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._pattern = None

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without added ones."""
        return len(self._vocab)

    def _base_vocab(self) -> dict[str, int]:
        return self._vocab

    def _known(self, token: str) -> int | None:
        return self._vocab.get(token)

    def _id(self, token: str) -> int | None:
        return self._vocab.get(token, self._vocab.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        return self.ids_to_tokens.get(index, self.unk_token)

    def _tokens(self, text: str) -> list[str]:
        if _is_empty(text):
            return [self._empty]
        if not self.do_basic_tokenize:
            return self._pieces.pieces(text)
        whole = self._words.never_split
        return [
            token
            for word in self._words.words(text, self.all_special_tokens)
            for token in ([word] if word in whole else self._pieces.pieces(word))
        ]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Word pieces → text."""
        return " ".join(tokens).replace(" ##", "").strip()

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids of a question and a table: `[CLS] question [SEP] table`."""
        if token_ids_1 is None:
            raise ArgumentError("TAPAS needs the ids of a question and of a table.")
        return super().build_inputs_with_special_tokens(token_ids_0, token_ids_1)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens encoding adds."""
        return 2

    # Encoding

    def __call__(  # type: ignore[override]
        self,
        table: Any,
        queries: Any = None,
        answer_coordinates: Any = None,
        answer_text: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **unknown: Any,
    ) -> BatchEncoding:
        """Encode a question about a table, or several about the same one, each after the other.

        Args:
            table: a pandas DataFrame of texts or a mapping of header → cells. Without `queries` it may be the
                question or questions, about an empty table.
            queries: a question, or a list of them.
            answer_coordinates: the (row, column) of each cell of the answer, from 0; a list of such lists for a batch.
                They give `labels`, `numeric_values` and `numeric_values_scale`, and tell the next question of the
                batch what was answered before.
            answer_text: the answers' texts, in the same form.
            truncation: True or "drop_rows_to_fit": cells lose tokens at their ends, then the last rows go.
            add_special_tokens, padding, max_length, pad_to_multiple_of, padding_side, return_tensors,
            return_token_type_ids, return_attention_mask, return_special_tokens_mask, return_length, verbose: as for
                every tokenizer; for a single question padding needs `max_length`.

        Raises:
            ArgumentError: what is no table or question, or an option that can't be honoured.
            LengthError: a question and headers longer than `max_length`, or too many rows or columns.
        """
        if unknown:
            refuse_unknown(self.__call__, unknown, ["table", "queries", "answer_coordinates", "answer_text"])
        if return_overflowing_tokens or return_offsets_mapping:
            raise ArgumentError("TAPAS works on tables: it has no overflowing tokens and no offsets.")
        read = Table.of(table)
        if read is None:
            if queries is not None:
                raise ArgumentError(
                    f"A table must be a pandas DataFrame or a mapping of header → cells, got {type(table).__name__}."
                )
            read, queries = Table([], []), table
        batched = isinstance(queries, (list, tuple))
        if queries is None:
            logger.warning("TAPAS answers questions, and got none about this table.")
            queries = ""
        asked = list(queries) if batched else [queries]
        if not all(isinstance(question, str) for question in asked):
            raise ArgumentError(f"queries must be a string or a list of strings, got {queries!r:.80}.")
        if bool(answer_coordinates) != bool(answer_text):
            raise ArgumentError("Answers need both answer_coordinates and answer_text.")
        if return_token_type_ids is not None and not add_special_tokens:
            raise ArgumentError("return_token_type_ids needs add_special_tokens=True.")
        answers: list[Any] = [None] * len(asked)
        if answer_coordinates:
            places, texts = (answer_coordinates, answer_text) if batched else ([answer_coordinates], [answer_text])
            answers = [None if place is None else (place, text) for place, text in zip(places, texts, strict=True)]
        names = self.model_input_names
        asks_types = "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids
        asks_mask = "attention_mask" in names if return_attention_mask is None else return_attention_mask
        tokens, numbers = (
            self._tokenized(read),
            [column_values(read.column(place)) for place in range(len(read.columns))],
        )
        rows = []
        for place, question in enumerate(asked):
            rows.append(
                self._row(
                    question,
                    read,
                    tokens,
                    numbers,
                    answers[place],
                    answers[place - 1] if place else None,
                    cut=_cuts(truncation),
                    limit=max_length,
                    special=add_special_tokens,
                )
            )
        for row in rows:
            if not asks_types:
                del row["token_type_ids"]
            if not return_special_tokens_mask:
                del row["special_tokens_mask"]
            if return_length:
                row["length"] = len(row["input_ids"])
            if verbose and max_length is None:
                self._warn_if_long(len(row["input_ids"]))
        features: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]} if rows else {"input_ids": []}
        if not batched:
            features = rows[0]
            if isinstance(padding, bool):
                padding = "max_length" if padding and (max_length is not None or pad_to_multiple_of) else False
        padded = self.pad(
            features,
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=asks_mask,
            verbose=False,
        )
        if return_length and not batched:
            padded["length"] = len(padded["input_ids"])
        return BatchEncoding(dict(padded), tensor_type=return_tensors, prepend_batch_axis=not batched)

    def encode(self, table: Any, query: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """The ids of a question about a table: `tokenizer(table, query, …)["input_ids"]`."""
        return self(table, query, **options)["input_ids"]

    def _fills(self, main: str) -> dict[str, Any]:
        return {
            **super()._fills(main),
            "token_type_ids": [self.pad_token_type_id] * _TYPES,
            "labels": 0,
            "numeric_values": _NO_NUMBER,
            "numeric_values_scale": 1.0,
        }

    def _tokenized(self, table: Table) -> TokenizedTable:
        headers = ["" if self.strip_column_names else header for header in table.columns]
        return TokenizedTable([[self.tokenize(text) for text in row] for row in [headers, *table.rows]])

    def _question(self, text: str) -> tuple[str, list[str]]:
        """A question and its tokens; nothing of one that is too long or too short."""
        tokens = self.tokenize(text)
        shortest, longest = self.min_question_length, self.max_question_length
        if (longest is not None and len(tokens) > longest) or (shortest is not None and len(tokens) < shortest):
            logger.warning(
                "A question of %d tokens is left out: min_question_length is %s, max_question_length %s.",
                len(tokens),
                shortest,
                longest,
            )
            return "", []
        return text, tokens

    def _row(
        self,
        question: str,
        table: Table,
        tokens: TokenizedTable,
        numbers: Numbers,
        answer: Any,
        last_answer: Any,
        *,
        cut: bool,
        limit: int | None,
        special: bool,
    ) -> dict[str, Any]:
        """One question and the table, not padded."""
        question, asked = self._question(question)
        height, width = len(table.rows), len(table.columns)
        if width >= self.max_column_id or (height >= self.max_row_id and not cut):
            raise LengthError(
                f"The table has {height} rows and {width} columns; fewer than {self.max_row_id} and "
                f"{self.max_column_id} can be told apart. Cut it, or pass truncation=True for rows."
            )
        height = min(height, self.max_row_id - 1)
        per_cell = tokens.longest()
        if cut:
            budget = (self.model_max_length if limit is None else limit) - len(asked) - 2
            height, per_cell = self._fitting(tokens, height, budget)
        kept = [
            (token, column + 1, row)
            for token, column, row, begin in tokens.starts()
            if row <= height and begin < per_cell
        ]
        ids = self.convert_tokens_to_ids(asked), self.convert_tokens_to_ids([token for token, _, _ in kept])
        input_ids = self.build_inputs_with_special_tokens(*ids) if special else ids[0] + ids[1]
        if limit is not None and len(input_ids) > limit:
            raise LengthError(
                f"The question and the table make {len(input_ids)} tokens, more than max_length={limit}: raise it, "
                "pass truncation=True to drop rows, or shorten the question and the headers."
            )
        before = [0] * (len(asked) + 2 * special)
        columns = before + [column for _, column, _ in kept]
        rows = before + [row for _, _, row in kept]
        places: dict[Cell, list[int]] = defaultdict(list)
        for place, (column, row) in enumerate(zip(columns, rows, strict=True)):
            if column and row:
                places[row - 1, column - 1].append(place)
        last = [0] * len(columns) if last_answer is None else self._labels(tokens, places, last_answer, len(columns))
        order, inverse, related = ([0] * len(columns) for _ in range(3))
        wanted = values_in(question)
        for column, values in enumerate(numbers):
            for row, (rank, from_end) in ranks(values).items():
                for place in places.get((row, column), ()):
                    order[place], inverse[place] = rank, from_end
            for row, relation in relations(wanted, values).items():
                for place in places.get((row, column), ()):
                    related[place] = int(relation)
        segments = before + [1] * len(kept)
        types = zip(segments, columns, rows, last, order, inverse, related, strict=True)
        made: dict[str, Any] = {"input_ids": input_ids, "token_type_ids": [list(entry) for entry in types]}
        if answer is not None:
            made["labels"] = self._labels(tokens, places, answer, len(columns))
            made["numeric_values"], made["numeric_values_scale"] = _values(numbers, places, len(columns))
        made["special_tokens_mask"] = self._special_mask(*ids) if special else [0] * len(input_ids)
        return made

    def _fitting(self, tokens: TokenizedTable, height: int, budget: int) -> tuple[int, int]:
        """How many rows, and tokens of each cell, fit into a number of tokens."""
        longest = tokens.longest()
        if 0 <= self.cell_trim_length < longest:
            longest = self.cell_trim_length
        costs: list[Counter[int]] = [Counter() for _ in tokens.cells]
        for _, _, row, begin in tokens.starts():
            costs[row][max(begin, 0)] += 1
        total: Counter[int] = Counter()
        for row in costs[: height + 1]:
            total += row
        while True:
            cost, per_cell = 0, 0
            for per_cell in range(longest + 1):
                cost += total[per_cell]
                if cost > budget:
                    break
            if per_cell == longest or (self.cell_trim_length < 0 and per_cell > 0):
                return height, per_cell or 1
            total -= costs[height]
            height -= 1
            if height < 1:
                return height, 1

    def _labels(self, tokens: TokenizedTable, places: Mapping[Cell, list[int]], answer: Any, length: int) -> list[int]:
        """1 for the tokens of the answer's cells."""
        labels = [0] * length
        coordinates, texts = answer
        if self.update_answer_coordinates:
            for text in texts:
                for place in self._found(tokens, places, self.tokenize(text)):
                    labels[place] = 1
            return labels
        missing = []
        for row, column in coordinates:
            if (row, column) not in places:
                missing.append((row, column))
            for place in places.get((row, column), ()):
                labels[place] = 1
        if missing:
            raise ArgumentError(f"The encoded table has no cells {missing} (row, column) of the answer.")
        return labels

    @staticmethod
    def _found(tokens: TokenizedTable, places: Mapping[Cell, list[int]], text: list[str]) -> list[int]:
        """Where these tokens stand in the first cell that holds them whole."""
        for row, cells in enumerate(tokens.cells[1:]):
            for column, cell in enumerate(cells):
                starts = range(1 + len(cell) - len(text))
                start = next((start for start in starts if cell[start : start + len(text)] == text), None)
                found = [] if start is None else places.get((row, column), [])[start : start + len(text)]
                if found and len(found) == len(text):
                    return found
        return []

    # Answers

    def convert_logits_to_predictions(
        self, data: Mapping[str, Any], logits: Any, logits_agg: Any = None, cell_classification_threshold: float = 0.5
    ) -> tuple[Any, ...]:
        """The model's output → cells.

        Args:
            data: what the tokenizer returned, as tensors or arrays.
            logits: of every token [B, T].
            logits_agg: of the aggregations [B, A].
            cell_classification_threshold: a cell is chosen if its tokens' mean probability is above this.

        Returns:
            For each row of the batch the chosen cells, sorted, as (row, column); with `logits_agg` also the index of
            each row's aggregation. A row without a table has no entry.
        """
        import numpy as np

        def array(value: Any) -> Any:
            return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)

        scores = np.maximum(array(logits), -88.7)  # exp overflows in float32 beyond
        probabilities = 1 / (1 + np.exp(-scores)) * array(data["attention_mask"])
        types = array(data["token_type_ids"])
        chosen = []
        for row, kinds in zip(probabilities.tolist(), types.tolist(), strict=True):
            if not any(kind[1] or kind[2] for kind in kinds):
                continue
            cells: dict[Cell, list[float]] = defaultdict(list)
            for probability, (segment, column, line, *_) in zip(row, kinds, strict=True):
                if segment == 1 and column and line:
                    cells[line - 1, column - 1].append(probability)
            above = [cell for cell, all_of in cells.items() if np.mean(all_of) > cell_classification_threshold]
            chosen.append(sorted(above))
        return (chosen,) if logits_agg is None else (chosen, array(logits_agg).argmax(axis=-1).tolist())

    # Files

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.txt."""
        path = Path(save_directory) / ((f"{filename_prefix}-" if filename_prefix else "") + VOCAB_TXT)
        path.write_text("".join(f"{token}\n" for token in self._vocab), encoding="utf-8")
        return (str(path),)


def _is_empty(text: str) -> bool:
    """A cell that says nothing: no letters or digits, or a word for that."""
    text = text.lower().strip()
    return text in ("n/a", "?", "nan") or not re.search(r"[^\W_]", text)


def _cuts(truncation: Any) -> bool:
    value = getattr(truncation, "value", truncation)
    if value in (True, _DROP_ROWS):
        return True
    if value in (None, False, "do_not_truncate"):
        return False
    raise ArgumentError(f"truncation must be True, False or {_DROP_ROWS!r} for a table, got {truncation!r}.")


def _values(numbers: Numbers, places: Mapping[Cell, list[int]], length: int) -> tuple[list[float], list[float]]:
    """For each token the number of its cell, and how many tokens the cell has."""
    values, scale = [_NO_NUMBER] * length, [1.0] * length
    for (row, column), tokens in places.items():
        value = numbers[column].get(row)
        for place in tokens:
            if isinstance(value, float):
                values[place] = value
            if len(tokens) > 1:
                scale[place] = float(len(tokens))
    return values, scale
