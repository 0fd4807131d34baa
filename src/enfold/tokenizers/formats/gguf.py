"""The vocabulary of a GGUF file → a tokenizer.json document.

Only the header is read (the `gguf` package takes seconds over a vocabulary's 100,000 strings, this takes a moment).
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.base.logging import get_logger
from enfold.tokenizers.families.byte_level import byte_level
from enfold.tokenizers.families.marked import sentencepiece_bpe
from enfold.tokenizers.families.recipes import Parts
from enfold.tokenizers.families.unigram import T5
from enfold.tokenizers.formats.document import Document, added_token
from enfold.tokenizers.formats.merges import merges_from_vocab

logger = get_logger(__name__)

# Value types of the format → struct codes; strings (8) and arrays (9) have their own layout.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_KEYS = 1_000_000

_CONTROL, _USER_DEFINED = 3, 4  # of `tokenizer.ggml.token_type`
_SPECIAL_IDS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_QWEN35 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _SPACES
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _SPACES
_TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}" + _REST
_SUFFIX = _CONTRACTIONS + "?"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}|\p{{N}}{{1,3}}"
    + _REST
)
# `tokenizer.ggml.pre` → the pattern that splits text before BPE.
_SPLITS = {
    **dict.fromkeys(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
         "dbrx", "smaug-bpe"),
        _LLAMA3,
    ),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"), _QWEN2),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"), _GPT4O),
    "qwen35": _QWEN35,
    "tekken": _TEKKEN,
}  # fmt: skip
# Kinds that are split as GPT-2 does. Some of them (smollm, starcoder, …) set digits apart first; their vocabularies
# merge no two digits, so only numerals like ½ and Ⅷ could tell, and transformers reads these files without it.
_PLAIN = frozenset(
    {"gpt-2", "gpt2", "default", "mpt", "olmo", "jais", "phi-2", "roberta-bpe", "jina-es", "jina-de"}
    | {"smollm", "starcoder", "refact", "command-r", "codeshell"}
)


@dataclass(slots=True)
class GGUFVocabulary:
    """What a GGUF file says about its tokenizer: the document and what belongs into tokenizer_config.json."""

    document: Document
    config: dict[str, Any]


def read_metadata(path: Path, prefix: str = "") -> dict[str, Any]:
    """The key-value pairs of a GGUF header whose key starts with `prefix`; tensors are not touched.

    Raises:
        TokenizerError: no GGUF file, of a version other than 2 or 3, or cut short.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as blob:
            return _read(blob, path, prefix)
    except (OSError, ValueError) as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"{path}: can't be read as GGUF: {error}.") from error
    except struct.error as error:
        raise TokenizerError(f"{path}: its header runs past the end of the file; was it cut short?") from error


def _read(blob: mmap.mmap, path: Path, prefix: str) -> dict[str, Any]:
    if blob[:4] != b"GGUF":
        raise TokenizerError(f"{path}: not a GGUF file (it starts with {blob[:4]!r}).")
    version, _, count = struct.unpack_from("<IQQ", blob, 4)
    if version not in (2, 3):
        raise TokenizerError(f"{path}: GGUF version {version}; versions 2 and 3 of little-endian files can be read.")
    if count > _MAX_KEYS:
        raise TokenizerError(f"{path}: its header claims {count} keys; it is damaged or hostile.")
    at, found = 24, {}
    size = len(blob)

    def string(at: int) -> tuple[str, int]:
        (length,) = struct.unpack_from("<Q", blob, at)
        end = at + 8 + length
        if end > size:
            raise struct.error
        return blob[at + 8 : end].decode("utf-8", "replace"), end

    def value(kind: int, at: int, depth: int = 0) -> tuple[Any, int]:
        if kind in _SCALARS:
            code = "<" + _SCALARS[kind]
            return struct.unpack_from(code, blob, at)[0], at + struct.calcsize(code)
        if kind == _STRING:
            return string(at)
        if kind != _ARRAY or depth > 4:
            raise TokenizerError(f"{path}: value of unknown type {kind} in the header.")
        kind, n = struct.unpack_from("<IQ", blob, at)
        at += 12
        if kind in _SCALARS:
            width = struct.calcsize("<" + _SCALARS[kind])
            if at + n * width > size:
                raise struct.error
            return list(struct.unpack_from(f"<{n}{_SCALARS[kind]}", blob, at)), at + n * width
        if n * 8 > size - at:  # a string or an array takes eight bytes at least
            raise struct.error
        items = []
        for _ in range(n):
            item, at = value(kind, at, depth + 1)
            items.append(item)
        return items, at

    for _ in range(count):
        key, at = string(at)
        (kind,) = struct.unpack_from("<I", blob, at)
        content, at = value(kind, at + 4)
        if key.startswith(prefix) or key == "general.architecture":
            found[key] = content
    return found


