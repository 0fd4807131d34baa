"""Families over byte-level BPE, and CLIP's and HerBERT's BPE over words with an end mark."""

from collections.abc import Mapping, Sequence
from typing import Any

from enfold.base.errors import TokenizerError
from enfold.tokenizers.families.recipes import (
    Family,
    Options,
    Parts,
    Section,
    bpe_model,
    bytes_of,
    chain,
    flag,
    mapping,
    named,
    replace,
    roberta,
    split,
    templated,
)
from enfold.tokenizers.formats.document import Document, begin_end_template

# Words with what stands before them, and digits one by one.
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?LETTERS+|\p{N}| ?[^\sOTHERS\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = _QWEN.replace("LETTERS", r"\p{L}").replace("OTHERS", r"\p{L}")
QWEN3_5_SPLIT = _QWEN.replace("LETTERS", r"[\p{L}\p{M}]").replace("OTHERS", r"\p{L}\p{M}")
_CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_NOUGAT_PUNCTUATION = r"""[\(\)\[\]\{\}]|([!\"#\$%\&'\*\+,\-\./:;<=>\?\\\^_`\|\~])\1*"""


def byte_level(
    vocab: dict[str, int], merges: Sequence[Sequence[str]], *, add_prefix_space: bool, **sections: Any
) -> Document:
    """GPT-2's byte-level BPE; `sections` that differ."""
    return Document(
        bpe_model(vocab, merges, continuing_subword_prefix="", end_of_word_suffix=""),
        **{
            "pre_tokenizer": bytes_of(add_prefix_space=add_prefix_space),
            "decoder": bytes_of(add_prefix_space=True),
            **sections,
        },
    )


def _plain(parts: Parts, options: Options, empty: str = "", **sections: Any) -> Document:
    if parts.vocab is not None and parts.merges is None:
        raise TokenizerError("A byte-level BPE tokenizer needs merges beside its vocabulary (merges.txt).")
    prefix = flag(options, "add_prefix_space") if "add_prefix_space" in options else False
    vocab = mapping(parts, named(options, empty))
    return byte_level(vocab, parts.merges or [], add_prefix_space=prefix, **sections)


def _roberta_template(document: Document, options: Options) -> Section:
    spaces = flag(options, "add_prefix_space")
    return roberta(document, options, trim_offsets=flag(options, "trim_offsets"), add_prefix_space=spaces)


def _neox(parts: Parts, options: Options) -> Document:
    prefix, trim = flag(options, "add_prefix_space"), flag(options, "trim_offsets")
    before = bytes_of(add_prefix_space=prefix, trim_offsets=trim)
    return _plain(parts, options, "unk pad", normalizer={"type": "NFC"}, pre_tokenizer=before)


def begin_end(document: Document, options: Options) -> Section:
    """The begin and end tokens that the options ask for, whatever the file's own post-processor says."""

    def token(name: str) -> tuple[str, int] | None:
        text = options.get(f"{name}_token")
        if text is None or not options.get(f"add_{name}_token"):
            return None
        return str(text), document.ids([str(text)])[str(text)]

    return begin_end_template(token("bos"), token("eos"))


def _qwen(parts: Parts, options: Options, pattern: str) -> Document:
    prefix = bool(options["add_prefix_space"])
    steps = [split(pattern, "Isolated"), bytes_of(add_prefix_space=prefix, use_regex=False)]
    plain = {key: value for key, value in options.items() if key != "add_prefix_space"}
    if parts.vocab is None:
        parts = Parts({"<|endoftext|>": 0}, [])
    before = chain("pretokenizers", steps)
    return _plain(parts, plain, normalizer={"type": "NFC"}, pre_tokenizer=before)


def _cohere(parts: Parts, options: Options) -> Document:
    prefix = flag(options, "add_prefix_space")
    steps = [{"type": "Digits", "individual_digits": True}, bytes_of(add_prefix_space=prefix)]
    return _plain(
        parts,
        options,
        "pad unk cls sep mask bos",
        normalizer={"type": "NFC"},
        pre_tokenizer=chain("pretokenizers", steps),
    )


def _nougat(parts: Parts, options: Options) -> Document:
    steps = [
        split("SPL1T-TH1S-Pl3A5E", "Removed", regex=False),
        {"type": "Digits", "individual_digits": True},
        split(_NOUGAT_PUNCTUATION, "Isolated", regex=False),
        split("\n", "Isolated", regex=False),
        bytes_of(add_prefix_space=False),
    ]
    if parts.vocab is None:
        parts = Parts([*named(options, "bos pad eos unk"), "[START_REF]"], [])
    return _plain(parts, options, normalizer={"type": "NFKC"}, pre_tokenizer=chain("pretokenizers", steps))


def _codegen_template(document: Document, options: Options) -> Section:
    return bytes_of(add_prefix_space=True, trim_offsets=False)


def _worded(parts: Parts, options: Options, empty: str, **model: Any) -> tuple[dict[str, int], Section]:
    vocab = mapping(parts, named(options, empty))
    fields = {"end_of_word_suffix": "</w>", "unk_token": str(options["unk_token"]), **model}
    return vocab, bpe_model(vocab, parts.merges, **fields)


def _clip(parts: Parts, options: Options) -> Document:
    _, model = _worded(parts, options, "bos eos pad", continuing_subword_prefix="")
    return Document(
        model,
        normalizer=chain("normalizers", [{"type": "NFC"}, replace(r"\s+", " ", regex=True), {"type": "Lowercase"}]),
        pre_tokenizer=chain("pretokenizers", [split(_CLIP, "Removed", invert=True), bytes_of(add_prefix_space=False)]),
        decoder=bytes_of(add_prefix_space=True),
    )


def _clip_template(document: Document, options: Options) -> Section:
    bos, eos = named(options, "bos eos")
    ids = document.ids([bos, eos])
    return {
        "type": "RobertaProcessing",
        "sep": [eos, ids[eos]],
        "cls": [bos, ids[bos]],
        "trim_offsets": False,
        "add_prefix_space": False,
    }


def _bert_words(lowercase: bool, strip_accents: bool | None) -> Section:
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }


