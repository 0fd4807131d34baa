"""Models larger than a device: built empty, spread over devices, brought in from the CPU or the disk as they run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enfold.accelerate.device_map import Place, check_device_map, find_tied_parameters, infer_auto_device_map, place_of
from enfold.accelerate.operations import nested
from enfold.accelerate.state import owned
from enfold.base.errors import ArgumentError, WeightsMismatchError

_OFFLOADED = "offloaded.safetensors"


@contextmanager
def init_on_device(device: torch.device | str, include_buffers: bool | None = None) -> Iterator[None]:
    """Modules made within get their parameters (and buffers) on `device`."""
    device = torch.device(device)
    if include_buffers:
        with device:
            yield
        return
    register = nn.Module.register_parameter

    def register_there(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if param is not None and param.device != device:  # one that is there already may be shared
            kind: Any = type(param)
            module._parameters[name] = kind(param.to(device), requires_grad=param.requires_grad)

    nn.Module.register_parameter = register_there  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


@contextmanager
def init_empty_weights(include_buffers: bool | None = None) -> Iterator[None]:
    """Models made within have parameters without memory (on the meta device), for a loader to fill."""
    with init_on_device("meta", include_buffers):
        yield


class Unit:
    """Modules whose weights come and go together: the first to run brings them, the last to end lets them go.

    Args:
        module: the modules are this one and those below it, or it alone.
        held: tensor's name below `module` → where it is kept.
        device: where they are needed.
    """

    def __init__(self, module: nn.Module, held: "dict[str, Kept]", device: torch.device, alone: bool):
        self.module, self.held, self.device = module, held, device
        self.running = 0
        self.hooks = []
        for below in [module] if alone else module.modules():
            self.hooks.append(below.register_forward_pre_hook(self._enter))
            self.hooks.append(below.register_forward_hook(self._leave, always_call=True))

    def _enter(self, module: nn.Module, args: Any) -> None:
        if not self.running:
            for name, kept in self.held.items():
                put(self.module, name, kept.read(self.device))
        self.running += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.running -= 1
        if not self.running:
            for name, kept in self.held.items():
                put(self.module, name, kept.empty)


class Kept:
    """A tensor on the CPU, or on the disk as a file and its name there."""

    def __init__(self, tensor: Tensor, file: Path | None = None, name: str = ""):
        self.empty = torch.empty_like(tensor, device="meta")
        self.tensor = None if file is not None else tensor.detach().to("cpu")
        self.file, self.name = file, name

    def read(self, device: torch.device) -> Tensor:
        """The tensor on a device; on the CPU, one on the disk is a memory map."""
        if self.tensor is not None:
            return self.tensor.to(device)
        from enfold.weights.files import open_checkpoint

        assert self.file is not None
        with open_checkpoint(self.file) as checkpoint:
            return checkpoint.read(self.name).to(device)


def put(module: nn.Module, name: str, tensor: Tensor) -> None:
    """A tensor in place of the parameter or buffer of this name; it doesn't learn."""
    owner, _, leaf = name.rpartition(".")
    holder = module.get_submodule(owner)
    if leaf in holder._parameters:
        holder._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        holder._buffers[leaf] = tensor


def _units(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """(name, module, whether it stands for its own tensors alone): layers, and what stands beside lists of layers."""
    lists = (nn.ModuleList, nn.ModuleDict)
    opens = isinstance(module, (*lists, nn.Sequential)) or any(isinstance(m, lists) for m in module.modules())
    if not opens:
        yield name, module, False
        return
    yield name, module, True
    for leaf, child in module.named_children():
        yield from _units(f"{name}.{leaf}" if name else leaf, child)


def _device(place: Place) -> torch.device:
    if place == "disk":
        raise ArgumentError("no computation runs on the disk: main_device must be a device")
    return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)


def dispatch_model(
    model: nn.Module,
    device_map: Mapping[str, Place],
    main_device: Place | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    offload_dir: str | Path | None = None,
    offload_buffers: bool = False,
    force_hooks: bool = False,
) -> nn.Module:
    """Put a model where `device_map` says; what is on the CPU (beside an accelerator) or the disk comes in as it runs.

    Weights that come and go don't learn. Layers on several accelerators hand their inputs on.

    Args:
        model: with its weights.
        device_map: module → number of an accelerator, device, "cpu" or "disk".
        main_device: where offloaded modules run; default: the map's first accelerator, or the CPU.
        state_dict: weights to keep on the CPU instead of the model's own, by name.
        offload_dir: folder for what goes to the disk, written as safetensors.
        offload_buffers: buffers come and go too; otherwise they stay where the module runs.
        force_hooks: as if something were offloaded, even if all goes to one device.

    Raises:
        ArgumentError: the map isn't complete, or names the disk without `offload_dir`.
    """
    check_device_map(model, device_map)
    places = list(dict.fromkeys(device_map.values()))
    if "disk" in places and offload_dir is None:
        names = [name or "the whole model" for name, place in device_map.items() if place == "disk"]
        raise ArgumentError(f"device_map puts {', '.join(names[:5])} on the disk: give offload_dir, a folder for it")
    if main_device is None:
        main_device = next((place for place in places if str(place) not in ("cpu", "disk")), "cpu")
    main = _device(main_device)
    if len(places) == 1 and places != ["disk"] and not force_hooks and _device(places[0]) == main:
        model.to(main)
    else:
        away = {"disk"} if main.type == "cpu" else {"disk", "cpu"}
        _spread(model, device_map, main, away, state_dict, offload_dir, offload_buffers)
    model.hf_device_map = dict(device_map)  # type: ignore[assignment]
    model.main_device = main  # type: ignore[assignment]
    return model


