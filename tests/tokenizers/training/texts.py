"""Texts to train on, and the same training in both libraries."""

import importlib
import json
import random
from typing import Any

import enfold.tokenizers as ours

from ..engine import corpus
from ..folders import corpus as prose

# Untyped: its submodules are no attributes to a type checker.
reference: Any = importlib.import_module("tokenizers")


def lines() -> list[str]:
    """A few hundred texts: prose, code, ten scripts, and what breaks."""
    return [*prose(), *corpus.PROSE, *corpus.NASTY, *corpus.fuzz(150, seed=3)]


def random_words(rng: random.Random, alphabet: str, count: int) -> list[str]:
    """Words that repeat, of letters that repeat: merges tie, overlap and spell the same token twice."""
    mean = rng.choice([3, 6, 12])
    words = ["".join(rng.choice(alphabet) for _ in range(int(rng.expovariate(1 / mean)) + 1)) for _ in range(count)]
    return [word for word in words for _ in range(rng.choice([1, 1, 2, 3, 7]))]


def tokenizer(library: Any, model: str, pre_tokenizer: Any = None, normalizer: Any = None, **options: Any) -> Any:
    """An empty tokenizer; the components are made by functions of the library's module."""
    made = library.Tokenizer(getattr(library.models, model)(**options))
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer(library.pre_tokenizers)
    if normalizer is not None:
        made.normalizer = normalizer(library.normalizers)
    return made


def trained(library: Any, model: str, texts: Any, setting: Any = (), model_options: Any = (), **options: Any) -> Any:
    """A tokenizer trained on the texts with `options` for its trainer."""
    made = tokenizer(library, model, **dict(setting), **dict(model_options))
    name = "BpeTrainer" if model == "BPE" else f"{model}Trainer"
    trainer = getattr(library.trainers, name)(show_progress=False, **options)
    made.train_from_iterator(texts, trainer)
    return made


def both(model: str, texts: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(ours, theirs) as documents."""
    made = trained(ours, model, texts, **options), trained(reference, model, texts, **options)
    return json.loads(made[0].to_str()), json.loads(made[1].to_str())
