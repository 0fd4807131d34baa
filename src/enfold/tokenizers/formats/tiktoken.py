"""tiktoken's vocabularies: a line for each token, its bytes in base64 and its rank; the lower rank merges first."""

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError
from enfold.tokenizers.formats import patterns
from enfold.tokenizers.formats.document import Document, added_token

MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a vocabulary file leaves out: how text is cut, and special tokens with their ids."""

    pattern: str
    special: Mapping[str, int] = field(default_factory=dict)


def _from(first: int, tokens: Iterable[str]) -> dict[str, int]:
    return {token: first + offset for offset, token in enumerate(tokens)}


_END = "<|endoftext|>"
_FILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_HARMONY = {
    **_from(199998, ("<|startoftext|>", _END)),
    **_from(200002, ("<|return|>", "<|constrain|>")),
    **_from(200005, ("<|channel|>", "<|start|>", "<|end|>", "<|message|>")),
    "<|call|>": 200012,
    "<|endofprompt|>": 200018,
}
# Whisper's, but for the languages, which are ordered elsewhere.
_WHISPER_FIRST = (_END, "<|startoftranscript|>")
_WHISPER_LAST = (
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
    *(f"<|{index * 0.02:.2f}|>" for index in range(1501)),
)
# The encodings by the names that their files have.
ENCODINGS: dict[str, Encoding] = {
    "gpt2": Encoding(patterns.GPT2, {_END: 50256}),
    "r50k_base": Encoding(patterns.GPT2, {_END: 50256}),
    "p50k_base": Encoding(patterns.GPT2, {_END: 50256}),
    "p50k_edit": Encoding(patterns.GPT2, {_END: 50256, **_from(50281, _FILL)}),
    "cl100k_base": Encoding(patterns.CL100K, {_END: 100257, **_from(100258, _FILL), "<|endofprompt|>": 100276}),
    "o200k_base": Encoding(patterns.O200K, {_END: 199999, "<|endofprompt|>": 200018}),
    "o200k_harmony": Encoding(patterns.O200K, _HARMONY),
    "qwen": Encoding(
        patterns.QWEN2,
        _from(151643, (_END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)))),
    ),
}


def whisper_encoding(languages: Iterable[str]) -> Encoding:
    """Whisper's multilingual encoding for these language codes in the order of their ids."""
    codes = (f"<|{code}|>" for code in languages)
    return Encoding(patterns.GPT2, _from(50257, (*_WHISPER_FIRST, *codes, *_WHISPER_LAST)))


def is_tiktoken(content: bytes) -> bool:
    """Whether a file starts as a list of tokens in base64 with ranks."""
    token, _, rank = content[:4096].lstrip().partition(b"\n")[0].strip().partition(b" ")
    try:
        return bool(base64.b64decode(token, validate=True)) and rank.strip().isdigit()
    except binascii.Error:
        return False


def read_tiktoken(path: Path) -> dict[bytes, int]:
    """token → rank, in the order of the file.

    Raises:
        TokenizerError: no such file, or a damaged one.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TokenizerError(f"{path}: too large for a vocabulary (at most {MAX_BYTES} bytes).")
        content = path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: can't be read: {error.strerror or error}.") from error
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line:
            continue
        try:
            text, rank = line.split()
            token = b"" if text == b"=" else base64.b64decode(text, validate=True)  # Whisper's has an empty token
            index = int(rank) if rank.isdigit() else -1
        except ValueError:
            token, index = b"", -1
        if not 0 <= index < 2**31:
            raise TokenizerError(
                f"{path}, line {number}: expected a token in base64 and its rank, found {line[:80]!r}; was the file "
                "cut short?"
            )
        if token in ranks:
            raise TokenizerError(f"{path}, line {number}: token {token!r:.80} comes twice.")
        ranks[token] = index
    check_ranks(ranks, path)
    return ranks


def check_ranks(ranks: Mapping[bytes, int], source: Any) -> None:
    """Refuse an empty vocabulary, one with a rank given twice, and one that can't spell every text."""
    if not ranks:
        raise TokenizerError(f"{source}: the vocabulary is empty.")
    if len(set(ranks.values())) != len(ranks):
        raise TokenizerError(f"{source}: two tokens have the same rank.")
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(f"{source}: {len(missing)} bytes are no tokens, the first is {missing[0]:#04x}.")


def byte_level_bpe(ranks: Mapping[bytes, int], first: int = 0) -> dict[str, Any]:
    """The `model` section for a vocabulary of ranks; the ids are the ranks and `first` more."""
    from enfold.tokenizers._engine import byte_level_vocabulary

    ordered = sorted(ranks.items(), key=lambda entry: entry[1])
    names, merges = byte_level_vocabulary([token for token, _ in ordered])
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": {name: rank + first for name, (_, rank) in zip(names, ordered, strict=True)},
        "merges": merges,
    }


def ranks_document(model: dict[str, Any], pattern: str) -> Document:
    """The document around a model of `byte_level_bpe`, without special tokens."""
    codec = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return Document(
        model,
        pre_tokenizer=patterns.splitting([pattern]),
        post_processor={**codec, "trim_offsets": False},
        decoder=codec,
    )


def tiktoken_document(ranks: Mapping[bytes, int], pattern: str, special: Collection[str] = ()) -> Document:
    """A vocabulary of ranks, cut by `pattern`, with special tokens behind its last id."""
    document = ranks_document(byte_level_bpe(ranks), pattern)
    document.add(added_token({"content": token}, "tiktoken", special=True, normalized=False) for token in special)
    return document


def encoding_document(ranks: Mapping[bytes, int], encoding: Encoding) -> Document:
    """A vocabulary of ranks with special tokens of fixed ids, between which there may be gaps."""
    model = byte_level_bpe(ranks)
    taken = set(model["vocab"].values())
    for token, index in encoding.special.items():
        if index in taken and model["vocab"].get(token) != index:
            raise TokenizerError(
                f"Special token {token!r} has id {index}, which the vocabulary gives to another token."
            )
        model["vocab"][token] = index
    document = ranks_document(model, encoding.pattern)
    document.add(
        added_token({"content": token}, "tiktoken", special=True, normalized=False) for token in encoding.special
    )
    return document


def reserved_tokens(size: int, named: Mapping[int, str], extra: Sequence[str]) -> list[str]:
    """Special tokens behind a vocabulary of `size`, so that each of `named` gets its id; the gaps get placeholders."""
    highest = max(named, default=0)
    if highest < size:
        return list(extra)
    tokens = [named.get(index, f"<|reserved_token_{index}|>") for index in range(size, highest + 1)]
    return tokens + [token for token in extra if token not in set(tokens)]
