"""A sentencepiece model used as it is, for the families that keep its pieces and number them anew.

The engine's own sentencepiece tokenizers are conversions, with the reference's differences from the original (how text
is normalised by grapheme, control pieces that match in text). These families need the original's answers.
"""

import struct
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.families.recipes import bpe_model
from enfold.tokenizers.formats.document import Document
from enfold.tokenizers.formats.merges import merges_from_vocab
from enfold.tokenizers.formats.sentencepiece import ModelType, PieceType, read_sentencepiece

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer

SPACE = "▁"
_USED = (PieceType.NORMAL, PieceType.USER_DEFINED, PieceType.BYTE)


class CharsMap:
    """sentencepiece's compiled normalisation table: a double-array trie of byte strings and what they become.

    Args:
        table: the size of the trie in bytes, the trie, and the strings, each ended by a zero byte.
    """

    def __init__(self, table: bytes):
        size = struct.unpack_from("<I", table)[0] if len(table) >= 4 else 0
        if size % 4 or not 4 <= size <= len(table) - 4:
            raise TokenizerError(f"A normalisation table of {len(table)} bytes can't hold a trie of {size}.")
        self._units = struct.unpack_from(f"<{size // 4}I", table, 4)
        self._strings = table[4 + size :]

    def longest(self, text: bytes, start: int) -> tuple[int, bytes] | None:
        """How many bytes at `start` the table knows as a whole, and what they become."""
        units, found = self._units, None
        place = _offset(units[0])
        for end in range(start, len(text)):
            place ^= text[end]
            if place >= len(units) or units[place] & 0x800000FF != text[end]:
                break
            unit = units[place]
            place ^= _offset(unit)
            if unit >> 8 & 1 and place < len(units):
                found = end + 1 - start, units[place] & 0x7FFFFFFF
        if found is None:
            return None
        length, at = found
        stop = self._strings.find(b"\0", at)
        return length, self._strings[at : stop if stop >= 0 else None]


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


class Pieces:
    """Text → pieces and back, by a `.model` file."""

    def __init__(self, path: Path):
        self.path = path
        model = read_sentencepiece(path)
        self._normalizer = model.normalizer
        self._suffix = model.trainer.treat_whitespace_as_suffix
        self._table = CharsMap(model.normalizer.charsmap) if model.normalizer.charsmap else None
        self._unknown, self._unknown_surface = model.trainer.unk_piece, model.trainer.unk_surface
        types = list(zip(model.pieces, model.types, strict=True))
        self.unknown_id = model.pieces.index(self._unknown) if self._unknown in model.pieces else 0
        self._control = {piece for piece, kind in types if kind == PieceType.CONTROL}
        self._verbatim = sorted((p for p, kind in types if kind == PieceType.USER_DEFINED), key=len, reverse=True)
        self._bytes = {piece: int(piece[3:5], 16) for piece, kind in types if kind == PieceType.BYTE}
        self.all = model.pieces
        self.ids = {piece: index for index, piece in enumerate(model.pieces)}
        scores = {
            piece: score
            for (piece, kind), score in zip(types, model.scores, strict=True)
            if kind in _USED and piece != self._unknown
        }
        kind = model.trainer.model_type
        if kind == ModelType.WORD:
            raise NotBuiltError(f"{path}: a sentencepiece model of whole words can't be used.")
        self._characters = set(scores) if kind == ModelType.CHAR else None
        self._engine = None
        if self._characters is None:
            self._engine = _engine(scores, self._unknown, kind, model.trainer.byte_fallback)

    def encode(self, text: str) -> list[str]:
        """The pieces of a text; what the model doesn't know stands as it is."""
        text = self._normalized(text)
        if not text:
            return []
        if self._engine is None:
            known = self._characters or ()
            runs = groupby(text, key=lambda char: char in known)
            return [piece for good, run in runs for piece in (run if good else ["".join(run)])]
        encoding = self._engine.encode(text, add_special_tokens=False)
        found: list[str] = []
        unknown = False
        for index, token, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
            if index != 0:
                found.append(token)
            elif unknown:
                found[-1] += text[start:end]
            else:
                found.append(text[start:end])
            unknown = index == 0
        return found

    def decode(self, pieces: Sequence[str]) -> str:
        """The text of pieces."""
        parts: list[bytes] = []
        spelled = bytearray()
        begun = False
        options = self._normalizer
        for piece in pieces:
            if piece in self._bytes:
                spelled.append(self._bytes[piece])
                continue
            if spelled:
                parts.append(bytes(spelled))
                spelled.clear()
                begun = True
            if piece in self._control:
                continue
            if piece == self._unknown:
                surface = self._unknown_surface
            else:
                surface = piece
                unmarked = options.add_dummy_prefix or options.remove_extra_whitespaces
                if not begun and unmarked and surface.startswith(SPACE):
                    surface, begun = surface[1:], True
                surface = surface.replace(SPACE, " ")
            begun = begun or bool(surface)
            parts.append(surface.encode("utf-8", "surrogatepass"))
        if spelled:
            parts.append(bytes(spelled))
        return b"".join(parts).decode("utf-8", errors="replace")

    def _normalized(self, text: str) -> str:
        """The text as the model was trained on: characters mapped, white space squeezed and marked."""
        options = self._normalizer
        mapped = self._mapped(text)
        squeeze = options.remove_extra_whitespaces
        if squeeze:
            # Only between what was mapped apart: a verbatim piece keeps its own spaces.
            mapped = " ".join(word for word in mapped.split(" ") if word)
        if not mapped:
            return ""
        if options.add_dummy_prefix:
            mapped = f"{mapped} " if self._suffix else f" {mapped}"
        return mapped.replace(" ", SPACE) if options.escape_whitespaces else mapped

    def _mapped(self, text: str) -> str:
        if self._table is None and not self._verbatim:
            return text
        source = text.encode("utf-8", "replace")
        verbatim = [piece.encode() for piece in self._verbatim]
        parts: list[bytes] = []
        place = 0
        while place < len(source):
            kept = next((piece for piece in verbatim if source.startswith(piece, place)), None)
            if kept is not None:
                parts.append(kept)
                place += len(kept)
                continue
            found = self._table.longest(source, place) if self._table else None
            if found is None:
                length = _character(source[place])
                found = length, source[place : place + length]
            parts.append(found[1])
            place += found[0]
        return b"".join(parts).decode("utf-8", "replace")


def _character(first: int) -> int:
    """The bytes of a character of UTF-8 by its first."""
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _engine(scores: dict[str, float], unknown: str, kind: int, byte_fallback: bool) -> "Tokenizer":
    """The engine over the pieces that text is made of, with the unknown one at 0."""
    if kind == ModelType.BPE:
        vocab = {unknown: 0, **{piece: index for index, piece in enumerate(scores, start=1)}}
        merges = merges_from_vocab(vocab, {unknown: 0.0, **scores}, skip=[unknown])
        fields = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": byte_fallback}
        return Document(bpe_model(vocab, merges, **fields)).build()
    pieces = [(unknown, 0.0), *scores.items()]
    return Document(
        {"type": "Unigram", "unk_id": 0, "vocab": [list(entry) for entry in pieces], "byte_fallback": byte_fallback}
    ).build()
