"""Merges in orders that no training gives: which tokens they make has to be proved token by token."""

import itertools
import json
import random
from typing import Any

import pytest

import tokenizers
from enfold.tokenizers import Tokenizer

LETTERS = "abc"


def byte_level(pairs: list[tuple[str, str]], vocab: dict[str, int], ignore_merges: bool) -> dict[str, Any]:
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocab, "merges": [list(pair) for pair in pairs], "ignore_merges": ignore_merges}
    return {"version": "1.0", "normalizer": None, "pre_tokenizer": step, "model": model}


def marked(pairs: list[tuple[str, str]], vocab: dict[str, int]) -> dict[str, Any]:
    vocab = {"<unk>": len(vocab), **{f"<0x{b:02X}>": len(vocab) + 1 + b for b in range(256)}, **vocab}
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}
    model = {"type": "BPE", "vocab": vocab, "merges": [list(pair) for pair in pairs], "unk_token": "<unk>"}
    return {
        "version": "1.0",
        "normalizer": None,
        "pre_tokenizer": step,
        "model": {**model, "byte_fallback": True, "fuse_unk": True},
    }


def shuffled(space: str, seed: int) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Merges that join any two tokens, in any order, and their vocabulary."""
    random_ = random.Random(seed)
    tokens = [*LETTERS, space]
    pairs: list[tuple[str, str]] = []
    while len(pairs) < random_.choice((4, 9, 25)):
        pair = random_.choice(tokens), random_.choice(tokens)
        if pair in pairs or len("".join(pair)) > 6 or pair[1].startswith(space):
            continue
        pairs.append(pair)
        if "".join(pair) not in tokens:
            tokens.append("".join(pair))
    random_.shuffle(pairs)
    random_.shuffle(tokens)
    return pairs, {token: i for i, token in enumerate(tokens)}


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["byte-level", "ignoring", "marked"])
def test_every_word_is_what_its_merges_make(kind: str, seed: int, by_id: bool):
    pairs, vocab = shuffled("▁" if kind == "marked" else "Ġ", seed)
    if by_id:  # as most vocabularies have them, some tokens made in several ways
        pairs.sort(key=lambda pair: vocab["".join(pair)])
    spec = marked(pairs, vocab) if kind == "marked" else byte_level(pairs, vocab, kind == "ignoring")
    spec |= {"added_tokens": [], "post_processor": None, "decoder": None, "truncation": None, "padding": None}
    ours, theirs = (cls.from_str(json.dumps(spec)) for cls in (Tokenizer, tokenizers.Tokenizer))
    assert ours._has_plan
    assert json.loads(ours.to_str())["model"]["merges"] == [list(pair) for pair in pairs]
    words = ["".join(word) for n in range(1, 6) for word in itertools.product(LETTERS, repeat=n)]
    words += [f" {word}" for word in words] + ["abc" * n for n in (3, 6, 11, 21, 22, 40)]
    words += ["a" * n for n in (64, 65, 255, 256, 257)]
    for word, mine, other in zip(words, ours.encode_batch(words), theirs.encode_batch(words), strict=True):
        assert (mine.ids, mine.offsets, mine.word_ids) == (other.ids, other.offsets, other.word_ids), word
