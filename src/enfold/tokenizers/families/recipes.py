"""How the classic families make a tokenizer from a bare vocabulary, and what else each takes for granted.

transformers 5 builds these families from the vocabulary and the options of tokenizer_config.json even when there is a
tokenizer.json beside them; so does enfold, because the ids must be the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.formats.document import Document, sequence, special, template


@dataclass(slots=True)
class Parts:
    """What a family is built from.

    `vocab` is token → id, or a list of (token, score) for Unigram; `charsmap` is a base64 normalisation table.
    """

    vocab: Any = None
    merges: list[tuple[str, str]] | None = None
    charsmap: str | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A family: its options with their defaults, and the builder.

    Args:
        model: the kind of its vocabulary: WordPiece, BPE, SentencePiece (BPE over marked spaces) or Unigram.
        defaults: every option that the family's class takes, special tokens included.
        build: (parts, options) → document without added tokens.
        finish: (document, options) → post-processor, for families that fix their own.
        extra: options → extra special tokens, if the family has some by default.
    """

    model: str
    defaults: Mapping[str, Any]
    build: Callable[[Parts, Mapping[str, Any]], Document]
    finish: Callable[[Document, Mapping[str, Any]], dict[str, Any]] | None = None
    extra: Callable[[Mapping[str, Any]], list[str]] = field(default=lambda options: [])


def _flag(options: Mapping[str, Any], name: str) -> bool:
    value = options[name]
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} must be true or false, got {value!r}.")
    return value


def _mapping(parts: Parts, empty: dict[str, int]) -> dict[str, int]:
    if parts.vocab is None:
        return empty
    if isinstance(parts.vocab, Mapping):
        return dict(parts.vocab)
    return {entry if isinstance(entry, str) else entry[0]: index for index, entry in enumerate(parts.vocab)}


def _bert(parts: Parts, options: Mapping[str, Any]) -> Document:
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    strip_accents = options["strip_accents"]
    if strip_accents is not None:
        strip_accents = _flag(options, "strip_accents")
    return Document(
        {
            "type": "WordPiece",
            "unk_token": str(options["unk_token"]),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": _mapping(parts, {str(options[name]): index for index, name in enumerate(names)}),
        },
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": _flag(options, "tokenize_chinese_chars"),
            "strip_accents": strip_accents,
            "lowercase": _flag(options, "do_lower_case"),
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


def _bert_template(document: Document, options: Mapping[str, Any]) -> dict[str, Any]:
    first, last = str(options["cls_token"]), str(options["sep_token"])
    single = [special(first), sequence("A"), special(last)]
    return template(single, [*single, sequence("B", 1), special(last, 1)], document.ids([first, last]))


def byte_level(vocab: dict[str, int], merges: list[tuple[str, str]], *, add_prefix_space: bool) -> Document:
    """GPT-2's byte-level BPE."""
    return Document(
        {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
        pre_tokenizer={
            "type": "ByteLevel",
            "add_prefix_space": add_prefix_space,
            "trim_offsets": True,
            "use_regex": True,
        },
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    )


def _gpt2(parts: Parts, options: Mapping[str, Any]) -> Document:
    if parts.vocab is not None and parts.merges is None:
        raise TokenizerError("A GPT-2 tokenizer needs merges beside its vocabulary (merges.txt).")
    return byte_level(_mapping(parts, {}), parts.merges or [], add_prefix_space=_flag(options, "add_prefix_space"))


def sentencepiece_bpe(vocab: dict[str, int], merges: list[tuple[str, str]], *, prepend: str) -> Document:
    """LLaMA's BPE over `▁`-marked text with bytes for what the vocabulary lacks; `prepend`: always, first or never."""
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prepend != "never":
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return Document(
        {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend, "split": False},
        decoder={"type": "Sequence", "decoders": steps},
    )


def _llama(parts: Parts, options: Mapping[str, Any]) -> Document:
    prefix = options["add_prefix_space"]
    prepend = "never" if prefix is False else "always" if options["legacy"] else "first"
    empty = {str(options[name]): index for index, name in enumerate(("unk_token", "bos_token", "eos_token"))}
    return sentencepiece_bpe(_mapping(parts, empty), parts.merges or [], prepend=prepend)


def _t5(parts: Parts, options: Mapping[str, Any]) -> Document:
    vocab = parts.vocab
    if vocab is None:
        vocab = [(str(options["pad_token"]), 0.0), (str(options["eos_token"]), 0.0), (str(options["unk_token"]), 0.0)]
        vocab += [("▁", -2.0), *((f"<extra_id_{i}>", 0.0) for i in reversed(range(options["extra_ids"])))]
    if isinstance(vocab, Mapping):
        raise TokenizerError("A T5 tokenizer needs a Unigram vocabulary: a list of (token, score).")
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    charsmap = parts.charsmap
    return Document(
        {"type": "Unigram", "unk_id": 2, "vocab": [[token, score] for token, score in vocab], "byte_fallback": False},
        normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap} if charsmap else None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        decoder=metaspace,
    )


def _t5_template(document: Document, options: Mapping[str, Any]) -> dict[str, Any]:
    end = special("</s>")
    single = [sequence("A"), end]
    eos = str(options["eos_token"])
    return template(single, [*single, sequence("B"), end], {"</s>": document.ids([eos])[eos]})


BERT = Family(
    model="WordPiece",
    defaults={
        "do_lower_case": True,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "tokenize_chinese_chars": True,
        "strip_accents": None,
    },
    build=_bert,
    finish=_bert_template,
)
GPT2 = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "unk_token": "<|endoftext|>",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "add_prefix_space": False,
    },
    build=_gpt2,
)
LLAMA = Family(
    model="SentencePiece",
    defaults={
        "clean_up_tokenization_spaces": False,
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "use_default_system_prompt": False,
        "legacy": False,
        "add_prefix_space": None,
    },
    build=_llama,
)
T5 = Family(
    model="Unigram",
    defaults={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100},
    build=_t5,
    finish=_t5_template,
    extra=lambda options: [f"<extra_id_{i}>" for i in range(options["extra_ids"])],
)
