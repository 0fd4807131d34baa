"""Which files are which split's: what a user, a card or mere file names say.

`data_files` in any of its forms becomes split → patterns; without any, names decide. In this order: shards in `data/`
(`data/train-00000-of-00002.parquet`), folders named after a split, files whose names hold a split's word between
delimiters (`my_data-train.csv`), and if there is nothing of the kind every file is `train`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from enfold.base.errors import ArgumentError, DataFilesNotFoundError
from enfold.datasets.splits import SPLIT_NAME

KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_DIGITS = "[0-9]" * 5
_SHARDED = f"data/{{split}}-{_DIGITS}-of-{_DIGITS}*.*"
_BETWEEN = "-._ 0-9"
_IN_FOLDER_NAME = (
    "**/{word}/**",
    "**/{word}[{sep}]*/**",
    "**/*[{sep}]{word}/**",
    "**/*[{sep}]{word}[{sep}]*/**",
)
_IN_FILE_NAME = ("**/{word}[{sep}]*", "**/*[{sep}]{word}[{sep}]*")
# Files of a repository that are never data, unless they are asked for by name.
NOT_DATA = frozenset(
    ("README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json")
)

Patterns = dict[str, list[str]]


def patterns_of(data_files: Any) -> Patterns:
    """Split → patterns, from a string, a list, a dictionary, or a card's list of `{"split": …, "path": …}`."""
    if isinstance(data_files, Mapping):
        return {_split(split): _listed(value, split) for split, value in data_files.items()}
    if (
        isinstance(data_files, Sequence)
        and not isinstance(data_files, str)
        and any(isinstance(entry, Mapping) for entry in data_files)
    ):
        found: Patterns = {}
        for entry in data_files:
            if not (isinstance(entry, Mapping) and set(entry) == {"split", "path"}):
                raise ArgumentError(f"data_files: expected entries {{'split': name, 'path': files}}, got {entry!r}.")
            split = _split(entry["split"])
            if split in found:
                raise ArgumentError(f"data_files names the split {split!r} twice. List its files in one entry.")
            found[split] = _listed(entry["path"], split)
        return found
    return {"train": _listed(data_files, "train")}


def _split(name: object) -> str:
    if not SPLIT_NAME.match(str(name)):
        raise ArgumentError(f"data_files: {name!r} is not a split's name (letters, digits, underscores, single dots).")
    return str(name)


def _listed(value: Any, split: object) -> list[str]:
    import os

    entries = [value] if isinstance(value, str | os.PathLike) else list(value)
    if not all(isinstance(entry, str | os.PathLike) for entry in entries):
        raise ArgumentError(f"data_files of {split!r}: expected paths, URLs or patterns, got {value!r}.")
    return [os.fspath(entry) for entry in entries]


def default_patterns(match: Callable[[str], list[str]], where: str) -> Patterns:
    """The patterns by which file names tell the splits.

    Args:
        match: pattern → names of files; empty if there are none.
        where: the folder or repository, for the message.
    """
    sharded = match(_SHARDED.format(split="*"))
    if sharded:
        names = set()
        for path in sharded:
            shard = re.match(rf"(.*)-{_DIGITS}-of-{_DIGITS}.*\.", PurePosixPath(path).name)
            if shard and not SPLIT_NAME.match(shard[1]):
                raise ArgumentError(
                    f"{path}: {shard[1]!r} is not a split's name. Rename the file, or give data_files=."
                )
            if shard:
                names.add(shard[1])
        ordered = [name for name in KEYWORDS if name in names] + sorted(names - set(KEYWORDS))
        return {name: [_SHARDED.format(split=name)] for name in ordered}
    for forms in (_IN_FOLDER_NAME, _IN_FILE_NAME):
        found = {
            split: [form.format(word=word, sep=_BETWEEN) for word in words for form in forms]
            for split, words in KEYWORDS.items()
        }
        found = {split: patterns for split, patterns in found.items() if any(map(match, patterns))}
        if found:
            return found
    if match("**"):
        return {"train": ["**"]}
    raise DataFilesNotFoundError(f"{where} holds no data files.")


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name (relative, with forward slashes) fits a pattern with `*`, `?`, `[…]` and `**`.

    Hidden files and folders, and folders like `__pycache__`, fit only a pattern that names them.
    """
    from fsspec.utils import glob_translate

    try:
        compiled = re.compile(glob_translate(pattern))
    except ValueError as error:
        raise ArgumentError(
            f"{pattern!r} is not a pattern: {error}. `**` stands alone between slashes: 'data/**/*.csv'."
        ) from error
    asked = _private_parts(pattern)
    named = PurePosixPath(pattern).name

    def fits(name: str) -> bool:
        base = name.rpartition("/")[2]
        if base in NOT_DATA and base != named:
            return False
        return compiled.match(name) is not None and _private_parts(name) == asked

    return fits


def is_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def _private_parts(path: str) -> tuple[int, int]:
    parts = PurePosixPath(path).parts
    hidden = sum(part.startswith(".") and set(part) != {"."} for part in parts)
    return hidden, sum(part.startswith("__") for part in parts[:-1])
