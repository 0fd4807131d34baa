"""Families over a Unigram vocabulary (sentencepiece)."""

from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.families.languages import MBART as MBART_CODES
from enfold.tokenizers.families.languages import MBART50 as MBART50_CODES
from enfold.tokenizers.families.recipes import (
    Family,
    Options,
    Parts,
    Section,
    chain,
    charsmap,
    flag,
    metaspace,
    named,
    pieces,
    replace,
    templated,
    unigram_model,
)
from enfold.tokenizers.formats.document import Document, sequence, special, template

_SPACES = replace(" {2,}", " ", regex=True)
_QUOTES = [replace("``", '"'), replace("''", '"')]
_BREAKS = replace(r"\s{2,}|[\n\r\t]", " ", regex=True)
_NO_ACCENTS: list[Section] = [{"type": "NFKD"}, {"type": "StripAccents"}]
_LOWER: Section = {"type": "Lowercase"}
_RIGHT: Section = {"type": "Strip", "strip_left": False, "strip_right": True}


def _document(
    vocab: Sequence[tuple[str, float]],
    unk_id: int,
    steps: Sequence[Section] | Section | None,
    prepend: str = "always",
    *,
    words: bool = False,
) -> Document:
    """The shape that they share; `words` cuts at white space before marking it."""
    marked = metaspace(prepend)
    return Document(
        unigram_model(vocab, unk_id),
        normalizer=chain("normalizers", steps) if isinstance(steps, (list, tuple)) else steps,
        pre_tokenizer=chain("pretokenizers", [{"type": "WhitespaceSplit"}, marked]) if words else marked,
        decoder=marked,
    )


def _prepend(options: Options) -> str:
    return "always" if flag(options, "add_prefix_space") else "never"


def _compiled(parts: Parts) -> Section | None:
    return next(iter(charsmap(parts)), None)


def _position(vocab: Sequence[tuple[str, float]], token: str, default: int) -> int:
    """Where the token stands with no score of its own."""
    return next((index for index, entry in enumerate(vocab) if entry == (token, 0.0)), default)


def _sentinels(options: Options) -> list[str]:
    count = options["extra_ids"]
    sentinels = [f"<extra_id_{index}>" for index in range(count)]
    given = options.get("additional_special_tokens")
    if given is None:
        return sentinels
    own = [token for token in given if "<extra_id_" in str(token)]
    if own and count > 0 and count != len(own):
        raise ArgumentError(f"extra_ids={count}, but additional_special_tokens names {len(own)} <extra_id_…> tokens.")
    return [*given, *([] if own else sentinels)]


def _t5(parts: Parts, options: Options) -> Document:
    last = [f"<extra_id_{index}>" for index in reversed(range(options["extra_ids"]))]
    empty = [*named(options, "pad eos unk"), ("▁", -2.0), *last]
    return _document(pieces(parts, empty, "T5"), 2, _compiled(parts), words=True)


def _t5_template(document: Document, options: Options) -> Section:
    end = special("</s>")
    single = [sequence("A"), end]
    eos = str(options["eos_token"])
    return template(single, [*single, sequence("B"), end], {"</s>": document.ids([eos])[eos]})


def _t5_pieces(parts: Parts, options: Options, given: Options) -> Parts:
    last = [(f"<extra_id_{index}>", 0.0) for index in reversed(range(options["extra_ids"]))]
    return changed(parts, vocab=[*parts.vocab, *last])


def _albert(parts: Parts, options: Options) -> Document:
    steps = [
        *_QUOTES,
        *([] if options["keep_accents"] else _NO_ACCENTS),
        *([_LOWER] if options["do_lower_case"] else []),
        *charsmap(parts),
    ]
    vocab = pieces(parts, named(options, "pad unk cls sep mask"), "ALBERT")
    return _document(vocab, 1, steps, _prepend(options), words=True)


