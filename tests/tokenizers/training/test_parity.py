"""Parity-aware BPE against the reference library: the same vocabulary, the same merges in the same order."""

import json
import random

import pytest

import tokenizers
from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

LETTERS = ["abcd", "abxy", "wxyz", "éñab"]


def corpus(draw: random.Random, letters: str, most: int) -> list[str]:
    def word() -> str:
        return "".join(draw.choices(letters, k=draw.randint(1, 6)))

    return [" ".join(word() for _ in range(draw.randint(1, 8))) for _ in range(draw.randint(1, most))]


def trained(library, texts, dev, **options) -> dict:
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    trainer = library.trainers.ParityBpeTrainer(show_progress=False, **options)
    trainer.train_from_iterator(tokenizer, [iter(t) for t in texts], dev and [iter(t) for t in dev])
    spec = json.loads(tokenizer.to_str())
    return {"added": [t["content"] for t in spec["added_tokens"]], **spec["model"]}


class Ours:
    Tokenizer, models, normalizers = Tokenizer, models, normalizers
    pre_tokenizers, trainers = pre_tokenizers, trainers


@pytest.mark.parametrize("seed", range(12))
def test_the_same_merges_as_the_reference(seed):
    draw = random.Random(seed)
    letters = [draw.choice(LETTERS) for _ in range(draw.choice([1, 2, 3]))]
    texts = [corpus(draw, one, 10) for one in letters]
    dev = [corpus(draw, one, 6) for one in letters] if seed % 3 == 0 else None
    options = {
        "num_merges": draw.choice([3, 10, 30]),
        "min_frequency": draw.choice([0, 2, 3]),
        "ratio": [draw.choice([1.0, 1.5, 2.57]) for _ in letters] if seed % 3 == 1 else None,
        "global_merges": draw.choice([0, 0, 4]),
        "total_symbols": draw.random() < 0.3,
        "special_tokens": draw.choice([[], ["<s>", "ab", "a"]]),
    }
    mine, other = trained(Ours, texts, dev, **options), trained(tokenizers, texts, dev, **options)
    assert mine == other


def test_the_worst_off_language_is_served():
    rich, poor = ["the cat and the dog"] * 50, ["xyxy zxzy xyzx yyzx"] * 2
    vocab = [trained(Ours, [rich, poor], dev, num_merges=4)["vocab"] for dev in (None, [["the"], poor])]
    served = [sum(len(token) > 1 and set(token) <= set("xyz") for token in made) for made in vocab]
    assert served == [0, 4]


def test_what_can_not_be_had_is_refused():
    trainer, tokenizer = trainers.ParityBpeTrainer(), Tokenizer(models.BPE())
    with pytest.raises(NotBuiltError, match="window"):
        trainers.ParityBpeTrainer(variant="window")
    with pytest.raises(NotBuiltError, match="max_token_length"):
        trainers.ParityBpeTrainer(max_token_length=5)
    for options, said in (
        ({"train_iterators": []}, "got none"),
        ({"train_iterators": [["a"]], "dev_iterators": []}, "0 entries for 1 language"),
        ({"train_iterators": [["a"]], "ratio": [1.0, 2.0]}, "2 entries"),
        ({"train_iterators": [["a"]], "ratio": [-1.0]}, "positive"),
    ):
        with pytest.raises(ArgumentError, match=said):
            trainer.train_from_iterator(tokenizer, **options)
    with pytest.raises(ArgumentError, match="WordPiece"):
        trainer.train_from_iterator(Tokenizer(models.WordPiece()), [["a"]])
