"""A prepared model's forward runs in the mixed precision by itself, as the reference's does."""

import copy

import pytest
import torch
from torch import nn

from enfold.accelerate import Accelerator


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 64), nn.Linear(64, 4)
        self.seen = []

    def forward(self, x, labels=None):
        hidden = self.first(x)
        self.seen.append(hidden.dtype)
        if hidden.isnan().any():
            raise ValueError("not a number")
        logits = self.second(hidden.relu())
        return {"logits": logits, "loss": None if labels is None else nn.functional.cross_entropy(logits, labels)}


def prepared(library, precision="bf16"):
    torch.manual_seed(0)
    return library(cpu=True, mixed_precision=precision).prepare(Net())


def test_forward_is_autocast_and_answers_are_wide():
    x, labels = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 4
    ours, plain = prepared(Accelerator), prepared(Accelerator, "no")
    found, wanted = ours(x, labels=labels), plain(x, labels=labels)
    assert (ours.seen, plain.seen) == ([torch.bfloat16], [torch.float32])
    assert found["logits"].dtype == found["loss"].dtype == torch.float32
    assert not torch.equal(found["logits"], wanted["logits"])
    torch.testing.assert_close(found["logits"], wanted["logits"], rtol=2e-2, atol=2e-2)
    found["loss"].backward()
    assert ours.first.weight.grad.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):  # what the reference gives the same model
        torch.manual_seed(0)
        torch.testing.assert_close(found["logits"], Net()(x)["logits"].float())


def test_a_forward_that_fails_leaves_nothing_behind():
    model = prepared(Accelerator)
    with pytest.raises(ValueError, match="not a number"):
        model(torch.full((1, 16), float("nan")))
    assert not torch.is_autocast_enabled("cpu")
    assert model(torch.zeros(1, 16))["logits"].dtype == torch.float32
    assert copy.deepcopy(model)(torch.zeros(1, 16))["logits"].dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_prepared_twice_is_entered_once():
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = accelerator.prepare(accelerator.prepare(Net()))
    assert len(model._forward_pre_hooks) == len(model._forward_hooks) == 1