def _albert_template(document: Document, options: Options) -> Section:
    cls, sep = named(options, "cls sep")
    ids = document.ids([cls, sep])
    first, last = special("[CLS]"), special("[SEP]")
    single = [first, sequence("A"), last]
    pair = [*single, sequence("B", 1), special("[SEP]", 1)]
    return template(single, pair, {"[CLS]": ids[cls], "[SEP]": ids[sep]})


def _rembert(parts: Parts, options: Options) -> Document:
    steps = [
        *_QUOTES,
        _SPACES,
        *([] if options["keep_accents"] else _NO_ACCENTS),
        *([_LOWER] if options["do_lower_case"] else []),
        *charsmap(parts),
    ]
    vocab = pieces(parts, named(options, "pad unk cls sep mask"), "RemBERT")
    return _document(vocab, 2, steps, _prepend(options))


def _xlnet(parts: Parts, options: Options) -> Document:
    lower = [_LOWER] if options["do_lower_case"] else []
    steps = [*_QUOTES, *_NO_ACCENTS, *lower, *charsmap(parts)]
    vocab = pieces(parts, named(options, "unk"), "XLNet")
    return _document(vocab, options["unk_id"], steps, words=True)


def _xlm_roberta(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "bos pad eos unk mask"), "XLM-RoBERTa")
    return _document(vocab, 3, _compiled(parts), _prepend(options), words=True)


def _fairseq_pieces(names: str, codes: Sequence[str] = ()) -> Callable[[Parts, Options, Options], Parts]:
    """Control tokens in fairseq's order, the pieces after their own three, language codes, the mask."""

    def reordered(parts: Parts, options: Options, given: Options) -> Parts:
        vocab = [
            *((token, 0.0) for token in named(options, names)),
            *parts.vocab[3:],
            *((code, 0.0) for code in codes),
            (str(options["mask_token"]), 0.0),
        ]
        return changed(parts, vocab=vocab)

    return reordered


def _mbart(parts: Parts, options: Options) -> Document:
    empty = [*named(options, "bos pad eos unk"), ("▁", -2.0), *MBART_CODES, str(options["mask_token"])]
    return _document(pieces(parts, empty, "mBART"), 3, None, words=True)


def _mbart50(parts: Parts, options: Options) -> Document:
    empty = [*named(options, "cls pad eos unk"), ("▁", -2.0), *MBART50_CODES, str(options["mask_token"])]
    vocab = pieces(parts, empty, "mBART-50")
    if not {token for token, _ in vocab} & set(MBART50_CODES):
        own = named(options, "cls pad eos unk")
        last = [*MBART50_CODES, str(options["mask_token"])]
        vocab = [*((token, 0.0) for token in own), *vocab[3:], *((token, 0.0) for token in last)]
    return _document(vocab, 3, [*charsmap(parts), _SPACES])


def _codes(codes: Sequence[str], *, first: bool) -> Callable[[Options], list[str]]:
    def extra(options: Options) -> list[str]:
        given = [token for token in options.get("additional_special_tokens") or [] if token not in codes or not first]
        return [*codes, *given] if first else [*given, *codes]

    return extra


def _barthez(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "pad unk cls sep mask"), "BARThez")
    return _document(vocab, 3, [_BREAKS, {"type": "NFC"}, _RIGHT], _prepend(options))


_UNUSED = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")


def _camembert(parts: Parts, options: Options) -> Document:
    pad, unk, mask = named(options, "pad unk mask")
    empty = [_UNUSED[0], pad, _UNUSED[1], unk, (_UNUSED[2], -100.0), mask]
    vocab = pieces(parts, empty, "CamemBERT")
    place = next((index for index, (token, _) in enumerate(vocab) if token == unk), 0)
    return _document(vocab, place, _compiled(parts), _prepend(options), words=True)


def _camembert_pieces(parts: Parts, options: Options, given: Options) -> Parts:
    pad, unk, mask = named(options, "pad unk mask")
    first = [(_UNUSED[0], 0.0), (pad, 0.0), (_UNUSED[1], 0.0), (unk, 0.0), (_UNUSED[2], -100.0)]
    return changed(parts, vocab=[*first, *parts.vocab[1:], (mask, 0.0)])