def _spread(
    model: nn.Module,
    device_map: Mapping[str, Place],
    main: torch.device,
    away: set[str],
    state_dict: Mapping[str, Tensor] | None,
    offload_dir: str | Path | None,
    offload_buffers: bool,
) -> None:
    tensors = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    leaving: dict[str, Tensor] = {
        name: state_dict[name] if state_dict is not None and name in state_dict else tensor
        for name, tensor in {**tensors, **(buffers if offload_buffers else {})}.items()
        if str(place_of(name, device_map)) in away
    }
    kept = _keep(leaving, device_map, offload_dir)
    ties = [group for group in find_tied_parameters(model) if not any(name in kept for name in group)]
    for name, tensor in {**tensors, **buffers}.items():
        place = place_of(name, device_map)
        if name in kept:
            put(model, name, kept[name].empty)
        else:
            where = main if place is None or str(place) in away else _device(place)
            if tensor.device != where:
                holder = model.get_submodule(name.rpartition(".")[0])
                leaf = name.rpartition(".")[2]
                if leaf in holder._parameters:
                    holder._parameters[leaf] = nn.Parameter(tensor.detach().to(where), tensor.requires_grad)
                else:
                    holder._buffers[leaf] = tensor.to(where)
    for first, *others in ties:
        for other in others:
            owner, _, leaf = other.rpartition(".")
            model.get_submodule(owner)._parameters[leaf] = model.get_parameter(first)
    _hook(model, device_map, main, away, kept)


def _keep(
    leaving: Mapping[str, Tensor], device_map: Mapping[str, Place], offload_dir: str | Path | None
) -> dict[str, Kept]:
    """Where each tensor is kept that leaves the device."""
    empty = [name for name, tensor in leaving.items() if tensor.is_meta]
    if empty:
        raise ArgumentError(f"the model has no weights yet ({empty[0]} is on the meta device): load them first")
    disk = {name: tensor for name, tensor in leaving.items() if place_of(name, device_map) == "disk"}
    kept = {name: Kept(tensor) for name, tensor in leaving.items() if name not in disk}
    if disk:
        from enfold.weights.saving import save_tensors

        single = owned(disk)
        folder = Path(str(offload_dir))
        save_tensors(single, folder, filename=_OFFLOADED, max_shard_size="1000TB")
        written = {(t.data_ptr(), tuple(t.shape), t.stride()): name for name, t in single.items()}
        for name, tensor in disk.items():
            stored = written.get((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()), name)
            kept[name] = Kept(tensor, folder / _OFFLOADED, stored)
    return kept


def _hook(
    model: nn.Module, device_map: Mapping[str, Place], main: torch.device, away: set[str], kept: dict[str, Kept]
) -> None:
    several = {str(place) for place in device_map.values() if str(place) not in away and _device(place) != main}
    units = []
    for name, module, alone in _units("", model):
        prefix = f"{name}." if name else ""
        below = {full[len(prefix) :]: item for full, item in kept.items() if full.startswith(prefix)}
        if alone:
            below = {leaf: item for leaf, item in below.items() if "." not in leaf}
        if several:
            place = place_of(f"{prefix}weight", device_map)
            where = main if place is None or str(place) in away else _device(place)
            if not alone:
                module.register_forward_pre_hook(_bringing(where), with_kwargs=True)
        if below:
            units.append(Unit(module, below, main, alone))
    if main.type != "cpu" or several:
        model.register_forward_pre_hook(_bringing(main), with_kwargs=True)


def _bringing(device: torch.device) -> Any:
    def bring(module: nn.Module, args: Any, options: Any) -> tuple[Any, Any]:
        return nested(lambda tensor: tensor.to(device), (args, options))

    return bring