def read_gguf_vocabulary(path: Path) -> GGUFVocabulary:
    """Build the tokenizer that a GGUF file carries.

    Raises:
        TokenizerError: a damaged file, one without a vocabulary, or a contradictory one.
        NotBuiltError: a vocabulary of another kind than `gpt2`, `llama` and `t5`.
    """
    metadata = read_metadata(path, "tokenizer.")
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(kind, str) or not isinstance(tokens, list) or not tokens:
        raise TokenizerError(f"{path}: the file carries no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens).")
    if not all(isinstance(token, str) for token in tokens):
        raise TokenizerError(f"{path}: tokenizer.ggml.tokens must be a list of strings.")
    fields = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    builders = {"gpt2": _byte_level, "llama": _sentencepiece, "t5": _unigram}
    if kind not in builders:
        raise NotBuiltError(
            f"{path}: a vocabulary of kind {kind!r} can't be read from GGUF yet (known: {', '.join(builders)}). "
            "Use the tokenizer files of the model's original repository."
        )
    architecture = metadata.get("general.architecture", "")
    if kind == "llama" and (architecture.startswith("gemma") or architecture == "phi3"):
        raise NotBuiltError(
            f"{path}: the vocabulary of {architecture} can't be read from GGUF yet. "
            "Use the tokenizer files of the model's original repository."
        )
    document = builders[kind](tokens, fields, path)
    _add_marked_tokens(document, tokens, fields, kind)

    config: dict[str, Any] = {}
    if isinstance(metadata.get("tokenizer.chat_template"), str):
        config["chat_template"] = metadata["tokenizer.chat_template"]
    for name in ("add_bos_token", "add_eos_token"):
        if name in fields:
            config[name] = bool(fields[name])
    if kind == "llama":
        config.setdefault("add_bos_token", True)
    for name, key in _SPECIAL_IDS.items():
        index = fields.get(key)
        if index is None:
            config[name] = None
        elif isinstance(index, int) and 0 <= index < len(tokens):
            config[name] = tokens[index]
        else:
            raise TokenizerError(f"{path}: tokenizer.ggml.{key} is {index!r}, the vocabulary has {len(tokens)} tokens.")
    return GGUFVocabulary(document, config)


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in GPT-2's vocabularies."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelling = {byte: chr(byte) for byte in printable}
    for offset, byte in enumerate(byte for byte in range(256) if byte not in spelling):
        spelling[byte] = chr(256 + offset)
    return [spelling[byte] for byte in range(256)]


def _merges(fields: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    pairs = []
    for merge in fields["merges"]:
        cut = merge.find(" ", 1) if isinstance(merge, str) else -1
        if cut < 0 or cut + 1 == len(merge):
            raise TokenizerError(f"{path}: {merge!r} is no merge: two symbols with a space between were expected.")
        pairs.append((merge[:cut], merge[cut + 1 :]))
    return pairs


def _byte_level(tokens: list[str], fields: Mapping[str, Any], path: Path) -> Document:
    if not fields.get("merges"):
        raise TokenizerError(f"{path}: a byte-level vocabulary needs tokenizer.ggml.merges, and the file has none.")
    spelling = byte_alphabet()
    alphabet = set(spelling)
    vocab = {}
    for index, token in enumerate(tokens):
        spelled = token if alphabet.issuperset(token) else "".join(spelling[byte] for byte in token.encode("utf-8"))
        vocab[spelled] = index
    document = byte_level(vocab, _merges(fields, path), add_prefix_space=False)
    before = fields.get("pre")
    whole_words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if before in _SPLITS:
        split = {"type": "Split", "pattern": {"Regex": _SPLITS[before]}, "behavior": "Isolated", "invert": False}
        document.sections["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, whole_words]}
    elif before is not None and before not in _PLAIN:
        logger.warning(
            "%s: its pre-tokenizer %r is not known; text is split as for GPT-2, ids may differ from the model's own.",
            path,
            before,
        )
    document.add([added_token({"content": "<|endoftext|>"}, path, special=True, normalized=False)])
    return document


def _scores(tokens: list[str], fields: Mapping[str, Any], path: Path) -> list[float]:
    scores = fields.get("scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise TokenizerError(f"{path}: tokenizer.ggml.scores must hold one number for each of {len(tokens)} tokens.")
    return scores


def _sentencepiece(tokens: list[str], fields: Mapping[str, Any], path: Path) -> Document:
    vocab = {token: index for index, token in enumerate(tokens)}
    if fields.get("merges"):
        merges = _merges(fields, path)
    else:
        merges = merges_from_vocab(vocab, dict(zip(tokens, _scores(tokens, fields, path), strict=True)))
    prepend = "never" if fields.get("add_space_prefix") is False else "first"
    document = sentencepiece_bpe(vocab, merges, prepend=prepend)
    document.add(
        added_token({"content": token}, path, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>")
    )
    return document


def _unigram(tokens: list[str], fields: Mapping[str, Any], path: Path) -> Document:
    # Files made from T5 checkpoints carry placeholders where the hundred sentinels belong, in falling order.
    tokens = list(tokens)
    sentinels = 100
    blanks = [index for index, token in enumerate(tokens) if re.fullmatch(r"\[PAD\d+\]", token)]
    for offset, index in enumerate(blanks[:sentinels]):
        tokens[index] = f"<extra_id_{sentinels - 1 - offset}>"
    options = dict(T5.defaults)
    document = T5.build(Parts(list(zip(tokens, _scores(tokens, fields, path), strict=True))), options)
    names = [options["eos_token"], options["unk_token"], options["pad_token"], *T5.extra(options)]
    document.add(added_token({"content": token}, path, special=True, normalized=False) for token in names)
    assert T5.finish is not None
    document.sections["post_processor"] = T5.finish(document, options)
    return document


def _add_marked_tokens(document: Document, tokens: list[str], fields: Mapping[str, Any], kind: str) -> None:
    """Tokens that the file marks as control or user-defined are matched whole in the text."""
    types = fields.get("token_type") or []
    if len(types) not in (0, len(tokens)):
        raise TokenizerError(f"tokenizer.ggml.token_type has {len(types)} entries for {len(tokens)} tokens.")
    alphabet = set(byte_alphabet()) if kind == "gpt2" else None
    for wanted, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        document.add(
            added_token({"content": token}, "GGUF", special=special, normalized=False)
            for token, type_ in zip(tokens, types, strict=False)
            if type_ == wanted
            and (alphabet is None or not special or alphabet.issuperset(token))
            and (special or document.id_of(token) is not None)
        )
