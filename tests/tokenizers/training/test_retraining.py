"""`train_new_from_iterator`: a new vocabulary for a loaded tokenizer, as transformers makes it."""

import json
import warnings

import pytest

from enfold import AutoTokenizer
from enfold.base.errors import ArgumentError

from .texts import lines


def retrained(tokenizer, **options):
    texts = lines()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tokenizer.train_new_from_iterator([texts[:100], texts[100:]], 1500, show_progress=False, **options)


def document(tokenizer):
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    # The reference keeps a file's truncation and padding in the engine; here they are the tokenizer's own options.
    for section in ("truncation", "padding"):
        del whole[section]
    for mark in ("continuing_subword_prefix", "end_of_word_suffix"):
        whole["model"][mark] = whole["model"].get(mark) or None
    return whole


@pytest.mark.parametrize("kind", ["gpt2", "llama", "chat"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"new_special_tokens": ["<new>"], "length": 10},
        {"special_tokens_map": {"<|im_start|>": "<start>"}, "min_frequency": 2},
    ],
    ids=["plain", "new", "renamed"],
)
def test_byte_pairs(pairs, kind, options):
    made, theirs = (retrained(tokenizer, **options) for tokenizer in pairs[kind])
    documents = document(made), document(theirs)
    if old := options.get("special_tokens_map"):
        # The reference adds a renamed token once more under its old name, which moves those behind it.
        for whole in documents:
            tokens = [token for token in whole["added_tokens"] if token["content"] not in old and token["special"]]
            whole["added_tokens"] = tokens
    assert documents[0] == documents[1]
    assert type(made).__name__ == type(pairs[kind][0]).__name__
    assert made.special_tokens_map == theirs.special_tokens_map
    assert list(map(str, made.extra_special_tokens)) == list(map(str, theirs.extra_special_tokens))
    assert made.chat_template == theirs.chat_template
    for text in ("Hello, world! <new>", "def f(x): return x"):
        assert made(text).input_ids == theirs(text).input_ids
        assert made(text, text).input_ids == theirs(text, text).input_ids


@pytest.mark.parametrize("kind", ["bert-vocab", "bert-json", "distilbert"])
def test_word_pieces(pairs, kind):
    """The reference's vocabulary differs a little from run to run."""
    options = {"special_tokens_map": {"[CLS]": "<cls>"}, "new_special_tokens": ["<new>"]}
    made, theirs = (retrained(tokenizer, **options) for tokenizer in pairs[kind])
    ours, reference = made.get_vocab(), theirs.get_vocab()
    assert len(set(ours) & set(reference)) > 0.95 * len(reference)
    assert made.cls_token == theirs.cls_token == "<cls>"
    assert made.all_special_tokens == theirs.all_special_tokens
    ids = made("a b").input_ids
    assert (ids[0], ids[-1]) == (made.cls_token_id, made.sep_token_id)
    assert made("a", "b").get("token_type_ids") == theirs("a", "b").get("token_type_ids")
    assert retrained(pairs[kind][0], **options).get_vocab() == ours


def test_saved_and_loaded(pairs, tmp_path):
    made = retrained(pairs["gpt2"][0], new_special_tokens=["<new>"])
    made.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("some text <new>").input_ids == made("some text <new>").input_ids


def test_what_is_refused(pairs):
    tokenizer = pairs["bert-json"][0]
    with pytest.raises(TypeError, match="max_token_length"):
        retrained(tokenizer, max_token_length=3)
    with pytest.raises(TypeError):
        tokenizer.train_new_from_iterator([1, 2], 900)
    before = tokenizer.get_vocab()
    retrained(tokenizer)
    assert tokenizer.get_vocab() == before


def test_a_token_that_the_new_vocabulary_lacks():
    """A post-processor that puts in a token which is not special, and so isn't kept."""
    from enfold import PreTrainedTokenizerFast
    from enfold.tokenizers import Tokenizer, models, processors

    engine = Tokenizer(models.BPE({"a": 0, "[X]": 1}, []))
    engine.post_processor = processors.TemplateProcessing(single="[X] $A", special_tokens=[("[X]", 1)])
    with pytest.raises(ArgumentError, match=r"\[X\].*new_special_tokens"):
        PreTrainedTokenizerFast(tokenizer_object=engine).train_new_from_iterator(["abc"], 10)
