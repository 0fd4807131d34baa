"""Sibling projections that run as one product, and when they don't."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn

from enfold.nn.linear import Group, Linear


class Siblings(nn.Module):
    def __init__(self, bias: bool = True, dtype=torch.float32, device: str = "cpu"):
        super().__init__()
        self.a, self.b, self.c = (Linear(6, n, bias=bias, device=device, dtype=dtype) for n in (4, 2, 3))
        self.group = Group(self, ("a", "b", "c"))
        if device == "cpu":
            for parameter in self.parameters():
                nn.init.normal_(parameter)

    def forward(self, x):
        return torch.cat(list(self.group.parts(x)), dim=-1)

    def apart(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x)], dim=-1)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def siblings(request) -> Siblings:
    torch.manual_seed(0)
    module = Siblings(request.param)
    module.group.join()
    return module


X = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def same(module: Siblings, x=X) -> None:
    with torch.no_grad():
        torch.testing.assert_close(module(x), module.apart(x), rtol=1e-5, atol=1e-5)


def test_joining_changes_no_weight_and_no_answer(siblings):
    other = Siblings(siblings.a.bias is not None)
    before = {name: p.clone() for name, p in other.named_parameters()}
    parameters = list(other.parameters())
    other.group.join()
    assert other.group.joined()
    assert all(a is b for a, b in zip(parameters, other.parameters(), strict=True))
    assert all(torch.equal(before[name], p) for name, p in other.named_parameters())
    same(other)
    with torch.no_grad():
        assert torch.equal(torch.cat([m.weight for m in (other.a, other.b, other.c)]), other.group.weight)


def test_the_whole_is_one_tensor_without_gradients_only(siblings):
    with torch.no_grad():
        assert siblings.group.whole(X).shape == (5, 9)
    assert siblings.group.whole(X) is None
    siblings(X).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in siblings.parameters())


def test_an_optimiser_s_step_is_seen(siblings):
    optimiser = torch.optim.AdamW(siblings.parameters(), lr=0.1)
    with torch.no_grad():
        before = siblings(X)
    for _ in range(2):
        optimiser.zero_grad()
        siblings(X).square().sum().backward()
        optimiser.step()
    assert siblings.group.joined()
    same(siblings)
    with torch.no_grad():
        assert not torch.equal(siblings(X), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_after_a_change_of_dtype_they_run_apart_until_joined(siblings, dtype):
    siblings.to(dtype)
    assert not siblings.group.joined()
    with torch.no_grad():
        assert siblings(X.to(dtype)).dtype == dtype
        siblings.group.join()
        assert siblings.group.whole(X.to(dtype)).dtype == dtype
    assert all(m.weight.dtype == dtype for m in (siblings.a, siblings.b, siblings.c))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_stand_alone_and_are_joined_when_they_run(siblings, copied):
    twin = copied(siblings)
    assert twin.group.owner is twin
    with torch.no_grad():
        wanted = siblings(X)
        torch.testing.assert_close(twin(X), wanted, rtol=1e-5, atol=1e-5)
        assert twin.group.joined()
        twin.b.weight.zero_()
        assert torch.equal(siblings(X), wanted)
        assert not torch.equal(twin(X), wanted)


def test_loading_a_state_keeps_them_joined(siblings):
    other = Siblings(siblings.a.bias is not None)
    other.group.join()
    other.load_state_dict(siblings.state_dict())
    assert other.group.joined()
    with torch.no_grad():
        assert torch.equal(other(X), siblings(X))


def test_members_that_differ_stay_apart():
    module = Siblings()
    module.b = Linear(6, 2, bias=False)
    nn.init.normal_(module.b.weight)
    module.group.join()
    assert not module.group.joined()
    same(module)
    module = Siblings()
    module.b = nn.Linear(6, 2)
    module.group.join()
    assert not module.group.joined()
    same(module)
    module = Siblings()
    module.b.double()
    module.group.join()
    assert not module.group.joined()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "b", nn.Sequential(m.b)),
        lambda m: setattr(m.b, "weight", nn.Parameter(m.b.weight.detach() * 2)),
        lambda m: setattr(m.b.weight, "data", m.b.weight.data * 2),
        lambda m: m.b.register_forward_hook(lambda module, args, out: out * 2),
        lambda m: m.b.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
        lambda m: setattr(m.b, "forward", lambda x: x[:, :2]),
        lambda m: nn.utils.parametrizations.weight_norm(m.b),
    ],
    ids=["another layer", "parameter", "data", "hook", "pre-hook", "patched method", "parametrised"],
)
def test_changes_to_one_member_are_seen(siblings, change):
    change(siblings)
    assert not siblings.group.joined()
    same(siblings)


def test_a_replaced_bias_is_seen():
    module = Siblings()
    module.group.join()
    module.c.bias = nn.Parameter(torch.full((3,), 100.0))
    same(module)
    module.c.bias = None
    same(module)


def test_allocating_on_the_meta_device_for_a_loader():
    module = Siblings(device="meta")
    module.group.join()
    assert not module.group.joined()
    module.group.allocate(torch.bfloat16, "cpu")
    assert module.group.joined()
    assert all(p.dtype == torch.bfloat16 and not p.is_meta for p in module.parameters())
    assert module.a.weight.untyped_storage().data_ptr() == module.c.weight.untyped_storage().data_ptr()


def test_a_group_does_not_keep_its_owner_s_copies_alive(siblings):
    import weakref

    twin = copy.deepcopy(siblings)
    reference = weakref.ref(twin)
    del twin
    gc.collect()
    assert reference() is None
