"""A repository without tokenizer.json: which of its files holds the vocabulary, and what is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError
from enfold.base.logging import get_logger
from enfold.tokenizers.families.languages import WHISPER
from enfold.tokenizers.families.recipes import Family, Parts
from enfold.tokenizers.formats import patterns
from enfold.tokenizers.formats.document import Document
from enfold.tokenizers.formats.reading import read_merges, read_vocab_json, read_vocab_txt
from enfold.tokenizers.formats.sentencepiece import SentencePieceModel, generic_document, read_sentencepiece
from enfold.tokenizers.formats.tekken import ROLES, read_tekken
from enfold.tokenizers.formats.tiktoken import (
    ENCODINGS,
    encoding_document,
    is_tiktoken,
    read_tiktoken,
    reserved_tokens,
    tiktoken_document,
    whisper_encoding,
)
from enfold.tokenizers.loading import MERGES, TEKKEN, TOKENIZER, VOCAB_JSON, VOCAB_TXT, Source
from enfold.tokenizers.special_tokens import EXTRA, NAMED

logger = get_logger(__name__)

# Files that hold a vocabulary whatever the class, the best first; the later ones only without a class.
_ANY_CLASS = (TEKKEN, "tokenizer.model", "tiktoken.model")
_NO_CLASS = ("spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model")


@dataclass(slots=True)
class Bare:
    """A vocabulary as it was found.

    Args:
        parts: what a family is built from, or
        document: a tokenizer that the file describes whole.
        options: what the file decides about the class's options.
        path: the file, if it is one that is kept as it is when the vocabulary is saved.
    """

    parts: Parts | None = None
    document: Document | None = None
    options: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None


def bare_vocabulary(source: Source, family: Family | None, options: Mapping[str, Any]) -> Bare:
    """The vocabulary of a repository without tokenizer.json.

    Args:
        source: the repository.
        family: the class's family; None takes the file as it is.
        options: the settings of the repository and the user.

    Raises:
        TokenizerError: no vocabulary, one of another kind than the family's, or a damaged file.
    """
    own = None if family is None else _own_files(source, family)
    if own is not None:
        return Bare(own)
    for name in _candidates(source, family):
        path = source.find(name)
        if path is not None:
            return _from_file(path, family, options)
    raise TokenizerError(f"{source.name}: no vocabulary found: expected {TOKENIZER}{_expected(family)}.")


def kept_vocabulary(source: Source, family: Family | None) -> Path | None:
    """The sentencepiece, tiktoken or tekken file that lies beside a tokenizer.json in a folder of this machine."""
    if not Path(source.name).is_dir() or (family is not None and family.model in ("WordPiece", "BPE")):
        return None
    return next((path for name in _candidates(source, family) if (path := source.find(name))), None)


def _own_files(source: Source, family: Family) -> Parts | None:
    if family.model == "WordPiece" and (path := source.find(VOCAB_TXT)):
        return Parts(read_vocab_txt(path))
    if family.model == "BPE" and (path := source.find(VOCAB_JSON)) and (merges := source.find(MERGES)):
        return Parts(read_vocab_json(path), read_merges(merges))
    return None


def _candidates(source: Source, family: Family | None) -> list[str]:
    names = [] if family is None or family.file is None else [family.file]
    names += _ANY_CLASS
    alone = [file for file in sorted(source.listed) if file.endswith((".tiktoken", ".model", ".spm"))]
    if family is None:
        names += [*_NO_CLASS, *(file for file in alone if file.endswith(".tiktoken"))]
    if len(source.listed) == 1:  # one file that the user named
        names += alone
    return list(dict.fromkeys(names))


def _expected(family: Family | None) -> str:
    if family is None:
        return f", {', '.join([*_ANY_CLASS, *_NO_CLASS])} or a .tiktoken file (a bare vocabulary in {VOCAB_TXT} or "
        f"{VOCAB_JSON} needs the class of its family, which AutoTokenizer chooses)"
    named = {"WordPiece": VOCAB_TXT, "BPE": f"{VOCAB_JSON} with {MERGES}"}.get(family.model, family.file)
    return f" or {named}" if named and named != TOKENIZER else ""


def _from_file(path: Path, family: Family | None, options: Mapping[str, Any]) -> Bare:
    if path.suffix == ".json":
        document = read_tekken(path)
        roles = {name: token for name, token in ROLES.items() if document.id_of(token) is not None}
        return Bare(document=document, options=_unless_set(options, roles), path=path)
    with path.open("rb") as file:
        start = file.read(4096)
    if is_tiktoken(start):
        return _from_tiktoken(path, options)
    model = read_sentencepiece(path)
    decided: dict[str, Any] = {"additional_special_tokens": model.added()}
    if family is None or not family.rebuilds:
        return _from_sentencepiece(path, model, options, decided)
    parts = model.parts("Unigram" if family.model == "Unigram" else "BPE")
    if "unk_id" in family.defaults:
        decided["unk_id"] = parts.unk_id
    if family.from_pieces is not None:
        given = {**options, **decided}
        parts = family.from_pieces(parts, {**family.defaults, **given}, given)
    return Bare(parts, options=decided, path=path)


def _from_sentencepiece(
    path: Path, model: SentencePieceModel, options: Mapping[str, Any], decided: dict[str, Any]
) -> Bare:
    spec = model.trainer
    pieces = {"bos_token": spec.bos_piece, "eos_token": spec.eos_piece, "unk_token": spec.unk_piece}
    ids = {"bos_token": spec.bos_id, "eos_token": spec.eos_id, "unk_token": spec.unk_id}
    decided |= _unless_set(options, {name: piece for name, piece in pieces.items() if ids[name] >= 0})
    renamed = {index: str(token) for index, token in (options.get("added_tokens_decoder") or {}).items()}
    return Bare(document=generic_document(model, renamed), options=decided, path=path)


def _from_tiktoken(path: Path, options: Mapping[str, Any]) -> Bare:
    ranks = read_tiktoken(path)
    # Whisper's file is the same for its models of 99 and of 100 languages; all but the last have 99.
    whisper = path.stem == "multilingual"
    encoding = whisper_encoding(list(WHISPER)[:99]) if whisper else ENCODINGS.get(path.stem)
    if encoding is not None and path.suffix == ".tiktoken":
        end = next(iter(encoding.special))
        document = encoding_document(ranks, encoding)
        return Bare(document=document, options=_unless_set(options, {"eos_token": end}), path=path)
    named = {index: str(token) for index, token in (options.get("added_tokens_decoder") or {}).items()}
    extra = options.get(EXTRA) or []
    special = reserved_tokens(len(ranks), named, list(map(str, extra)))
    if path.suffix == ".tiktoken":
        logger.warning("%s: nothing says how text is cut before these tokens; it is cut as for cl100k_base.", path)
    return Bare(document=tiktoken_document(ranks, patterns.CL100K, special), path=path)


def _unless_set(options: Mapping[str, Any], roles: Mapping[str, str]) -> dict[str, str]:
    assert roles.keys() <= set(NAMED)
    return {name: token for name, token in roles.items() if name not in options}
