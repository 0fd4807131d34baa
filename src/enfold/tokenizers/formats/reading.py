"""Files of a repository are read as input from a stranger: whatever is wrong becomes one error that names the file."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError

# White_Space of Unicode: what a vocabulary line may end with. (`str.rstrip()` would also take U+001C–U+001F.)
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def read_text(path: Path) -> str:
    """The file's text, which must be UTF-8; line ends are kept."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"{path}: can't be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 text ({error}); is it the right file, and complete?") from error


def read_json(path: Path, expected: type = dict) -> Any:
    """The file's JSON value, which must be an object (or another type that is `expected`)."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"{path}: not valid JSON ({error}); was the file cut short?") from error
    except RecursionError:
        raise TokenizerError(f"{path}: its JSON is nested too deeply.") from None
    if not isinstance(value, expected):
        raise TokenizerError(f"{path}: expected a JSON {expected.__name__}, found {type(value).__name__}.")
    return value


def lines(path: Path) -> Iterator[str]:
    """The file's lines without their ends (`\\n` or `\\r\\n`; a lone `\\r` is part of a line)."""
    text = read_text(path)
    rows = text.split("\n")
    if rows and not rows[-1]:
        rows.pop()
    return (row.removesuffix("\r") for row in rows)


def read_vocab_txt(path: Path) -> dict[str, int]:
    """A WordPiece vocabulary, one token a line: token → line number."""
    vocab = {line.rstrip(WHITE_SPACE): index for index, line in enumerate(lines(path))}
    if not vocab:
        raise TokenizerError(f"{path}: the vocabulary is empty.")
    return vocab


def read_vocab_json(path: Path) -> dict[str, int]:
    """A vocabulary as a JSON object: token → id."""
    return checked_vocab(read_json(path), path)


def checked_vocab(vocab: Any, source: Any) -> dict[str, int]:
    """`vocab` if it maps strings to ids."""
    if not isinstance(vocab, dict) or not vocab:
        raise TokenizerError(f"{source}: the vocabulary must be a JSON object of token → id that is not empty.")
    for token, index in vocab.items():
        if type(index) is not int or not 0 <= index < 2**31:
            raise TokenizerError(
                f"{source}: token {token!r} has id {index!r}; ids are whole numbers from 0 to 2^31 − 1."
            )
    return vocab


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The merges of a BPE vocabulary, best first: two symbols a line, separated by one space."""
    merges = []
    rows = list(lines(path))
    while rows and not rows[-1].strip():
        rows.pop()
    for number, row in enumerate(rows, start=1):
        if row.startswith("#version"):
            continue
        pair = row.split(" ")
        if len(pair) != 2 or not all(pair):
            raise TokenizerError(f"{path}, line {number}: expected two symbols with one space between, found {row!r}.")
        merges.append((pair[0], pair[1]))
    return merges


def checked_merges(merges: Any, source: Any) -> list[tuple[str, str]]:
    """Merges as they stand in a tokenizer.json: `["a b", …]` or `[["a", "b"], …]`."""
    if not isinstance(merges, list):
        raise TokenizerError(f"{source}: merges must be a list, found {type(merges).__name__}.")
    # Whole passes in C: a vocabulary can have half a million merges.
    pairs = [merge.split(" ") for merge in merges] if set(map(type, merges)) == {str} else merges
    shapes = set(map(type, pairs)) <= {list, tuple} and set(map(len, pairs)) <= {2}
    if not shapes or not set(map(type, chain.from_iterable(pairs))) <= {str}:
        raise TokenizerError(f"{source}: a merge must be a pair of symbols, found {_no_pair(merges)!r:.80}.")
    return pairs


def _no_pair(merges: list[Any]) -> Any:
    """The first that is no pair of strings."""
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, (list, tuple)) or list(map(type, pair)) != [str, str]:
            return merge
    return "both forms of pairs at once"
