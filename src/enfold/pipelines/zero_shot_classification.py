"""zero-shot-classification: a text and any labels → how well each fits, by a model of entailment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.pipelines.base import Item, Options, Pipeline
from enfold.pipelines.encoding import Row, preview
from enfold.pipelines.text_classification import softmax

logger = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ZeroShotClassificationOptions(Options):
    """Options of zero-shot-classification.

    Attributes:
        candidate_labels: the labels: a list, or a text with commas between them.
        hypothesis_template: the sentence that each label is put into, at `{}`.
        multi_label: each label is right or wrong by itself, instead of one of them being right. (`multi_class` is the
            older name.)
    """

    candidate_labels: str | Sequence[str] | None = None
    hypothesis_template: str = "This example is {}."
    multi_label: bool = False


class ZeroShotClassificationPipeline(Pipeline[ZeroShotClassificationOptions]):
    """Texts → `{"sequence", "labels", "scores"}`, labels best first.

    Each label makes a pair of the text and a hypothesis ("This example is sport."), and the model says whether the
    text entails it. Long texts are refused: parts of a text entail less than the whole, and their scores don't add up.
    """

    task = "zero-shot-classification"
    heads = ("sequence-classification",)
    options_class = ZeroShotClassificationOptions

    def __init__(self, model: Any, tokenizer: Any, **options: Any):
        super().__init__(model, tokenizer, **options)
        labels = self.model.config.label2id
        if self.model.config.num_labels < 2:
            raise ArgumentError(
                f"{self.task} needs a model that tells entailment from contradiction; this has one label"
            )
        known = [index for label, index in labels.items() if label.lower().startswith("entail")]
        self.entailment_id = known[0] if known else -1
        if not known:
            logger.warning(
                "%s: none of the labels %s begins with 'entail', so the last one is taken for entailment; set "
                "model.config.label2id to say which it is.",
                self.task,
                ", ".join(self.model.config.id2label.values()),
            )

    def settings(self, options: dict[str, Any]) -> ZeroShotClassificationOptions:
        if "multi_class" in options:
            logger.warning("multi_class is the older name of multi_label")
            options = {"multi_label": options["multi_class"]} | options
            options.pop("multi_class")
        chosen = super().settings(options)
        if isinstance(chosen.candidate_labels, str):
            labels = [label.strip() for label in chosen.candidate_labels.split(",")]
            chosen = replace(chosen, candidate_labels=[label for label in labels if label])
        if chosen.candidate_labels is not None:
            self._check_labels(chosen.candidate_labels, chosen.hypothesis_template)
        if chosen.tokenizer_kwargs.get("truncation") is True:  # the hypothesis is never cut
            chosen = replace(chosen, tokenizer_kwargs={**chosen.tokenizer_kwargs, "truncation": "only_first"})
        return chosen

    def _check_labels(self, labels: Sequence[Any], template: Any) -> None:
        if not labels or not all(isinstance(label, str) for label in labels):
            raise ArgumentError(f"candidate_labels is {labels!r}; expected one text or more")
        if not isinstance(template, str) or template.format(labels[0]) == template:
            raise ArgumentError(
                f"hypothesis_template is {template!r}, which has no place for a label: write {{}} where it belongs"
            )

    def __call__(self, inputs: Any, candidate_labels: Any = None, **options: Any) -> Any:
        """Label texts; arguments as of every pipeline.

        Args:
            candidate_labels: the labels, if the pipeline wasn't made with some.
        """
        given = {} if candidate_labels is None else {"candidate_labels": candidate_labels}
        return super().__call__(inputs, **given, **options)

    def preprocess(self, inputs: list[Any], options: ZeroShotClassificationOptions, first: int = 0) -> list[Item]:
        labels = options.candidate_labels
        if labels is None:
            raise ArgumentError(f"{self.task} got no candidate_labels: pass the labels to choose from")
        for index, text in enumerate(inputs):
            if not isinstance(text, str) or not text:
                raise ArgumentError(f"{self.task} takes texts; input {first + index} is {preview(text)}")
        hypotheses = [options.hypothesis_template.format(label) for label in labels]
        texts = [text for text in inputs for _ in hypotheses]
        rows = self.encode(texts, hypotheses * len(inputs), options)
        for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
            self.check_length(row, text, first + number // len(labels))
        each = len(labels)
        return [Item(rows[each * i : each * (i + 1)], text) for i, text in enumerate(inputs)]

    def forward(self, rows: list[Row], options: ZeroShotClassificationOptions) -> list[np.ndarray]:
        """Logits [C] each."""
        return list(self.model(**self.tensors(rows)).logits.float().cpu().numpy())

    def postprocess(
        self, item: Item, outputs: list[np.ndarray], options: ZeroShotClassificationOptions
    ) -> dict[str, Any]:
        assert options.candidate_labels is not None
        logits = np.stack(outputs)  # [labels, C]
        if options.multi_label or len(outputs) == 1:
            contradiction = -1 if self.entailment_id == 0 else 0
            scores = softmax(logits[:, [contradiction, self.entailment_id]])[:, 1]
        else:
            scores = softmax(logits[:, self.entailment_id])
        order = scores.argsort()[::-1]
        labels = [options.candidate_labels[i] for i in order]
        return {"sequence": item.kept, "labels": labels, "scores": scores[order].tolist()}
