"""Whole outputs of a call, beside transformers' on the same files."""

import itertools
import warnings

import numpy as np
import pytest

from enfold.base.errors import ArgumentError, EnfoldError

from .folders import sample_texts

KINDS = ["bert-vocab", "bert-cased", "bert-json", "distilbert", "gpt2", "llama", "chat"]
TEXTS = sample_texts()
LONG = [text for text in TEXTS if len(text.split()) > 4]
WORDS = [text.split() for text in TEXTS if text.split()]


def plain(value):
    if type(value).__module__ == "torch":
        return ("pt", str(value.dtype), value.tolist())
    if isinstance(value, np.ndarray):
        return ("np", str(value.dtype), value.tolist())
    return value


def outcome(tokenizer, *args, **kwargs):
    """What a call gives, down to its encodings; or that it failed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            out = tokenizer(*args, **kwargs)
        except BaseException as error:
            # Theirs panics over some strides, which is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            return "refused", error
    if any(str(getattr(value, "dtype", "")) == "object" for value in out.values()):
        return "refused", "an array of objects, which enfold makes an error"
    if any(str(getattr(value, "dtype", "")) == "torch.float32" for value in out.values()):
        return "refused", "ragged rows whose first is empty, of which torch makes nothing"
    rows = [
        (e.ids, e.tokens, e.type_ids, e.offsets, e.word_ids, e.sequence_ids, e.attention_mask, e.special_tokens_mask)
        for e in out.encodings
    ]
    return {key: plain(value) for key, value in out.items()}, rows, out.n_sequences, len(caught)


def assert_same(pair, *args, **kwargs):
    ours, theirs = (outcome(tokenizer, *args, **kwargs) for tokenizer in pair)
    if theirs[0] == "refused" or ours[0] == "refused":
        assert ours[0] == theirs[0] == "refused", (kwargs, ours[1], theirs[1])
        assert isinstance(ours[1], (EnfoldError, TypeError)), ours[1]
        return
    assert list(ours[0]) == list(theirs[0]), kwargs
    for key in theirs[0]:
        assert ours[0][key] == theirs[0][key], (key, kwargs)
    assert ours[1:] == theirs[1:], kwargs


GRID = [
    {
        "padding": padding,
        "truncation": truncation,
        "max_length": max_length,
        "stride": stride,
        "return_overflowing_tokens": overflow,
    }
    for padding, truncation, max_length, (stride, overflow) in itertools.product(
        [False, True, "max_length"],
        [None, True, "only_first", "longest_first", "do_not_truncate"],
        [None, 11],
        [(0, False), (0, True), (3, True), (3, False)],
    )
]
EXTRAS = [
    {},
    {"return_tensors": "np"},
    {"return_tensors": "pt"},
    {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True},
    {"return_offsets_mapping": True, "return_tensors": "np", "return_length": True, "padding_side": "left"},
    {"return_token_type_ids": True, "return_attention_mask": False, "add_special_tokens": False},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extra", range(len(EXTRAS)))
def test_batches_of_texts(pairs, kind, extra):
    for options in GRID:
        assert_same(pairs[kind], TEXTS, **options, **EXTRAS[extra])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_pairs(pairs, kind):
    first, second = LONG, LONG[::-1]
    for options, extra in itertools.product(GRID[::7], EXTRAS[2:5]):
        assert_same(pairs[kind], first, second, **options, **extra)
    for options in GRID[::11]:
        assert_same(pairs[kind], list(zip(first, second, strict=True)), **options)
        assert_same(pairs[kind], first, second, **{**options, "truncation": "only_second", "max_length": 60})


@pytest.mark.parametrize("kind", KINDS)
def test_single_texts_and_pairs(pairs, kind):
    for text, options, extra in itertools.product(TEXTS[::4], GRID[::7], EXTRAS):
        assert_same(pairs[kind], text, **options, **extra)
        assert_same(pairs[kind], text, "and a second one", **options, **extra)


@pytest.mark.parametrize("kind", KINDS)
def test_split_words(pairs, kind):
    for options, extra in itertools.product(GRID[::7], EXTRAS[1:5]):
        assert_same(pairs[kind], WORDS, is_split_into_words=True, **options, **extra)
        assert_same(pairs[kind], WORDS[3], is_split_into_words=True, **options, **extra)
        assert_same(pairs[kind], WORDS, WORDS[::-1], is_split_into_words=True, **options, **extra)
    assert_same(pairs[kind], [["one"], []], is_split_into_words=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_sides(pairs, kind, side):
    ours, theirs = pairs[kind]
    before = ours.truncation_side, ours.padding_side
    for tokenizer in (ours, theirs):
        tokenizer.truncation_side = side
        tokenizer.padding_side = side
    try:
        for extra in EXTRAS:
            options = {"padding": True, "truncation": True, "max_length": 9}
            assert_same((ours, theirs), TEXTS, **options, **extra)
            assert_same((ours, theirs), TEXTS, **options, **extra, stride=2, return_overflowing_tokens=True)
    finally:
        for tokenizer in (ours, theirs):
            tokenizer.truncation_side, tokenizer.padding_side = before


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_lengths(pairs, kind):
    for padding, truncation, max_length, multiple in itertools.product(
        [False, True, "max_length"], [False, True], [None, 12, 16], [1, 8]
    ):
        for tensors in (None, "np"):
            assert_same(
                pairs[kind],
                TEXTS,
                padding=padding,
                truncation=truncation,
                max_length=max_length,
                pad_to_multiple_of=multiple,
                return_tensors=tensors,
            )


@pytest.mark.parametrize("kind", KINDS)
def test_targets(pairs, kind):
    assert_same(pairs[kind], "a source", text_target="the target")
    assert_same(pairs[kind], text_target=TEXTS)
    assert_same(pairs[kind], TEXTS, text_target=TEXTS[::-1], truncation=True, max_length=12, max_target_length=5)
    assert_same(pairs[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_as_text(pairs, kind):
    ours, _ = pairs[kind]
    text = "before " + " then ".join(ours.all_special_tokens) + " after <tool> naïve naïvely"
    for split in (False, True):
        assert_same(pairs[kind], text, split_special_tokens=split)
        assert_same(pairs[kind], [text, text], split_special_tokens=split, return_offsets_mapping=True)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_are_refused(pairs, kind):
    ours, _ = pairs[kind]
    for args, kwargs in [
        ((5,), {}),
        (([1, 2],), {}),
        ((["a", "b"], ["c"]), {}),
        ((["a", "b"], "c"), {}),
        (("a",), {"padding": "longish"}),
        (("a",), {"truncation": "only_third"}),
        (("a",), {"return_tensors": "tf"}),
        (("a",), {"padding_side": "top", "padding": "max_length", "max_length": 4}),
        ((), {}),
    ]:
        with pytest.raises(ArgumentError):
            ours(*args, **kwargs)


def test_unknown_argument_names_the_nearest(pairs):
    ours, _ = pairs["bert-vocab"]
    with pytest.raises(ArgumentError, match=r"'return_tensor' \(did you mean 'return_tensors'\?\)"):
        ours("a", return_tensor="pt")
    with pytest.raises(ArgumentError, match="max_length"):
        ours("a", tokenizer_kwargs={"maxlength": 3})


def test_ragged_rows_ask_for_padding(pairs):
    ours, _ = pairs["bert-vocab"]
    with pytest.raises(ArgumentError, match="padding=True"):
        ours(["a", "a b c d"], return_tensors="pt")


def test_an_empty_batch_is_an_empty_result(pairs):
    ours, _ = pairs["bert-vocab"]
    assert ours([])["input_ids"] == []
    assert ours([], return_tensors="np", padding=True)["input_ids"].shape == (0, 0)


def test_padding_without_a_padding_token_says_how_to_get_one(pairs):
    ours, _ = pairs["gpt2"]
    with pytest.raises(ArgumentError, match=r"pad_token = tokenizer\.eos_token"):
        ours(["a", "b c"], padding=True)


def test_long_texts_are_warned_about_once(tokenizer_folders, monkeypatch):
    from enfold import AutoTokenizer
    from enfold.tokenizers import calls

    heard = []
    monkeypatch.setattr(calls.logger, "warning", lambda text, *args: heard.append(text % args))
    ours = AutoTokenizer.from_pretrained(tokenizer_folders["gpt2"])
    ours("short")
    ours("word " * 100, verbose=False)
    ours("word " * 100, truncation=True)
    assert heard == []
    ours("word " * 100)
    ours(["word " * 100])
    assert len(heard) == 1
    assert "more than the 40" in heard[0]
    assert "truncation=True" in heard[0]


def test_results_do_not_depend_on_calls_before(pairs):
    ours, _ = pairs["bert-vocab"]
    before = ours(TEXTS)["input_ids"]
    ours(TEXTS, truncation=True, max_length=5, padding="max_length")
    assert ours(TEXTS)["input_ids"] == before
