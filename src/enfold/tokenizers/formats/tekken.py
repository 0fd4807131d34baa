"""Mistral's tekken.json: a vocabulary of ranks, its pattern, and special tokens, which have the first ids."""

import base64
import binascii
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError
from enfold.tokenizers.formats.document import Document, added_token
from enfold.tokenizers.formats.reading import read_json
from enfold.tokenizers.formats.tiktoken import byte_level_bpe, check_ranks, ranks_document

# What the roles are called in every file; a file may lack one.
ROLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
# Files of version 3 name no special tokens: they are these.
_FIRST = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] "
    "[IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
)
_MOST_SPECIAL = 1_000_000


def is_tekken(name: str) -> bool:
    """Whether a file name is that of a tekken vocabulary (`tekken.json`, `tekken_240911.json`)."""
    return "tekken" in name and name.endswith(".json")


def special_tokens(whole: dict[str, Any], source: Any) -> list[str]:
    """The special tokens of a file in the order of ids, with placeholders up to the number that it reserves."""
    entries = whole.get("special_tokens")
    if entries is None:
        texts = list(map(str, _FIRST.split()))
    else:
        by_rank: dict[int, str] = {}
        for entry in _list(entries, "special_tokens", source):
            rank, text = (entry.get("rank"), entry.get("token_str")) if isinstance(entry, dict) else (None, None)
            if type(rank) is not int or not isinstance(text, str) or not text:
                raise TokenizerError(f"{source}: a special token needs rank and token_str, found {entry!r:.120}.")
            by_rank[rank] = text
        if len(by_rank) != len(entries) or by_rank.keys() != set(range(len(entries))):
            raise TokenizerError(f"{source}: the ranks of the special tokens must be 0, 1, 2, … without a gap.")
        texts = [by_rank[rank] for rank in range(len(by_rank))]
    if len(set(texts)) != len(texts):
        raise TokenizerError(f"{source}: a special token comes twice.")
    number = _number(whole["config"], "default_num_special_tokens", source)
    if number is None:
        return texts
    if not len(texts) <= number <= _MOST_SPECIAL:
        raise TokenizerError(
            f"{source}: default_num_special_tokens is {number}, but there are {len(texts)} special tokens."
        )
    return texts + [f"<SPECIAL_{index}>" for index in range(len(texts), number)]


def read_tekken(path: Path) -> Document:
    """The document of a tekken.json.

    Raises:
        TokenizerError: a damaged or contradictory file.
    """
    whole = read_json(path)
    config = whole.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("pattern"), str):
        raise TokenizerError(f"{path}: a tekken file needs config.pattern; is it another kind of file?")
    special = special_tokens(whole, path)
    entries = _list(whole.get("vocab"), "vocab", path)
    size = _number(config, "default_vocab_size", path)
    if size is not None:
        if not len(special) < size <= len(special) + len(entries):
            raise TokenizerError(
                f"{path}: default_vocab_size is {size}, but there are {len(special)} special and {len(entries)} other "
                "tokens."
            )
        entries = entries[: size - len(special)]
    ranks: dict[bytes, int] = {}
    for rank, entry in enumerate(entries):
        try:
            if entry["rank"] != rank:
                raise TokenizerError(f"{path}: token {rank} of the vocabulary has rank {entry['rank']!r:.40}.")
            ranks[base64.b64decode(entry["token_bytes"], validate=True)] = rank
        except (KeyError, TypeError, binascii.Error, ValueError) as error:
            if isinstance(error, TokenizerError):
                raise
            raise TokenizerError(
                f"{path}: token {rank} needs rank and token_bytes in base64, found {entry!r:.120}."
            ) from error
    if len(ranks) != len(entries) or b"" in ranks:
        raise TokenizerError(f"{path}: a token of the vocabulary comes twice, or is empty.")
    check_ranks(ranks, path)
    model = byte_level_bpe(ranks, len(special))
    model["vocab"].update((text, index) for index, text in enumerate(special))
    document = ranks_document(model, config["pattern"])
    document.add(added_token({"content": token}, path, special=True, normalized=False) for token in special)
    return document


def _list(value: Any, name: str, source: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TokenizerError(f"{source}: {name} must be a list, found {type(value).__name__}.")
    return value


def _number(config: dict[str, Any], name: str, source: Any) -> int | None:
    value = config.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise TokenizerError(f"{source}: {name} must be a number of tokens, found {value!r:.40}.")
    return value
