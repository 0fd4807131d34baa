"""Ops with a state, against float64."""

import pytest
import torch

from enfold.base.errors import ArgumentError
from enfold.nn import kernels
from enfold.nn.kernels import dispatch


@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("states", [1, 5, 16])
def test_selective_scan_equals_float64(level, native, channels, states):
    lengths = [3, 0, 1, 40]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    step, u = torch.rand(44, channels), torch.randn(44, channels)
    into, out_of = torch.randn(44, 2 * states + 3).split([states, states + 3], 1)
    out_of = out_of[:, 3:]
    decay, state = -4 * torch.rand(channels, states), torch.randn(4, channels, states)
    before = state.clone()
    found = kernels.selective_scan(step, u, into, out_of, decay, offsets, state)
    assert found is not None
    assert native == ["selective_scan"]
    assert torch.equal(state, before)
    for b in range(4):
        h = state[b].double()
        for t in range(int(offsets[b]), int(offsets[b + 1])):
            x = (step[t] * u[t]).double()[:, None] * into[t].double()
            h = (step[t].double()[:, None] * decay.double()).exp() * h + x
            assert (found[0][t] - h @ out_of[t].double()).abs().max() <= 2e-5
        assert (found[1][b] - h).abs().max() <= 1e-5


def test_selective_scan_refuses_what_does_not_fit(level, monkeypatch):
    x, a, h = torch.rand(5, 3), torch.rand(5, 2), torch.zeros(2, 3, 2)
    for offsets in ([0, 2, 6], [1, 2, 5], [0, 3, 2], [0, 2, 4]):
        with pytest.raises(ArgumentError, match="offsets"):
            kernels.selective_scan(x, x, a, a, -h[0], torch.tensor(offsets), h)
    with pytest.raises(ArgumentError, match="don't fit"):
        kernels.selective_scan(x, x, a, a[:, :1], -h[0], torch.tensor([0, 2, 5]), h)
    given = (x, x, a, a, -h[0], torch.tensor([0, 2, 5]), h)
    assert kernels.selective_scan(*(t.double() if t.is_floating_point() else t for t in given)) is None
    with torch.enable_grad():
        assert kernels.selective_scan(x.requires_grad_(), *given[1:]) is None
    monkeypatch.setattr(dispatch, "_enabled", False)
    assert kernels.selective_scan(*given) is None
