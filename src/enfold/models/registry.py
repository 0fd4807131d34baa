"""Which families there are, and which class serves which task. Names only: a family's module loads on first use."""

import difflib
import importlib
from typing import Any

from enfold.base.errors import ConfigError
from enfold.models.families import FAMILIES, Family

# Auto class → the task it serves.
AUTO_TASKS = {
    "AutoModel": "base",
    "AutoModelForCausalLM": "causal-lm",
    "AutoModelForMaskedLM": "masked-lm",
    "AutoModelForSeq2SeqLM": "seq2seq-lm",
    "AutoModelForSequenceClassification": "sequence-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForTableQuestionAnswering": "table-question-answering",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModelForNextSentencePrediction": "next-sentence",
    "AutoModelForPreTraining": "pre-training",
    "AutoModelForImageClassification": "image-classification",
    "AutoModelForMaskedImageModeling": "masked-image-modeling",
    "AutoModelForCTC": "ctc",
    "AutoModelForAudioClassification": "audio-classification",
}


def public_names() -> dict[str, str]:
    """Every class name a user can import from `enfold` → the module that defines it."""
    names = dict.fromkeys([*AUTO_TASKS, "AutoConfig"], "enfold.models.auto")
    for module, config, classes in FAMILIES.values():
        names |= dict.fromkeys([config, *classes.values()], module)
    return names


def family(model_type: str) -> Family:
    """The family of a `model_type`.

    Raises:
        ConfigError: none of that name; the message names the nearest.
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    near = difflib.get_close_matches(str(model_type).lower(), FAMILIES, n=1, cutoff=0.4)
    hint = f"the nearest that is known is {near[0]!r}; " if near else ""
    raise ConfigError(f"model_type {model_type!r} is unknown: {hint}known are {', '.join(sorted(FAMILIES))}")


def config_class(model_type: str) -> Any:
    module, name, _ = family(model_type)
    return getattr(importlib.import_module(module), name)


def model_class(model_type: str, task: str) -> Any:
    """The class of a family that serves a task.

    Raises:
        ConfigError: the family has no such head; the message names those that do and those it has.
    """
    module, _, classes = family(model_type)
    if task not in classes:
        able = sorted(name for name, (_, _, theirs) in FAMILIES.items() if task in theirs)
        raise ConfigError(
            f"model_type {model_type!r} has no head for {task!r}; it has {', '.join(classes)}. "
            f"Families with that head: {', '.join(able) or 'none yet'}"
        )
    return getattr(importlib.import_module(module), classes[task])


def class_by_name(name: str) -> Any:
    """The class that a checkpoint's `architectures` entry names, or None."""
    for module, _, classes in FAMILIES.values():
        if name in classes.values():
            return getattr(importlib.import_module(module), name)
    return None
