"""Special tokens, vocabulary, decoding and mapping, beside transformers' on the same files."""

import copy
import pickle

import numpy as np
import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.tokenizers import AddedToken, Tokenizer

from .folders import sample_texts

KINDS = ["bert-vocab", "bert-cased", "bert-json", "distilbert", "gpt2", "llama", "chat"]
TEXTS = sample_texts()
NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


@pytest.fixture
def fresh(tokenizer_folders):
    """(ours, theirs) of a kind, free to be changed."""
    import transformers

    from enfold import AutoTokenizer

    def load(kind, **options):
        folder = tokenizer_folders[kind]
        return (
            AutoTokenizer.from_pretrained(folder, **options),
            transformers.AutoTokenizer.from_pretrained(folder, **options),
        )

    return load


def same_attributes(ours, theirs):
    for name in NAMES:
        assert getattr(ours, name) == getattr(theirs, name), name
        assert getattr(ours, name + "_id") == getattr(theirs, name + "_id"), name
    for name in (
        "special_tokens_map",
        "all_special_tokens",
        "all_special_ids",
        "extra_special_tokens",
        "vocab_size",
        "model_max_length",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "added_tokens_encoder",
        "chat_template",
        "clean_up_tokenization_spaces",
        "add_bos_token",
        "add_eos_token",
        "is_fast",
        "pad_token_type_id",
        "max_len_single_sentence",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.num_special_tokens_to_add(pair=True) == theirs.num_special_tokens_to_add(pair=True)
    mine = {index: repr(token) for index, token in ours.added_tokens_decoder.items()}
    assert mine == {index: repr(token) for index, token in theirs.added_tokens_decoder.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_attributes(pairs, kind):
    same_attributes(*pairs[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_decoding(pairs, kind):
    ours, theirs = pairs[kind]
    rows = [theirs(text)["input_ids"] for text in TEXTS]
    for skip in (False, True):
        for tidy in (None, False, True):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": tidy}
            assert ours.batch_decode(rows, **options) == theirs.batch_decode(rows, **options)
            assert [ours.decode(row, **options) for row in rows] == [theirs.decode(row, **options) for row in rows]
    row = rows[-1]
    for given in (torch.tensor(row), np.array(row), tuple(row)):
        assert ours.decode(given) == theirs.decode(list(row))
    assert ours.decode(torch.tensor([row, row])) == theirs.decode([row, row])
    assert ours.decode(row[1]) == theirs.decode(row[1])
    assert ours.decode([]) == theirs.decode([])
    assert ours.convert_ids_to_tokens(row) == theirs.convert_ids_to_tokens(row)
    assert ours.convert_ids_to_tokens(row, skip_special_tokens=True) == theirs.convert_ids_to_tokens(
        row, skip_special_tokens=True
    )
    tokens = [*theirs.convert_ids_to_tokens(row), "strange"]
    assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    with pytest.raises(ArgumentError, match="skip_special_tokens"):
        ours.decode(row, skip_specials=True)


@pytest.mark.parametrize("kind", KINDS)
def test_encode_and_tokenize(pairs, kind):
    ours, theirs = pairs[kind]
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, "pair", max_length=30, truncation=True) == theirs.encode(
            text, "pair", max_length=30, truncation=True
        )
        assert ours.tokenize(text) == theirs.tokenize(text)
        assert ours.tokenize(text, add_special_tokens=True) == theirs.tokenize(text, add_special_tokens=True)
    assert ours.encode(TEXTS[2], return_tensors="pt").tolist() == theirs.encode(TEXTS[2], return_tensors="pt").tolist()
    ids = theirs.encode(TEXTS[2])
    assert ours.get_special_tokens_mask(ids, already_has_special_tokens=True) == theirs.get_special_tokens_mask(
        ids, already_has_special_tokens=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_added_tokens(fresh, kind):
    ours, theirs = fresh(kind)
    import tokenizers

    text = "a [new] b ünknown <x>  <y> c [PADDING]"
    for tokenizer, token in ((ours, AddedToken), (theirs, tokenizers.AddedToken)):
        assert tokenizer.add_tokens(["[new]", token("<x>", lstrip=True, rstrip=True)]) == 2
        assert tokenizer.add_tokens("[new]") == 0
        assert tokenizer.add_special_tokens({"pad_token": "[PADDING]", "additional_special_tokens": ["<y>"]}) == 2
    same_attributes(ours, theirs)
    assert dict(ours(text)) == dict(theirs(text))
    assert ours.decode(ours.encode(text), skip_special_tokens=True) == theirs.decode(
        theirs.encode(text), skip_special_tokens=True
    )
    for tokenizer in (ours, theirs):
        tokenizer.add_special_tokens({"additional_special_tokens": ["<z>"]}, replace_extra_special_tokens=False)
    assert ours.extra_special_tokens == theirs.extra_special_tokens
    assert ours.additional_special_tokens == ["<y>", "<z>"]
    with pytest.raises(ArgumentError, match="bos_token"):
        ours.add_special_tokens({"end_token": "x"})


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_set_by_name_and_id(fresh, kind):
    ours, theirs = fresh(kind)
    for tokenizer in (ours, theirs):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(7)
        tokenizer.sep_token_id = 9
        tokenizer.mask_token = None
        tokenizer.extra_special_tokens = [tokenizer.convert_ids_to_tokens(11)]
    same_attributes(ours, theirs)
    assert ours.pad_token_id == 7
    assert ours(["a", "b c d"], padding=True)["input_ids"] == theirs(["a", "b c d"], padding=True)["input_ids"]
    with pytest.raises(ArgumentError):
        ours.pad_token = 5
    with pytest.raises(ArgumentError, match="no such id"):
        ours.pad_token_id = 10**6
    with pytest.raises(AttributeError, match="no_such_token"):
        _ = ours.no_such_token


@pytest.mark.parametrize("kind", ["gpt2", "llama", "chat"])
def test_begin_and_end_tokens(fresh, kind):
    ours, theirs = fresh(kind)
    for begin, end in ((True, False), (True, True), (False, True), (False, False)):
        for tokenizer in (ours, theirs):
            tokenizer.add_bos_token = begin
            tokenizer.add_eos_token = end
        assert ours("a text", "and another")["input_ids"] == theirs("a text", "and another")["input_ids"]
        assert ours.num_special_tokens_to_add(True) == theirs.num_special_tokens_to_add(True)
    ours, theirs = fresh(kind, add_eos_token=True)
    assert ours("a text")["input_ids"] == theirs("a text")["input_ids"]
    same_attributes(ours, theirs)


def test_overrides_win(fresh):
    options = {
        "padding_side": "left",
        "truncation_side": "left",
        "model_max_length": 9,
        "pad_token": "[MASK]",
        "do_lower_case": False,
        "video_token": "<video>",
    }
    ours, theirs = fresh("bert-vocab", **options)
    same_attributes(ours, theirs)
    assert ours.video_token_id == theirs.video_token_id == 1500
    texts = ["Some Words", "Some More Words and <video> of them, too many"]
    assert dict(ours(texts, padding=True, truncation=True)) == dict(theirs(texts, padding=True, truncation=True))


def test_model_specific_tokens_are_attributes(pairs):
    ours, theirs = pairs["chat"]
    assert ours.image_token == theirs.image_token == "<tool>"
    assert ours.image_token_id == theirs.image_token_id


@pytest.mark.parametrize("kind", KINDS)
def test_maps_between_tokens_words_and_characters(pairs, kind):
    ours, theirs = pairs[kind]
    a, b = (tokenizer([TEXTS[3], TEXTS[4]], [TEXTS[5], TEXTS[6]]) for tokenizer in (ours, theirs))
    for row in (0, 1):
        assert a.tokens(row) == b.tokens(row)
        assert a.word_ids(row) == b.word_ids(row)
        assert a.sequence_ids(row) == b.sequence_ids(row)
        for token in range(len(a["input_ids"][row])):
            assert a.token_to_word(row, token) == b.token_to_word(row, token)
            assert a.token_to_chars(row, token) == b.token_to_chars(row, token)
            assert a.token_to_sequence(row, token) == b.token_to_sequence(row, token)
        for sequence in (0, 1):
            for position in range(30):
                assert a.char_to_token(row, position, sequence) == b.char_to_token(row, position, sequence)
                assert a.char_to_word(row, position, sequence) == b.char_to_word(row, position, sequence)
            for word in range(5):
                assert a.word_to_tokens(row, word, sequence) == b.word_to_tokens(row, word, sequence)
                if b.word_to_tokens(row, word, sequence) is None:  # theirs fails on words that are not there
                    assert a.word_to_chars(row, word, sequence) is None
                else:
                    assert a.word_to_chars(row, word, sequence) == b.word_to_chars(row, word, sequence)
    assert a.n_sequences == b.n_sequences == 2
    assert a.is_fast
    assert a[0].ids == b[0].ids
    assert a.token_to_chars(3).start == b.token_to_chars(3).start


@pytest.mark.parametrize("kind", ["bert-vocab", "chat"])
def test_copies_and_pickles(fresh, kind):
    ours, _ = fresh(kind)
    ours.add_tokens(["[NEW]"])
    ours.pad_token = "[NEW]"
    for made in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours), copy.copy(ours)):
        assert dict(made(TEXTS, padding=True)) == dict(ours(TEXTS, padding=True))
        assert made.special_tokens_map == ours.special_tokens_map
        text = " ".join(ours.all_special_tokens)
        assert dict(made(text, split_special_tokens=True)) == dict(ours(text, split_special_tokens=True))
        made = copy.deepcopy(made)
        made.add_tokens("[MORE]")
        made.eos_token = "[MORE]"
        assert len(ours) == len(made) - 1
        assert ours.eos_token != "[MORE]"
    batch = ours(TEXTS, padding=True, return_tensors="np")
    again = pickle.loads(pickle.dumps(batch))
    assert again["input_ids"].tolist() == batch["input_ids"].tolist()
    assert again.n_sequences == 1
    with pytest.raises(ArgumentError, match="pickles leave them behind"):
        again.tokens()
    assert len(pickle.dumps(batch)) < 2 * sum(value.nbytes for value in batch.values())
    assert copy.deepcopy(batch).word_ids(3) == copy.copy(batch).word_ids(3) == batch.word_ids(3)


def test_representation_names_what_matters(pairs):
    ours, _ = pairs["bert-vocab"]
    text = repr(ours)
    assert text.startswith("BertTokenizer(name_or_path='")
    assert "vocab_size=1500, model_max_length=64, padding_side='right'" in text
    assert "'mask_token': '[MASK]'" in text


def test_the_names_that_left_say_where_to(pairs):
    ours, _ = pairs["gpt2"]
    for name in ("encode_plus", "batch_encode_plus"):
        with pytest.raises(AttributeError, match="call the tokenizer itself"):
            getattr(ours, name)


def test_made_from_an_engine(pairs):
    import transformers

    import tokenizers
    from enfold import PreTrainedTokenizerFast

    theirs = pairs["chat"][1]
    document = theirs.backend_tokenizer.to_str()
    for engine in (Tokenizer.from_str(document), tokenizers.Tokenizer.from_str(document)):
        made = PreTrainedTokenizerFast(tokenizer_object=engine, pad_token="<pad>", eos_token="<new end>")
        like = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer.from_str(document), pad_token="<pad>", eos_token="<new end>"
        )
        same_attributes(made, like)
        assert made(TEXTS, padding=True)["input_ids"] == like(TEXTS, padding=True)["input_ids"]
    with pytest.raises(ArgumentError, match="must be a Tokenizer"):
        PreTrainedTokenizerFast(tokenizer_object={})


def test_made_from_a_vocabulary():
    import transformers

    import enfold

    vocab = {"[UNK]": 0, "a": 1, "##b": 2, "[CLS]": 3, "[SEP]": 4, "c": 5}
    same_attributes(enfold.BertTokenizer(vocab=vocab), transformers.BertTokenizer(vocab=vocab))
    same_attributes(enfold.BertTokenizerFast(), transformers.BertTokenizerFast())
    merges = [("a", "b")]
    ours, theirs = (
        package.GPT2Tokenizer(vocab={"a": 0, "b": 1, "ab": 2}, merges=merges) for package in (enfold, transformers)
    )
    same_attributes(ours, theirs)
    assert ours("abab")["input_ids"] == theirs("abab")["input_ids"] == [2, 2]
