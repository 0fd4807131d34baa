"""Mistral's large vocabularies were published with a pattern that cuts text otherwise than the models were trained on;
transformers 5 mends them when `fix_mistral_regex=True` says so, and so does enfold."""

import re
from typing import TYPE_CHECKING, Any

from enfold.base.logging import get_logger
from enfold.tokenizers.formats.patterns import TEKKEN

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer
    from enfold.tokenizers.loading import Source

logger = get_logger(__name__)

_LARGE = 100_000  # tokens; smaller vocabularies are right
_MODELS = frozenset({"mistral", "mistral3", "voxtral", "ministral", "pixtral"})


def mended(engine: "Tokenizer", source: "Source", asked: bool | None) -> bool | None:
    """Cut text as the models were trained on, if these files need it and it is asked for.

    Args:
        engine: changed in place.
        source: where it comes from.
        asked: None warns if the files need it.

    Returns:
        Whether it was mended; None for files that don't need it.
    """
    if engine.get_vocab_size() <= _LARGE or engine.pre_tokenizer is None or not _is_affected(source):
        return None
    if not asked:
        if asked is None:
            logger.warning(
                "%s: its pattern cuts text otherwise than Mistral's models were trained on. Pass "
                "fix_mistral_regex=True to mend it, or False to keep it.",
                source.name,
            )
        return False
    from enfold.tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(TEKKEN), "isolated")
    present = engine.pre_tokenizer
    if isinstance(present, pre_tokenizers.Sequence):
        present[0] = split
        return True
    if isinstance(present, pre_tokenizers.Metaspace):
        present = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([split, present])
    return True


def _is_affected(source: "Source") -> bool:
    """By the model's configuration: a Mistral saved before transformers 5."""
    if "config.json" not in source.paths:
        return False
    config: dict[str, Any] = source.model_config()
    major = re.match(r"\d+", str(config.get("transformers_version") or "0"))
    if major is not None and int(major.group()) >= 5:
        return False
    return config.get("model_type") is None or config["model_type"] in _MODELS
