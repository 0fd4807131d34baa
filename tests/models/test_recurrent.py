"""Layers that remember a state: exact in chunks, over packed sequences, and from call to call."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.models.falcon_h1 import advance, scan_heads
from enfold.models.recurrent import Chunks, convolve, scan, selective_scan
from enfold.nn.kernels import dispatch
from enfold.nn.where import Where
from tests.models.pairs import error, pair
from tests.models.rows import DECODERS, Row

RECURRENT = [row for row in DECODERS if row.recurs]
LENGTHS = [(1,), (7, 0, 3, 1), (130, 2, 65), (0, 0)]


def where(lengths: tuple[int, ...]) -> Where:
    return Where(lengths, torch.cat([torch.arange(n) for n in lengths]))


def each(lengths: tuple[int, ...]):
    start = 0
    for row, length in enumerate(lengths):
        yield row, slice(start, start + length)
        start += length


@pytest.mark.parametrize("lengths", LENGTHS)
def test_scans_equal_one_step_after_another(lengths: tuple[int, ...]):
    torch.manual_seed(0)
    decay, update = -3 * torch.rand(sum(lengths), 4, 3), torch.randn(sum(lengths), 4, 3)
    state = torch.randn(len(lengths), 4, 3)
    found, last = scan(decay, update, where(lengths), state)
    for row, part in each(lengths):
        held = state[row]
        for place in range(part.start, part.stop):
            held = decay[place].exp() * held + update[place]
            assert (found[place] - held).abs().max() <= 1e-5
        assert (last[row] - held).abs().max() <= 1e-5


@pytest.mark.parametrize("lengths", LENGTHS)
def test_scans_of_heads_equal_one_step_after_another(lengths: tuple[int, ...]):
    torch.manual_seed(0)
    total, (heads, groups, dim, states) = sum(lengths), (4, 2, 3, 5)
    decay, update = -2 * torch.rand(total, heads), torch.randn(total, heads, dim)
    into, out = torch.randn(total, groups, states), torch.randn(total, groups, states)
    state = torch.randn(len(lengths), heads, dim, states)
    found, last = scan_heads(decay, update, into, out, where(lengths), state)
    for row, part in each(lengths):
        held, one = state[row : row + 1], where((1,))
        for place in range(part.start, part.stop):
            step = slice(place, place + 1)
            y, held = advance(decay[step], update[step], into[step], out[step], one, held)
            assert (found[step] - y).abs().max() <= 1e-4
        assert (last[row] - held[0]).abs().max() <= 1e-4


@pytest.mark.parametrize("lengths", [(1,), (7, 0, 3, 1), (1, 1), (0, 0)])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_convolutions_see_their_own_sequence_only(lengths: tuple[int, ...], kernel: int):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(sum(lengths), 6), torch.randn(6, kernel), torch.randn(6)
    past = torch.randn(len(lengths), kernel - 1, 6)
    found, last = convolve(x, weight, bias, where(lengths), past)
    for row, part in each(lengths):
        whole = torch.cat([past[row], x[part]])
        for place in range(part.stop - part.start):
            wanted = (whole[place : place + kernel] * weight.T).sum(0) + bias
            assert (found[part.start + place] - wanted).abs().max() <= 1e-5
        assert torch.equal(last[row], whole[len(whole) - kernel + 1 :])


def test_chunks_hold_every_token_once():
    chunks = Chunks.of(where((5, 0, 9)), 4)
    assert chunks.tokens.tolist() == [[0, 1, 2, 3], [4, 14, 14, 14], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 14, 14]]
    assert [(a.tolist(), b.tolist()) for a, b in chunks.order] == [([0, 2], [0, 2]), ([0, 2], [1, 3]), ([2], [4])]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_selective_scans_with_and_without_a_kernel(lengths: tuple[int, ...], monkeypatch):
    torch.manual_seed(0)
    total = sum(lengths)
    step, u, into, out = (torch.rand(total, 6), torch.randn(total, 6), torch.randn(total, 3), torch.randn(total, 3))
    given = (step, u, into, out, -3 * torch.rand(6, 3), where(lengths), torch.randn(len(lengths), 6, 3))
    found = selective_scan(*given)
    monkeypatch.setattr(dispatch, "_enabled", False)
    for ours, plain in zip(found, selective_scan(*given), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("row", RECURRENT, ids=str)
@torch.no_grad()
def test_states_follow_their_rows_and_outlive_generation(row: Row):
    model = pair(row).ours
    ids = torch.randint(3, row.entries["vocab_size"], (3, 8), generator=torch.Generator().manual_seed(2))
    whole = model(ids).logits
    with torch.inference_mode():
        cache = model(ids[:, :5], use_cache=True).past_key_values
    cache.select([2, 0])
    cache.reorder([0, 0], 0)
    again = model(ids[[2, 2], 5:], past_key_values=cache).logits
    assert error(again, whole[[2, 2], 5:]) <= 1e-5
    with pytest.raises(ArgumentError, match="no token can be taken back"):
        cache.crop(-1)
    with pytest.raises(ArgumentError, match="no token can be taken back"):
        cache.crop_rows([3, 9])
    cache.crop_rows(cache.lengths)
    assert len(cache) == row.entries["num_hidden_layers"]
