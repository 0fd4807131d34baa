"""The libraries that are measured, each behind the same few calls.

Every one encodes without special tokens in the way that is fastest by its own documentation: a batch into arrays where
it has them, one text into a list of ids.
"""

import importlib.util
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

Lists = list[list[int]]


class Peer:
    """A library with a vocabulary loaded.

    Args:
        path: a tokenizer.json.
        threads: 1 or 2; what the environment and the process's affinity don't settle is passed on.
    """

    module: str  # what has to be importable

    def __init__(self, path: Path, threads: int):
        self.threads = threads
        self.load(path)

    def load(self, path: Path) -> None:
        raise NotImplementedError

    def ids(self, texts: list[str]) -> Any:
        """A batch → ids, in the library's own form."""
        raise NotImplementedError

    def lists(self, result: Any) -> Lists:
        """That form as lists."""
        return [list(row) for row in result]

    def one(self, text: str) -> Any:
        """One text → its ids."""
        raise NotImplementedError

    full: Callable[[list[str]], Any] | None = None  # a batch → encodings with offsets, word ids and all


class Enfold(Peer):
    module = "enfold"

    def load(self, path: Path) -> None:
        from enfold.tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(path)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_arrays(texts, add_special_tokens=False)

    def lists(self, result: Any) -> Lists:
        return result.ids_lists()

    def one(self, text: str) -> Any:
        return self.tokenizer.encode_ids(text, False)

    def full(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch(texts, add_special_tokens=False)


class Wheel(Peer):
    module = "tokenizers"

    def load(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts: list[str]) -> Any:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def one(self, text: str) -> Any:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def full(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch(texts, add_special_tokens=False)


class TikToken(Peer):
    module = "tiktoken"

    def load(self, path: Path) -> None:
        from tiktoken import Encoding

        document = json.loads(path.read_text(encoding="utf-8"))
        pattern, model = _pattern(document), document["model"]
        added = {token["content"] for token in document["added_tokens"]}
        ranks = {_bytes_of(token): rank for token, rank in model["vocab"].items() if token not in added}
        ranks = dict(sorted(ranks.items(), key=lambda item: item[1]))
        self.encoding = Encoding(path.stem, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    def ids(self, texts: list[str]) -> Any:
        return self.encoding.encode_ordinary_batch(texts, num_threads=self.threads)

    def one(self, text: str) -> Any:
        return self.encoding.encode_ordinary(text)


class SentencePiece(Peer):
    module = "sentencepiece"

    def load(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        model = path.with_suffix(".model")
        if not model.is_file():
            raise LookupError("it reads .model files only")
        self.processor = SentencePieceProcessor(model_file=str(model))

    def ids(self, texts: list[str]) -> Any:
        return self.processor.encode(texts, out_type=int, num_threads=self.threads)

    def one(self, text: str) -> Any:
        return self.processor.encode(text, out_type=int)


class GigaToken(Peer):
    module = "gigatoken"

    def load(self, path: Path) -> None:
        from gigatoken import Tokenizer

        self.tokenizer = Tokenizer.from_json(path.read_text(encoding="utf-8"))

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch(texts, parallel=self.threads > 1)

    def lists(self, result: Any) -> Lists:
        return [row.tolist() for row in result]

    def one(self, text: str) -> Any:
        return self.tokenizer.encode(text)


class FasTokens(Peer):
    module = "fastokens"

    def load(self, path: Path) -> None:
        from fastokens import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch_flat(texts, False)

    def lists(self, result: Any) -> Lists:
        return _flat(*result)

    def one(self, text: str) -> Any:
        return self.tokenizer.encode(text, False)


class Tokie(Peer):
    module = "tokie"

    def load(self, path: Path) -> None:
        from tokie import Tokenizer

        self.tokenizer = Tokenizer.from_json(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch_flat(texts, False)

    def lists(self, result: Any) -> Lists:
        ids, lengths = result
        return [ids[end - n : end].tolist() for n, end in zip(lengths.tolist(), lengths.cumsum().tolist(), strict=True)]

    def one(self, text: str) -> Any:
        return self.tokenizer.encode(text, False).ids


class Splintr(Peer):
    module = "splintr"

    def load(self, path: Path) -> None:
        import splintr

        self.tokenizer = splintr.from_json(str(path))

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_batch_flat(texts)

    def lists(self, result: Any) -> Lists:
        return _flat(*result)

    def one(self, text: str) -> Any:
        return self.tokenizer.encode_raw(text)


class KiToken(Peer):
    module = "kitoken"

    def load(self, path: Path) -> None:
        from kitoken import Kitoken

        self.tokenizer = Kitoken.from_tokenizers_file(str(path))

    def ids(self, texts: list[str]) -> Any:
        return self.tokenizer.encode_all(texts, True)

    def one(self, text: str) -> Any:
        return self.tokenizer.encode(text, True)


PEERS: dict[str, type[Peer]] = {
    "enfold": Enfold,
    "tokenizers": Wheel,
    "tiktoken": TikToken,
    "sentencepiece": SentencePiece,
    "gigatoken": GigaToken,
    "fastokens": FasTokens,
    "tokie": Tokie,
    "splintr": Splintr,
    "kitoken": KiToken,
}


def installed() -> list[str]:
    return [name for name, peer in PEERS.items() if importlib.util.find_spec(peer.module) is not None]


def _flat(ids: bytes, bounds: bytes) -> Lists:
    """Rows of little-endian ids (4 bytes each), cut at bounds (8 bytes each)."""
    values, ends = memoryview(ids).cast("I").tolist(), memoryview(bounds).cast("Q").tolist()
    return [values[begin:end] for begin, end in pairwise(ends)]


_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _pattern(document: dict[str, Any]) -> str:
    """The pattern by which a byte-level tokenizer.json cuts text; LookupError if it is not byte-level."""
    step = document["pre_tokenizer"] or {}
    steps = step.get("pretokenizers", [step])
    if steps[-1].get("type") != "ByteLevel" or document["model"]["type"] != "BPE":
        raise LookupError("it knows byte-level BPE only")
    if (normalizer := document["normalizer"]) is not None and normalizer["type"] != "NFC":
        raise LookupError("it knows no normaliser")
    if len(steps) == 1:
        return _GPT2
    return steps[0]["pattern"]["Regex"]


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTES[character] for character in token)


def _byte_table() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_table()