def _big_bird(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "pad eos bos unk"), "BigBird")
    place = 3 if parts.vocab is None else _position(vocab, str(options["unk_token"]), 100)
    steps = [{"type": "Strip", "strip_left": False, "strip_right": False}, replace(" {2,}", "▁", regex=True)]
    return _document(vocab, place, steps, _prepend(options))


def _pegasus(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "unk pad eos mask"), "PEGASUS")
    place = -1 if parts.vocab is not None else 0
    place = next((n for n, entry in enumerate(vocab) if n and entry == (str(options["unk_token"]), 0.0)), place)
    first = charsmap(parts) or [replace(r"\n", " ", regex=True)]
    return _document(vocab, place, [*first, _SPACES])


def _pegasus_extra(options: Options) -> list[str]:
    given, sentence = options.get("additional_special_tokens"), options["mask_token_sent"]
    first = [sentence] if sentence is not None and (given is None or sentence not in given) else []
    return [*first, *(f"<unk_{index}>" for index in range(2, options["offset"]))]


def _pegasus_pieces(parts: Parts, options: Options, given: Options) -> Parts:
    pad, eos = named(options, "pad eos")
    # The defaults of the two masks are the other way round here than in the class.
    mask, sentence = given.get("mask_token", "<mask_1>"), given.get("mask_token_sent", "<mask_2>")
    masks = dict.fromkeys(str(token) for token in (mask, sentence) if token is not None)
    unused = [(f"<unk_{index}>", -100.0) for index in range(2, options["offset"])]
    vocab = [(pad, 0.0), (eos, 0.0), *((token, 0.0) for token in masks), *unused, *parts.vocab[2:]]
    return changed(parts, vocab=vocab)


def _deberta_v2(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "pad unk bos eos sep cls mask"), "DeBERTa")
    place = 1 if parts.vocab is None else _position(vocab, str(options["unk_token"]), options["unk_id"])
    lower = [_LOWER] if options["do_lower_case"] else []
    prepend = "always" if options["add_prefix_space"] else "first"
    document = _document(vocab, place, [*lower, _BREAKS, {"type": "NFC"}, _RIGHT], prepend)
    punctuation = [{"type": "Punctuation", "behavior": "Isolated"}] if options["split_by_punct"] else []
    document.sections["pre_tokenizer"] = chain("pretokenizers", [*punctuation, metaspace(prepend)])
    return document


def _xglm(parts: Parts, options: Options) -> Document:
    vocab = pieces(parts, named(options, "bos pad eos unk"), "XGLM")
    return _document(vocab, 3, [*charsmap(parts), _SPACES], _prepend(options))


def _madeup(options: Options) -> list[str]:
    given = list(options.get("additional_special_tokens") or [])
    return [*given, *(word for index in range(7) if (word := f"<madeupword{index}>") not in given)]


def _xglm_template(document: Document, options: Options) -> Section:
    made = templated("eos $A", "eos $A eos eos $B")(document, options)
    bos = str(options["bos_token"])
    made["special_tokens"][bos] = {"id": bos, "ids": [document.ids([bos])[bos]], "tokens": [bos]}
    return made


_ANGLES: dict[str, Any] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
_MASKED = {**_ANGLES, "mask_token": "<mask>"}
_BRACKETS: dict[str, Any] = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_LEFT = {"lstrip": True}
_FAIRSEQ = "sentencepiece.bpe.model"

