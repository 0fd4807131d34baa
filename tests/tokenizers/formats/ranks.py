"""A small byte-level vocabulary as tiktoken and tekken files hold it."""

import base64
import json
from pathlib import Path

from enfold.tokenizers.formats import patterns
from enfold.tokenizers.formats.gguf_vocabulary import byte_alphabet

from ..folders import train_byte_level


def train() -> dict[bytes, int]:
    """token → rank: the bytes first, then what was merged."""
    spelling = {character: byte for byte, character in enumerate(byte_alphabet())}
    vocab = json.loads(train_byte_level([], split=patterns.CL100K, size=900).to_str())["model"]["vocab"]
    return {bytes(spelling[character] for character in token): rank for token, rank in vocab.items()}


def tiktoken_text(ranks: dict[bytes, int]) -> str:
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())


def tekken_whole(ranks: dict[bytes, int], special: list[str] | None, reserved: int, spare: int = 0) -> dict:
    """A tekken.json; `spare` tokens at the end lie beyond its default size."""
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for token, rank in sorted(ranks.items(), key=lambda entry: entry[1])
    ]
    whole = {
        "config": {
            "pattern": patterns.TEKKEN,
            "num_vocab_tokens": len(vocab),
            "default_vocab_size": len(vocab) + reserved - spare,
            "default_num_special_tokens": reserved,
            "version": "v3" if special is None else "v7",
        },
        "vocab": vocab,
    }
    if special is not None:
        whole["special_tokens"] = [
            {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(special)
        ]
    return whole


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path
