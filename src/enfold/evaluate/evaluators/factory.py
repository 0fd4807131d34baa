"""A task → its evaluator."""

import importlib
from typing import Any

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.evaluate.evaluators.base import Evaluator

# Task → where its evaluator is, and the metric that it computes by itself.
TASKS = {
    "text-classification": ("texts", "TextClassificationEvaluator", "accuracy"),
    "token-classification": ("tokens", "TokenClassificationEvaluator", "seqeval"),
    "question-answering": ("questions", "QuestionAnsweringEvaluator", "squad"),
    "text2text-generation": ("texts", "Text2TextGenerationEvaluator", "bleu"),
    "summarization": ("texts", "SummarizationEvaluator", "rouge"),
    "translation": ("texts", "TranslationEvaluator", "bleu"),
    "text-generation": ("texts", "TextGenerationEvaluator", "word_count"),
}
# What the reference library evaluates besides; their pipelines come first.
NOT_BUILT = ("audio-classification", "automatic-speech-recognition", "image-classification")


def evaluator(task: str) -> Evaluator:
    """What scores a model of a task: `evaluator("text-classification").compute("org/model", data, metric="f1")`.

    Args:
        task: a name of `TASKS`, or another name of it that `pipeline` knows, such as ner or translation_en_to_de.

    Raises:
        NotBuiltError: a task over images or sounds, whose pipelines aren't built yet.
        ArgumentError: a task that has no evaluator.
    """
    from enfold.pipelines.registry import PIPELINES, find_task

    if task in NOT_BUILT and task not in PIPELINES:
        raise NotBuiltError(
            f"evaluator({task!r}) is not built yet: its pipeline isn't either; built are {', '.join(TASKS)}"
        )
    known, _ = find_task(task)
    if known not in TASKS:
        raise ArgumentError(f"the task {known!r} has no evaluator; {', '.join(TASKS)} have one")
    module, name, metric = TASKS[known]
    found: Any = getattr(importlib.import_module(f"enfold.evaluate.evaluators.{module}"), name)
    return found(known if known != "translation" else task, metric)
