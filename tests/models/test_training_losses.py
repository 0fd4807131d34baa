"""Sequences packed into one row, and losses without logits: the values and gradients of the plain way."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.models import losses
from tests.models.pairs import LENGTHS, fresh, fresh_theirs, inputs, labels, pair, right_mask
from tests.models.rows import ONE_EACH, ROWS

LANGUAGE = ("causal-lm", "masked-lm", "seq2seq-lm")
# One language model a family.
WRITERS = list({row.family: row for row in reversed(ROWS) if row.task in LANGUAGE}.values())
SINGLE = [row for row in WRITERS if not row.seq2seq]


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def same_gradients(one: torch.nn.Module, other: torch.nn.Module) -> None:
    ours, theirs = gradients(one), gradients(other)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=2e-4, atol=2e-6 + 1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("row", SINGLE, ids=str)
def test_packed_sequences_see_only_themselves(row):
    mask = right_mask()
    ids = inputs(row, mask)["input_ids"]
    padded, packed = fresh(row), fresh(row)
    expected = padded(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100))
    flat = ids[mask == 1][None]
    numbers = torch.arange(len(LENGTHS)).repeat_interleave(mask.sum(1))[None]
    got = (
        packed(input_ids=flat, sequence_ids=numbers, labels=flat, use_cache=False)
        if row.decodes
        else packed(input_ids=flat, sequence_ids=numbers, labels=flat)
    )
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.logits[0], expected.logits[mask == 1], rtol=1e-4, atol=1e-5)
    got.loss.backward()
    expected.loss.backward()
    same_gradients(packed, padded)


@pytest.mark.parametrize("row", [row for row in ONE_EACH if row.family in ("llama", "gpt2", "gemma3_text")], ids=str)
def test_positions_that_start_anew_start_a_sequence_as_in_the_reference(row):
    ours, theirs = fresh(row), fresh_theirs(row)
    ids = inputs(row)["input_ids"][:1]
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 0, 1, 2]])
    expected = theirs(input_ids=ids, position_ids=positions, use_cache=False).logits
    got = ours(input_ids=ids, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_packed_rows_have_neither_a_past_nor_a_source():
    row = next(row for row in ONE_EACH if row.family == "llama")
    ids = inputs(row)["input_ids"]
    past = pair(row).ours(input_ids=ids).past_key_values
    with pytest.raises(ArgumentError, match="sequence_ids goes with a whole batch"):
        pair(row).ours(input_ids=ids, sequence_ids=torch.zeros_like(ids), past_key_values=past)


@pytest.mark.parametrize("row", WRITERS, ids=str)
@pytest.mark.parametrize("entries", [1 << 24, 1], ids=["one chunk", "chunks"])
def test_loss_without_logits(row, entries, monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_ENTRIES", entries)
    given = inputs(row, right_mask())
    given = {name: torch.cat([value] * 3) for name, value in (given | labels(row, given)).items()}
    given["labels"][0, 1:3] = -100
    whole, chunked = fresh(row), fresh(row)
    expected, got = whole(**given), chunked(**given, output_logits=False)
    assert got.logits is None
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-6)
    (2 * got.loss).backward()
    (2 * expected.loss).backward()
    same_gradients(chunked, whole)


def test_loss_of_frozen_states_and_of_frozen_heads(monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_ENTRIES", 1)
    states, wanted = torch.randn(50, 4), torch.randint(0, 9, (50,))
    weight = torch.randn(9, 4)
    for learns in ((True, False), (False, True), (False, False)):
        x, w = states.clone().requires_grad_(learns[0]), weight.clone().requires_grad_(learns[1])
        loss = losses.chunked_token_loss(lambda s, w=w: s @ w.T, [w], x, wanted, 9)
        y, v = states.clone().requires_grad_(learns[0]), weight.clone().requires_grad_(learns[1])
        expected = losses.token_loss(y @ v.T, wanted)
        torch.testing.assert_close(loss, expected)
        if any(learns):
            loss.backward()
            expected.backward()
        for ours, theirs in ((x, y), (w, v)):
            assert (ours.grad is None) == (theirs.grad is None)
            if theirs.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad)


def test_nothing_to_learn_is_not_a_number_as_in_the_reference():
    states, weight = torch.randn(5, 4), torch.randn(9, 4)
    nothing = torch.full((5,), -100)
    assert torch.isnan(losses.token_loss(states @ weight.T, nothing))
    assert torch.isnan(losses.chunked_token_loss(lambda s: s @ weight.T, [], states, nothing, 9))


def test_half_precision_sums_in_full(monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_ENTRIES", 1)
    torch.manual_seed(0)
    states, wanted = torch.randn(4000, 8), torch.randint(0, 50, (4000,))
    weight = torch.randn(50, 8)
    exact = weight.clone().requires_grad_()
    losses.token_loss(states @ exact.T, wanted).backward()
    half = weight.bfloat16().requires_grad_()
    losses.chunked_token_loss(lambda s: s @ half.T, [half], states.bfloat16(), wanted, 50).backward()
    assert half.grad is not None
    assert exact.grad is not None
    assert float((half.grad.float() - exact.grad).norm() / exact.grad.norm()) < 0.02
