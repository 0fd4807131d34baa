"""The vocabulary of a GGUF file → a tokenizer.json document.

Files of the kinds that transformers reads become what it makes of them; the others what llama.cpp does with them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.base.logging import get_logger
from enfold.tokenizers.families.byte_level import byte_level
from enfold.tokenizers.families.marked import GEMMA, sentencepiece_bpe
from enfold.tokenizers.families.recipes import Family, Parts
from enfold.tokenizers.families.unigram import T5
from enfold.tokenizers.families.wordpiece import BERT
from enfold.tokenizers.formats import patterns
from enfold.tokenizers.formats.document import Document, added_token
from enfold.tokenizers.formats.gguf import read_metadata
from enfold.tokenizers.formats.merges import merges_from_vocab

logger = get_logger(__name__)

_CONTROL, _USER_DEFINED = 3, 4  # of `tokenizer.ggml.token_type`
_ROLES = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
# The key's spelling is the format's.
_BERT_ROLES = {
    "cls_token": ("cls_token_id", "[CLS]"),
    "sep_token": ("seperator_token_id", "[SEP]"),
    "unk_token": ("unknown_token_id", "[UNK]"),
    "pad_token": ("padding_token_id", "[PAD]"),
    "mask_token": ("mask_token_id", "[MASK]"),
}
# Kinds of `tokenizer.ggml.pre` whose text is marked with `▁` instead of being spelled in bytes.
_MARKED = frozenset({"gemma4", "granite-embed-multi-311m", "sarvam-moe"})


@dataclass(slots=True)
class GGUFVocabulary:
    """What a GGUF file says about its tokenizer: the document and what belongs into tokenizer_config.json."""

    document: Document
    config: dict[str, Any]


@dataclass(slots=True)
class _Notes:
    """The notes on the tokenizer, checked as far as every kind needs them."""

    path: Path
    architecture: str
    tokens: list[str]
    fields: Mapping[str, Any]

    def scores(self) -> list[float]:
        scores = self.fields.get("scores")
        if not isinstance(scores, list) or len(scores) != len(self.tokens):
            raise TokenizerError(
                f"{self.path}: tokenizer.ggml.scores must hold one number for each of {len(self.tokens)} tokens."
            )
        return scores

    def merges(self) -> list[tuple[str, str]]:
        pairs = []
        for merge in self.fields.get("merges") or []:
            cut = merge.find(" ", 1) if isinstance(merge, str) else -1
            if cut < 0 or cut + 1 == len(merge):
                raise TokenizerError(
                    f"{self.path}: {merge!r} is no merge: two symbols with a space between were expected."
                )
            pairs.append((merge[:cut], merge[cut + 1 :]))
        return pairs

    def token(self, key: str) -> str | None:
        """The token whose id stands under `key`."""
        index = self.fields.get(key)
        if index is None:
            return None
        if type(index) is not int or not 0 <= index < len(self.tokens):
            raise TokenizerError(
                f"{self.path}: tokenizer.ggml.{key} is {index!r}, the vocabulary has {len(self.tokens)} tokens."
            )
        return self.tokens[index]


def read_gguf_vocabulary(path: Path) -> GGUFVocabulary:
    """Build the tokenizer that a GGUF file carries.

    Raises:
        TokenizerError: a damaged file, one without a vocabulary, or a contradictory one.
        NotBuiltError: a vocabulary of a kind that enfold doesn't know.
    """
    metadata = read_metadata(path, "tokenizer.")
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(kind, str) or not isinstance(tokens, list) or not tokens:
        raise TokenizerError(f"{path}: the file carries no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens).")
    if not all(isinstance(token, str) for token in tokens):
        raise TokenizerError(f"{path}: tokenizer.ggml.tokens must be a list of strings.")
    fields = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    if kind not in _BUILDERS:
        raise NotBuiltError(
            f"{path}: a vocabulary of kind {kind!r} can't be read from GGUF yet (known: {', '.join(_BUILDERS)}). "
            "Use the tokenizer files of the model's original repository."
        )
    architecture = metadata.get("general.architecture", "")
    notes = _Notes(path, architecture if isinstance(architecture, str) else "", tokens, fields)
    document = _BUILDERS[kind](notes)
    if kind != "bert":
        _add_marked_tokens(document, notes, kind)
    return GGUFVocabulary(document, _config(notes, kind, metadata.get("tokenizer.chat_template")))


def _config(notes: _Notes, kind: str, template: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"chat_template": template} if isinstance(template, str) else {}
    if kind == "bert":
        config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        return config | _bert_tokens(notes)
    for name in ("add_bos_token", "add_eos_token"):
        if name in notes.fields:
            config[name] = bool(notes.fields[name])
    if kind == "llama":
        config.setdefault("add_bos_token", True)
    elif kind == "gemma4":
        config["add_bos_token"] = False  # its chat template writes the token itself
    return config | {name: notes.token(key) for name, key in _ROLES.items()}


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in GPT-2's vocabularies."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelling = {byte: chr(byte) for byte in printable}
    for offset, byte in enumerate(byte for byte in range(256) if byte not in spelling):
        spelling[byte] = chr(256 + offset)
    return [spelling[byte] for byte in range(256)]


def _byte_level(notes: _Notes) -> Document:
    before = notes.fields.get("pre")
    if before in _MARKED:
        return _gemma_document(notes.tokens, notes.merges())
    if before == "whitespace":
        raise NotBuiltError(f"{notes.path}: the pre-tokenizer 'whitespace' (BPE over plain words) is not built yet.")
    if not notes.fields.get("merges"):
        raise TokenizerError(
            f"{notes.path}: a byte-level vocabulary needs tokenizer.ggml.merges, and the file has none."
        )
    spelling = byte_alphabet()
    alphabet = set(spelling)
    vocab = {}
    for index, token in enumerate(notes.tokens):
        spelled = token if alphabet.issuperset(token) else "".join(spelling[byte] for byte in token.encode("utf-8"))
        vocab[spelled] = index
    document = byte_level(vocab, notes.merges(), add_prefix_space=False)
    if before in patterns.GGUF:
        document.sections["pre_tokenizer"] = patterns.splitting(patterns.GGUF[before])
    elif before is not None and before not in patterns.GGUF_PLAIN:
        logger.warning(
            "%s: its pre-tokenizer %r is not known; text is split as for GPT-2, ids may differ from the model's own.",
            notes.path,
            before,
        )
    _add_special(document, ["<|endoftext|>"])
    return document


def _sentencepiece(notes: _Notes) -> Document:
    tokens = notes.tokens
    if notes.architecture in ("gemma", "gemma2", "gemma3"):
        return _gemma(notes)
    vocab = {token: index for index, token in enumerate(tokens)}
    if notes.fields.get("merges"):
        merges = notes.merges()
    else:
        merges = merges_from_vocab(vocab, dict(zip(tokens, notes.scores(), strict=True)))
    prepend = "never" if notes.fields.get("add_space_prefix") is False else "first"
    document = sentencepiece_bpe(vocab, merges, prepend=prepend)
    if notes.architecture == "phi3":
        mark = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        document.sections["normalizer"] = {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, mark],
        }
        document.sections["pre_tokenizer"] = None
    _add_special(document, ["<s>", "</s>", "<unk>"])
    return document


def _gemma(notes: _Notes) -> Document:
    # Runs of spaces are stored as such, and the scores don't follow the order of merges: the tokens' order does.
    tokens = ["▁" * len(token) if " " in token and not token.strip() else token for token in notes.tokens]
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = notes.merges() or merges_from_vocab(vocab, {token: -index for index, token in enumerate(tokens)})
    return _gemma_document(tokens, merges)


def _gemma4(notes: _Notes) -> Document:
    vocab = {token: index for index, token in enumerate(notes.tokens)}
    merges = notes.merges()
    if not merges:
        merges = merges_from_vocab(vocab, dict(zip(notes.tokens, notes.scores(), strict=True)))
    return _gemma_document(notes.tokens, merges)


def _gemma_document(tokens: Sequence[str], merges: list[tuple[str, str]]) -> Document:
    options = GEMMA.defaults
    document = GEMMA.build(Parts({token: index for index, token in enumerate(tokens)}, merges), options)
    _add_special(document, [options[f"{name}_token"] for name in ("bos", "eos", "unk", "pad", "mask")])
    return document


def _unigram(notes: _Notes) -> Document:
    # Files made from T5 checkpoints carry placeholders where the hundred sentinels belong, in falling order.
    tokens = list(notes.tokens)
    sentinels = 100
    blanks = [index for index, token in enumerate(tokens) if re.fullmatch(r"\[PAD\d+\]", token)]
    for offset, index in enumerate(blanks[:sentinels]):
        tokens[index] = f"<extra_id_{sentinels - 1 - offset}>"
    options = dict(T5.defaults)
    document = T5.build(Parts(list(zip(tokens, notes.scores(), strict=True))), options)
    _add_special(document, [options["eos_token"], options["unk_token"], options["pad_token"], *T5.extra(options)])
    document.sections["post_processor"] = _finished(T5, document, options)
    return document


def _bert(notes: _Notes) -> Document:
    # Words are stored behind a `▁`, their continuations bare, tokens in brackets as they are.
    spelled = [
        token if token[:1] == "[" and token[-1:] == "]" else token[1:] if token[:1] == "▁" else "##" + token
        for token in notes.tokens
    ]
    lowercase = notes.fields.get("normalizer.lowercase", True)
    options = {
        **BERT.defaults,
        **{name: token for name, token in _bert_tokens(notes).items() if token is not None},
        "do_lower_case": bool(lowercase),
        "strip_accents": notes.fields.get("normalizer.strip_accents"),
    }
    document = BERT.build(Parts({token: index for index, token in enumerate(spelled)}), options)
    _add_special(document, [options[name] for name in _BERT_ROLES])
    document.sections["post_processor"] = _finished(BERT, document, options)
    return document


def _bert_tokens(notes: _Notes) -> dict[str, str | None]:
    """The roles of a BERT vocabulary; older files name only some of them, or `[CLS]` as the begin token."""
    known = set(notes.tokens)
    found = {
        name: notes.token(key) or (usual if usual in known else None) for name, (key, usual) in _BERT_ROLES.items()
    }
    found["cls_token"] = notes.token("cls_token_id") or notes.token("bos_token_id") or found["cls_token"]
    return found


def _finished(family: Family, document: Document, options: Mapping[str, Any]) -> dict[str, Any]:
    assert family.finish is not None
    return family.finish(document, options)


def _add_special(document: Document, tokens: Sequence[str]) -> None:
    document.add(added_token({"content": token}, "GGUF", special=True, normalized=False) for token in tokens)


def _add_marked_tokens(document: Document, notes: _Notes, kind: str) -> None:
    """Tokens that the file marks as control or user-defined are matched whole in the text."""
    types = notes.fields.get("token_type") or []
    if len(types) not in (0, len(notes.tokens)):
        raise TokenizerError(
            f"{notes.path}: tokenizer.ggml.token_type has {len(types)} entries for {len(notes.tokens)} tokens."
        )
    alphabet = set(byte_alphabet()) if kind == "gpt2" else None
    for wanted, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        document.add(
            added_token({"content": token}, notes.path, special=special, normalized=False)
            for token, type_ in zip(notes.tokens, types, strict=False)
            if type_ == wanted
            and (alphabet is None or not special or alphabet.issuperset(token))
            and (special or document.id_of(token) is not None)
        )


# `tokenizer.ggml.model` → builder.
_BUILDERS: dict[str, Callable[[_Notes], Document]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
    "gemma4": _gemma4,
    "t5": _unigram,
    "bert": _bert,
}
