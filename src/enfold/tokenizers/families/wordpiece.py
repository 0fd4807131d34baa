"""Families over a WordPiece vocabulary."""

from dataclasses import replace
from typing import Any

from enfold.tokenizers.families.recipes import (
    Family,
    Options,
    Parts,
    Section,
    filled,
    flag,
    mapping,
    named,
    roberta,
    templated,
)
from enfold.tokenizers.formats.document import Document, special


def _wordpiece(parts: Parts, options: Options, empty: str) -> Document:
    strip_accents = options["strip_accents"]
    if strip_accents is not None:
        strip_accents = flag(options, "strip_accents")
    return Document(
        {
            "type": "WordPiece",
            "unk_token": str(options["unk_token"]),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": mapping(parts, named(options, empty)),
        },
        normalizer={
            "type": "BertNormalizer",
            "clean_text": flag({"clean_text": True, **options}, "clean_text"),
            "handle_chinese_chars": flag(options, "tokenize_chinese_chars"),
            "strip_accents": strip_accents,
            "lowercase": flag(options, "do_lower_case"),
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": str(options.get("wordpieces_prefix", "##")), "cleanup": True},
    )


def _bert(parts: Parts, options: Options) -> Document:
    return _wordpiece(parts, options, "pad unk cls sep mask")


def _funnel(parts: Parts, options: Options) -> Document:
    return _wordpiece(parts, options, "pad unk cls sep mask bos eos")


def _splinter(parts: Parts, options: Options) -> Document:
    if parts.vocab is None:
        parts = Parts([*named(options, "pad unk cls sep mask question"), "."])
    return _wordpiece(parts, options, "")


def _splinter_template(document: Document, options: Options) -> Section:
    """The question mark token and a dot stand behind the question, which is on the side that isn't padded."""
    question = "$A" if options.get("padding_side", "right") == "right" else "$B:1"
    pair = "cls $A sep $B:1 sep:1".replace(question, f"{question} question dot")
    dot = document.id_of(".")
    made = filled(
        document, {**options, "dot_token": "." if dot is not None else options["unk_token"]}, "cls $A sep", pair
    )
    if dot is None:
        # The unknown token's id stands behind the dot where the vocabulary has none.
        unknown = str(options["unk_token"])
        made["pair"] = [special(".") if item == special(unknown) else item for item in made["pair"]]
        made["special_tokens"]["."] = {"id": ".", "ids": made["special_tokens"].pop(unknown)["ids"], "tokens": ["."]}
    return made


def _mpnet_template(document: Document, options: Options) -> Section:
    return roberta(document, options, trim_offsets=True, add_prefix_space=False)


_TEXT: dict[str, Any] = {"tokenize_chinese_chars": True, "strip_accents": None}

BERT = Family(
    model="WordPiece",
    defaults={
        "do_lower_case": True,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        **_TEXT,
    },
    build=_bert,
    finish=templated("cls $A sep", "cls $A sep $B:1 sep:1"),
)
CONVBERT = replace(BERT, rebuilds=False)
# The option is only remembered: every text is lower-cased.
DPR = replace(
    BERT,
    defaults={**BERT.defaults, "do_lower_case": False},
    build=lambda parts, options: _bert(parts, {**options, "do_lower_case": True}),
)
MPNET = Family(
    model="WordPiece",
    defaults={
        "do_lower_case": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "[UNK]",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        **_TEXT,
    },
    build=lambda parts, options: _wordpiece(parts, options, ""),
    finish=_mpnet_template,
    flags={
        **{f"{name}_token": {} for name in ("bos", "eos", "sep", "cls", "unk", "pad")},
        "mask_token": {"lstrip": True},
    },
)
FUNNEL = Family(
    model="WordPiece",
    defaults={
        "do_lower_case": True,
        "unk_token": "<unk>",
        "sep_token": "<sep>",
        "pad_token": "<pad>",
        "cls_token": "<cls>",
        "mask_token": "<mask>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "clean_text": True,
        "wordpieces_prefix": "##",
        **_TEXT,
    },
    build=_funnel,
    finish=templated("cls:2 $A sep", "cls:2 $A sep $B:1 sep:1"),
)
SPLINTER = Family(
    model="WordPiece",
    defaults={**BERT.defaults, "question_token": "[QUESTION]"},
    build=_splinter,
    finish=_splinter_template,
)
