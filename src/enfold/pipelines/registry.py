"""Which tasks there are. Names only: a task's module loads when a pipeline of it is made."""

import difflib
import importlib
import re
from dataclasses import dataclass
from typing import Any

from enfold.base.errors import ArgumentError, NotBuiltError


@dataclass(frozen=True)
class Task:
    """A task that is built.

    Attributes:
        module, cls: where its pipeline is.
        head: what the model must have, by the names of `enfold.models.registry`.
        model, revision: what runs when no model is named; the revision is a commit.
    """

    module: str
    cls: str
    head: str
    model: str
    revision: str

    def load(self) -> Any:
        """The pipeline class."""
        return getattr(importlib.import_module(self.module), self.cls)


PIPELINES: dict[str, Task] = {
    "text-classification": Task(
        "enfold.pipelines.text_classification",
        "TextClassificationPipeline",
        "sequence-classification",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "714eb0fa89d2f80546fda750413ed43d93601a13",
    ),
    "token-classification": Task(
        "enfold.pipelines.token_classification",
        "TokenClassificationPipeline",
        "token-classification",
        "dbmdz/bert-large-cased-finetuned-conll03-english",
        "4c534963167c08d4b8ff1f88733cf2930f86add0",
    ),
    "fill-mask": Task(
        "enfold.pipelines.fill_mask",
        "FillMaskPipeline",
        "masked-lm",
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
    ),
    "feature-extraction": Task(
        "enfold.pipelines.feature_extraction",
        "FeatureExtractionPipeline",
        "base",
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
    "text-generation": Task(
        "enfold.pipelines.text_generation",
        "TextGenerationPipeline",
        "causal-lm",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    ),
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
# What the reference library knows, or knew before its version 5.
NOT_BUILT = frozenset(
    {
        "any-to-any",
        "audio-classification",
        "automatic-speech-recognition",
        "conversational",
        "decision",
        "depth-estimation",
        "document-question-answering",
        "image-classification",
        "image-feature-extraction",
        "image-segmentation",
        "image-text-to-text",
        "image-to-image",
        "image-to-text",
        "keypoint-matching",
        "mask-generation",
        "object-detection",
        "question-answering",
        "summarization",
        "table-question-answering",
        "text-to-audio",
        "text-to-speech",
        "text2text-generation",
        "translation",
        "video-classification",
        "visual-question-answering",
        "vqa",
        "zero-shot-audio-classification",
        "zero-shot-classification",
        "zero-shot-image-classification",
        "zero-shot-object-detection",
    }
)


def find_task(name: str) -> tuple[str, Task]:
    """The task of a name or alias, under its own name.

    Raises:
        NotBuiltError: a task of the reference library that isn't built yet.
        ArgumentError: no task at all; the message names the nearest.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"task is a {type(name).__name__}; expected a name, one of {', '.join(sorted(PIPELINES))}")
    known = ALIASES.get(name, name)
    if known in PIPELINES:
        return known, PIPELINES[known]
    built = ", ".join(sorted({*PIPELINES, *ALIASES}))
    if known in NOT_BUILT or re.fullmatch(r"translation_[^_]+_to_.+", known):
        raise NotBuiltError(f"the task {name!r} is not built yet; built are {built}")
    near = difflib.get_close_matches(name, [*PIPELINES, *ALIASES, *NOT_BUILT], n=1, cutoff=0.4)
    raise ArgumentError(f"unknown task {name!r}{f'; did you mean {near[0]!r}?' if near else ''} Built are {built}")


def task_of_head(head: str) -> str | None:
    """The task that a model with this head serves."""
    return next((name for name, task in PIPELINES.items() if task.head == head), None)
