"""Tasks whose answer is a label or a text: classification, and everything that writes."""

from collections.abc import Mapping
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.evaluate.evaluators.base import Evaluator
from enfold.evaluate.evaluators.data import Data


class TextClassificationEvaluator(Evaluator):
    """Labels of texts, or of pairs of texts (`second_input_column`).

    Where references are numbers and the model's labels are names, `label_mapping` says which is which; by default the
    data's own names of classes, where they are the model's, or else the model's numbers.
    """

    call: ClassVar[dict[str, Any]] = {"truncation": True}
    inputs: ClassVar[dict[str, str | None]] = {
        "input_column": "text",
        "second_input_column": None,
        "label_column": "label",
    }

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        references, inputs, call = super().prepare(rows, chosen)
        if chosen["second_input_column"] is not None:
            pairs = zip(inputs, rows[chosen["second_input_column"]], strict=True)
            inputs = [{"text": text, "text_pair": pair} for text, pair in pairs]
        return references, inputs, call

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        best = [answer[0] if isinstance(answer, list) else answer for answer in answers]
        labels = [answer["label"] for answer in best]
        confidence = [float(answer["score"]) for answer in best if "score" in answer]
        mapping = chosen["label_mapping"]
        if mapping is None and not isinstance(references[0], str):  # type: ignore[index]
            mapping = _numbers(labels, rows.names_of(chosen["label_column"]), pipe)
        if mapping is not None:
            if unknown := sorted({str(label) for label in labels if label not in mapping}):
                raise ArgumentError(f"label_mapping lacks {', '.join(unknown)}; it has {', '.join(map(str, mapping))}")
            labels = [mapping[label] for label in labels]
        return {"predictions": labels, "references": references}, confidence


def _numbers(labels: list[Any], names: list[str] | None, pipe: Any) -> dict[str, int] | None:
    """The numbers of the labels that a model gave, or None where they are numbers already."""
    if not any(isinstance(label, str) for label in labels):
        return None
    if names is not None and set(labels) <= set(names):
        return {name: number for number, name in enumerate(names)}
    config = getattr(getattr(pipe, "model", None), "config", None)
    known = getattr(config, "label2id", None)
    if not known:
        raise ArgumentError(
            "references are numbers, predictions are names, and nothing says which is which: pass "
            "label_mapping={name: number}"
        )
    return {str(name): int(number) for name, number in known.items()}


class Text2TextGenerationEvaluator(Evaluator):
    """Texts from texts by an encoder–decoder."""

    call: ClassVar[dict[str, Any]] = {"truncation": True}
    key: ClassVar[str] = "generated_text"

    def extra_options(self) -> dict[str, Any]:
        return {"generation_kwargs": None, "pipeline_options": None}

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        references, inputs, call = super().prepare(rows, chosen)
        return references, inputs, call | (chosen["generation_kwargs"] or {})

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        first = (answer[0] if isinstance(answer, list) else answer for answer in answers)
        return {"predictions": [answer[self.key] for answer in first], "references": references}, []


class SummarizationEvaluator(Text2TextGenerationEvaluator):
    """Summaries."""

    key = "summary_text"


class TranslationEvaluator(Text2TextGenerationEvaluator):
    """Translations."""

    key = "translation_text"


class TextGenerationEvaluator(Text2TextGenerationEvaluator):
    """Continuations of prompts. What is measured is the text itself, unless `label_column` names what it should be."""

    call: ClassVar[dict[str, Any]] = {}
    inputs: ClassVar[dict[str, str | None]] = {"input_column": "text", "label_column": None}

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        call = {**self.call, **(chosen["pipeline_options"] or {}), **(chosen["generation_kwargs"] or {})}
        label = chosen["label_column"]
        return None if label is None else rows[label], rows[chosen["input_column"]], call

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        if references is not None:
            return super().read(answers, rows, references, pipe, chosen)
        every = (one for answer in answers for one in (answer if isinstance(answer, list) else [answer]))
        return {"data": [answer[self.key] for answer in every]}, []
