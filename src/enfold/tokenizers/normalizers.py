"""Normalizers: what is done to a text before it is cut into words."""

from typing import Any, ClassVar

from enfold.tokenizers import _engine
from enfold.tokenizers.components import Component, Flag, Option, OptionalFlag, Parts, Text, component_of, slots_of
from enfold.tokenizers.patterns import Pattern, PatternOption


class Normalizer(Component):
    """The base of all normalizers."""

    _slot_class: ClassVar[Any] = _engine.NormalizerSlot

    @staticmethod
    def custom(obj: Any) -> "Normalizer":
        """A normalizer that is Python code: an object with a method `normalize(normalized)`.

        The method changes the `NormalizedString` that it gets, which is lent to it for the length of the call. A
        tokenizer that holds such a normalizer can't be saved.
        """
        return component_of(_engine.NormalizerSlot.custom(obj))

    def normalize(self, normalized: _engine.NormalizedString) -> None:
        """Normalises a text in place."""
        self._slot.normalize(normalized)

    def normalize_str(self, sequence: str) -> str:
        """The text, normalised."""
        return self._slot.normalize_str(sequence)


BASE = Normalizer


class BertNormalizer(Normalizer):
    """BERT's cleaning.

    Args:
        clean_text: drop control characters, make every white space a space.
        handle_chinese_chars: put spaces around CJK ideographs.
        strip_accents: drop accents; None follows `lowercase`.
        lowercase: lower the case.
    """

    clean_text = Flag("clean_text", True)
    handle_chinese_chars = Flag("handle_chinese_chars", True)
    strip_accents = OptionalFlag("strip_accents", None)
    lowercase = Flag("lowercase", True)

    def __init__(
        self,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
    ) -> None:
        self._make(
            clean_text=clean_text,
            handle_chinese_chars=handle_chinese_chars,
            strip_accents=strip_accents,
            lowercase=lowercase,
        )


class ByteLevel(Normalizer):
    """Every byte of the text as the character that GPT-2 gives it."""


class Lowercase(Normalizer):
    """Unicode lower case."""


class NFC(Normalizer):
    """Canonical decomposition, then composition."""


class NFD(Normalizer):
    """Canonical decomposition."""


class NFKC(Normalizer):
    """Compatibility decomposition, then composition."""


class NFKD(Normalizer):
    """Compatibility decomposition."""


class Nmt(Normalizer):
    """sentencepiece's cleaning of control characters and white space."""


class StripAccents(Normalizer):
    """Drops combining marks; to be run after a decomposition."""


class Precompiled(Normalizer):
    """The map of characters that a sentencepiece model carries.

    Args:
        precompiled_charsmap: the map, as its file has it.
    """

    precompiled_charsmap: Option[str] = Option("precompiled_charsmap", "")

    def __init__(self, precompiled_charsmap: bytes) -> None:
        import base64

        self._make(precompiled_charsmap=base64.b64encode(bytes(precompiled_charsmap)).decode())


class Prepend(Normalizer):
    """Puts a text before every input that is not empty."""

    prepend = Text("prepend", "▁")

    def __init__(self, prepend: str = "▁") -> None:
        self._make(prepend=prepend)


class Replace(Normalizer):
    """Replaces what a text or a `Regex` finds."""

    pattern = PatternOption("pattern")
    content = Text("content")

    def __init__(self, pattern: Pattern, content: str) -> None:
        self._make(pattern=pattern, content=content)


class Strip(Normalizer):
    """Drops white space at the ends."""

    left = Flag("strip_left", True)
    right = Flag("strip_right", True)

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self._make(left=left, right=right)


class Sequence(Parts, Normalizer):
    """Several normalizers, one after the other. Those that are sequences themselves are laid out flat."""

    _parts_key = "normalizers"

    def __init__(self, normalizers: list[Normalizer]) -> None:
        self._slot = self._slot_class.sequence(slots_of(normalizers, Normalizer, "normalizers"))


NORMALIZERS = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """The normalizer of a Unicode form: nfc, nfd, nfkc or nfkd."""
    if normalizer not in NORMALIZERS:
        raise ValueError(f"{normalizer} is not a Unicode normalizer; expected one of {', '.join(NORMALIZERS)}")
    return NORMALIZERS[normalizer]()
