"""Packing a padded batch and what stands where."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enfold.base.errors import ArgumentError
from enfold.nn.where import Packing, Where

masks = st.tuples(st.integers(1, 6), st.integers(1, 9)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 1), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    ).map(torch.tensor)
)


@settings(deadline=None)
@given(masks, st.sampled_from([(), (3,), (2, 2)]))
def test_unpacking_undoes_packing(mask, rest):
    x = torch.randn(*mask.shape, *rest)
    packing = Packing.of(tuple(mask.shape), mask)
    packed = packing.pack(x)
    assert packed.shape == (int(mask.sum()), *rest)
    kept = mask.bool().reshape(*mask.shape, *[1] * len(rest))
    assert torch.equal(packing.unpack(packed), torch.where(kept, x, torch.zeros(())))
    assert torch.equal(packing.pack(packing.unpack(packed)), packed)
    assert packing.lengths == tuple(mask.sum(1).tolist())
    assert (packing.index is None) == bool(mask.all())


@settings(deadline=None)
@given(masks)
def test_columns_are_the_places_in_the_padded_row(mask):
    packing = Packing.of(tuple(mask.shape), mask)
    assert packing.columns().tolist() == [int(c) for row in mask for c in row.nonzero().flatten()]


@settings(deadline=None)
@given(masks)
def test_gaps_are_padding_between_tokens(mask):
    wanted = any("10" in "".join(map(str, row.tolist())).rstrip("0") for row in mask)
    assert Packing.of(tuple(mask.shape), mask).gaps == wanted


@settings(deadline=None)
@given(masks, st.integers(1, 12))
def test_the_last_columns_alone(mask, count):
    packing = Packing.of(tuple(mask.shape), mask)
    part, kept = packing.last_columns(count)
    x = torch.randn(*mask.shape, 2)
    whole = packing.unpack(packing.pack(x))
    assert torch.equal(part.unpack(packing.pack(x)[kept]), whole[:, -count:])
    assert part.lengths == tuple(mask[:, -count:].sum(1).tolist())


@settings(deadline=None)
@given(masks)
def test_spreading_puts_aligned_tokens_at_their_columns(mask):
    packing = Packing.of(tuple(mask.shape), mask)
    aligned = torch.zeros(mask.shape[0], 2, max(packing.lengths))
    for row, length in enumerate(packing.lengths):
        aligned[row, :, :length] = torch.arange(1, length + 1)
    spread = packing.spread(aligned, 2)
    assert spread.shape == (mask.shape[0], 2, mask.shape[1])
    assert torch.equal(spread[:, 0], (mask.cumsum(1) * mask).float())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=8))
def test_runs_are_neighbours_of_one_shape_and_cover_all(shapes):
    lengths, past = tuple(n for n, _ in shapes), tuple(p for _, p in shapes)
    where = Where(lengths, torch.zeros(sum(lengths), dtype=torch.int64), past=past)
    assert [row for first, end in where.runs for row in range(first, end)] == list(range(len(shapes)))
    for first, end in where.runs:
        assert len(set(shapes[first:end])) == 1
    for (_, end), (first, _) in zip(where.runs, where.runs[1:], strict=False):
        assert shapes[end - 1] != shapes[first]
    assert where.offsets == tuple(sum(lengths[:i]) for i in range(len(lengths) + 1))
    assert where.decoding == (set(lengths) == {1})
    assert where.after == tuple(a + b for a, b in shapes)
    wanted = [p + i for n, p in shapes for i in range(n)]
    assert where.slots.tolist() == wanted


def test_two_tokens_for_one_and_none_for_another_is_not_decoding():
    assert not Where((2, 0), torch.zeros(2, dtype=torch.int64)).decoding


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_masks_of_any_number(dtype):
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]]).to(dtype)
    assert Packing.of((2, 3), mask).lengths == (2, 1)
    assert Packing.of((2, 3), torch.ones(2, 3, dtype=dtype)).index is None
    assert Packing.of((2, 3), None).lengths == (3, 3)


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 1, 1, 3), (6,)])
def test_masks_of_another_shape(shape):
    with pytest.raises(ArgumentError, match=r"expected \(2, 3\)"):
        Packing.of((2, 3), torch.ones(shape))


def test_tensors_of_another_batch():
    with pytest.raises(ArgumentError, match=r"\(2, 4\) came with a batch of 2 rows and 3 columns"):
        Packing.of((2, 3), None).pack(torch.zeros(2, 4))


def test_the_end_is_read_off_the_positions():
    assert Where((2, 1), torch.tensor([3, 9, 0])).end == 10
    assert Where((0,), torch.empty(0, dtype=torch.int64)).end == 0
