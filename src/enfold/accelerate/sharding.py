"""Weights in parts: each process keeps its share of every parameter, of its gradient and of its optimiser's state.

Under it is FSDP2: a unit (a layer, or what the layers leave) is gathered when it runs, and given back behind it.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from enfold.accelerate import operations
from enfold.accelerate.fsdp import FullyShardedDataParallelPlugin
from enfold.base.errors import ArgumentError, WeightsMismatchError
from enfold.nn.modules import Stack, groups

# An old parameter and the one in its place, by the old one's id; the old one is kept so that no other gets its id.
Replaced = dict[int, tuple[nn.Parameter, nn.Parameter]]


def shard(
    model: nn.Module,
    plugin: FullyShardedDataParallelPlugin,
    mesh: DeviceMesh,
    device: torch.device,
    mixed_precision: torch.dtype | None = None,
) -> Replaced:
    """Leave this process its part of a model's weights, in place. The weights are those of the first process.

    All processes call it. On the others the weights may be on the meta device.

    Args:
        mesh: of the processes that share the weights; with two dimensions, the first repeats them.
        device: where the model runs.
        mixed_precision: in which it runs, where the plugin doesn't say.

    Returns:
        What has taken the place of each parameter, for optimisers.

    Raises:
        ArgumentError: the model, or the plugin's classes, can't be sharded.
    """
    if any(stack.spec.layer_drop for stack in _stacks(model)):
        raise ArgumentError(
            "the model leaves out layers at random (layerdrop), and processes that leave out different ones would wait "
            "for each other forever: set it to 0"
        )
    if plugin.activation_checkpointing:
        if not hasattr(model, "gradient_checkpointing_enable"):
            raise ArgumentError(
                f"activation_checkpointing needs gradient_checkpointing_enable, which {type(model).__name__} lacks"
            )
        model.gradient_checkpointing_enable()  # type: ignore[operator]
    # What a model returns is looked at, never changed in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    names = dict(model.named_parameters(remove_duplicate=False))
    offload = bool(plugin.cpu_offload) and device.type != "cpu"
    options: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": plugin.precision(mixed_precision),
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    parted = any(isinstance(p, DTensor) for p in names.values())  # over another dimension of the mesh already
    values = {} if parted else _emptied(model, names)
    for unit in units(model, plugin):
        fully_shard(unit, reshard_after_forward=plugin.reshard_after_forward, **options)
    fully_shard(model, reshard_after_forward=None if plugin.reshard_after_forward else False, **options)
    for group in groups(model):  # what held the siblings side by side would hold them whole
        group.weight = group.bias = None
        group.copied = False
    if not parted:
        _fill(model, values, torch.device("cpu") if offload else device, device)
    now = dict(model.named_parameters(remove_duplicate=False))
    return {id(old): (old, now[name]) for name, old in names.items()}


def units(model: nn.Module, plugin: FullyShardedDataParallelPlugin) -> list[nn.Module]:
    """What is gathered as one, below the model itself; of modules in modules the inner ones first.

    Raises:
        ArgumentError: the model has no module of a class that the plugin names.
    """
    inner = [module for module in reversed(list(model.modules())) if module is not model]
    policy, wanted = plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap
    if callable(policy):
        return [module for module in inner if policy(module)]
    if policy == "NO_WRAP":
        return []
    if wanted is not None:
        known = {type(module).__name__ for module in inner}
        if unknown := sorted(set(wanted) - known):
            raise ArgumentError(
                f"transformer_cls_names_to_wrap names {unknown}, and {type(model).__name__} is made of "
                f"{sorted(known)}: name those, or leave it out for its layers"
            )
        return [module for module in inner if type(module).__name__ in wanted]
    layers = {id(layer) for stack in _stacks(model) for layer in stack.layers}
    kinds = set(getattr(model, "_no_split_modules", None) or ())  # of models that are not of the house
    found = [module for module in inner if id(module) in layers or type(module).__name__ in kinds]
    if policy == "TRANSFORMER_BASED_WRAP":
        return found
    if not found:
        found = [module for module in inner if type(module).forward is not nn.Module.forward]
    return [module for module in found if sum(p.numel() for p in module.parameters()) >= plugin.min_num_params]


def _stacks(model: nn.Module) -> list[Stack]:
    return [module for module in model.modules() if isinstance(module, Stack)]


@dataclass(frozen=True)
class _Described:
    """A tensor of the first process: what it looks like, and the first of its names."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    first: str


