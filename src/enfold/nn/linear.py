"""Linear maps that take the native kernel for few rows, and groups of them that run as one product."""

import threading
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from enfold.nn import kernels
from enfold.nn.split import whole_class


class Linear(nn.Linear):
    """`y = x Wᵀ + b` over packed rows [N, in] → [N, out]. Weights start uninitialised: the model fills them."""

    def reset_parameters(self) -> None:
        """Nothing: initialisation belongs to the model (`PreTrainedModel.initialise`), loading overwrites anyway."""

    def forward(self, input: Tensor) -> Tensor:
        return kernels.linear(input, self.weight, self.bias)

    def activated(self, input: Tensor, activation: str) -> Tensor:
        """The product, and an activation of it in the same pass."""
        return kernels.linear(input, self.weight, self.bias, activation)


class Embedding(nn.Embedding):
    """A table of vectors, multiplied by `scale` as they are looked up.

    Rows start uninitialised: drawing them on the meta device would load torch's compiler.
    """

    def __init__(self, rows: int, width: int, scale: float = 1.0):
        super().__init__(rows, width)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        found = super().forward(input)
        return found if self.scale == 1.0 else found * torch.tensor(self.scale, dtype=found.dtype)

    def reset_parameters(self) -> None:
        """Nothing: see `Linear.reset_parameters`."""


class Group:
    """Sibling `Linear`s of one input (q, k, v; gate, up) whose weights lie behind each other in one storage.

    Each sibling stays a module with its own parameter, so adapters, optimisers and checkpoints see the names they
    expect, and inference multiplies by all of them at once. `join` lays the weights out; when something has moved them
    since (an optimiser never does), or has put a hook or another layer in a sibling's place, they run one by one.
    """

    def __init__(self, owner: nn.Module, names: tuple[str, ...]):
        self.owner = owner
        self.names = names
        self.weight: Tensor | None = None  # [sum of rows, in]
        self.bias: Tensor | None = None
        self.starts: tuple[tuple[int, int], ...] = ()  # where each member's weight and bias begin
        self.copied = False  # copies and unpickled groups are laid out when they first run
        self.widths = tuple(m.out_features for m in self.members() if isinstance(m, Linear))

    def __deepcopy__(self, memo: dict) -> "Group":
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__getstate__(), owner=memo.get(id(self.owner), self.owner))
        return copied

    def __getstate__(self) -> dict:
        return self.__dict__ | {"weight": None, "bias": None, "starts": (), "copied": True}

    def members(self) -> list[nn.Module]:
        return [self.owner._modules[name] for name in self.names]  # type: ignore[misc]

    @torch.no_grad()
    def join(self) -> None:
        """Lay the members' present weights behind each other; members that differ in kind stay apart."""
        members = [m for m in self.members() if untouched(m)]
        self.weight = self.bias = None
        if len(members) < len(self.names) or any(m.weight.is_meta for m in members):
            return
        if len({(m.weight.dtype, m.weight.device, m.bias is None) for m in members}) > 1:
            return
        held = [(m.weight.detach(), None if m.bias is None else m.bias.detach()) for m in members]
        self.allocate(members[0].weight.dtype, members[0].weight.device)
        for member, (weight, bias) in zip(members, held, strict=True):
            member.weight.copy_(weight)
            if bias is not None:
                member.bias.copy_(bias)

    def allocate(self, dtype: torch.dtype, device: torch.device | str) -> None:
        """Give the members uninitialised weights behind each other, for a loader to fill."""
        members = [m for m in self.members() if isinstance(m, Linear)]
        self.weight = _allocate(members, "weight", dtype, device)
        self.bias = None if members[0].bias is None else _allocate(members, "bias", dtype, device)
        self.starts = tuple(map(_starts, members))

    def joined(self) -> bool:
        """Whether the members' weights are still where `join` put them."""
        if self.weight is None:
            return False
        modules = self.owner._modules
        for name, start in zip(self.names, self.starts, strict=True):
            module = modules[name]
            if not untouched(module) or _starts(module) != start:
                return False
        return True

    def whole(self, x: Tensor) -> Tensor | None:
        """All products side by side, [N, in] → [N, sum of outs], or None when they can't be one."""
        if torch.is_grad_enabled():
            return None
        if self.copied:
            with _joining, torch.inference_mode(False):  # parameters outlive the mode that they are first run in
                if self.copied:
                    self.join()
                    self.copied = False
        if not self.joined():
            return None
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """[N, in] by the weights that `join` laid out."""
        assert self.weight is not None
        return kernels.linear(x, self.weight, self.bias)

    def parts(self, x: Tensor) -> Sequence[Tensor]:
        """The members' products, [N, in] → [N, out] each."""
        whole = self.whole(x)
        if whole is None:
            return [member(x) for member in self.members()]
        return whole.split(self.widths, dim=-1)


_joining = threading.Lock()


def unhooked(module: nn.Module) -> bool:
    """Whether calling a module runs its class's `forward` and nothing else."""
    return not module._forward_hooks and not module._forward_pre_hooks and "forward" not in module.__dict__


def untouched(module: nn.Module | None) -> TypeGuard[Linear]:
    """Whether a module computes what its weights say: no other class, hook, patched method or computed weight."""
    if module is None or not (type(module) is Linear or splits_columns(module)) or not unhooked(module):
        return False
    weight = module._parameters.get("weight")
    if weight is None or type(weight) is nn.Parameter or type(weight) is Tensor:
        return weight is not None
    mesh: Any = getattr(weight, "device_mesh", None)
    return splits_columns(module) and mesh is not None and mesh.ndim == 1


def splits_columns(module: nn.Module) -> bool:
    """Whether a linear map computes with the rows of its weight that this rank keeps, and with nothing else."""
    return module.__dict__.get("kept", False) and whole_class(module) is Linear


def _starts(module: nn.Module) -> tuple[int, int]:
    weight, bias = (here(module._parameters[name]) for name in ("weight", "bias"))
    assert weight is not None
    return weight.data_ptr(), 0 if bias is None else bias.data_ptr()


def here(weight: Tensor | None) -> Tensor | None:
    """The memory of this rank, of a tensor that several hold together."""
    return getattr(weight, "_local_tensor", weight)


def _allocate(members: list[Linear], name: str, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    parts = [getattr(m, name) for m in members]
    whole = torch.empty(sum(p.shape[0] for p in parts), *parts[0].shape[1:], dtype=dtype, device=device)
    start = 0
    for member, part in zip(members, parts, strict=True):
        piece = whole[start : start + part.shape[0]]
        if part.is_meta:
            setattr(member, name, nn.Parameter(piece, requires_grad=part.requires_grad))
        else:
            part.data = piece
        start += part.shape[0]
    return whole