T5 = Family(
    model="Unigram",
    defaults={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100},
    build=_t5,
    finish=_t5_template,
    extra=_sentinels,
    file="spiece.model",
    from_pieces=_t5_pieces,
)
ALBERT = Family(
    model="Unigram",
    defaults={
        "do_lower_case": True,
        "keep_accents": False,
        **_BRACKETS,
        "add_prefix_space": True,
        "trim_offsets": True,
    },
    build=_albert,
    finish=_albert_template,
    file="spiece.model",
)
FNET = changed(ALBERT, rebuilds=False)
REMBERT = Family(
    model="Unigram",
    defaults={
        "do_lower_case": False,
        "keep_accents": True,
        **_BRACKETS,
        "add_prefix_space": True,
        "remove_space": True,
    },
    build=_rembert,
    finish=templated("cls $A sep", "cls $A sep $B:1 sep:1"),
    file="sentencepiece.model",
)
XLNET = Family(
    model="Unigram",
    defaults={
        "unk_id": 0,
        "do_lower_case": False,
        "remove_space": True,
        "keep_accents": False,
        **_ANGLES,
        "sep_token": "<sep>",
        "cls_token": "<cls>",
        "mask_token": "<mask>",
    },
    build=_xlnet,
    finish=templated("$A sep cls:2", "$A sep $B:1 sep:1 cls:2"),
    extra=lambda options: list(options.get("additional_special_tokens") or ("<eop>", "<eod>")),
    flags={"mask_token": _LEFT},
    file="spiece.model",
)
XLM_ROBERTA = Family(
    model="Unigram",
    defaults={"add_prefix_space": True, **_MASKED},
    build=_xlm_roberta,
    finish=templated("bos $A eos", "bos $A eos eos $B eos"),
    file=_FAIRSEQ,
    from_pieces=_fairseq_pieces("bos pad eos unk"),
)
MBART = Family(
    model="Unigram",
    defaults={**_MASKED, "src_lang": None, "tgt_lang": None},
    build=_mbart,
    extra=_codes(MBART_CODES, first=True),
    flags={"mask_token": _LEFT},
    file=_FAIRSEQ,
    from_pieces=_fairseq_pieces("bos pad eos unk", MBART_CODES),
)
MBART50 = Family(
    model="Unigram",
    defaults={"src_lang": None, "tgt_lang": None, **{k: v for k, v in _MASKED.items() if k != "bos_token"}},
    build=_mbart50,
    extra=_codes(MBART50_CODES, first=False),
    flags={"mask_token": _LEFT},
    file=_FAIRSEQ,
    from_pieces=_fairseq_pieces("cls pad eos unk", MBART50_CODES),
)
BARTHEZ = Family(
    model="Unigram",
    defaults={**_MASKED, "add_prefix_space": True},
    build=_barthez,
    flags={"mask_token": _LEFT},
    file=_FAIRSEQ,
)
CAMEMBERT = Family(
    model="Unigram",
    defaults={**_MASKED, "add_prefix_space": True},
    build=_camembert,
    finish=templated("bos $A eos", "bos $A eos eos $B eos"),
    extra=lambda options: list(options.get("additional_special_tokens") or _UNUSED),
    flags={"mask_token": {"lstrip": True, "special": True}},
    file=_FAIRSEQ,
    from_pieces=_camembert_pieces,
)
BIG_BIRD = Family(
    model="Unigram",
    defaults={
        **_ANGLES,
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
        "add_prefix_space": True,
    },
    build=_big_bird,
    finish=templated("cls $A sep", "cls $A sep $B:1 sep:1"),
    flags={**{name: {} for name in _ANGLES}, "mask_token": _LEFT},
    file="spiece.model",
)
PEGASUS = Family(
    model="Unigram",
    defaults={
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask_2>",
        "mask_token_sent": "<mask_1>",
        "offset": 103,
    },
    build=_pegasus,
    finish=templated("$A eos", "$A $B eos"),
    extra=_pegasus_extra,
    file="spiece.model",
    from_pieces=_pegasus_pieces,
)
DEBERTA_V2 = Family(
    model="Unigram",
    defaults={
        "do_lower_case": False,
        "split_by_punct": False,
        **_BRACKETS,
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "add_prefix_space": True,
        "unk_id": 1,
    },
    build=_deberta_v2,
    finish=templated("cls $A sep", "cls $A sep $B:1 sep:1"),
    file="spm.model",
)
XGLM = Family(
    model="Unigram",
    defaults={**_ANGLES, "add_prefix_space": True},
    build=_xglm,
    finish=_xglm_template,
    extra=_madeup,
    file="tokenizer.json",
)
