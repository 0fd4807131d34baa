"""Small vocabularies of each kind, made in code, with a family's own special tokens in them."""

import functools
import json
from typing import Any

import tokenizers
from tests.tokenizers.families.rows import Row
from tests.tokenizers.folders import FOREIGN, corpus
from tokenizers import models, normalizers, pre_tokenizers, trainers


@functools.cache
def _trained(kind: str) -> Any:
    """The vocabulary alone: a list of tokens, (vocabulary, merges), or a list of (piece, score)."""
    if kind == "wordpiece":
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=700, show_progress=False)
        tokenizer.train_from_iterator([*corpus()[-800:], *(line.lower() for line in corpus()[-800:])], trainer)
        return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])]
    if kind == "unigram":
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(
            corpus()[-500:], trainers.UnigramTrainer(vocab_size=500, show_progress=False, unk_token="<unk>")
        )
        pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
        # Few digits: the reference reads the last bits of long ones differently.
        return [(piece, round(score, 3)) for piece, score in pieces if piece != "<unk>"]
    tokenizer = tokenizers.Tokenizer(models.BPE(**({"end_of_word_suffix": "</w>"} if kind == "words" else {})))
    options: dict[str, Any] = {"vocab_size": 900, "show_progress": False}
    if kind == "marked":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        options |= {"special_tokens": [f"<0x{byte:02X}>" for byte in range(256)], "max_token_length": 10}
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        options |= {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    if kind == "words":
        options |= {"end_of_word_suffix": "</w>"}
        tokenizer.normalizer = normalizers.Lowercase()
    lines = [line for line in corpus()[-600:] if kind != "marked" or line not in FOREIGN[2:]]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(**options))
    model = json.loads(tokenizer.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    if kind == "words":
        vocab += [
            f"{token}</w>" for token in pre_tokenizers.ByteLevel.alphabet() if f"{token}</w>" not in model["vocab"]
        ]
    return vocab, [tuple(pair) for pair in model["merges"]]


def vocabulary(row: Row) -> dict[str, Any]:
    """The arguments `vocab` and, for BPE, `merges` of the family's class."""
    first, made = row.special.split(), _trained(row.kind)
    if row.kind == "unigram":
        return {"vocab": [*((t, 0.0) for t in first), *made, *((t, 0.0) for t in row.last)]}
    tokens, merges = (made, None) if row.kind == "wordpiece" else made
    known = dict.fromkeys([*first, *(token for token in tokens if token not in first), *row.last])
    vocab = {token: index for index, token in enumerate(known)}
    return {"vocab": vocab} if merges is None else {"vocab": vocab, "merges": merges}
