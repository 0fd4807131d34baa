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
        heads: what the model must have one of, by the names of `enfold.models.registry`.
        model, revision: what runs when no model is named; the revision is a commit.
    """

    module: str
    cls: str
    heads: tuple[str, ...]
    model: str
    revision: str

    def load(self) -> Any:
        """The pipeline class."""
        return getattr(importlib.import_module(self.module), self.cls)


# Where several tasks have one head, the first is what a model with it serves when no task is named.
PIPELINES: dict[str, Task] = {
    "text-classification": Task(
        "enfold.pipelines.text_classification",
        "TextClassificationPipeline",
        ("sequence-classification",),
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "714eb0fa89d2f80546fda750413ed43d93601a13",
    ),
    "token-classification": Task(
        "enfold.pipelines.token_classification",
        "TokenClassificationPipeline",
        ("token-classification",),
        "dbmdz/bert-large-cased-finetuned-conll03-english",
        "4c534963167c08d4b8ff1f88733cf2930f86add0",
    ),
    "fill-mask": Task(
        "enfold.pipelines.fill_mask",
        "FillMaskPipeline",
        ("masked-lm",),
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
    ),
    "feature-extraction": Task(
        "enfold.pipelines.feature_extraction",
        "FeatureExtractionPipeline",
        ("encoder", "base"),
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
    "text-generation": Task(
        "enfold.pipelines.text_generation",
        "TextGenerationPipeline",
        ("causal-lm",),
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    ),
    "text2text-generation": Task(
        "enfold.pipelines.text2text_generation",
        "Text2TextGenerationPipeline",
        ("seq2seq-lm",),
        "google-t5/t5-base",
        "a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1",
    ),
    "summarization": Task(
        "enfold.pipelines.text2text_generation",
        "SummarizationPipeline",
        ("seq2seq-lm",),
        "sshleifer/distilbart-cnn-12-6",
        "a4f8f3ea906ed274767e9906dbaede7531d660ff",
    ),
    "translation": Task(
        "enfold.pipelines.text2text_generation",
        "TranslationPipeline",
        ("seq2seq-lm",),
        "google-t5/t5-base",
        "a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1",
    ),
    "conversational": Task(
        "enfold.pipelines.conversational",
        "ConversationalPipeline",
        ("causal-lm", "seq2seq-lm"),
        "microsoft/DialoGPT-medium",
        "7b40bb0f92c45fefa957d088000d8648e5c7fa33",
    ),
    "question-answering": Task(
        "enfold.pipelines.question_answering",
        "QuestionAnsweringPipeline",
        ("question-answering",),
        "distilbert/distilbert-base-cased-distilled-squad",
        "564e9b582944a57a3e586bbb98fd6f0a4118db7f",
    ),
    "table-question-answering": Task(
        "enfold.pipelines.table_question_answering",
        "TableQuestionAnsweringPipeline",
        ("table-question-answering", "seq2seq-lm"),
        "google/tapas-base-finetuned-wtq",
        "e3dde1905dea877b0df1a5c057533e48327dee77",
    ),
    "zero-shot-classification": Task(
        "enfold.pipelines.zero_shot_classification",
        "ZeroShotClassificationPipeline",
        ("sequence-classification",),
        "facebook/bart-large-mnli",
        "d7645e127eaf1aefc7862fd59a17a5aa8558b8ce",
    ),
    "sentence-similarity": Task(
        "enfold.pipelines.sentence_similarity",
        "SentenceSimilarityPipeline",
        ("encoder", "base"),
        "sentence-transformers/all-MiniLM-L6-v2",
        "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
    "text-ranking": Task(
        "enfold.pipelines.text_ranking",
        "TextRankingPipeline",
        ("sequence-classification",),
        "cross-encoder/ms-marco-MiniLM-L-6-v2",
        "c5ee24cb16019beea0893ab7796b1df96625c6b8",
    ),
}
# Languages in a task's name, and those that its default model translates between.
TRANSLATION = r"translation_(.+)_to_(.+)"
DEFAULT_TRANSLATIONS = frozenset({"translation_en_to_de", "translation_en_to_fr", "translation_en_to_ro"})
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
# What the reference library knows, or knew before its version 5.
NOT_BUILT = frozenset(
    {
        "any-to-any",
        "audio-classification",
        "automatic-speech-recognition",
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
        "text-to-audio",
        "text-to-speech",
        "video-classification",
        "visual-question-answering",
        "vqa",
        "zero-shot-audio-classification",
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
    known = "translation" if re.fullmatch(TRANSLATION, name) else ALIASES.get(name, name)
    if known in PIPELINES:
        return known, PIPELINES[known]
    built = ", ".join(sorted({*PIPELINES, *ALIASES}))
    if known in NOT_BUILT:
        raise NotBuiltError(f"the task {name!r} is not built yet; built are {built}")
    near = difflib.get_close_matches(name, [*PIPELINES, *ALIASES, *NOT_BUILT], n=1, cutoff=0.4)
    raise ArgumentError(f"unknown task {name!r}{f'; did you mean {near[0]!r}?' if near else ''} Built are {built}")


def task_of_head(head: str) -> str | None:
    """The task that a model with this head serves."""
    return next((name for name, task in PIPELINES.items() if head in task.heads), None)
