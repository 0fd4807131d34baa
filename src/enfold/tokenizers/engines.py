"""What a tokenizer is made from → its engine."""

import os
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.families.recipes import Parts
from enfold.tokenizers.formats.document import engine_from
from enfold.tokenizers.formats.reading import read_merges, read_vocab_json, read_vocab_txt

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken, Tokenizer


def engine_from_file(path: Path) -> "Tokenizer":
    """The engine that a tokenizer.json describes."""
    from enfold.tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except ImportError:
        raise
    except Exception as error:
        raise TokenizerError(f"{path}: {error}") from error


def given_parts(vocab: Any, merges: Any, vocab_file: Any, merges_file: Any) -> Parts:
    """Vocabulary and merges from values or paths."""
    vocab = vocab_file if vocab is None else vocab
    merges = merges_file if merges is None else merges
    if isinstance(vocab, (str, os.PathLike)):
        path = Path(vocab)
        vocab = read_vocab_json(path) if path.suffix == ".json" else read_vocab_txt(path)
    if isinstance(merges, (str, os.PathLike)):
        merges = read_merges(Path(merges))
    elif merges is not None:
        merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    return Parts(vocab, merges)


def defaults_from_file(options: dict[str, Any], truncation: Any, padding: Any) -> None:
    """What a tokenizer.json says of truncation and padding, where the configuration says nothing."""
    if truncation:
        options.setdefault("truncation_side", str(truncation.get("direction", "right")).lower())
    if padding:
        options.setdefault("padding_side", str(padding.get("direction", "right")).lower())
        if padding.get("pad_token") is not None:
            options.setdefault("pad_token", padding["pad_token"])


def engine_like(tokenizer: Any) -> "Tokenizer":
    """A copy of an engine, ours or the reference library's."""
    from enfold.tokenizers import Tokenizer

    if isinstance(tokenizer, Tokenizer):
        return copy(tokenizer)
    if not hasattr(tokenizer, "to_str"):
        raise ArgumentError(f"tokenizer_object must be a Tokenizer, got {type(tokenizer).__name__}.")
    return engine_from(tokenizer.to_str(), "tokenizer_object")


def as_special(token: "AddedToken") -> "AddedToken":
    """The token, made special."""
    # A copy keeps `normalized` open if it is, so that it follows.
    token = copy(token)
    token.special = True
    return token


def added_texts(engine: Any) -> list[str]:
    """The added tokens of an engine."""
    return [token.content for token in engine.get_added_tokens_decoder().values()]
