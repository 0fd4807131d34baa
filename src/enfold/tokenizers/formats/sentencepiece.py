"""sentencepiece's `.model` files: pieces with scores and types, and how text is normalised before them.

Layout: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.families.recipes import Parts
from enfold.tokenizers.formats.document import Document, added_token
from enfold.tokenizers.formats.merges import merges_from_vocab

MAX_BYTES = 1 << 30


class PieceType(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class ModelType(IntEnum):
    """The algorithm that a file was trained with."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(slots=True)
class Trainer:
    """The facts that `trainer_spec` keeps and encoding needs; each field's number stands in its metadata."""

    model_type: int = field(default=ModelType.UNIGRAM, metadata={"number": 3})
    treat_whitespace_as_suffix: bool = field(default=False, metadata={"number": 24})
    byte_fallback: bool = field(default=False, metadata={"number": 35})
    unk_id: int = field(default=0, metadata={"number": 40})
    bos_id: int = field(default=1, metadata={"number": 41})
    eos_id: int = field(default=2, metadata={"number": 42})
    pad_id: int = field(default=-1, metadata={"number": 43})
    unk_surface: str = field(default=" \u2047 ", metadata={"number": 44})
    unk_piece: str = field(default="<unk>", metadata={"number": 45})
    bos_piece: str = field(default="<s>", metadata={"number": 46})
    eos_piece: str = field(default="</s>", metadata={"number": 47})
    pad_piece: str = field(default="<pad>", metadata={"number": 48})


@dataclass(slots=True)
class Normalizer:
    """`normalizer_spec`: what happens to text first. `charsmap` is the compiled table, empty if there is none."""

    name: str = field(default="", metadata={"number": 1})
    charsmap: bytes = field(default=b"", metadata={"number": 2})
    add_dummy_prefix: bool = field(default=True, metadata={"number": 3})
    remove_extra_whitespaces: bool = field(default=True, metadata={"number": 4})
    escape_whitespaces: bool = field(default=True, metadata={"number": 5})


@dataclass(slots=True)
class SentencePieceModel:
    """One `.model` file.

    Args:
        pieces: the vocabulary in the order of ids.
        scores: log probabilities (Unigram) or minus the order of the merge (BPE).
        types: a `PieceType` each.
    """

    pieces: list[str]
    scores: list[float]
    types: list[int]
    trainer: Trainer
    normalizer: Normalizer

    def added(self) -> list[Any]:
        """Control pieces (special) and user-defined ones (plain) as AddedTokens, in the order of ids."""
        kinds = (PieceType.CONTROL, PieceType.USER_DEFINED)
        return [
            added_token({"content": piece}, "sentencepiece", special=kind == PieceType.CONTROL, normalized=False)
            for piece, kind in zip(self.pieces, self.types, strict=True)
            if kind in kinds
        ]

    def parts(self, model: str | None = None) -> Parts:
        """What a family is built from.

        Args:
            model: "BPE" (a vocabulary and merges, in the order of ids) or "Unigram" (pieces with scores), whichever
                the family's class is made of; by default what the file was trained as.

        Raises:
            NotBuiltError: by default, for files of whole words or single characters.
        """
        if model is None:
            if self.trainer.model_type not in (ModelType.UNIGRAM, ModelType.BPE):
                names = {3: "word", 4: "character"}
                name = names.get(self.trainer.model_type, str(self.trainer.model_type))
                raise NotBuiltError(f"A sentencepiece model of type {name} can't be read: only Unigram and BPE can.")
            model = "Unigram" if self.trainer.model_type == ModelType.UNIGRAM else "BPE"
        charsmap = self.normalizer.charsmap
        parts = Parts(
            charsmap=base64.b64encode(charsmap).decode() if charsmap else None,
            unk_id=self.trainer.unk_id,
            byte_fallback=self.trainer.byte_fallback,
            added=self.added(),
        )
        if model == "Unigram":
            parts.vocab = list(zip(self.pieces, self.scores, strict=True))
        else:
            parts.vocab = {piece: index for index, piece in enumerate(self.pieces)}
            parts.merges = merges_from_vocab(parts.vocab)
        return parts


def generic_document(model: SentencePieceModel, renamed: Mapping[int, str] | None = None) -> Document:
    """The tokenizer that transformers makes of a file when no family's class is known; without added tokens.

    Args:
        model: the file.
        renamed: id → text that stands there instead of the file's (placeholders that were given a use).
    """
    parts = model.parts()
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}]
    if parts.byte_fallback:
        steps += [{"type": "ByteFallback"}, {"type": "Fuse"}]
    return Document(
        _model_section(model, parts, renamed or {}),
        normalizer={"type": "Sequence", "normalizers": [*_charsmap(parts), _MARK_SPACES]},
        decoder={"type": "Sequence", "decoders": steps},
    )