def _herbert(parts: Parts, options: Options) -> Document:
    _, model = _worded(parts, options, "unk")
    return Document(
        model,
        normalizer=_bert_words(False, False),
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "BPEDecoder", "suffix": "</w>"},
    )


def _herbert_template(document: Document, options: Options) -> Section:
    sep, cls = named(options, "sep cls")
    return {"type": "BertProcessing", "sep": [sep, 2], "cls": [cls, 0]}


def _openai(parts: Parts, options: Options) -> Document:
    _, model = _worded(parts, options, "unk", continuing_subword_prefix="")
    return Document(
        model,
        normalizer=_bert_words(True, None),
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "BPEDecoder", "suffix": "</w>"},
    )


_END = "<|endoftext|>"
_ANGLES: Mapping[str, str] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}

GPT2 = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "unk_token": _END,
        "bos_token": _END,
        "eos_token": _END,
        "add_prefix_space": False,
    },
    build=_plain,
)
ROBERTA = Family(
    model="BPE",
    defaults={"errors": "replace", **_ANGLES, "add_prefix_space": False, "trim_offsets": True},
    build=lambda parts, options: _plain(parts, options, "pad unk cls sep mask"),
    finish=_roberta_template,
)
BLENDERBOT = Family(
    model="BPE",
    defaults={**_ANGLES, "add_prefix_space": True},
    build=lambda parts, options: _plain(parts, options, "bos pad eos unk mask"),
    flags={"mask_token": {"lstrip": True, "normalized": False}},
)
DEBERTA = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "sep_token": "[SEP]",
        "cls_token": "[CLS]",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "add_prefix_space": False,
    },
    build=lambda parts, options: _plain(parts, options, "unk cls sep pad mask"),
    finish=templated("cls $A sep", "cls $A sep sep $B sep"),
)
CODEGEN = Family(
    model="BPE",
    defaults={
        "unk_token": _END,
        "bos_token": _END,
        "eos_token": _END,
        "pad_token": None,
        "add_prefix_space": False,
        "return_token_type_ids": False,
    },
    build=_plain,
    finish=_codegen_template,
)
GPT_NEOX = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "unk_token": _END,
        "bos_token": _END,
        "eos_token": _END,
        "pad_token": "<|padding|>",
        "add_prefix_space": False,
        "trim_offsets": True,
    },
    build=_neox,
    finish=begin_end,
)
WHISPER = Family(
    model="BPE",
    defaults={
        "unk_token": _END,
        "bos_token": _END,
        "eos_token": _END,
        "add_prefix_space": False,
        "language": None,
        "task": None,
        "predict_timestamps": False,
    },
    build=_plain,
    flags={key: {"normalized": False, "special": True} for key in ("bos_token", "eos_token", "unk_token")},
)
COHERE = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "unk_token": "<UNK>",
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "pad_token": "<PAD>",
        "cls_token": "<CLS>",
        "sep_token": "<SEP>",
        "mask_token": "<MASK_TOKEN>",
        "use_default_system_prompt": False,
        "add_prefix_space": False,
    },
    build=_cohere,
)
QWEN2 = Family(
    model="BPE",
    defaults={"unk_token": _END, "bos_token": None, "eos_token": _END, "pad_token": _END, "add_prefix_space": None},
    build=lambda parts, options: _qwen(parts, options, QWEN2_SPLIT),
)
QWEN3_5 = Family(
    model="BPE",
    defaults=QWEN2.defaults,
    build=lambda parts, options: _qwen(parts, options, QWEN3_5_SPLIT),
)
NOUGAT = Family(
    model="BPE",
    defaults={
        "errors": "replace",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    },
    build=_nougat,
    finish=templated("bos $A eos", "$A $B:1"),
)
CLIP = Family(
    model="BPE",
    defaults={"unk_token": _END, "bos_token": "<|startoftext|>", "eos_token": _END, "pad_token": _END},
    build=_clip,
    finish=_clip_template,
)
HERBERT = Family(
    model="BPE",
    defaults={
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "sep_token": "</s>",
    },
    build=_herbert,
    finish=_herbert_template,
)
OPENAI_GPT = Family(model="BPE", defaults={"unk_token": "<unk>"}, build=_openai)
