"""Tokenizers and models inside `map`: flat arrays into Arrow, and threads that survive the fork."""

import copy
import pickle

import pyarrow as pa
import pytest
import torch
import transformers

import datasets as reference
import tokenizers
from enfold import AutoTokenizer, BertConfig, BertModel
from enfold.base.flat import results_to_arrow
from enfold.datasets import Dataset
from enfold.tokenizers.flat import FlatEncoding

TEXTS = [
    "the quick brown fox",
    "jumps over",
    "",
    "the lazy dog " * 9,
    "unbelievably fast foxes, quick dogs!",
    "a",
    "brown",
    "lazy the over",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small WordPiece tokenizer that both libraries load."""
    path = tmp_path_factory.mktemp("tokenizer")
    made = tokenizers.BertWordPieceTokenizer()
    made.train_from_iterator(TEXTS * 3, vocab_size=90, show_progress=False)
    transformers.BertTokenizerFast(tokenizer_object=made._tokenizer, model_max_length=20).save_pretrained(str(path))
    return path


@pytest.fixture(scope="module")
def pair(folder):
    return AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(str(folder))


OPTIONS = [
    {},
    {"truncation": True},
    {"truncation": True, "max_length": 6, "padding": True},
    {"padding": "max_length", "max_length": 40},
    {"return_token_type_ids": False, "return_special_tokens_mask": True},
    {"return_offsets_mapping": True},
    {"return_offsets_mapping": True, "padding": True},
    {"return_attention_mask": False, "add_special_tokens": False},
    {"return_length": True},
    {"padding": True, "return_tensors": "np"},
    {"padding": True, "padding_side": "left", "pad_to_multiple_of": 8},
    {"truncation": True, "max_length": 6, "stride": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("num_proc", [None, 2])
def test_columns_are_the_reference_s(pair, options, num_proc):
    if num_proc and options not in OPTIONS[:3]:
        return
    ours, theirs = pair
    table = {"text": TEXTS, "label": list(range(8))}
    found = Dataset.from_dict(table).map(
        lambda batch: ours(batch["text"], **options), batched=True, batch_size=3, num_proc=num_proc
    )
    expected = reference.Dataset.from_dict(table).map(
        lambda batch: theirs(batch["text"], **options), batched=True, batch_size=3
    )
    if num_proc is None or "padding" not in options:
        assert found.to_dict() == expected.to_dict()
        assert found.data.schema.remove_metadata() == expected.data.table.schema.remove_metadata()
    assert str(found.features) == str(expected.features)


def test_pairs_and_overflow(pair):
    ours, theirs = pair
    table = {"a": TEXTS, "b": TEXTS[::-1]}
    for function in [
        lambda t: lambda b: t(b["a"], b["b"], truncation="only_second", max_length=50),
        lambda t: lambda b: dict(t(b["a"], truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)),
        lambda t: lambda b: t([text.split() for text in b["a"]], is_split_into_words=True),
        lambda t: lambda b: t(text_target=b["a"]),
    ]:
        left = Dataset.from_dict(table).map(function(ours), batched=True, remove_columns=["a", "b"])
        right = reference.Dataset.from_dict(table).map(function(theirs), batched=True, remove_columns=["a", "b"])
        assert left.to_dict() == right.to_dict()
        assert str(left.features) == str(right.features)


def touched(tokenizer):
    def function(batch):
        made = tokenizer(batch["text"])
        made["labels"] = [ids[:] for ids in made["input_ids"]]
        return made

    return function


def added(tokenizer):
    def function(batch):
        made = tokenizer(batch["text"])
        made["labels"] = batch["label"]
        assert "labels" in made
        assert made["labels"] == made.labels == batch["label"]
        return made

    return function


@pytest.mark.parametrize("function", [touched, added])
def test_results_are_changed_as_usual(pair, function):
    table = {"text": TEXTS, "label": list(range(8))}
    left = Dataset.from_dict(table).map(function(pair[0]), batched=True)
    assert left.to_dict() == reference.Dataset.from_dict(table).map(function(pair[1]), batched=True).to_dict()


def test_a_flat_result_is_an_encoding_like_any_other(pair):
    plain = pair[0](TEXTS)
    token = results_to_arrow.set(True)
    try:
        flat = pair[0](TEXTS)
        assert isinstance(flat, FlatEncoding)
        assert flat._lists is None
        assert all(isinstance(column, pa.Array) for column in flat.arrow_columns().values())
        assert (list(flat), len(flat), "input_ids" in flat) == (list(plain), len(plain), True)
        assert flat._lists is None
        assert flat.data == plain.data
        assert flat.input_ids == plain.input_ids
        assert flat.arrow_columns() == plain.data
        assert flat.tokens(1) == plain.tokens(1)
        assert flat.word_ids(3) == plain.word_ids(3)
        assert pickle.loads(pickle.dumps(pair[0](TEXTS))).data == plain.data
        assert copy.deepcopy(pair[0](TEXTS)).data == plain.data
        assert dict(pair[0](TEXTS)) == {**pair[0](TEXTS)} == plain.data
        assert pair[0](TEXTS, padding=True).convert_to_tensors("np")["input_ids"].shape == (
            8,
            max(map(len, plain["input_ids"])),
        )
        with pytest.raises(AttributeError):
            pair[0](TEXTS).absent  # noqa: B018
        assert type(pair[0](TEXTS[0])) is type(plain)
    finally:
        results_to_arrow.reset(token)


def test_threads_survive_the_fork(pair):
    """The parent's engine and kernels have run in several threads when it forks."""
    ours, _ = pair
    long = [text * 400 for text in TEXTS if text]
    assert sum(map(len, long)) > 200_000 // 8
    before = ours(long * 8)
    config = BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    model = BertModel(config).eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)

    def vectors(batch):
        encoded = ours(batch["text"], padding=True, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            return {
                "vector": model(**encoded).last_hidden_state.mean(1),
                "ids": ours(long * 8)["input_ids"][: len(batch["text"])],
            }

    try:
        data = Dataset.from_dict({"text": TEXTS})
        alone = data.map(vectors, batched=True, batch_size=4)
        forked = data.map(vectors, batched=True, batch_size=4, num_proc=2)
    finally:
        torch.set_num_threads(threads)
    assert forked["ids"][:] == alone["ids"][:]
    assert forked["ids"][0] == before["input_ids"][0]
    assert torch.allclose(torch.tensor(forked["vector"][:]), torch.tensor(alone["vector"][:]), atol=1e-5)


def test_the_same_tokenizer_hits_the_cache_and_another_misses(pair, folder, tmp_path):
    Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "data")

    def mapped(tokenizer, **options):
        data = Dataset.load_from_disk(tmp_path / "data")
        return data.map(lambda batch: tokenizer(batch["text"], **options), batched=True).cache_files

    first = mapped(pair[0])
    pair[0]("more words", padding=True)
    assert mapped(pair[0]) == first
    assert mapped(AutoTokenizer.from_pretrained(folder)) == first
    assert mapped(pair[0], truncation=True) != first
    other = AutoTokenizer.from_pretrained(folder)
    other.add_tokens(["quick"])
    assert mapped(other) != first
