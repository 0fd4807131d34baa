"""Families over BPE of text whose spaces are marked with `▁` (sentencepiece's BPE)."""

from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any

from enfold.tokenizers.families.languages import NLLB as NLLB_CODES
from enfold.tokenizers.families.recipes import (
    Family,
    Options,
    Parts,
    Section,
    bpe_model,
    chain,
    charsmap,
    mapping,
    metaspace,
    named,
    replace,
    split,
)
from enfold.tokenizers.formats.document import Document

_BYTES: list[Section] = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]


def sentencepiece_bpe(
    vocab: dict[str, int], merges: Sequence[Sequence[str]], *, prepend: str, **model: Any
) -> Document:
    """LLaMA's BPE over `▁`-marked text with bytes for what the vocabulary lacks; `prepend`: always, first or never."""
    strip = [] if prepend == "never" else [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    return Document(
        bpe_model(vocab, merges, fuse_unk=True, byte_fallback=True, **model),
        pre_tokenizer=metaspace(prepend, split=False),
        decoder=chain("decoders", [*_BYTES, *strip]),
    )


def _llama(parts: Parts, options: Options) -> Document:
    prefix = options["add_prefix_space"]
    prepend = "never" if prefix is False else "always" if options["legacy"] else "first"
    return sentencepiece_bpe(mapping(parts, named(options, "unk bos eos")), parts.merges or [], prepend=prepend)


def _code_llama(parts: Parts, options: Options) -> Document:
    prepend = "never" if options["add_prefix_space"] is False else "first"
    unk = str(options["unk_token"])
    vocab = mapping(parts, named(options, "unk bos eos"))
    document = sentencepiece_bpe(vocab, parts.merges or [], prepend=prepend, unk_token=unk)
    document.sections["decoder"] = chain(
        "decoders", [*_BYTES, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    )
    return document


def _infilling(options: Options) -> list[str]:
    names = ("prefix_token", "middle_token", "suffix_token", "eot_token", "fill_token")
    return [
        *(options.get("additional_special_tokens") or []),
        *(options[name] for name in names if options[name] is not None),
    ]


def _gemma(parts: Parts, options: Options) -> Document:
    unk = str(options["unk_token"])
    vocab = mapping(parts, named(options, "pad eos bos unk mask"))
    return Document(
        bpe_model(vocab, parts.merges, fuse_unk=True, byte_fallback=True, unk_token=unk),
        normalizer=replace(" ", "▁"),
        pre_tokenizer=split(" ", "MergedWithPrevious", regex=False),
        decoder=chain("decoders", _BYTES),
    )


def _siglip2(parts: Parts, options: Options) -> Document:
    document = _gemma(parts, options)
    lower = [{"type": "Lowercase"}, document.sections["normalizer"]]
    document.sections["normalizer"] = chain("normalizers", lower)
    return document


def _worded(parts: Parts, options: Options, empty: str, normalizer: Section | None, prepend: str) -> Document:
    """Whole words without bytes for what the vocabulary lacks."""
    unk = str(options["unk_token"])
    return Document(
        bpe_model(mapping(parts, named(options, empty)), parts.merges, fuse_unk=True, unk_token=unk),
        normalizer=normalizer,
        pre_tokenizer=metaspace(prepend),
        decoder=metaspace(prepend),
    )


def _compiled(parts: Parts) -> Section | None:
    return chain("normalizers", [*charsmap(parts), replace(" {2,}", " ", regex=True)]) if parts.charsmap else None


def _nllb(parts: Parts, options: Options) -> Document:
    return _worded(parts, options, "bos pad eos unk", _compiled(parts), "always")


def _nllb_pieces(parts: Parts, options: Options, given: Options) -> Parts:
    """The four control tokens come first, in fairseq's order."""
    vocab: dict[str, int] = {}
    for token in (*named(options, "bos pad eos unk"), *parts.vocab):
        vocab.setdefault(token, len(vocab))
    return changed(parts, vocab=vocab)


_SEAMLESS: list[Section] = [
    replace(r"[\n\r\t]", " ", regex=True),
    {"type": "NFKC"},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    replace(" +▁", "▁", regex=True),
    replace("^▁+$", "", regex=True),
    replace(" {2,}", "▁", regex=True),
]


def _seamless(parts: Parts, options: Options) -> Document:
    return _worded(parts, options, "pad unk bos eos", chain("normalizers", _SEAMLESS), "first")


def _seamless_pieces(parts: Parts, options: Options, given: Options) -> Parts:
    vocab = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3}
    for index, token in enumerate(parts.vocab):
        vocab[token] = index + 1
    return changed(parts, vocab=vocab)


def _reformer(parts: Parts, options: Options) -> Document:
    return _worded(parts, options, "", _compiled(parts), "always")


_ANGLES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_GEMMA = {
    "unk_token": "<unk>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}

LLAMA = Family(
    model="SentencePiece",
    defaults={
        "clean_up_tokenization_spaces": False,
        **_ANGLES,
        "use_default_system_prompt": False,
        "legacy": False,
        "add_prefix_space": None,
    },
    build=_llama,
    file="tokenizer.model",
)
CODE_LLAMA = Family(
    model="SentencePiece",
    defaults={
        "clean_up_tokenization_spaces": False,
        **_ANGLES,
        "prefix_token": "▁<PRE>",
        "middle_token": "▁<MID>",
        "suffix_token": "▁<SUF>",
        "eot_token": "▁<EOT>",
        "fill_token": "<FILL_ME>",
        "use_default_system_prompt": False,
        "add_prefix_space": True,
        "add_bos_token": True,
    },
    build=_code_llama,
    extra=_infilling,
    file="tokenizer.model",
)
GEMMA = Family(model="SentencePiece", defaults=_GEMMA, build=_gemma, file="tokenizer.model")
SIGLIP2 = Family(model="SentencePiece", defaults=_GEMMA, build=_siglip2, file="tokenizer.model")
NLLB = Family(
    model="SentencePiece",
    defaults={
        **_ANGLES,
        "sep_token": "</s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "src_lang": None,
        "tgt_lang": None,
        "legacy_behaviour": False,
    },
    build=_nllb,
    extra=lambda options: list(options.get("additional_special_tokens") or NLLB_CODES),
    flags={"mask_token": {"normalized": True, "lstrip": True, "special": True}},
    file="sentencepiece.bpe.model",
    from_pieces=_nllb_pieces,
)
SEAMLESS = Family(
    model="SentencePiece",
    defaults={
        **_ANGLES,
        "sep_token": "</s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "src_lang": "eng",
        "tgt_lang": "fra",
        "keep_accents": None,
    },
    build=_seamless,
    file="sentencepiece.bpe.model",
    from_pieces=_seamless_pieces,
)
REFORMER = Family(
    model="SentencePiece",
    defaults={"eos_token": "</s>", "unk_token": "<unk>"},
    build=_reformer,
    file="spiece.model",
)
