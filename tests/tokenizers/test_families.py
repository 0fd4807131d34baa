"""What each family builds from a bare vocabulary, beside the document that transformers' class makes."""

import json

import pytest
import transformers

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.families import recipes
from enfold.tokenizers.families.registry import BUILT_AS, TAKEN_AS_THEY_ARE, WRONGLY_DECLARED

WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##b": 6}
BYTES = {"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3}
MARKED = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6}
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁a", -3.5)]
MERGES = [("a", "b")]


@pytest.mark.parametrize(
    ("name", "family", "parts", "options"),
    [
        ("BertTokenizer", recipes.BERT, (WORDS, None), {}),
        ("BertTokenizer", recipes.BERT, (WORDS, None), {"do_lower_case": False, "strip_accents": True}),
        ("BertTokenizer", recipes.BERT, (WORDS, None), {"tokenize_chinese_chars": False, "strip_accents": False}),
        ("GPT2Tokenizer", recipes.GPT2, (BYTES, MERGES), {}),
        ("GPT2Tokenizer", recipes.GPT2, (BYTES, MERGES), {"add_prefix_space": True}),
        ("LlamaTokenizer", recipes.LLAMA, (MARKED, MERGES), {}),
        ("LlamaTokenizer", recipes.LLAMA, (MARKED, MERGES), {"legacy": True}),
        ("LlamaTokenizer", recipes.LLAMA, (MARKED, MERGES), {"add_prefix_space": False}),
        ("T5Tokenizer", recipes.T5, (PIECES, None), {}),
        ("T5Tokenizer", recipes.T5, (PIECES, None), {"extra_ids": 3}),
    ],
)
def test_the_documents_are_the_same(name, family, parts, options):
    vocab, merges = parts
    given = {"vocab": vocab} if merges is None else {"vocab": vocab, "merges": merges}
    theirs = json.loads(getattr(transformers, name)(**given, **options).backend_tokenizer.to_str())
    document = family.build(recipes.Parts(vocab, merges), {**family.defaults, **options})
    for section in ("normalizer", "pre_tokenizer", "decoder"):
        assert document.sections[section] == theirs[section]
    ours = json.loads(document.to_json())
    assert ours["model"] == theirs["model"]
    if family.finish is not None:
        from enfold.tokenizers.formats.document import added_token

        settings = {**family.defaults, **options}
        texts = [str(value) for key, value in settings.items() if key.endswith("_token")]
        document.add(added_token({"content": text}, "test", special=True) for text in [*texts, *family.extra(settings)])
        assert family.finish(document, settings) == theirs["post_processor"]
        assert set(document.added()) == {token["content"] for token in theirs["added_tokens"]}


def test_wrong_parts_and_options_are_refused():
    with pytest.raises(TokenizerError, match="needs merges"):
        recipes.GPT2.build(recipes.Parts(BYTES), recipes.GPT2.defaults)
    with pytest.raises(TokenizerError, match="Unigram"):
        recipes.T5.build(recipes.Parts(WORDS), recipes.T5.defaults)
    with pytest.raises(ArgumentError, match="do_lower_case must be true or false"):
        recipes.BERT.build(recipes.Parts(WORDS), {**recipes.BERT.defaults, "do_lower_case": "no"})


def test_the_table_of_classes_is_transformers_own():
    from transformers.models.auto import tokenization_auto as theirs

    generic = ("TokenizersBackend", None)
    names = {kind: name for kind, name in theirs.TOKENIZER_MAPPING_NAMES.items() if name not in generic}
    assert {kind: name for kind, name in BUILT_AS.items() if kind in names} == names
    assert {k for k, v in theirs.TOKENIZER_MAPPING_NAMES.items() if v == "TokenizersBackend"} == set(TAKEN_AS_THEY_ARE)
    assert set(WRONGLY_DECLARED) == theirs.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
