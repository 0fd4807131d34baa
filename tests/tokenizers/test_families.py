"""What each family builds from a bare vocabulary, beside what transformers' class makes of the same."""

import json

import pytest
import transformers

import enfold
from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.families import byte_level, unigram, wordpiece
from enfold.tokenizers.families.recipes import Parts
from enfold.tokenizers.families.registry import ABSENT, BUILT_AS, TAKEN_AS_THEY_ARE, TRUSTED_FILES, WRONGLY_DECLARED

from .families.rows import ROWS
from .families.same import same_attributes
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
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        # An empty one is none.
        if name in expected["model"]:
            expected["model"][name], found["model"][name] = (m["model"][name] or None for m in (expected, found))
    for section in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"):
        assert found[section] == expected[section], section
    same_attributes(ours, theirs)


def test_wrong_parts_and_options_are_refused():
    with pytest.raises(TokenizerError, match="needs merges"):
        byte_level.GPT2.build(Parts({"a": 0}), byte_level.GPT2.defaults)
    with pytest.raises(TokenizerError, match="Unigram"):
        unigram.T5.build(Parts({"a": 0}), unigram.T5.defaults)
    with pytest.raises(TokenizerError, match="number 2 of the vocabulary"):
        unigram.T5.build(Parts([("a", 0.0)]), unigram.T5.defaults)
    with pytest.raises(ArgumentError, match="do_lower_case must be true or false"):
        wordpiece.BERT.build(Parts({"a": 0}), {**wordpiece.BERT.defaults, "do_lower_case": "no"})
    with pytest.raises(ArgumentError, match="extra_ids=100"):
        enfold.T5Tokenizer(additional_special_tokens=["<extra_id_0>"])


def test_the_table_of_classes_is_transformers_own():
    from transformers.models.auto import tokenization_auto as theirs

    generic = ("TokenizersBackend", None)
    names = {kind: name for kind, name in theirs.TOKENIZER_MAPPING_NAMES.items() if name not in generic}
    assert {kind: name for kind, name in BUILT_AS.items() if kind in names} == names
    assert {k for k, v in theirs.TOKENIZER_MAPPING_NAMES.items() if v == "TokenizersBackend"} == set(TAKEN_AS_THEY_ARE)
    assert set(WRONGLY_DECLARED) == theirs.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert list(TRUSTED_FILES) == theirs.MODEL_IDS_TO_TOKENIZERS_BACKEND


def test_every_class_of_transformers_is_here_or_known_to_be_missing():
    from transformers.models.auto import tokenization_auto as theirs
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase

    from enfold.tokenizers.auto import _FAMILIES

    names = {name for name in dir(transformers) if name.endswith("Tokenizer")}
    names |= {name for name in theirs.TOKENIZER_MAPPING_NAMES.values() if name}
    for name in sorted(names - {"PreTrainedTokenizer", "AutoTokenizer"}):
        found = theirs.tokenizer_class_from_name(name)
        if found is None or not isinstance(found, type) or not issubclass(found, PreTrainedTokenizerBase):
            continue
        ours = _FAMILIES.get(name.removesuffix("Fast"))
        if ours is not None:
            assert ours.__name__ == found.__name__, name
        else:
            assert name in ABSENT or name == "TokenizersBackend", name
    assert not ABSENT & set(_FAMILIES)
