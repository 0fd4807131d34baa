"""The next token of a text."""

import math
from typing import Any

from enfold.training.collators import DataCollatorForLanguageModeling
from enfold.training.tasks.base import Task
from enfold.training.tasks.fresh import byte_level_tokenizer


class CausalLM(Task):
    """Texts one behind the other, an end-of-text token behind each, cut into rows of `max_length` tokens."""

    auto = "AutoModelForCausalLM"
    columns = {"text_column": "text"}
    fresh = staticmethod(byte_level_tokenizer)
    cuts = False

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        end = self.tokenizer.eos_token_id
        texts = self.tokenizer(rows[self.named["text_column"] or ""], add_special_tokens=False, verbose=False)
        return rows_of(texts["input_ids"], [] if end is None else [end], self.max_length or 0)

    def collator(self, model: Any) -> Any:
        return DataCollatorForLanguageModeling(self.tokenizer, mlm=False)

    def report(self, metrics: dict[str, float]) -> dict[str, float]:
        return with_perplexity(metrics)


def rows_of(texts: list[list[int]], end: list[int], length: int) -> dict[str, list[list[int]]]:
    """All tokens in rows of one length; what remains is a shorter row, unless nothing can be predicted in it."""
    tokens = [token for text in texts for token in (*text, *end)]
    rows = [tokens[start : start + length] for start in range(0, len(tokens), length)]
    return {"input_ids": [row for row in rows if len(row) > 1]}


def with_perplexity(metrics: dict[str, float]) -> dict[str, float]:
    """exp of the loss, beside it."""
    loss = metrics.get("eval_loss")
    return metrics if loss is None else {**metrics, "eval_perplexity": math.exp(min(loss, 700.0))}
