"""The flat arrays for the layers above, and the streaming decoder."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from tokenizers.decoders import DecodeStream

import tokenizers
from enfold.base.errors import TokenizerError
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import build
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz

TEXTS = [*NASTY, *PROSE, *fuzz(200, seed=13)]


@pytest.mark.parametrize("name", ["bert", "llama3", "roberta", "llama2"])
def test_arrays_are_the_encodings(name):
    tokenizer = Tokenizer.from_str(build(name))
    for inputs, options in [
        (TEXTS, {}),
        (list(zip(TEXTS, reversed(TEXTS), strict=True)), {}),
        ([t.split() for t in TEXTS], {"is_pretokenized": True}),
        (TEXTS, {"add_special_tokens": False}),
    ]:
        batch = tokenizer.encode_arrays(inputs, offsets=True, words=True, **options)
        expected = tokenizer.encode_batch(inputs, **options)
        assert len(batch) == len(expected)
        assert batch.row_splits.dtype == np.int64
        assert batch.ids.dtype == batch.type_ids.dtype == batch.word_ids.dtype == np.int32
        assert batch.special_tokens_mask.dtype == batch.sequence_ids.dtype == np.int8
        assert batch.offsets.shape == (len(batch.ids), 2)
        assert batch.ids_lists() == [e.ids for e in expected]
        assert batch.type_ids_lists() == [e.type_ids for e in expected]
        assert batch.attention_mask_lists() == [e.attention_mask for e in expected]
        assert batch.special_tokens_mask_lists() == [e.special_tokens_mask for e in expected]
        for i, e in enumerate(expected):
            row = slice(batch.row_splits[i], batch.row_splits[i + 1])
            assert batch.ids[row].tolist() == e.ids
            assert [tuple(o) for o in batch.offsets[row].tolist()] == e.offsets
            assert [None if w < 0 else w for w in batch.word_ids[row].tolist()] == e.word_ids
            assert [None if s < 0 else s for s in batch.sequence_ids[row].tolist()] == e.sequence_ids
            assert batch.encoding(i).tokens == e.tokens
        assert batch.overflow_to_sample.tolist() == list(range(len(expected)))


def test_truncation_is_per_call_and_leaves_the_tokenizer_alone():
    tokenizer = Tokenizer.from_str(build("bert"))
    truncation = {"max_length": 10, "stride": 2, "strategy": "longest_first", "direction": "right"}
    batch = tokenizer.encode_arrays(TEXTS, truncation=truncation, offsets=True)
    assert tokenizer.truncation is None
    tokenizer.enable_truncation(10, stride=2)
    expected = []
    for i, e in enumerate(tokenizer.encode_batch(TEXTS)):
        expected += [(i, e)] + [(i, o) for o in e.overflowing]
    assert batch.overflow_to_sample.tolist() == [i for i, _ in expected]
    assert batch.ids_lists() == [e.ids for _, e in expected]
    # The tokenizer's own settings don't touch the arrays.
    tokenizer.enable_padding(length=64)
    assert tokenizer.encode_arrays(TEXTS, truncation=truncation).ids_lists() == [e.ids for _, e in expected]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded(side):
    tokenizer = Tokenizer.from_str(build("bert"))
    batch = tokenizer.encode_arrays([("a b", "c"), ("hello there", "x y z")])
    keys = ["input_ids", "token_type_ids", "attention_mask", "special_tokens_mask"]
    padded = batch.padded(20, side=side, pad_id=9, pad_type_id=4, keys=keys)
    tokenizer.enable_padding(direction=side, pad_id=9, pad_type_id=4, pad_token="[PAD]", length=20)
    expected = tokenizer.encode_batch([("a b", "c"), ("hello there", "x y z")])
    fields = ("ids", "type_ids", "attention_mask", "special_tokens_mask")
    for key, field in zip(keys, fields, strict=True):
        assert padded[key].dtype == np.int64
        assert padded[key].tolist() == [getattr(e, field) for e in expected]
    assert set(batch.padded(20)) == {"input_ids", "attention_mask"}
    with pytest.raises(TokenizerError, match="can't be padded"):
        batch.padded(3)


def test_empty_batch():
    batch = Tokenizer.from_str(build("gpt2")).encode_arrays([], offsets=True, words=True)
    assert len(batch) == 0
    assert batch.ids.shape == (0,)
    assert batch.row_splits.tolist() == [0]
    assert batch.padded(4)["input_ids"].shape == (0, 4)


def test_what_was_not_asked_for_is_not_there():
    batch = Tokenizer.from_str(build("gpt2")).encode_arrays(["a b"])
    with pytest.raises(TokenizerError, match="offsets=True"):
        _ = batch.offsets
    with pytest.raises(TokenizerError, match="words=True"):
        _ = batch.word_ids


def test_arrays_outlive_their_batch():
    ids = Tokenizer.from_str(build("gpt2")).encode_arrays(PROSE * 50).ids
    copy = ids.tolist()
    for _ in range(20):
        Tokenizer.from_str(build("gpt2")).encode_arrays(PROSE)
    assert ids.tolist() == copy


def test_large_batches_use_threads_and_give_the_same():
    tokenizer = Tokenizer.from_str(build("llama3"))
    texts = TEXTS * 60
    large = tokenizer.encode_arrays(texts, offsets=True, words=True)
    rows = tokenizer.encode_arrays(TEXTS, offsets=True, words=True).ids_lists()
    assert large.ids_lists() == rows * 60


def test_many_threads_share_a_tokenizer_while_it_changes():
    tokenizer = Tokenizer.from_str(build("bert"))
    expected = [tokenizer.encode(t).ids for t in PROSE]
    failures = []

    def work() -> None:
        for _ in range(60):
            if [tokenizer.encode(t).ids for t in PROSE] != expected:
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(20):
        tokenizer.add_tokens([f"<never in the text {i}>"])
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama2", "llama3"])
def test_the_stream_gives_what_decode_gives(name):
    ours, theirs = Tokenizer.from_str(build(name)), tokenizers.Tokenizer.from_str(build(name))
    for text in [*NASTY, *PROSE]:
        ids = theirs.encode(text).ids
        mine, reference = ours.decode_stream(), DecodeStream(skip_special_tokens=True)
        pieces = [mine.step(i) for i in ids]
        assert pieces == [reference.step(theirs, i) for i in ids]
        assert not any("\ufffd" in p for p in pieces if p) or "\ufffd" in text
        if not theirs.decode(ids).endswith("\ufffd"):
            assert "".join(p for p in pieces if p) == theirs.decode(ids)


def test_the_stream_is_linear_even_on_bytes_that_make_no_character():
    tokenizer = Tokenizer.from_str(build("gpt2"))
    stream = tokenizer.decode_stream()
    broken = tokenizer.token_to_id("Ã")
    pieces = [stream.step(broken) for _ in range(50_000)]
    assert sum(len(p) for p in pieces if p) > 49_000


def test_importing_loads_neither_numpy_nor_torch():
    code = (
        "import sys; from enfold.tokenizers import Tokenizer;"
        "Tokenizer.from_str(sys.stdin.read()).encode('a b');"
        "assert 'numpy' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=build("gpt2"), text=True, check=True)
