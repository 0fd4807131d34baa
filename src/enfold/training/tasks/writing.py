"""Text to text: what translation and summarization share."""

from typing import Any

import numpy as np

from enfold import evaluate
from enfold.training.collators import DataCollatorForSeq2Seq
from enfold.training.seq2seq import Seq2SeqTrainer, Seq2SeqTrainingArguments
from enfold.training.tasks.base import Task


class Writing(Task):
    """A text is read, another is written; what the model writes is scored.

    Class attributes of a task:
        score: the metric's name; `numbers`: which of its numbers are shown.
    """

    auto = "AutoModelForSeq2SeqLM"
    options = ("prefix", "max_target_length")
    arguments, trainer = Seq2SeqTrainingArguments, Seq2SeqTrainer
    defaults = {"predict_with_generate": True}
    score: str
    numbers: tuple[str, ...]

    def texts(self, rows: dict[str, list[Any]]) -> tuple[list[str], list[str]]:
        """What is read and what is written."""
        return rows[self.named["text_column"] or ""], rows[self.named["label_column"] or ""]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        sources, targets = self.texts(rows)
        prefix = self.chosen.get("prefix") or ""
        made = self.tokenizer([prefix + source for source in sources], truncation=True, max_length=self.max_length)
        longest = self.chosen.get("max_target_length") or self.max_length
        made["labels"] = self.tokenizer(text_target=targets, truncation=True, max_length=longest)["input_ids"]
        return dict(made)

    def collator(self, model: Any) -> Any:
        return DataCollatorForSeq2Seq(self.tokenizer)

    @property
    def metric(self):
        return self._scores

    def _scores(self, prediction: Any) -> dict[str, float]:
        ours, truth = (self._decoded(tokens) for tokens in prediction)
        found = evaluate.load(self.score).compute(predictions=ours, references=truth)
        return {self.score if name == "score" else name: found[name] for name in self.numbers}

    def _decoded(self, tokens: np.ndarray) -> list[str]:
        filled = np.where(tokens < 0, self.tokenizer.pad_token_id, tokens)
        return [text.strip() for text in self.tokenizer.batch_decode(filled.tolist(), skip_special_tokens=True)]
