"""What a family is: how it makes a tokenizer from a vocabulary, and what it takes for granted.

transformers 5 builds most families from the vocabulary and the options of tokenizer_config.json even when there is a
tokenizer.json beside them; so does enfold, because the ids must be the same. The families themselves are rows in
`wordpiece`, `byte_level`, `marked` and `unigram`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.formats.document import Document, sequence, special, template

Options = Mapping[str, Any]
Section = dict[str, Any]


@dataclass(slots=True)
class Parts:
    """What a family is built from.

    Args:
        vocab: token → id, or a list of (token, score) for Unigram.
        merges: pairs, best first.
        charsmap: a normalisation table in base64.
        unk_id: which token stands for what is not in the vocabulary, where the file says so.
        byte_fallback: what is not in the vocabulary is spelled in bytes.
        added: tokens that the file marks as control (special) or user-defined (plain), in the order of ids.
    """

    vocab: Any = None
    merges: list[tuple[str, str]] | None = None
    charsmap: str | None = None
    unk_id: int | None = None
    byte_fallback: bool = False
    added: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Family:
    """A family: its options with their defaults, and the builder.

    Args:
        model: the kind of its vocabulary: WordPiece, BPE, SentencePiece (BPE over marked spaces) or Unigram.
        defaults: every option that the family's class takes, special tokens included.
        build: (parts, options) → document without added tokens.
        finish: (document, options) → post-processor, for families that fix their own.
        extra: options → extra special tokens, if the family has some by default.
        flags: special token → flags that it has when it is given as a plain string.
        file: the name of the sentencepiece model in repositories without tokenizer.json.
        from_pieces: (parts of a sentencepiece model, options, those that were given) → parts in the family's own order
            of ids.
        rebuilds: False takes a tokenizer.json as it is.
    """

    model: str
    defaults: Options
    build: Callable[[Parts, Options], Document]
    finish: Callable[[Document, Options], Section] | None = None
    extra: Callable[[Options], list[str]] = field(default=lambda options: [])
    flags: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    file: str | None = None
    from_pieces: Callable[[Parts, Options, Options], Parts] | None = None
    rebuilds: bool = True


def flag(options: Options, name: str) -> bool:
    """An option that must be true or false."""
    value = options[name]
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} must be true or false, got {value!r}.")
    return value


def named(options: Options, names: str) -> list[str]:
    """The special tokens of these names: `named(options, "pad unk")`."""
    return [str(options[f"{name}_token"]) for name in names.split()]


def mapping(parts: Parts, empty: Sequence[str]) -> dict[str, int]:
    """token → id; without a vocabulary just the tokens of `empty`."""
    vocab = parts.vocab
    if vocab is None:
        vocab = empty
    if isinstance(vocab, Mapping):
        return dict(vocab)
    return {entry if isinstance(entry, str) else entry[0]: index for index, entry in enumerate(vocab)}


def pieces(parts: Parts, empty: Sequence[str | tuple[str, float]], family: str) -> list[tuple[str, float]]:
    """(token, score) by id; without a vocabulary just those of `empty`."""
    vocab = empty if parts.vocab is None else parts.vocab
    if isinstance(vocab, Mapping):
        raise TokenizerError(f"{family} needs a Unigram vocabulary: a list of (token, score).")
    return [(entry, 0.0) if isinstance(entry, str) else (entry[0], float(entry[1])) for entry in vocab]


# Sections of a tokenizer.json


def chain(kind: str, steps: Sequence[Section]) -> Section:
    """Several normalizers, pretokenizers or decoders in a row."""
    return {"type": "Sequence", kind: list(steps)}


def metaspace(prepend: str, *, split: bool = True) -> Section:
    """Words marked with `▁`; `prepend`: always, first or never. The same for a pre-tokenizer and a decoder."""
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend, "split": split}


def bytes_of(*, add_prefix_space: bool, use_regex: bool = True, trim_offsets: bool = True) -> Section:
    """Text as GPT-2's characters for bytes. The same for a pre-tokenizer, a decoder and a post-processor."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": trim_offsets,
        "use_regex": use_regex,
    }


def replace(pattern: str, content: str, *, regex: bool = False) -> Section:
    """Each match of a string or regular expression becomes `content`."""
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def split(pattern: str, behavior: str, *, regex: bool = True, invert: bool = False) -> Section:
    """A Split pre-tokenizer."""
    return {
        "type": "Split",
        "pattern": {"Regex" if regex else "String": pattern},
        "behavior": behavior,
        "invert": invert,
    }


def charsmap(parts: Parts) -> list[Section]:
    """The normalisation table of the vocabulary's file, if it has one."""
    return [{"type": "Precompiled", "precompiled_charsmap": parts.charsmap}] if parts.charsmap else []


def bpe_model(vocab: dict[str, int], merges: Sequence[Sequence[str]] | None, **fields: Any) -> Section:
    """A BPE model; `fields` are those that differ from an empty one's."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        **fields,
        "vocab": vocab,
        "merges": list(merges or ()),
    }


def unigram_model(vocab: Sequence[tuple[str, float]], unk_id: int) -> Section:
    """A Unigram model."""
    if not 0 <= unk_id < len(vocab):
        raise TokenizerError(f"The unknown token must be number {unk_id} of the vocabulary, which has {len(vocab)}.")
    return {"type": "Unigram", "unk_id": unk_id, "vocab": [list(entry) for entry in vocab], "byte_fallback": False}


# Post-processors


def templated(single: str, pair: str) -> Callable[[Document, Options], Section]:
    """A post-processor from patterns like `"cls $A sep"`: special tokens by name, `:1` for the second token type."""

    def finish(document: Document, options: Options) -> Section:
        return filled(document, options, single, pair)

    return finish


def filled(document: Document, options: Options, single: str, pair: str) -> Section:
    """The patterns of `templated` with the tokens and ids of a document."""
    tokens: dict[str, None] = {}

    def items(pattern: str) -> list[Section]:
        found = []
        for word in pattern.split():
            name, _, type_id = word.partition(":")
            if name.startswith("$"):
                found.append(sequence(name[1:], int(type_id or 0)))
            else:
                token = str(options[f"{name}_token"])
                tokens[token] = None
                found.append(special(token, int(type_id or 0)))
        return found

    both = items(single), items(pair)
    return template(*both, document.ids(list(tokens)))


def roberta(document: Document, options: Options, *, trim_offsets: bool, add_prefix_space: bool) -> Section:
    """`<s> A </s></s> B </s>`, all of one token type."""
    sep, cls = named(options, "sep cls")
    ids = document.ids([sep, cls])
    return {
        "type": "RobertaProcessing",
        "sep": [sep, ids[sep]],
        "cls": [cls, ids[cls]],
        "trim_offsets": trim_offsets,
        "add_prefix_space": add_prefix_space,
    }
