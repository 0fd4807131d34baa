"""table-question-answering by models that write the answer (TAPEX)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError, LengthError
from enfold.pipelines.base import Item
from enfold.pipelines.encoding import Row, stack_rows
from enfold.pipelines.generating import Continued, GenerationOptions, GenerationPipeline, Prompt
from enfold.pipelines.table_question_answering import TableCalls
from enfold.tokenizers.families.tapex import DROP_ROWS


@dataclass(frozen=True, kw_only=True)
class TableTextOptions(GenerationOptions):
    """Options of table-question-answering by an encoder–decoder, beside those of `GenerationConfig`."""


class TableTextPipeline(TableCalls[TableTextOptions], GenerationPipeline[TableTextOptions]):
    """Tables with questions → `{"answer": text}` each; several questions about one table give a list.

    A table that is too long is refused; `truncation="drop_rows_to_fit"` leaves out rows. Where neither the call nor the
    repository says otherwise, up to 256 new tokens are written.
    """

    heads = ("seq2seq-lm",)
    options_class = TableTextOptions
    defaults: ClassVar[dict[str, Any]] = {"max_new_tokens": 256}
    instead_of_cutting = f'truncation="{DROP_ROWS}" to leave out rows, '

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        if not hasattr(tokenizer, "max_cell_length"):
            raise ArgumentError(
                f"{type(model).__name__} answers questions about tables with TapexTokenizer, got "
                f"{type(tokenizer).__name__}"
            )
        super().__init__(model, tokenizer, **options)

    def preprocess(self, inputs: list[Any], options: TableTextOptions, first: int = 0) -> list[Item]:
        generation = self.generation(options)
        config = self.config(generation)
        call = dict(options.tokenizer_kwargs)
        if call.get("truncation") and call.get("max_length") is None:
            call["max_length"] = min(n for n in (self.limit, self.tokenizer.model_max_length) if n)
        items = []
        for number, item in enumerate(inputs, first):
            table, queries = self.parts(item, number)
            try:
                encoded = self.tokenizer(table, queries, **call, return_attention_mask=False)
            except (ArgumentError, LengthError) as error:
                raise type(error)(f"input {number}: {error}") from error
            rows: list[Row] = []
            for ids, query in zip(encoded["input_ids"], queries, strict=True):
                self.check_length(Row(ids), query, number)
                new_tokens = self.room(1, config.new_tokens(1), query, number, generation, options)
                rows.append(Prompt(ids, new_tokens=new_tokens))
            items.append(Item(rows))
        return items

    def prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        return stack_rows(rows, pad=self.tokenizer.pad_token_id or 0, device=self.device)

    def postprocess(self, item: Item, outputs: list[Continued], options: TableTextOptions) -> Any:
        answers = [{"answer": self.text(new, options)} for output in outputs for new in output.new]
        return answers if len(answers) > 1 else answers[0]
