"""Answers within texts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from enfold.base.logging import get_logger
from enfold.evaluate.evaluators.base import Evaluator
from enfold.evaluate.evaluators.data import Data

logger = get_logger(__name__)


class QuestionAnsweringEvaluator(Evaluator):
    """Answers to questions by spans of a context.

    `squad_v2_format` says that questions may have no answer: the model may then answer nothing, and predictions carry
    the probability that there is none. By default it is so where a question of the data has no answer.
    """

    inputs: ClassVar[dict[str, str | None]] = {
        "question_column": "question",
        "context_column": "context",
        "id_column": "id",
        "label_column": "answers",
    }

    def extra_options(self) -> dict[str, Any]:
        return {"squad_v2_format": None, "pipeline_options": None}

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        pairs = zip(rows[chosen["id_column"]], rows[chosen["label_column"]], strict=True)
        references = [{"id": str(key), "answers": answers} for key, answers in pairs]
        inputs = {name: rows[chosen[f"{name}_column"]] for name in ("question", "context")}
        call = {"handle_impossible_answer": self._may_be_none(references, chosen)}
        return references, inputs, call | (chosen["pipeline_options"] or {})

    @staticmethod
    def _may_be_none(references: list[dict[str, Any]], chosen: Mapping[str, Any]) -> bool:
        said = chosen["squad_v2_format"]
        if said is not None:
            return bool(said)
        answers = (reference["answers"] for reference in references)
        found = any(not (given["text"] if isinstance(given, Mapping) else given) for given in answers)
        logger.info("squad_v2_format wasn't given: the data shows that it is %s", found)
        return found

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        may_be_none = self._may_be_none(references or [], chosen)
        predictions, confidence = [], []
        for reference, answer in zip(references or [], answers, strict=True):
            score = float(answer["score"])
            row = {"id": reference["id"], "prediction_text": answer["answer"]}
            if may_be_none:
                row["no_answer_probability"] = 1 - score if answer["answer"] else score
            predictions.append(row)
            confidence.append(score)
        return {"predictions": predictions, "references": references}, confidence
