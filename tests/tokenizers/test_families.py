"""What each family builds from a bare vocabulary, beside what transformers' class makes of the same."""

import json

import pytest
import transformers

import enfold

from .families.rows import ROWS
from .families.vocabularies import vocabulary

CASES = [(row, options) for row in ROWS for options in ({}, *row.variants)]


def _id(value):
    return getattr(value, "name", None) or ",".join(f"{key}={text}" for key, text in value.items()) or "-"


@pytest.mark.parametrize(("row", "options"), CASES, ids=_id)
def test_the_documents_are_the_same(row, options):
    given = vocabulary(row)
    theirs = getattr(transformers, row.name)(**given, **options)
    ours = getattr(enfold, row.name)(**given, **options)
    expected, found = json.loads(theirs.backend_tokenizer.to_str()), json.loads(ours.backend_tokenizer.to_str())
    for section in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"):
        assert found[section] == expected[section], section
    same_attributes(ours, theirs)


def same_attributes(ours, theirs):
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours.extra_special_tokens == theirs.extra_special_tokens
    assert {i: repr(token) for i, token in ours.added_tokens_decoder.items()} == {
        i: repr(token) for i, token in theirs.added_tokens_decoder.items()
    }
    for name in ("model_input_names", "padding_side", "truncation_side", "pad_token_type_id", "vocab_size", "is_fast"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("model_max_length", "clean_up_tokenization_spaces", "add_prefix_space", "split_special_tokens"):
        if hasattr(theirs, name) and hasattr(ours, name):
            assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
