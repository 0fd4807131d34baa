"""Whether a model and a tokenizer belong together and can do a task."""

import re
from typing import Any

from enfold.base.errors import ArgumentError, WeightsMismatchError
from enfold.base.logging import get_logger
from enfold.models.families import FAMILIES

logger = get_logger(__name__)


def head_of(model: Any) -> str | None:
    """The task of `enfold.models.registry` that a model's class serves."""
    for cls in type(model).__mro__:
        for _, _, classes in FAMILIES.values():
            for head, name in classes.items():
                if name == cls.__name__ and head != "pre-training":
                    return head
    return None


def check_head(model: Any, task: str, heads: tuple[str, ...]) -> None:
    """Refuse a model without a head that a task reads.

    Raises:
        ArgumentError: it has another.
    """
    found = head_of(model)
    if found in heads or ("base" in heads and found != "seq2seq-lm"):
        return
    able = sorted({classes[head] for _, _, classes in FAMILIES.values() for head in heads if head in classes})
    raise ArgumentError(
        f"{task} needs a model with a {' or '.join(heads)} head, and {type(model).__name__} has "
        f"{'none that is known' if found is None else f'a {found} one'}: load one of {', '.join(able)}"
    )


def check_weights(model: Any, task: str, unread: str, *, refuse: bool) -> None:
    """Refuse a model some of whose weights, which the task reads, are not the checkpoint's but freshly drawn.

    Args:
        unread: pattern of the weights that the task never reads.
        refuse: False only warns: who hands over a model of their own may have trained it since.

    Raises:
        WeightsMismatchError: names them.
    """
    report = getattr(model, "load_report", None)
    if report is None:
        return
    fresh = [*report.missing, *(name for name, _, _ in report.mismatched)]
    fresh = [name for name in fresh if not re.search(unread, name)]
    if not fresh:
        return
    names = ", ".join(fresh[:8]) + (f" and {len(fresh) - 8} more" if len(fresh) > 8 else "")
    source = model.name_or_path or "the checkpoint"
    if refuse:
        raise WeightsMismatchError(
            f"{source} has no {names}: {type(model).__name__} would answer {task} with random weights. Name a model "
            "that was trained for this task, or train this one first and pass the model itself"
        )
    logger.warning(
        "%s: %s of %s were newly initialised when it was loaded; unless it was trained since, its answers are random.",
        task,
        names,
        source,
    )


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with more tokens than the model has embeddings.

    Raises:
        ArgumentError: names both.
    """
    tokens, rows = len(tokenizer), model.get_input_embeddings().num_embeddings
    if tokens > rows:
        raise ArgumentError(
            f"the tokenizer {getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__} has {tokens} tokens, "
            f"and the model {model.name_or_path or type(model).__name__} has embeddings for {rows}: they don't belong "
            "together; load both from one repository"
        )
