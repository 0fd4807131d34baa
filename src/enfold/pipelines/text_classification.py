"""text-classification: a text, or a pair of texts, → labels with scores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row

logger = get_logger(__name__)

# `top_k=None` asks for every label, so its absence needs a value of its own.
NOT_GIVEN: Final = "not given"
FUNCTIONS = ("sigmoid", "softmax", "none")


@dataclass(frozen=True, kw_only=True)
class TextClassificationOptions(Options):
    """Options of text-classification.

    Attributes:
        top_k: how many labels, best first; None is all of them. Not given, the best one, outside of a list.
        function_to_apply: "sigmoid", "softmax" or "none" on the logits. By default none for regression, the sigmoid
            for several labels at once or a single one, else the softmax.
        return_all_scores: the older `top_k=None`, in the order of the labels.
    """

    top_k: int | str | None = NOT_GIVEN
    function_to_apply: str | None = None
    return_all_scores: bool | None = None


class TextClassificationPipeline(Pipeline[TextClassificationOptions]):
    """Texts → `{"label", "score"}`; a pair of texts is a dictionary `{"text", "text_pair"}`."""

    task = "text-classification"
    heads = ("sequence-classification",)
    options_class = TextClassificationOptions

    def settings(self, options: dict[str, Any]) -> TextClassificationOptions:
        chosen = super().settings(options)
        function, top_k = chosen.function_to_apply, chosen.top_k
        if function is not None:
            name = str(getattr(function, "value", function)).lower()
            if name == "default":
                chosen = replace(chosen, function_to_apply=None)
            elif name in FUNCTIONS:
                chosen = replace(chosen, function_to_apply=name)
            else:
                raise ArgumentError(f"function_to_apply is {function!r}; expected one of {', '.join(FUNCTIONS)}")
        if top_k not in (None, NOT_GIVEN, "") and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ArgumentError(f"top_k is {top_k!r}; expected a number of labels, or None for all")
        if "return_all_scores" in options and options["return_all_scores"] is not None:
            logger.warning("return_all_scores is the older name of top_k=None (all) and top_k=1 (the best one)")
        return replace(chosen, top_k=NOT_GIVEN) if top_k == "" else chosen

    def present(self, inputs: Any, answers: Any, options: TextClassificationOptions, given: dict[str, Any]) -> Any:
        # A single text gives a list, a pair doesn't, and neither does a text whose call says `top_k`: so users know it.
        return [answers] if isinstance(inputs, str) and "top_k" not in given else answers

    def preprocess(self, inputs: list[Any], options: TextClassificationOptions, first: int = 0) -> list[Item]:
        both = [self._texts(item, first + index) for index, item in enumerate(inputs)]
        single = [i for i, (_, pair) in enumerate(both) if pair is None]
        paired = [i for i, (_, pair) in enumerate(both) if pair is not None]
        rows: dict[int, Row] = {}
        if single:
            rows |= zip(single, self.encode([both[i][0] for i in single], None, options), strict=True)
        if paired:
            texts, pairs = [both[i][0] for i in paired], [str(both[i][1]) for i in paired]
            rows |= zip(paired, self.encode(texts, pairs, options), strict=True)
        for index, item in enumerate(inputs):
            self.check_length(rows[index], item, first + index)
        return [Item([rows[index]]) for index in range(len(inputs))]

    def _texts(self, item: Any, number: int) -> tuple[str, str | None]:
        """The text of an item and the second one, if it is a pair."""
        if isinstance(item, list) and len(item) == 1 and isinstance(item[0], list) and len(item[0]) == 2:
            item = {"text": item[0][0], "text_pair": item[0][1]}  # how pairs were written once
        if isinstance(item, Mapping):
            if strange := sorted(map(str, item.keys() - {"text", "text_pair"})):
                raise ArgumentError(
                    f"{self.task}: input {number} has {', '.join(strange)}; expected the keys text and text_pair"
                )
            text, pair = item.get("text"), item.get("text_pair")
        else:
            text, pair = item, None
        if not isinstance(text, str) or not (pair is None or isinstance(pair, str)):
            raise ArgumentError(
                f"{self.task} takes texts, or pairs as dictionaries {{'text': …, 'text_pair': …}}; input {number} is a "
                f"{type(item).__name__}" + ("" if isinstance(text, str) else f" with a {type(text).__name__} as text")
            )
        return text, pair

    def forward(self, rows: list[Row], options: TextClassificationOptions) -> list[np.ndarray]:
        """Logits [C] each."""
        return list(self.model(**self.tensors(rows)).logits.float().cpu().numpy())

    def postprocess(self, item: Item, outputs: list[np.ndarray], options: TextClassificationOptions) -> Any:
        config = self.model.config
        scores = apply(options.function_to_apply or usual_function(config), outputs[0])
        labels = config.id2label
        if options.top_k == NOT_GIVEN and not options.return_all_scores:
            best = int(scores.argmax())
            return {"label": labels[best], "score": float(scores[best])}
        answers = [{"label": labels[i], "score": score} for i, score in enumerate(scores.tolist())]
        if options.top_k == NOT_GIVEN:
            return answers
        answers.sort(key=lambda answer: answer["score"], reverse=True)
        return answers[: options.top_k]  # type: ignore[misc]


def usual_function(config: Any) -> str:
    """What turns logits into scores, by what the model was trained for."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def apply(function: str, logits: np.ndarray) -> np.ndarray:
    """Logits [C] → scores [C]."""
    if function == "sigmoid":
        return 1.0 / (1.0 + np.exp(-logits))
    if function == "softmax":
        return softmax(logits)
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
