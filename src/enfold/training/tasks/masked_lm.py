"""Tokens that were hidden."""

from typing import Any

from enfold.training.collators import DataCollatorForLanguageModeling
from enfold.training.tasks.base import Task
from enfold.training.tasks.causal_lm import rows_of, with_perplexity
from enfold.training.tasks.fresh import word_piece_tokenizer


class MaskedLM(Task):
    """Texts one behind the other, in rows of `max_length` tokens between the tokenizer's special ones."""

    auto = "AutoModelForMaskedLM"
    columns = {"text_column": "text"}
    options = ("mlm_probability",)
    fresh = staticmethod(word_piece_tokenizer)
    cuts = False

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = self.tokenizer(rows[self.named["text_column"] or ""], add_special_tokens=False, verbose=False)
        before, after = around(self.tokenizer)
        length = (self.max_length or 0) - len(before) - len(after)
        bare = rows_of(texts["input_ids"], [], length)["input_ids"]
        return {"input_ids": [[*before, *row, *after] for row in bare]}

    def collator(self, model: Any) -> Any:
        probability = self.chosen.get("mlm_probability")
        return DataCollatorForLanguageModeling(
            self.tokenizer, mlm_probability=0.15 if probability is None else probability
        )

    def report(self, metrics: dict[str, float]) -> dict[str, float]:
        return with_perplexity(metrics)


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and behind a text."""
    bare, whole = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    start = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]
