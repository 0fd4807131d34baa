"""What a tokenizer remembers of a call's options, and what makes it forget; results that are made late."""

import copy
import pickle
import random
import warnings

import pytest

from enfold import AutoTokenizer
from enfold.base.errors import ArgumentError
from enfold.tokenizers import AddedToken

from .folders import sample_texts
from .test_pretrained_call import assert_same, plain

TEXTS = sample_texts()
VALUES = {
    "add_special_tokens": [True, False],
    "padding": [False, True, "longest", "max_length", "do_not_pad"],
    "truncation": [None, False, True, "longest_first", "only_first"],
    "max_length": [None, 7, 16, 33],
    "stride": [0, 2],
    "pad_to_multiple_of": [None, 8],
    "padding_side": [None, "left", "right"],
    "return_tensors": [None, "np", "pt"],
    "return_token_type_ids": [None, True, False],
    "return_attention_mask": [None, True, False],
    "return_overflowing_tokens": [False, True],
    "return_special_tokens_mask": [False, True],
    "return_offsets_mapping": [False, True],
    "return_length": [False, True],
    "split_special_tokens": [None, True],
}


@pytest.fixture
def fresh(tokenizer_folders):
    """Tokenizers that a test may change."""
    import transformers

    def load(kind):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folder = tokenizer_folders[kind]
            return AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)

    return load


@pytest.mark.parametrize("kind", ["bert-vocab", "gpt2", "llama"])
def test_options_drawn_at_random(pairs, kind):
    draw = random.Random(kind)
    for _ in range(250):
        options = {name: draw.choice(values) for name, values in VALUES.items() if draw.random() < 0.35}
        texts = draw.sample(TEXTS, draw.choice([1, 2, 5]))
        form = draw.choice(["text", "batch", "pair", "pairs", "words"])
        if form == "text":
            assert_same(pairs[kind], texts[0], **options)
        elif form == "batch":
            assert_same(pairs[kind], texts, **options)
        elif form == "pair":
            assert_same(pairs[kind], texts[0], texts[-1], **options)
        elif form == "pairs":
            assert_same(pairs[kind], texts, texts[::-1], **options)
        else:
            # Of a row without words transformers can't say how many texts it has.
            assert_same(pairs[kind], [t.split() or ["x"] for t in texts], is_split_into_words=True, **options)


def test_settings_changed_between_calls_count(fresh):
    pair = fresh("bert-vocab")
    options = {"padding": True, "truncation": True, "max_length": 12, "return_tensors": "np"}
    changes = [
        lambda t: setattr(t, "padding_side", "left"),
        lambda t: setattr(t, "truncation_side", "left"),
        lambda t: setattr(t, "pad_token", "[MASK]"),
        lambda t: setattr(t, "model_input_names", ["input_ids"]),
        lambda t: t.model_input_names.append("attention_mask"),
        lambda t: t.add_tokens(["Genève"]),
        lambda t: t.add_special_tokens({"pad_token": "<fill>"}),
    ]
    assert_same(pair, TEXTS, **options)
    for change in changes:
        for tokenizer in pair:
            change(tokenizer)
        assert_same(pair, TEXTS, **options)
        assert_same(pair, "Genève, [MASK] naïve", split_special_tokens=True)
        assert_same(pair, "Genève, [MASK] naïve")


def test_a_limit_changed_between_calls_counts(fresh):
    ours, theirs = fresh("bert-vocab")
    for limit in (20, 9):
        ours.model_max_length = theirs.model_max_length = limit
        assert_same((ours, theirs), TEXTS, truncation=True)


def test_a_changed_engine_counts(fresh):
    ours, _ = fresh("bert-vocab")
    before = ours("zzyzx road")["input_ids"]
    ours.backend_tokenizer.add_tokens([AddedToken("zzyzx")])
    after = ours("zzyzx road")["input_ids"]
    assert after != before
    assert ours.convert_tokens_to_ids("zzyzx") in after


def test_equal_values_of_other_types_are_not_taken_for_each_other(fresh):
    ours, _ = fresh("bert-vocab")
    ours("a", padding=True)
    with pytest.raises(ArgumentError, match="padding must be True"):
        ours("a", padding=1)
    ours("a", max_length=1, truncation=True, add_special_tokens=False)
    with pytest.raises(ArgumentError, match="max_length"):
        ours("a", max_length=True, truncation=True, add_special_tokens=False)
    with pytest.raises(ArgumentError, match="padding must be True"):
        ours("a", padding=["longest"])


def test_more_option_sets_than_are_kept(fresh):
    ours, _ = fresh("bert-vocab")
    text = " ".join(TEXTS)
    for length in range(2, 150):
        assert len(ours(text, truncation=True, max_length=length)["input_ids"]) == length


def test_a_useless_length_is_warned_of_every_time(fresh):
    ours, _ = fresh("bert-vocab")
    for _ in range(2):
        with pytest.warns(UserWarning, match="no effect") as caught:
            ours(["a", "b c"], padding=True, max_length=5, truncation=False)
        assert caught[0].filename == __file__


def test_encodings_are_of_the_texts_as_they_were(fresh):
    ours, _ = fresh("gpt2")
    texts = ["one two", "three"]
    words = [["one", "two"], ["three"]]
    batch, split = ours(texts), ours(words, is_split_into_words=True)
    expected = [e.tokens for e in ours(list(texts)).encodings]
    texts[0] = "something else altogether"
    texts.pop()
    words[0].append("more")
    ours.add_tokens(["two", "three"])
    assert [e.tokens for e in batch.encodings] == expected
    assert batch.encodings[0] is batch.encodings[0]
    assert split.word_ids(0)[-1] == 1


def test_overflow_stays_with_the_encoding(pairs):
    ours, theirs = (t(TEXTS[3], truncation=True, max_length=6, stride=1) for t in pairs["bert-vocab"])
    mine, reference = ours.encodings[0], theirs.encodings[0]
    assert [e.ids for e in mine.overflowing] == [e.ids for e in reference.overflowing]
    assert len(mine.overflowing) > 0


def test_copies_and_pickles_call_alike(fresh):
    ours, _ = fresh("llama")
    options = {"padding": "max_length", "max_length": 20, "return_tensors": "np", "truncation": True}
    expected = {key: plain(value) for key, value in ours(TEXTS, **options).items()}
    for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert {key: plain(value) for key, value in other(TEXTS, **options).items()} == expected
    batch = ours(TEXTS, **options)
    assert pickle.loads(pickle.dumps(batch)).encodings is None
    assert copy.deepcopy(batch).tokens(0) == batch.tokens(0)


@pytest.mark.parametrize("kind", ["bert-vocab", "gpt2", "llama"])
def test_tokens_of_a_text(pairs, kind):
    ours, theirs = pairs[kind]
    for text in TEXTS:
        for add in (False, True):
            assert ours.tokenize(text, add_special_tokens=add) == theirs.tokenize(text, add_special_tokens=add)
        assert ours.tokenize(text, "a pair") == theirs.tokenize(text, "a pair")
