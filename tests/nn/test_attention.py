"""Every backend against the definition, spelled out in float64."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.attention import BACKENDS, Query, Rule, attend, backend_name
from enfold.nn.cache import Cache, Packed
from enfold.nn.where import Where

HEADS, WIDTH = 4, 8


class Distances:
    """A bias per distance and head."""

    counts = "columns"

    def __init__(self) -> None:
        self.table = torch.randn(HEADS, 100, generator=torch.Generator().manual_seed(9))

    def __call__(self, new: int, every: int) -> Tensor:
        places = torch.arange(every)
        return self.between(places[every - new :], places)

    def between(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.along(keys[None, :] - queries[:, None])

    def along(self, distances: Tensor) -> Tensor:
        return self.table[:, distances + 50]


def definition(q: Tensor, rows: list[tuple[Tensor, Tensor]], rule: Rule, lengths, bias, positions=None) -> Tensor:
    """Loops over everything: q [N, H, d]; for each sequence its keys and values [L, Hkv, d]."""
    out, start = torch.zeros(q.shape, dtype=torch.float64), 0
    for new, (keys, values) in zip(lengths, rows, strict=True):
        every = len(keys)
        added = None if bias is None else bias(new, every).double()
        if positions is not None and bias is not None:
            places = positions[start : start + new]
            added = bias.between(places, places).double()
        for i, h in itertools.product(range(new), range(HEADS)):
            kv = h * keys.shape[1] // HEADS
            seen = every - new + i + 1 if rule.causal else every
            if not seen:
                continue
            scores = keys[:seen, kv].double() @ q[start + i, h].double() * rule.scale
            if added is not None:
                scores = scores + added[h, i, :seen]
            weights = torch.softmax(scores, 0)
            out[start + i, h] = weights @ values[:seen, kv].double()
        start += new
    return out


def where_of(lengths: tuple[int, ...], past: tuple[int, ...] | None = None) -> Where:
    starts = past or (0,) * len(lengths)
    positions = [s + i for n, s in zip(lengths, starts, strict=True) for i in range(n)]
    return Where(lengths, torch.tensor(positions, dtype=torch.int64), past=past)


def packed_query(lengths, kv_heads, rule, bias=None, where=None, dtype=torch.float32):
    torch.manual_seed(3)
    where = where or where_of(lengths)
    q = torch.randn(sum(lengths), HEADS, WIDTH).to(dtype)
    k, v = torch.randn(2, sum(lengths), kv_heads, WIDTH).to(dtype)
    query = Query(q, Packed(k, v, where.lengths, where.offsets), rule, where, bias=bias)
    pairs = [(k[a:b], v[a:b]) for a, b in itertools.pairwise(where.offsets)]
    return query, pairs


def stored_query(lengths, past, kv_heads, rule, bias=None, dtype=torch.float32):
    """Over a cache that already holds `past` tokens of each sequence."""
    torch.manual_seed(4)
    cache, before = Cache(), where_of(past)
    old = torch.randn(2, sum(past), kv_heads, WIDTH).to(dtype)
    cache.write(0, before, *old)
    cache.advance(before, max(past))
    where = where_of(lengths, past)
    q = torch.randn(sum(lengths), HEADS, WIDTH).to(dtype)
    new = torch.randn(2, sum(lengths), kv_heads, WIDTH).to(dtype)
    query = Query(q, cache.write(0, where, *new), rule, where, bias=bias)
    pairs = []
    for (a, b), (c, d) in zip(itertools.pairwise(before.offsets), itertools.pairwise(where.offsets), strict=True):
        pairs.append(tuple(torch.cat([x[a:b], y[c:d]]) for x, y in zip(old, new, strict=True)))
    return query, pairs


LENGTHS = [(5,), (3, 3), (4, 1, 1, 6), (2, 0, 3), (1, 1, 1), (7, 2, 2)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("biased", [False, True])
@torch.no_grad()
def test_packed_sequences(backend, lengths, kv_heads, causal, biased):
    rule, bias = Rule(causal, 0.4), Distances() if biased else None
    query, pairs = packed_query(lengths, kv_heads, rule, bias)
    if reason := BACKENDS[backend].refuses(query):
        assert kernels.available() is None
        pytest.skip(reason)
    wanted = definition(query.q, pairs, rule, lengths, bias)
    torch.testing.assert_close(attend(query, backend).double(), wanted, rtol=1e-5, atol=1e-5)


CACHED = [
    ((1, 1, 1), (4, 4, 4)),
    ((1, 1, 1), (4, 70, 1)),
    ((3, 3), (5, 5)),
    ((2, 5, 1), (6, 1, 3)),
    ((2, 0, 1), (3, 4, 2)),
    ((1,), (200,)),
    ((1, 1), (0, 3)),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("lengths", "past"), CACHED, ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("biased", [False, True])
@torch.no_grad()
def test_ragged_caches(backend, lengths, past, kv_heads, biased):
    rule = Rule(True, WIDTH**-0.5)
    bias = Distances() if biased and max(past) < 50 else None
    query, pairs = stored_query(lengths, past, kv_heads, rule, bias)
    if reason := BACKENDS[backend].refuses(query):
        assert backend == "native"
        assert "one new token" in reason or kernels.available() is None
        return
    wanted = definition(query.q, pairs, rule, lengths, bias)
    torch.testing.assert_close(attend(query, backend).double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["plain", "sdpa"])
@torch.no_grad()
def test_another_sequence_is_attended_to_in_full(backend):
    """Cross-attention: queries and keys differ in number, and a source may be empty."""
    rule, where, source = Rule(False, 1.0), where_of((3, 2, 2)), where_of((4, 2, 0))
    torch.manual_seed(0)
    q, (k, v) = torch.randn(7, HEADS, WIDTH), torch.randn(2, 6, HEADS, WIDTH)
    query = Query(q, Packed(k, v, source.lengths, source.offsets), rule, where)
    pairs = [(k[a:b], v[a:b]) for a, b in itertools.pairwise(source.offsets)]
    wanted = definition(q, pairs, rule, where.lengths, None)
    torch.testing.assert_close(attend(query, backend).double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(attend(query).double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["plain", "sdpa", None])
@torch.no_grad()
def test_biases_over_gaps_follow_the_columns(backend):
    lengths, positions = (3, 3, 2), torch.tensor([0, 2, 3, 0, 1, 7, 4, 5])
    where = Where(lengths, torch.randint(0, 9, (8,)), columns=positions)
    rule, bias = Rule(True, 1.0), Distances()
    query, pairs = packed_query(lengths, 4, rule, bias, where=where)
    wanted = definition(query.q, pairs, rule, lengths, bias, positions)
    torch.testing.assert_close(attend(query, backend).double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision(backend, dtype):
    rule = Rule(True, 0.3)
    for query, pairs in (
        packed_query((4, 2), 2, rule, dtype=dtype),
        stored_query((1, 1), (5, 9), 2, rule, dtype=dtype),
    ):
        if BACKENDS[backend].refuses(query):
            continue
        found = attend(query, backend)
        assert found.dtype == dtype
        wanted = definition(query.q, pairs, rule, query.where.lengths, None)
        torch.testing.assert_close(found.double(), wanted, rtol=3e-2, atol=3e-2)


def test_gradients_reach_queries_keys_values_and_bias():
    rule, bias = Rule(True, 0.5), Distances()
    bias.table.requires_grad_(True)
    found = []
    for backend in ("plain", "sdpa", None):
        query, _ = packed_query((4, 2), 2, rule, bias)
        leaves = [query.q, query.keys.keys, query.keys.values]
        for leaf in leaves:
            leaf.requires_grad_(True)
        bias.table.grad = None
        attend(query, backend).sin().sum().backward()
        found.append([leaf.grad for leaf in leaves] + [bias.table.grad])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_probabilities_are_shown_by_the_plain_backend_only():
    query, _ = packed_query((3, 2), 2, Rule(True, 1.0))
    query.probabilities = []
    attend(query, "plain")
    assert [p.shape for p in query.probabilities] == [(1, HEADS, 3, 3), (1, HEADS, 2, 2)]
    for weights in query.probabilities:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert not weights.triu(1).any()
    for backend in ("sdpa", "native"):
        with pytest.raises(ArgumentError, match=f"{backend!r} refuses: it does not show attention weights.*plain"):
            attend(query, backend)


@pytest.mark.skipif(kernels.available() is None, reason="the native kernels are turned off")
def test_refusals_name_their_reason():
    query, _ = stored_query((2, 1), (3, 3), 2, Rule(False, 1.0))
    with pytest.raises(ArgumentError, match=r"one token a sequence, or a decoder's own past.*Accepting: sdpa, plain"):
        attend(query, "native")
    query, _ = packed_query((3,), 2, Rule(True, 1.0))
    query.q.requires_grad_(True)
    with pytest.raises(ArgumentError, match="no gradient"):
        attend(query, "native")
    query, _ = packed_query((3,), 2, Rule(True, 1.0, dropout=0.5))
    with torch.no_grad(), pytest.raises(ArgumentError, match="no dropout"):
        attend(query, "native")
    query, _ = packed_query((3,), 2, Rule(True, 1.0), dtype=torch.float64)
    with torch.no_grad(), pytest.raises(ArgumentError, match=r"not torch\.float64"):
        attend(query, "native")
    assert BACKENDS["native"].refuses(packed_query((3,), 2, Rule(True, 1.0))[0]) is None


def test_names_of_backends():
    assert backend_name(None) is None
    assert backend_name("eager") == "plain"
    with pytest.raises(ArgumentError, match=r"'flash_attention_2' is unknown; known are native, sdpa, plain, eager"):
        backend_name("flash_attention_2")


def test_dropout_falls_on_the_probabilities():
    query, _ = packed_query((40,), 4, Rule(False, 0.0, dropout=0.5))
    query.keys.values.fill_(1.0)
    torch.manual_seed(0)
    for backend in ("plain", "sdpa"):
        mixed = attend(query, backend)
        assert mixed.std() > 0.05
        assert math.isclose(float(mixed.mean()), 1.0, abs_tol=0.1)