def cpu_offload(
    model: nn.Module,
    execution_device: Place | None = None,
    offload_buffers: bool = False,
    state_dict: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Keep all weights on the CPU, and bring each layer's to `execution_device` as it runs."""
    main = next(model.parameters()).device if execution_device is None else _device(execution_device)
    _spread(model, {"": "cpu"}, main, {"cpu", "disk"}, state_dict, None, offload_buffers)
    model.main_device = main  # type: ignore[assignment]
    return model


def disk_offload(
    model: nn.Module,
    offload_dir: str | Path,
    execution_device: Place | None = None,
    offload_buffers: bool = False,
) -> nn.Module:
    """Write all weights into a folder, and bring each layer's to `execution_device` as it runs."""
    main = next(model.parameters()).device if execution_device is None else _device(execution_device)
    _spread(model, {"": "disk"}, main, {"disk"}, None, offload_dir, offload_buffers)
    model.main_device = main  # type: ignore[assignment]
    return model


@torch.no_grad()
def load_checkpoint_in_model(
    model: nn.Module,
    checkpoint: str | Path,
    device_map: Mapping[str, Place] | None = None,
    dtype: torch.dtype | None = None,
    strict: bool = False,
) -> None:
    """Give a model, empty or not, the weights of a file or folder, by the model's own names.

    Args:
        checkpoint: safetensors, their index, a torch file (nothing in it is run), or a folder that holds one of them.
        device_map: module → device; those for "disk" stay in their file, mapped.
        dtype: of floating weights; default: the checkpoint's.
        strict: every weight must be there, and no other.

    Raises:
        WeightsMismatchError: names or shapes differ.
    """
    from enfold.weights.files import open_checkpoint

    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    wanted = {name: tensor for name, tensor in held.items() if name in model.state_dict(keep_vars=True)}
    ties = find_tied_parameters(model)
    with open_checkpoint(Path(checkpoint)) as stored:
        present = set(stored.names())
        where = {name: next((n for n in _names(name, ties) if n in present), None) for name in wanted}
        missing = [name for name, found in where.items() if found is None]
        spare = present - {found for found in where.values() if found} - {n for group in ties for n in group}
        if len(missing) == len(wanted) or (strict and (missing or spare)):
            raise WeightsMismatchError(
                f"{checkpoint} doesn't hold the weights of {type(model).__name__}: missing are {missing[:5]}, unknown "
                f"{sorted(spare)[:5]}. Names must be the model's own; from_pretrained translates those of the hub"
            )
        for name, found in where.items():
            if found is None:
                continue
            if stored.shape(found) != tuple(wanted[name].shape):
                raise WeightsMismatchError(
                    f"{checkpoint}: {found} has shape {list(stored.shape(found))}, and the model's "
                    f"{list(wanted[name].shape)}"
                )
            value = stored.read(found)
            if dtype is not None and value.is_floating_point():
                value = value.to(dtype)
            place = place_of(name, device_map) if device_map is not None else wanted[name].device
            place = "cpu" if place in (None, "disk") or str(place) == "meta" else place
            learns = wanted[name].requires_grad
            for other in _names(name, ties):
                put(model, other, value.to(_device(place)))  # type: ignore[arg-type]
            for other in _names(name, ties):
                _share(model, other, name, learns)


def _names(name: str, ties: list[list[str]]) -> list[str]:
    return next(([name, *(other for other in group if other != name)] for group in ties if name in group), [name])


def _share(model: nn.Module, name: str, source: str, learns: bool) -> None:
    owner, _, leaf = name.rpartition(".")
    holder = model.get_submodule(owner)
    if leaf in holder._parameters:
        parameter = model.get_parameter(source)
        if parameter.is_floating_point():
            parameter.requires_grad_(learns)
        holder._parameters[leaf] = parameter


def load_checkpoint_and_dispatch(
    model: nn.Module,
    checkpoint: str | Path,
    device_map: Mapping[str, Place] | str | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    no_split_module_classes: list[str] | None = None,
    offload_folder: str | Path | None = None,
    offload_buffers: bool = False,
    dtype: torch.dtype | None = None,
    force_hooks: bool = False,
    strict: bool = False,
) -> nn.Module:
    """`load_checkpoint_in_model`, then `dispatch_model`; a map of "auto" or "sequential" is inferred.

    Raises:
        ArgumentError: a map that isn't built or isn't complete.
        WeightsMismatchError: names or shapes differ.
    """
    if isinstance(device_map, str):
        if device_map not in ("auto", "sequential"):
            raise ArgumentError(f"device_map={device_map!r}; expected 'auto', 'sequential' or a dictionary")
        device_map = infer_auto_device_map(model, max_memory, no_split_module_classes, dtype)
    load_checkpoint_in_model(model, checkpoint, device_map, dtype, strict)
    if device_map is None:
        return model
    return dispatch_model(
        model, device_map, offload_dir=offload_folder, offload_buffers=offload_buffers, force_hooks=force_hooks
    )
