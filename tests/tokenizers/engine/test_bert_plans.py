"""The fast plan behind BERT's normaliser: any model, and added tokens that match the normalised text."""

import itertools
import json
import random

import pytest

import tokenizers
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import bert, training_text
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz
from tokenizers import AddedToken, models, trainers

ADDED = [
    AddedToken("[New]"),
    AddedToken("ñandú", single_word=True),
    AddedToken("Foo", lstrip=True, rstrip=True),
    AddedToken("日本"),
    AddedToken("İst"),
    AddedToken("of the"),
]
PARTS = [
    "[New]",
    "[NEW]",
    "[ne\x00w]",
    "n\u0303andu\u0301",
    "Ñandú",
    "ñandús",
    " foo ",
    "FOO",
    "日本",
    "日\u0301本",
    "本日",
]
PARTS += ["i\u0307st", "İst", "of the", "of\nthe", "\x7f", "\u0301", "\u3000", " ", "a", "é", "ſ", "가", "[", "\u0345"]


def words() -> tokenizers.Tokenizer:
    """BPE whose tokens know where a word ends, as the first GPT has it."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    like = bert()
    tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=1200, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def samples(seed: int) -> list[str]:
    draw = random.Random(seed)
    drawn = ["".join(draw.choices(PARTS, k=draw.randint(1, 9))) for _ in range(800)]
    pairs = ["".join(pair) for pair in itertools.product(PARTS, repeat=2)]
    return [*NASTY, *PROSE, *drawn, *pairs, *fuzz(300, seed=seed)]


@pytest.mark.parametrize("added", [[], ADDED], ids=["plain", "added"])
@pytest.mark.parametrize(
    ("make", "change"),
    [
        (bert, {}),
        (bert, {"strip_accents": False}),
        (bert, {"handle_chinese_chars": False}),
        (bert, {"clean_text": False}),
        (words, {}),
    ],
)
def test_like_the_reference(make, added, change):
    made = make()
    made.add_tokens(added)
    spec = json.loads(made.to_str())
    spec["normalizer"] |= change
    ours, theirs = Tokenizer.from_str(json.dumps(spec)), tokenizers.Tokenizer.from_str(json.dumps(spec))
    assert ours._has_plan
    texts = samples(len(change) + len(added))
    expected = theirs.encode_batch(texts)
    assert_same(ours.encode_batch(texts), expected, texts)
    assert_same(ours._without_plan().encode_batch(texts), expected, texts)