def _described(names: Mapping[str, Tensor]) -> dict[str, _Described]:
    """The tensors of the first process, by all their names. All processes call it."""
    firsts: dict[int, str] = {}
    described = {name: _Described(tuple(t.shape), t.dtype, firsts.setdefault(id(t), name)) for name, t in names.items()}
    missing = sorted(name for name, tensor in names.items() if tensor.is_meta)[:5]
    found = operations.broadcast_object_list([described, missing])
    if found[1]:
        raise ArgumentError(f"the first process has no weights for {found[1]}: load them before prepare")
    if found[0].keys() != described.keys():
        raise ArgumentError("the processes prepare different models: the names of their weights differ")
    return found[0]


def _emptied(model: nn.Module, names: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Put empty parameters like the first process's in the place of all; the first process's values by name."""
    values: dict[str, Tensor] = {**names, **dict(model.named_buffers())}
    described = _described(values)
    empty: dict[str, nn.Parameter] = {}
    for name, parameter in names.items():
        like = described[name]
        if like.first not in empty:
            made = torch.empty(like.shape, dtype=like.dtype, device="meta")
            empty[like.first] = nn.Parameter(made, requires_grad=parameter.requires_grad)
            vars(empty[like.first]).update(vars(parameter))
        _owner(model, name)._parameters[_leaf(name)] = empty[like.first]
    for name in dict(model.named_buffers()):
        like = described[name]
        _owner(model, name)._buffers[_leaf(name)] = torch.empty(like.shape, dtype=like.dtype, device="meta")
    if distributed.get_rank():
        return {}
    return {name: tensor.detach() for name, tensor in values.items()}


@torch.no_grad()
def _fill(model: nn.Module, values: dict[str, Tensor], home: torch.device, device: torch.device) -> None:
    """Give every process its part of the first one's values; parameters wait at `home`, buffers on the device."""
    model.to_empty(device=home)
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        _from_first(parameter, values.pop(name, None), device)
    for name, buffer in model.named_buffers():
        held = values.pop(name).to(device).contiguous() if name in values else torch.empty_like(buffer, device=device)
        distributed.broadcast(held, 0)
        _owner(model, name)._buffers[_leaf(name)] = held


def _from_first(target: DTensor, value: Tensor | None, device: torch.device) -> None:
    """This process's part of what the first process has, and the others give as None."""
    whole = torch.empty(target.shape, dtype=target.dtype, device=device) if value is None else value.to(device)
    part = distribute_tensor(whole, target.device_mesh, target.placements)
    target.to_local().copy_(part.to_local())


def _owner(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.rpartition(".")[0])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def replace_parameters(optimizer: torch.optim.Optimizer, replaced: Replaced) -> None:
    """Let an optimiser made for a model move its parts; what it remembers is cut like the weights."""
    for group in optimizer.param_groups:
        group["params"] = [replaced[id(p)][1] if id(p) in replaced else p for p in group["params"]]
    for old in [p for p in optimizer.state if id(p) in replaced]:
        new = replaced[id(old)][1]
        held = optimizer.state.pop(old)
        optimizer.state[new] = {
            name: part_of(value, new) if isinstance(value, Tensor) and value.shape == old.shape else value
            for name, value in held.items()
        }


def part_of(whole: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has as a whole, in parts as `like` is."""
    if not isinstance(like, DTensor):
        return whole.to(like.device)
    return _cut(whole, like)


def _cut(whole: Tensor, like: DTensor) -> DTensor:
    placed = whole.to(like.device_mesh.device_type)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def copy_whole(target: Tensor, whole: Tensor) -> None:
    """Values that every process has as a whole, into a tensor that may be in parts."""
    if isinstance(target, DTensor):
        target.to_local().copy_(_cut(whole, target).to_local())
    else:
        target.data.copy_(whole)


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are in parts."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def whole_class(model: nn.Module) -> type[nn.Module]:
    """The class that a model in parts was of before."""
    return next(kind for kind in type(model).__mro__ if not issubclass(kind, FSDPModule))


def moves_parts(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser's weights are in parts."""
    return any(isinstance(p, DTensor) for group in optimizer.param_groups for p in group["params"])


def whole(tensor: Tensor) -> Tensor:
    """A tensor without its parts, on the mesh's device. All processes call it."""
    if not isinstance(tensor, DTensor):
        return tensor
    # Parts may wait on the CPU.
    return tensor.to(tensor.device_mesh.device_type).full_tensor()  # type: ignore[attr-defined]


@torch.no_grad()
def whole_state(model: nn.Module, *, everywhere: bool = False) -> dict[str, Tensor]:
    """All weights by name, whole, on the CPU: on the first process, or `everywhere`. All processes call it."""
    keep = everywhere or not distributed.is_initialized() or distributed.get_rank() == 0
    gathered: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in gathered:
            value = whole(tensor.detach())
            gathered[id(tensor)] = value.cpu() if keep else value[:0] if value.ndim else value
        state[name] = gathered[id(tensor)]
    return state if keep else {}


@torch.no_grad()
def load_from_first(model: nn.Module, state: Mapping[str, Tensor] | None) -> None:
    """Weights of the first process (the others give None) into a model of parts. All processes call it.

    Raises:
        WeightsMismatchError: names or shapes differ.
    """
    held = model.state_dict(keep_vars=True)
    wrong: list[str | None] = [None]
    if state is not None:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        differing = sorted(name for name, tensor in held.items() if shapes.get(name) != tuple(tensor.shape))
        if differing or shapes.keys() - held.keys():
            unknown = sorted(shapes.keys() - held.keys())
            wrong = [f"missing, or of another shape, are {differing[:5]}, unknown {unknown[:5]}"]
    if operations.broadcast_object_list(wrong)[0] is not None:
        raise WeightsMismatchError(f"the weights are of another model than {type(model).__name__}: {wrong[0]}")
    for name, tensor in held.items():
        value = None if state is None else state[name]
        if isinstance(tensor, DTensor):
            _from_first(tensor, value, torch.device(tensor.device_mesh.device_type))
            continue
        whole = torch.empty_like(tensor) if value is None else value.to(tensor.device).contiguous()
        distributed.broadcast(whole, 0)
        tensor.data.copy_(whole)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """The block runs with all weights whole on every process, and without any exchange: `generate`, say.

    All processes enter and leave it.
    """
    if not isinstance(model, FSDPModule):
        yield
        return
    state = model._get_fsdp_state()
    state._lazy_init()  # else the first layer that runs would take itself for the model
    below = [m for m in model.modules() if isinstance(m, FSDPModule) and m is not model]
    before = [unit._get_fsdp_state()._auto_reshard_after_forward for unit in below]
    kept = [[g.post_forward_mesh_info for g in unit._get_fsdp_state()._fsdp_param_groups] for unit in below]
    for unit in [model, *below]:
        unit.unshard()
    for unit in below:
        unit.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for unit, auto, infos in zip(below, before, kept, strict=True):
            inner = unit._get_fsdp_state()
            inner._auto_reshard_after_forward = auto
            for group, info in zip(inner._fsdp_param_groups, infos, strict=True):
                group.post_forward_mesh_info = info
        for unit in [model, *below]:
            unit.reshard()


@contextmanager
def without_exchange(model: FSDPModule) -> Iterator[None]:
    """Backward leaves the gradients, whole, with this process."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float, norm_type: float, device: torch.device) -> Tensor:
    """Scale gradients down to `max_norm`, parts counted as of one whole; the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    infinite = norm_type == float("inf")
    total = torch.zeros((), device=device)
    for dimensions, local in _by_dimensions(gradients).values():
        norms = [torch.linalg.vector_norm(g, norm_type, dtype=torch.float32).to(device) for g in local if g.numel()]
        found = torch.linalg.vector_norm(torch.stack(norms), norm_type) if norms else torch.zeros((), device=device)
        share = found if infinite else found**norm_type
        for mesh, dimension in dimensions:
            operation = distributed.ReduceOp.MAX if infinite else distributed.ReduceOp.SUM
            distributed.all_reduce(share, operation, mesh.get_group(dimension))
        total = torch.maximum(total, share) if infinite else total + share
    norm = total if infinite else total ** (1.0 / norm_type)
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        local.mul_(scale.to(local.device))
    return norm


@torch.no_grad()
def clip_grad_value(parameters: Iterable[Tensor], value: float) -> None:
    """Cut each gradient to ±`value`."""
    for gradient in [p.grad for p in parameters if p.grad is not None]:
        (gradient.to_local() if isinstance(gradient, DTensor) else gradient).clamp_(-value, value)


def _by_dimensions(gradients: list[Tensor]) -> dict[Any, tuple[list[tuple[DeviceMesh, int]], list[Tensor]]]:
    """Local gradients, by the dimensions of the meshes that they are cut along."""
    found: dict[Any, tuple[list[tuple[DeviceMesh, int]], list[Tensor]]] = {}
    for gradient in gradients:
        cut: list[tuple[DeviceMesh, int]] = []
        if isinstance(gradient, DTensor):
            if any(not isinstance(p, Replicate | Shard | _StridedShard) for p in gradient.placements):
                raise ArgumentError(f"gradients placed {gradient.placements} can't be clipped")
            cut = [(gradient.device_mesh, n) for n, p in enumerate(gradient.placements) if not p.is_replicate()]
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        found.setdefault(tuple((id(mesh), n) for mesh, n in cut), (cut, []))[1].append(local)
    return found
