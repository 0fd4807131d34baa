"""Small questions that users ask every model, beside the reference's answers."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from tests.models.pairs import error, fresh, inputs, ours_class, pair, right_mask, theirs_class
from tests.models.rows import ONE_EACH, ROWS, Row

SEQ2SEQ = [row for row in ONE_EACH if row.seq2seq]


def test_who_writes():
    for row in ROWS:
        assert ours_class(row).can_generate() == theirs_class(row).can_generate(), row.head


@pytest.mark.parametrize("row", SEQ2SEQ, ids=str)
@torch.no_grad()
def test_an_encoder_by_itself(row: Row):
    both, given = pair(row), inputs(row, right_mask())
    wanted = both.ours(**given).logits
    source = {name: given.pop(name) for name in ("input_ids",)} | {"attention_mask": given["attention_mask"]}
    found, theirs = both.ours.get_encoder()(**source), both.theirs.get_encoder()(**source)
    real = source["attention_mask"].bool()
    assert error(found.last_hidden_state[real], theirs.last_hidden_state[real]) <= 1e-5
    assert torch.equal(both.ours(**given, encoder_outputs=found).logits, wanted)
    ids = {id(parameter) for parameter in both.ours.parameters()}
    assert {id(parameter) for parameter in both.ours.get_encoder().parameters()} < ids
    assert {id(parameter) for parameter in both.ours.get_decoder().parameters()} < ids


def test_who_reads_and_who_writes():
    for row in ONE_EACH:
        model = pair(row).ours
        if row.seq2seq:
            continue
        if row.decodes:
            assert model.get_decoder() is model.base_model
            with pytest.raises(ArgumentError, match=f"{row.head} is a decoder alone"):
                model.get_encoder()
        else:
            assert model.get_encoder() is model.base_model
            with pytest.raises(ArgumentError, match=f"{row.head} is an encoder alone"):
                model.get_decoder()


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row.head in ("GPT2LMHeadModel", "MarianMTModel")], ids=str)
def test_memory_and_checkpointing(row: Row):
    model, theirs = fresh(row), pair(row).theirs
    frozen = sum(4 * p.numel() for p in model.parameters() if not p.requires_grad)
    theirs_frozen = sum(4 * p.numel() for p in theirs.parameters() if not p.requires_grad)
    assert model.get_memory_footprint(False) - frozen == theirs.get_memory_footprint(False) - theirs_frozen
    assert model.get_memory_footprint() >= model.get_memory_footprint(False)
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing


def test_gradients_reach_frozen_embeddings():
    row = next(row for row in ONE_EACH if row.head == "LlamaForCausalLM")
    model, given = fresh(row), inputs(row)
    model.requires_grad_(False)
    assert not model(**given).logits.requires_grad
    model.enable_input_require_grads()
    model.enable_input_require_grads()
    assert model(**given).logits.requires_grad
    with torch.no_grad():
        assert not model(**given).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(**given).logits.requires_grad
