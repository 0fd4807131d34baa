"""Runs the same script with both packages and compares what comes out."""

import enfold.tokenizers
import tokenizers

PACKAGES = [enfold.tokenizers, tokenizers]


def same(script) -> object:
    """`script(package)` gives the same with both packages; returns it."""
    ours, theirs = (script(package) for package in PACKAGES)
    assert ours == theirs
    return ours


def fields(encoding) -> dict:
    """Everything an encoding says, its overflow included."""
    names = ("ids", "tokens", "offsets", "word_ids", "type_ids", "sequence_ids", "n_sequences")
    masks = ("special_tokens_mask", "attention_mask")
    made = {name: getattr(encoding, name) for name in (*names, *masks)}
    return made | {"overflowing": [{n: getattr(o, n) for n in (*names, *masks)} for o in encoding.overflowing]}


def small(package, **options) -> object:
    """A tokenizer of a few words."""
    words = [
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "a",
        "b",
        "c",
        "d",
        "e",
        "hello",
        "world",
        "h",
        "##ello",
        "é",
        "##é",
        "日",
        "本",
    ]
    vocab = {word: id for id, word in enumerate(words)}
    tokenizer = package.Tokenizer(package.models.WordPiece(vocab, **options))
    tokenizer.pre_tokenizer = package.pre_tokenizers.BertPreTokenizer()
    return tokenizer
