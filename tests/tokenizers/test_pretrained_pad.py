"""`pad`, as collators use it, and `BatchEncoding` by itself."""

import numpy as np
import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding

from .folders import sample_texts
from .test_pretrained_call import plain

TEXTS = sample_texts()
KINDS = ["bert-vocab", "distilbert", "llama", "chat"]


def values(batch):
    return {key: plain(value) for key, value in batch.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tensors", [None, "np", "pt"])
def test_lists_of_examples(pairs, kind, tensors):
    ours, theirs = pairs[kind]
    examples = [dict(theirs(text, return_special_tokens_mask=True)) for text in TEXTS]
    for options in (
        {},
        {"padding": "max_length", "max_length": 250},
        {"pad_to_multiple_of": 8},
        {"padding_side": "left"},
        {"return_attention_mask": False},
    ):
        options = {**options, "return_tensors": None if "return_attention_mask" in options else tensors}
        made, like = (tokenizer.pad([dict(e) for e in examples], **options) for tokenizer in (ours, theirs))
        assert list(made) == list(like)
        assert values(made) == values(like), options


@pytest.mark.parametrize("kind", KINDS)
def test_other_forms(pairs, kind):
    ours, theirs = pairs[kind]
    rows = [theirs(text)["input_ids"] for text in TEXTS]
    for features in (
        {"input_ids": rows, "labels": list(range(len(rows)))},
        {"input_ids": rows[3]},
        {"input_ids": [[], [1, 2]]},
        {"input_ids": []},
        {"input_ids": [np.array(row, dtype=np.int64) for row in rows]},
        [{"input_ids": torch.tensor(row, dtype=torch.int64)} for row in rows if row],
        {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]},
    ):

        def fresh(features=features):
            return dict(features) if isinstance(features, dict) else [dict(entry) for entry in features]

        assert values(ours.pad(fresh())) == values(theirs.pad(fresh()))
        if not isinstance(features, list) and not hasattr(next(iter(features["input_ids"]), 0), "dtype"):
            made, like = (tokenizer.pad(fresh(), padding=False) for tokenizer in (ours, theirs))
            assert values(made) == values(like)


def test_what_can_not_be_padded_is_named(pairs):
    ours, _ = pairs["bert-vocab"]
    with pytest.raises(ArgumentError, match="'input_ids' among the features, got: labels"):
        ours.pad({"labels": [1]})
    with pytest.raises(ArgumentError, match="one entry per example"):
        ours.pad({"input_ids": [[1], [2, 3]], "labels": [1]})
    with pytest.raises(ArgumentError, match="dictionary"):
        ours.pad([1, 2])
    with pytest.raises(ArgumentError, match="integers"):
        ours.pad({"input_ids": ["a"]})
    with pytest.raises(ArgumentError, match="no padding token"):
        pairs["gpt2"][0].pad({"input_ids": [[1], [2, 3]]})


def test_a_batch_is_a_mapping_with_attributes():
    batch = BatchEncoding({"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]})
    assert {**batch} == {"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]}
    assert batch.labels == [0, 1]
    assert batch[0:1] == {"input_ids": [[1, 2]], "labels": [0]}
    assert not batch.is_fast
    assert batch.n_sequences is None
    with pytest.raises(AttributeError, match="keys: input_ids, labels"):
        _ = batch.attention_mask
    with pytest.raises(KeyError, match="holds no encodings"):
        _ = batch[0]
    with pytest.raises(ArgumentError, match="holds no encodings"):
        batch.tokens()


def test_tensors_move_and_other_values_stay():
    batch = BatchEncoding({"input_ids": [[1, 2]], "weights": [[0.5, 1.0]]}, tensor_type="pt")
    assert batch["weights"].dtype == torch.float32
    batch["text"] = "kept"
    moved = batch.to("meta")
    assert moved is batch
    assert batch["input_ids"].device.type == "meta"
    assert batch["text"] == "kept"
    with pytest.raises(ArgumentError, match="device"):
        batch.to(None)


def test_what_is_no_tensor_says_which_and_why():
    with pytest.raises(ArgumentError, match=r"'labels'.*padding=True"):
        BatchEncoding({"input_ids": [[1, 2]], "labels": [[1], [1, 2]]}, tensor_type="np")
    with pytest.raises(ArgumentError, match="'name'"):
        BatchEncoding({"name": ["a"]}, tensor_type="pt")
    assert BatchEncoding({"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True)["input_ids"].shape == (1, 2)


def test_tensors_share_the_engine_s_memory(pairs):
    ours, _ = pairs["bert-vocab"]
    batch = ours(TEXTS, padding=True, return_tensors="pt")
    assert batch["input_ids"].dtype == torch.int64
    assert batch["input_ids"].is_contiguous()
    batch["input_ids"][0, 0] = 77  # writable
    assert batch["input_ids"][0, 0] == 77
