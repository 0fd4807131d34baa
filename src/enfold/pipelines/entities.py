"""From scores of tokens to entities of text: the aggregation strategies of token-classification."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STRATEGIES = ("none", "simple", "first", "average", "max")


@dataclass(slots=True)
class Piece:
    """A token: its text in the vocabulary, scores [C], characters `start` to `end`, number in its row.

    `inner` says that it continues the word before it.
    """

    word: str
    scores: np.ndarray
    start: int
    end: int
    index: int
    inner: bool


@dataclass(slots=True)
class Tagged:
    """A token or a word with its label."""

    entity: str
    score: np.float32
    word: str
    start: int
    end: int


def entities(
    pieces: Sequence[Piece], strategy: str, labels: dict[int, str], join: Callable[[list[str]], str]
) -> list[dict[str, Any]]:
    """Label tokens and, but for "none", group neighbours of one kind.

    Args:
        strategy: "none" labels tokens; "simple" groups them; "first", "average" and "max" before that give each word
            one label: its first token's, that of the mean of its tokens' scores, or that of its most certain token.
        join: tokens → text.
    """
    if strategy == "none":
        found = []
        for piece in pieces:
            best = int(piece.scores.argmax())
            found.append(
                {
                    "entity": labels[best],
                    "score": float(piece.scores[best]),
                    "index": piece.index,
                    "word": piece.word,
                    "start": piece.start,
                    "end": piece.end,
                }
            )
        return found
    if strategy == "simple":
        tagged = [_tag(piece.scores, piece.word, piece.start, piece.end, labels) for piece in pieces]
    else:
        tagged = [
            _tag(_word_scores(word, strategy), join([p.word for p in word]), word[0].start, word[-1].end, labels)
            for word in words(pieces)
        ]
    return [_merge(group, join) for group in groups(tagged)]


def words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Tokens grouped into words."""
    found: list[list[Piece]] = []
    for piece in pieces:
        if found and piece.inner:
            found[-1].append(piece)
        else:
            found.append([piece])
    return found


def _word_scores(word: list[Piece], strategy: str) -> np.ndarray:
    if strategy == "first":
        return word[0].scores
    if strategy == "max":
        return max(word, key=lambda piece: piece.scores.max()).scores
    return np.stack([piece.scores for piece in word]).mean(axis=0)


def _tag(scores: np.ndarray, word: str, start: int, end: int, labels: dict[int, str]) -> Tagged:
    best = int(scores.argmax())
    return Tagged(labels[best], scores[best], word, start, end)


def kind(entity: str) -> tuple[bool, str]:
    """Whether a label begins an entity (`B-`), and the label without `B-` or `I-`."""
    return entity.startswith("B-"), entity[2:] if entity.startswith(("B-", "I-")) else entity


def groups(tagged: Sequence[Tagged]) -> list[list[Tagged]]:
    """Neighbours of one kind; `B-` begins a group of its own."""
    found: list[list[Tagged]] = []
    for entry in tagged:
        begins, name = kind(entry.entity)
        if found and not begins and name == kind(found[-1][-1].entity)[1]:
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


def _merge(group: list[Tagged], join: Callable[[list[str]], str]) -> dict[str, Any]:
    first = group[0]
    return {
        # Any prefix goes, not only B- and I-: "S-PER" is a person too.
        "entity_group": first.entity.split("-", 1)[-1],
        "score": float(np.mean([entry.score for entry in group])),
        "word": join([entry.word for entry in group]),
        "start": first.start,
        "end": group[-1].end,
    }


def without_overlaps(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of entities that overlap, as windows over one text give them, the longest; of equally long ones the surest."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(found, key=lambda entity: entity["start"]):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
        elif _weight(entity) > _weight(kept[-1]):
            kept[-1] = entity
    return kept


def _weight(entity: dict[str, Any]) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]
