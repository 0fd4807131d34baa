"""Decoders: how tokens become text again."""

from collections.abc import Sequence as Items
from typing import Any, ClassVar

from enfold.tokenizers import _engine
from enfold.tokenizers._engine import DecodeStream
from enfold.tokenizers.components import Character, Choice, Component, Count, Flag, Parts, Text, component_of, slots_of
from enfold.tokenizers.patterns import Pattern, PatternOption
from enfold.tokenizers.pre_tokenizers import SCHEMES

__all__ = [
    "CTC",
    "BPEDecoder",
    "ByteFallback",
    "ByteLevel",
    "DecodeStream",
    "Decoder",
    "Fuse",
    "Metaspace",
    "Replace",
    "Sequence",
    "Strip",
    "WordPiece",
]


class Decoder(Component):
    """The base of all decoders."""

    _slot_class: ClassVar[Any] = _engine.DecoderSlot

    @staticmethod
    def custom(decoder: Any) -> "Decoder":
        """A decoder that is Python code: an object with a method `decode_chain(tokens)` that returns texts to join.

        A tokenizer that holds such a decoder can't be saved.
        """
        return component_of(_engine.DecoderSlot.custom(decoder))

    def decode(self, tokens: Items[str]) -> str:
        """The text that the tokens stand for."""
        return self._slot.decode(tokens)


BASE = Decoder


class BPEDecoder(Decoder):
    """Makes the suffix at the end of words a space."""

    suffix = Text("suffix", "</w>")

    def __init__(self, suffix: str = "</w>") -> None:
        self._make(suffix=suffix)


class ByteFallback(Decoder):
    """Makes tokens like `<0x61>` the bytes that they name."""


class ByteLevel(Decoder):
    """Makes GPT-2's visible characters bytes again."""

    _add_prefix_space = Flag("add_prefix_space", True)
    _trim_offsets = Flag("trim_offsets", True)
    _use_regex = Flag("use_regex", True)


class CTC(Decoder):
    """Joins the frames of a CTC model: repeated tokens once, padding dropped.

    Args:
        pad_token: CTC's blank.
        word_delimiter_token: what stands between words.
        cleanup: drop spaces before punctuation and the like.
    """

    pad_token = Text("pad_token", "<pad>")
    word_delimiter_token = Text("word_delimiter_token", "|")
    cleanup = Flag("cleanup", True)

    def __init__(self, pad_token: str = "<pad>", word_delimiter_token: str = "|", cleanup: bool = True) -> None:
        self._make(pad_token=pad_token, word_delimiter_token=word_delimiter_token, cleanup=cleanup)


class Fuse(Decoder):
    """Joins all tokens into one, for decoders that come after it."""


class Metaspace(Decoder):
    """Makes `replacement` a space again, and drops the one that the pre-tokenizer put first."""

    replacement = Character("replacement", "▁")
    prepend_scheme = Choice("prepend_scheme", SCHEMES, "always")
    split = Flag("split", True)

    def __init__(self, replacement: str = "▁", prepend_scheme: str = "always", split: bool = True) -> None:
        self._make(replacement=replacement, prepend_scheme=prepend_scheme, split=split)

    def _upgraded(self, spec: dict[str, Any]) -> dict[str, Any]:
        if "prepend_scheme" not in spec:
            spec["prepend_scheme"] = "always" if spec.get("add_prefix_space", True) else "never"
        return spec


class Replace(Decoder):
    """Replaces what a text or a `Regex` finds in each token."""

    _pattern = PatternOption("pattern")
    _content = Text("content")

    def __init__(self, pattern: Pattern, content: str) -> None:
        self._make(_pattern=pattern, _content=content)


class Strip(Decoder):
    """Drops a character at the ends of each token: at most `left` times at the start, `right` times at the end."""

    content = Character("content", " ")
    start = Count("start", 0)
    stop = Count("stop", 0)

    def __init__(self, content: str = " ", left: int = 0, right: int = 0) -> None:
        self._make(content=content, start=left, stop=right)


class WordPiece(Decoder):
    """Joins words and the pieces that begin with `prefix`; with `cleanup`, drops spaces before punctuation."""

    prefix = Text("prefix", "##")
    cleanup = Flag("cleanup", True)

    def __init__(self, prefix: str = "##", cleanup: bool = True) -> None:
        self._make(prefix=prefix, cleanup=cleanup)


class Sequence(Parts, Decoder):
    """Several decoders, one after the other."""

    _parts_key = "decoders"

    def __init__(self, decoders: list[Decoder]) -> None:
        self._slot = self._slot_class.sequence(slots_of(decoders, Decoder, "decoders"))
