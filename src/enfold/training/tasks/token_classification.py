"""A class for every word of a text."""

import re
from typing import Any

import numpy as np

from enfold import evaluate
from enfold.base.errors import ArgumentError
from enfold.training.collators import DataCollatorForTokenClassification
from enfold.training.collators.padding import IGNORED
from enfold.training.tasks.base import Task
from enfold.training.tasks.labels import Classes, flat, known_names, names_in

_SPANS = re.compile(r"O|[BIES]-.+")


class TokenClassification(Task):
    """Rows hold words and as many tags; the first piece of a word learns its tag."""

    auto = "AutoModelForTokenClassification"
    columns = {"text_column": "tokens", "label_column": "tags"}
    classes: Classes

    def learn(self, rows: Any, eval_rows: Any, config: Any) -> dict[str, Any]:
        column = self.named["label_column"]
        assert column is not None
        for which, part in (("training", rows), ("evaluation", eval_rows)):
            if part is not None:
                self._check_lengths(which, part)
        self.classes = Classes(flat(rows[column]), names_in(rows, column), known_names(config), column)
        if eval_rows is not None:
            self.classes.check(flat(eval_rows[column]))
        return self.classes.entries

    def _check_lengths(self, which: str, rows: Any) -> None:
        columns = (rows[self.named["text_column"]], rows[self.named["label_column"]])
        for place, (words, tags) in enumerate(zip(*columns, strict=True)):
            if not isinstance(words, list) or not isinstance(tags, list) or len(words) != len(tags):
                raise ArgumentError(
                    f"row {place} of the {which} data: expected a list of words and as many tags, got {words!r:.60} "
                    f"and {tags!r:.60}"
                )

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        words, tags = rows[self.named["text_column"] or ""], rows[self.named["label_column"] or ""]
        made = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.max_length)
        labels = []
        for number, row in enumerate(tags):
            places = made.word_ids(number)
            first = [word is not None and (not at or places[at - 1] != word) for at, word in enumerate(places)]
            labels.append(
                [
                    self.classes.numbers[row[word]] if starts else IGNORED
                    for word, starts in zip(places, first, strict=True)
                ]
            )
        return {**made, "labels": labels}

    def collator(self, model: Any) -> Any:
        return DataCollatorForTokenClassification(self.tokenizer)

    @property
    def metric(self):
        return self._scores

    def _scores(self, prediction: Any) -> dict[str, float]:
        logits, truth = prediction
        chosen, names = np.argmax(logits, -1), self.classes.names
        if not all(_SPANS.fullmatch(name) for name in names):
            kept = truth != IGNORED
            return evaluate.load("accuracy").compute(predictions=chosen[kept], references=truth[kept])
        kept = [row != IGNORED for row in truth]
        ours = [[names[tag] for tag in row[keep]] for row, keep in zip(chosen, kept, strict=True)]
        right = [[names[tag] for tag in row[keep]] for row, keep in zip(truth, kept, strict=True)]
        found = evaluate.load("seqeval").compute(predictions=ours, references=right)
        return {name.removeprefix("overall_"): found[name] for name in found if name.startswith("overall_")}
