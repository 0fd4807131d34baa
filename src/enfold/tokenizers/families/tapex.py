"""TAPEX (Liu et al. 2022): BART's tokens of a question and a table that is written out in a line."""

import random
from typing import Any

from enfold.base.errors import ArgumentError, LengthError
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.families import byte_level
from enfold.tokenizers.families.recipes import Family, Options, Parts
from enfold.tokenizers.families.tapas_tables import Table
from enfold.tokenizers.formats.document import Document
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

DROP_ROWS = "drop_rows_to_fit"
# Rows so near to one that shares a word with the question stay.
NEAR = 2


def _built(parts: Parts, options: Options) -> Document:
    document = byte_level.ROBERTA.build(parts, options)
    if options["do_lower_case"]:
        document.sections["normalizer"] = {"type": "Lowercase"}
    return document


TAPEX = Family(
    model="BPE",
    defaults={**byte_level.ROBERTA.defaults, "do_lower_case": True, "max_cell_length": 15},
    build=_built,
    finish=byte_level.ROBERTA.finish,
)


class TapexTokenizer(PreTrainedTokenizerFast):
    """Questions about tables: `question col : header | header row 1 : cell | cell row 2 : …`, in lower case.

    Options of its own: `do_lower_case`, and `max_cell_length`, the most tokens of a cell.
    """

    family = TAPEX
    do_lower_case: bool
    max_cell_length: int

    def __call__(  # type: ignore[override]
        self,
        table: Any = None,
        query: Any = None,
        answer: Any = None,
        *,
        truncation: Any = False,
        max_length: int | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """Encode questions about tables, or answers to be learnt.

        Args:
            table: a pandas DataFrame of texts or a mapping of header → cells, or a list of them; one goes with every
                question of a list.
            query: a question, or a list of them.
            answer: without a table, the text or texts to encode; with one, texts whose rows are kept.
            truncation: "drop_rows_to_fit" leaves out rows until `max_length` tokens are enough (those that share no
                word with the question are drawn first); others as for every tokenizer.
            options: as of every tokenizer.

        Raises:
            ArgumentError: neither table nor answer, a table or a question that is none.
            LengthError: question and headers leave no room for rows.
        """
        if table is None:
            if answer is None:
                raise ArgumentError("TapexTokenizer got neither a table nor an answer: pass table= and query=.")
            texts = [self._cased(text) for text in answer] if isinstance(answer, (list, tuple)) else self._cased(answer)
            return super().__call__(texts, truncation=truncation, max_length=max_length, **options)
        batched = isinstance(table, (list, tuple)) or isinstance(query, (list, tuple))
        tables = list(table) if isinstance(table, (list, tuple)) else [table]
        queries = list(query) if isinstance(query, (list, tuple)) else [query or ""]
        count = max(len(tables), len(queries))
        tables, queries = (part * count if len(part) == 1 else part for part in (tables, queries))
        if len(tables) != len(queries) or not all(isinstance(text, str) for text in queries):
            raise ArgumentError(
                f"{len(tables)} tables and {len(queries)} queries; expected a text for each table, or one of either"
            )
        drop = getattr(truncation, "value", truncation) == DROP_ROWS
        if drop and max_length is None:
            max_length = self.model_max_length
        kept: list[str] = [answer] if isinstance(answer, str) else list(answer or ())
        lines = [
            self._cased(self._line(one, text, kept, max_length if drop else None))
            for one, text in zip(tables, queries, strict=True)
        ]
        options |= {"truncation": False if drop else truncation, "max_length": None if drop else max_length}
        return super().__call__(lines if batched else lines[0], **options)

    def _cased(self, text: str) -> str:
        return text.lower() if self.do_lower_case else text

    def _line(self, given: Any, query: str, answers: list[str], room: int | None) -> str:
        """Question and table as one text, of so many tokens at most if rows may go."""
        table = Table.of(given)
        if table is None:
            raise ArgumentError(
                f"A table must be a pandas DataFrame or a mapping of header → cells, got {type(given).__name__}."
            )
        rows = [[self._cell(cell) for cell in row] for row in table.rows]
        if room is not None:
            rows = self._fitting(table.columns, rows, query, answers, room)
        parts = [_header(table.columns), *(_row(row, number) for number, row in enumerate(rows, 1))]
        line = " ".join(parts).strip() if table.columns and table.rows else ""
        return " ".join(part for part in (query, line) if part)

    def _cell(self, cell: str) -> str:
        """The first `max_cell_length` tokens of a cell."""
        if not cell.strip():
            return cell
        tokens = self.tokenize(cell)
        cut = len(tokens) >= self.max_cell_length
        return self.convert_tokens_to_string(tokens[: self.max_cell_length]) if cut else cell

    def _fitting(
        self, columns: list[str], rows: list[list[str]], query: str, answers: list[str], room: int
    ) -> list[list[str]]:
        """The rows for which there is room: some without a word of the question go, then the last ones."""
        left = room - len(self.tokenize(query, add_special_tokens=True)) - len(self.tokenize(_header(columns)))
        if left <= 0:
            raise LengthError(f"The question and the headers leave no room for a row in {room} tokens: shorten them.")
        whole = len(self.tokenize("".join(_row(row, 100) + " " for row in rows)))
        if whole >= left:
            words = {answer.lower() for answer in answers} | set(query.split()) | set(query.strip("?!.,").split(" "))
            related = [n for n, row in enumerate(rows) if words & {cell.lower() for cell in row}]
            far = [n for n in range(len(rows)) if all(abs(n - other) > NEAR for other in related)]
            count = min(len(far), int(len(rows) * (1.0 - left / whole)))
            dropped = set(random.Random(0).choices(far, k=count)) if far else set()
            rows = [row for n, row in enumerate(rows) if n not in dropped]
        for number, row in enumerate(rows):
            left -= len(self.tokenize(_row(row, number + 1)))
            if left < 0:
                return rows[:number]
        return rows


def _header(columns: list[str]) -> str:
    return "col : " + " | ".join(columns)


def _row(row: list[str], number: int) -> str:
    return f"row {number} : " + " | ".join(row)