_MARK_SPACES: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def _charsmap(parts: Parts) -> list[dict[str, Any]]:
    return [{"type": "Precompiled", "precompiled_charsmap": parts.charsmap}] if parts.charsmap else []


def _model_section(model: SentencePieceModel, parts: Parts, renamed: Mapping[int, str]) -> dict[str, Any]:
    if isinstance(parts.vocab, list):
        if not 0 <= model.trainer.unk_id < len(parts.vocab):
            raise TokenizerError(f"The unknown piece is number {model.trainer.unk_id} of {len(parts.vocab)} pieces.")
        fallback = {"unk_id": model.trainer.unk_id, "byte_fallback": parts.byte_fallback}
        return {"type": "Unigram", **fallback, "vocab": [list(entry) for entry in parts.vocab]}
    vocab, merges = parts.vocab, parts.merges or []
    gone = set()
    for index, text in renamed.items():
        if index < len(model.pieces) and model.pieces[index] != text and text not in vocab:
            vocab[text] = vocab.pop(model.pieces[index])
            gone.add(model.pieces[index])
    if gone:
        merges = [pair for pair in merges if not gone.intersection(pair) and "".join(pair) not in gone]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.trainer.unk_piece,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": parts.byte_fallback,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": merges,
    }


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a `.model` file.

    Raises:
        TokenizerError: no such file, a damaged one, one of another format, or contradictory.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise TokenizerError(f"{path}: {size} bytes are too many for a sentencepiece model (at most {MAX_BYTES}).")
        content = path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: can't be read: {error.strerror or error}.") from error
    return parse_sentencepiece(content, path)


def parse_sentencepiece(content: bytes, source: Any) -> SentencePieceModel:
    """The model that the bytes of a `.model` file hold; errors name `source`."""
    from enfold.tokenizers._engine import sentencepiece_file

    try:
        pieces, scores, types, trainer, normalizer = sentencepiece_file(content)
        model = SentencePieceModel(pieces, scores, types, Trainer(), Normalizer())
        _set_fields(model.trainer, trainer)
        _set_fields(model.normalizer, normalizer)
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{source}: the sentencepiece model holds text that is not UTF-8 ({error}).") from error
    except TokenizerError as error:
        raise TokenizerError(f"{source}: {error}.") from error
    _check(model, source)
    return model


def _set_fields(spec: Trainer | Normalizer, found: list[tuple[int, int | bytes]]) -> None:
    """Set the fields of `spec` that the file has; the last of a number counts."""
    known = {entry.metadata["number"]: entry.name for entry in fields(spec)}
    for number, value in found:
        name = known.get(number)
        if name is None:
            continue
        expected = type(getattr(spec, name))
        if isinstance(value, bytes) != (expected in (str, bytes)):
            raise TokenizerError(f"{name} of the sentencepiece model is stored as another type")
        if isinstance(value, bytes):
            setattr(spec, name, value.decode() if expected is str else value)
        else:
            value &= 0xFFFFFFFF
            setattr(spec, name, bool(value) if expected is bool else value - ((value >> 31) << 32))


def _check(model: SentencePieceModel, source: Any) -> None:
    """Refuse what no vocabulary can be: sentencepiece refuses the same."""
    pieces = model.pieces
    if not pieces:
        raise TokenizerError(f"{source}: the sentencepiece model has no pieces; is it another kind of file?")
    if len(set(pieces)) != len(pieces):
        seen: set[str] = set()
        twice = next(piece for piece in pieces if piece in seen or seen.add(piece))
        raise TokenizerError(f"{source}: piece {twice!r:.80} comes twice.")
    for index, (piece, score, kind) in enumerate(zip(pieces, model.scores, model.types, strict=True)):
        if not piece:
            raise TokenizerError(f"{source}: piece {index} is empty.")
        if not math.isfinite(score):
            raise TokenizerError(f"{source}: the score of piece {piece!r:.80} is {score}, not a number.")
        if not 1 <= kind <= 6:
            raise TokenizerError(f"{source}: piece {piece!r:.80} is of unknown type {kind}.")
    unknown = [index for index, kind in enumerate(model.types) if kind == PieceType.UNKNOWN]
    if len(unknown) != 1:
        raise TokenizerError(f"{source}: {len(unknown)} pieces are marked as the unknown one; one was expected.")
