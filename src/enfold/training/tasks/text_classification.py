"""A class, or a number, for a text or a pair of texts."""

from typing import Any

from enfold import evaluate
from enfold.training.tasks.base import Task
from enfold.training.tasks.labels import Classes, class_scores, known_names, names_in


class TextClassification(Task):
    """Labels are names, numbers of classes, or decimal numbers (regression)."""

    auto = "AutoModelForSequenceClassification"
    columns = {"text_column": "text", "text_pair_column": None, "label_column": "label"}
    classes: Classes | None = None

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        column = self.named["label_column"]
        assert column is not None
        labels = list(rows[column])
        if labels and all(isinstance(label, float) for label in labels):
            return {"num_labels": 1, "problem_type": "regression"}
        self.classes = Classes(labels, names_in(rows, column), known_names(config), column)
        if eval_rows is not None:
            self.classes.check(eval_rows[column])
        return {**self.classes.entries, "problem_type": "single_label_classification"}

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts, pairs = rows[self.named["text_column"] or ""], self.named["text_pair_column"]
        made = dict(self.tokenizer(texts, rows[pairs] if pairs else None, truncation=True, max_length=self.max_length))
        labels = rows[self.named["label_column"] or ""]
        made["labels"] = labels if self.classes is None else [self.classes.numbers[label] for label in labels]
        return made

    @property
    def metric(self):
        return self._errors if self.classes is None else class_scores

    @staticmethod
    def _errors(prediction: Any) -> dict[str, float]:
        numbers, truth = prediction
        return evaluate.combine(["mse", "mae"]).compute(predictions=numbers.reshape(-1), references=truth)
