"""Pre-tokenizers: how a text is cut into the words that the model sees."""

from typing import Any, ClassVar

from enfold.tokenizers import _engine
from enfold.tokenizers.components import (
    BEHAVIORS,
    Character,
    Choice,
    Component,
    Count,
    Flag,
    Parts,
    component_of,
    slots_of,
)
from enfold.tokenizers.patterns import Pattern, PatternOption


class PreTokenizer(Component):
    """The base of all pre-tokenizers."""

    _slot_class: ClassVar[Any] = _engine.PreTokenizerSlot

    @staticmethod
    def custom(pretok: Any) -> "PreTokenizer":
        """A pre-tokenizer that is Python code: an object with a method `pre_tokenize(pretok)`.

        The method cuts the `PreTokenizedString` that it gets, which is lent to it for the length of the call. A
        tokenizer that holds such a pre-tokenizer can't be saved.
        """
        return component_of(_engine.PreTokenizerSlot.custom(pretok))

    def pre_tokenize(self, pretok: _engine.PreTokenizedString) -> None:
        """Cuts a text in place."""
        self._slot.pre_tokenize(pretok)

    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, tuple[int, int]]]:
        """The words, each with the characters of the text that it stands for."""
        return self._slot.pre_tokenize_str(sequence)


BASE = PreTokenizer


class BertPreTokenizer(PreTokenizer):
    """Cuts at white space, and around every punctuation character."""


class ByteLevel(PreTokenizer):
    """GPT-2's words, their bytes as visible characters.

    Args:
        add_prefix_space: put a space before a text that has none.
        trim_offsets: kept for the file format; post-processors trim offsets.
        use_regex: cut with GPT-2's regular expression; otherwise the text stays whole.
    """

    add_prefix_space = Flag("add_prefix_space", True)
    trim_offsets = Flag("trim_offsets", True)
    use_regex = Flag("use_regex", True)

    def __init__(self, add_prefix_space: bool = True, trim_offsets: bool = True, use_regex: bool = True) -> None:
        self._make(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets, use_regex=use_regex)

    @staticmethod
    def alphabet() -> list[str]:
        """The 256 characters that stand for the bytes."""
        return _engine.byte_alphabet()


class CharDelimiterSplit(PreTokenizer):
    """Cuts at one character, which is dropped."""

    delimiter = Character("delimiter")

    def __init__(self, delimiter: str) -> None:
        self._make(delimiter=delimiter)


class Digits(PreTokenizer):
    """Cuts digits off: each by itself, or runs of them."""

    individual_digits = Flag("individual_digits", False)

    def __init__(self, individual_digits: bool = False) -> None:
        self._make(individual_digits=individual_digits)


class FixedLength(PreTokenizer):
    """Cuts after every `length` characters."""

    length = Count("length", 5)

    def __init__(self, length: int = 5) -> None:
        self._make(length=length)


SCHEMES = {"first": "first", "never": "never", "always": "always"}


class Metaspace(PreTokenizer):
    """sentencepiece's way with spaces: each becomes `replacement`, and words begin with it.

    Args:
        replacement: the character that stands for a space.
        prepend_scheme: put it before the text always, never, or only before the first piece of the input.
        split: cut before each of them.
    """

    replacement = Character("replacement", "▁")
    prepend_scheme = Choice("prepend_scheme", SCHEMES, "always")
    split = Flag("split", True)

    def __init__(self, replacement: str = "▁", prepend_scheme: str = "always", split: bool = True) -> None:
        self._make(replacement=replacement, prepend_scheme=prepend_scheme, split=split)

    def _upgraded(self, spec: dict[str, Any]) -> dict[str, Any]:
        if "prepend_scheme" not in spec:
            spec["prepend_scheme"] = "always" if spec.get("add_prefix_space", True) else "never"
        return spec


class Punctuation(PreTokenizer):
    """Cuts at punctuation characters."""

    behavior = Choice("behavior", BEHAVIORS, "Isolated")

    def __init__(self, behavior: str = "isolated") -> None:
        self._make(behavior=behavior)


class Split(PreTokenizer):
    """Cuts at what a text or a `Regex` finds.

    Args:
        pattern: what to look for.
        behavior: what becomes of it: removed, isolated, merged_with_previous, merged_with_next or contiguous.
        invert: take what lies between for the matches.
    """

    pattern = PatternOption("pattern")
    behavior = Choice("behavior", BEHAVIORS)
    invert = Flag("invert", False)

    def __init__(self, pattern: Pattern, behavior: str, invert: bool = False) -> None:
        self._make(pattern=pattern, behavior=behavior, invert=invert)


class UnicodeScripts(PreTokenizer):
    """Cuts where the script changes."""


class Whitespace(PreTokenizer):
    r"""Words and runs of other characters: `\\w+|[^\\w\\s]+`."""


class WhitespaceSplit(PreTokenizer):
    """Cuts at white space."""


class Sequence(Parts, PreTokenizer):
    """Several pre-tokenizers, one after the other. Those that are sequences themselves are laid out flat."""

    _parts_key = "pretokenizers"

    def __init__(self, pretokenizers: list[PreTokenizer]) -> None:
        self._slot = self._slot_class.sequence(slots_of(pretokenizers, PreTokenizer, "pretokenizers"))
