"""Whole tokenizers against the reference library, on prose, nasty cases and a seeded fuzzer over all of Unicode."""

import pytest

import tokenizers
from enfold.tokenizers import Tokenizer
from tests.tokenizers.engine.builders import BUILDERS, PLANNED, build
from tests.tokenizers.engine.compare import assert_same
from tests.tokenizers.engine.corpus import NASTY, PROSE, fuzz

COUNT = 4000  # strings per configuration: over 50,000 in all


@pytest.mark.parametrize("name", BUILDERS)
def test_encodes_and_decodes_like_the_reference(name):
    spec = build(name)
    ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
    texts = [*NASTY, *PROSE, *fuzz(COUNT, seed=len(name))]
    expected = theirs.encode_batch(texts)
    assert ours._has_plan == (name in PLANNED)
    assert_same(ours.encode_batch(texts), expected, texts)
    ids = [e.ids for e in expected]
    for skip in (True, False):
        assert ours.decode_batch(ids, skip_special_tokens=skip) == theirs.decode_batch(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_the_plan_equals_the_literal_path(name):
    planned = Tokenizer.from_str(build(name))
    literal = planned._without_plan()
    assert not literal._has_plan
    texts = [*NASTY, *PROSE, *fuzz(COUNT, seed=100 + len(name))]
    assert_same(planned.encode_batch(texts), literal.encode_batch(texts), texts)


@pytest.mark.parametrize("name", BUILDERS)
def test_pairs_and_words_like_the_reference(name):
    spec = build(name)
    ours, theirs = Tokenizer.from_str(spec), tokenizers.Tokenizer.from_str(spec)
    texts = [*NASTY, *PROSE, *fuzz(300, seed=7)]
    pairs = list(zip(texts, reversed(texts), strict=True))
    assert_same(ours.encode_batch(pairs), theirs.encode_batch(pairs), pairs)
    bare = {"add_special_tokens": False}
    assert_same(ours.encode_batch(pairs, **bare), theirs.encode_batch(pairs, **bare), pairs)
    words = [text.split(" ") for text in texts]
    cut = {"is_pretokenized": True}
    assert_same(ours.encode_batch(words, **cut), theirs.encode_batch(words, **cut), words)
    both = list(zip(words, reversed(words), strict=True))
    assert_same(ours.encode_batch(both, **cut), theirs.encode_batch(both, **cut), both)


@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_saved_loads_in_the_reference_and_encodes_alike(name, tmp_path):
    ours = Tokenizer.from_str(build(name))
    ours.add_tokens(["[new]"])
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    texts = [*NASTY, *PROSE, *fuzz(300, seed=8)]
    expected = theirs.encode_batch(texts)
    assert_same(ours.encode_batch(texts), expected, texts)
    assert_same(again.encode_batch(texts), expected, texts)
    assert again.to_str() == ours.to_str()
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_vocab_size() == theirs.get_vocab_size()
    assert ours.get_vocab_size(with_added_tokens=False) == theirs.get_vocab_size(with_added_tokens=False)
