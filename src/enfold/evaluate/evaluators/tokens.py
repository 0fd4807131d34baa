"""Labels of words."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.evaluate.evaluators.base import Evaluator
from enfold.evaluate.evaluators.data import Data


class TokenClassificationEvaluator(Evaluator):
    """Labels of words, given as lists. A word's label is that of its first token, "O" where no token begins with it.

    `join_by` stands between the words of the text that the model reads. References are names of labels, or their
    numbers where the data or `label_mapping` (name → number) say their names.
    """

    call: ClassVar[dict[str, Any]] = {"ignore_labels": []}
    inputs: ClassVar[dict[str, str | None]] = {"input_column": "tokens", "label_column": "ner_tags"}

    def extra_options(self) -> dict[str, Any]:
        return super().extra_options() | {"join_by": " "}

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        references, words, call = super().prepare(rows, chosen)
        for name, column in ((chosen["input_column"], words), (chosen["label_column"], references)):
            if any(isinstance(row, str) or not isinstance(row, Sequence) for row in column or ()):
                raise ArgumentError(f"the column {name!r} must hold lists: one word or label after the other")
        named = self._named(references or [], rows, chosen)
        return named, [chosen["join_by"].join(sentence) for sentence in words], call

    @staticmethod
    def _named(references: list[Any], rows: Data, chosen: Mapping[str, Any]) -> list[list[str]]:
        if all(isinstance(label, str) for row in references for label in row):
            return [list(row) for row in references]
        names: Any = rows.names_of(chosen["label_column"])
        if chosen["label_mapping"]:
            names = {number: name for name, number in chosen["label_mapping"].items()}
        if not names:
            raise ArgumentError(
                f"the labels in {chosen['label_column']!r} are numbers, and nothing names them: "
                "pass label_mapping={name: number}"
            )
        return [[names[label] for label in row] for row in references]

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        predictions = []
        for tokens, words in zip(answers, rows[chosen["input_column"]], strict=True):
            if any(token.get("start") is None or "entity" not in token for token in tokens):
                raise ArgumentError(
                    "the pipeline's answers must be single tokens with start and entity: aggregate none"
                )
            begins = {token["start"]: token["entity"] for token in reversed(tokens)}
            place, labels = 0, []
            for word in words:
                labels.append(begins.get(place, "O"))
                place += len(word) + len(chosen["join_by"])
            predictions.append(labels)
        return {"predictions": predictions, "references": references}, []
