"""What a cache keeps, gives back, forgets and refuses."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from enfold.base.errors import ArgumentError, LengthError
from enfold.nn.cache import Cache, FixedCache, Packed
from enfold.nn.where import Where

KV, WIDTH = 2, 3


def where_of(lengths: tuple[int, ...], past: tuple[int, ...]) -> Where:
    positions = [p + i for n, p in zip(lengths, past, strict=True) for i in range(n)]
    return Where(lengths, torch.tensor(positions, dtype=torch.int64), past=past or None)


def contents(cache: Cache, depth: int = 0) -> list[Tensor]:
    """Keys [L, Hkv, d] of every row."""
    keys, _ = cache._own[depth]
    return [keys[row, :, :length].transpose(0, 1) for row, length in enumerate(cache.lengths)]


def write(cache: Cache, lengths: tuple[int, ...], depths: int = 2) -> list[Tensor]:
    """Random keys in every depth; those of depth 0, by row. Values are minus the keys."""
    where = where_of(lengths, cache.lengths or (0,) * len(lengths))
    fresh = [torch.randn(sum(lengths), KV, WIDTH) for _ in range(depths)]
    for depth, keys in enumerate(fresh):
        stored = cache.write(depth, where, keys, -keys)
        assert stored.lengths == where.after
        assert torch.equal(stored.values[0, :, : where.after[0]], -stored.keys[0, :, : where.after[0]])
    cache.advance(where, max(lengths))
    return [fresh[0][a:b] for a, b in itertools.pairwise(where.offsets)]


steps = st.integers(1, 4).flatmap(
    lambda rows: st.lists(st.lists(st.integers(0, 5), min_size=rows, max_size=rows).map(tuple), min_size=1, max_size=6)
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_every_row_holds_what_was_written_to_it(steps):
    cache = Cache()
    held = [[] for _ in steps[0]]
    for lengths in steps:
        for row, keys in enumerate(write(cache, lengths)):
            held[row].append(keys)
    for row, keys in enumerate(contents(cache)):
        assert torch.equal(keys, torch.cat(held[row]))
    assert cache.get_seq_length() == sum(map(max, steps))
    assert len(cache) == 2


def test_storage_grows_by_halves_and_keeps_what_it_holds():
    cache, capacities = Cache(), set()
    first = write(cache, (10, 10))
    for _ in range(300):
        write(cache, (1, 1))
        capacities.add(cache._own[0][0].shape[2])
    assert torch.equal(contents(cache)[1][:10], first[1])
    assert len(capacities) < 6
    assert all(capacity % 64 == 0 for capacity in capacities)
    assert max(capacities) < 2 * 310


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2), max_size=5))
def test_rows_are_kept_repeated_and_reordered(rows):
    cache = Cache()
    write(cache, (4, 1, 3))
    before = [keys.clone() for keys in contents(cache)]
    cross = torch.randn(5, KV, WIDTH)
    cache.write_cross(0, Packed(cross, -cross, (2, 0, 3), (0, 2, 2, 5)))
    cache.select(rows)
    assert cache.lengths == tuple((4, 1, 3)[row] for row in rows)
    for keys, row in zip(contents(cache), rows, strict=True):
        assert torch.equal(keys, before[row])
    crossed = cache.cross(0)
    assert crossed is not None
    assert crossed.lengths == tuple((2, 0, 3)[row] for row in rows)
    for place, row in enumerate(rows):
        start, end = ((0, 2), (2, 2), (2, 5))[row]
        assert torch.equal(crossed.keys[place, :, : end - start].transpose(0, 1), cross[start:end])
    if rows:
        more = write(cache, (2,) * len(rows))
        for keys, new in zip(contents(cache), more, strict=True):
            assert torch.equal(keys[-2:], new)


def test_cropping():
    cache = Cache()
    write(cache, (6, 2))
    before = contents(cache)[0].clone()
    cache.crop(3)
    assert (cache.lengths, cache.columns) == ((3, 2), 3)
    new = write(cache, (1, 1))
    assert torch.equal(contents(cache)[0], torch.cat([before[:3], new[0]]))
    cache.crop(-2)
    assert (cache.lengths, cache.columns) == ((2, 1), 2)
    cache.crop(-10)
    assert (cache.lengths, cache.columns) == ((0, 0), 0)


def test_a_fixed_cache_allocates_once_and_refuses_more():
    cache = FixedCache(8)
    write(cache, (5, 2))
    storage = cache._own[0][0].data_ptr()
    write(cache, (3, 1))
    assert cache._own[0][0].data_ptr() == storage
    with pytest.raises(LengthError, match=r"holds 8 tokens a sequence and 9 are needed.*growing Cache"):
        write(cache, (1, 1))
    assert cache.lengths == (8, 3)
    with pytest.raises(ArgumentError, match="max_length is 0"):
        FixedCache(0)


def test_two_tokens_in_one_row_and_none_in_the_next():
    """As many tokens as rows, and yet not one for each."""
    cache = Cache()
    write(cache, (1, 1))
    new = write(cache, (2, 0))
    assert cache.lengths == (3, 1)
    assert torch.equal(contents(cache)[0][1:], new[0])


def test_a_cache_filled_in_inference_mode_goes_on_after_it():
    cache = Cache()
    with torch.inference_mode():
        write(cache, (3, 2))
        cross = torch.randn(5, KV, WIDTH)
        cache.write_cross(0, Packed(cross, cross, (2, 3), (0, 2, 5)))
        cache.select([1, 0])
    new = write(cache, (1, 1))
    assert torch.equal(contents(cache)[0][-1:], new[0])
