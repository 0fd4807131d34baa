"""Which part of a model goes where: by the sizes of its modules and the memory that there is."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from enfold.base.errors import ArgumentError

Place = int | str | torch.device
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def bytes_of(size: int | float | str) -> int:
    """Bytes, or text such as "10GB" (10⁹) or "10GiB" (2³⁰)."""
    if not isinstance(size, str):
        return int(size)
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", size)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ArgumentError(f"{size!r} is no size of memory; expected bytes, or text such as '10GB' or '10GiB'")
    return int(float(match[1]) * unit)


def get_max_memory(max_memory: Mapping[int | str, int | str] | None = None) -> dict[int | str, int]:
    """Place → bytes, accelerators first, then "cpu" and "disk"; by default, what is free now (disk has no limit)."""
    if max_memory is None:
        found: dict[int | str, int] = {i: torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())}
        return {**found, "cpu": _free_memory()}
    known = [*sorted(key for key in max_memory if isinstance(key, int)), "mps", "cpu", "disk"]
    wrong = [key for key in max_memory if key not in known]
    if wrong:
        raise ArgumentError(f"max_memory names {wrong}; expected numbers of accelerators, 'mps', 'cpu' and 'disk'")
    return {key: bytes_of(max_memory[key]) for key in known if key in max_memory}


def _free_memory() -> int:
    import os

    try:
        with open("/proc/meminfo") as file:
            found = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; what is shared counts once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def compute_module_sizes(model: nn.Module, dtype: torch.dtype | None = None) -> dict[str, int]:
    """Bytes of every module (and of every tensor), by name; "" is the model.

    Args:
        dtype: what floating weights will be converted to; wider ones only.
    """
    sizes: dict[str, int] = {"": 0}
    for name, tensor in tensors_of(model).items():
        width = tensor.element_size()
        if dtype is not None and tensor.is_floating_point():
            width = min(width, dtype.itemsize)
        parts = name.split(".")
        for end in range(len(parts) + 1):
            prefix = ".".join(parts[:end])
            sizes[prefix] = sizes.get(prefix, 0) + tensor.numel() * width
    return sizes


def find_tied_parameters(model: nn.Module) -> list[list[str]]:
    """Groups of names of one parameter."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [sorted(group) for group in names.values() if len(group) > 1]


def infer_auto_device_map(
    model: nn.Module,
    max_memory: Mapping[int | str, int | str] | None = None,
    no_split_module_classes: Iterable[str] | str | None = None,
    dtype: torch.dtype | None = None,
    clean_result: bool = True,
) -> dict[str, Place]:
    """Fill the accelerators in their order, then the CPU, then the disk, module by module.

    The first accelerator and the CPU keep room for the largest layer that has yet to be placed, which may have to be
    brought back there. Tied parameters go to one place.

    Args:
        model: may be on the meta device.
        max_memory: `{0: "10GiB", "cpu": "30GiB"}`; default: what is free.
        no_split_module_classes: names of classes whose modules stay in one piece.
        dtype: what the weights will be converted to.
        clean_result: one entry for a module all of whose parts go to one place.
    """
    memory = get_max_memory(max_memory)
    whole = (
        {no_split_module_classes} if isinstance(no_split_module_classes, str) else set(no_split_module_classes or ())
    )
    places: list[int | str] = [*memory, *(["disk"] if "disk" not in memory else [])]
    accelerators = [place for place in places if place not in ("cpu", "disk")]
    keep_room = {"mps"} if "mps" in accelerators else {*accelerators[:1], "cpu"}
    sizes, ties = compute_module_sizes(model, dtype), find_tied_parameters(model)
    waiting = _parts("", model, buffers=True)
    used = dict.fromkeys(places, 0)
    found: dict[str, Place] = {}
    number = 0
    while waiting:
        name, part = waiting.pop(0)
        place = places[number]
        room = None
        if place in memory and place != "disk":
            reserved = _largest(waiting, sizes, whole) if place in keep_room else 0
            room = memory[place] - reserved - used[place]
        tied = _tied_to(name, ties, waiting)
        size = sizes.get(name, 0) + sum(sizes.get(other, 0) for other, _ in tied)
        if room is None or size <= room:
            used[place] += size
            found[name] = place
            for other, item in tied:
                waiting.remove((other, item))
                found[other] = place
        elif splits := _openable(name, part, tied, room, sizes, whole):
            waiting = _opened(splits, [(name, part), *waiting])
        else:
            number += 1
            waiting.insert(0, (name, part))
    return clean_device_map(found) if clean_result else found


Part = tuple[str, Any]


def _parts(name: str, module: nn.Module, *, buffers: bool = False) -> list[Part]:
    """What a module consists of: its own tensors, then its children."""
    prefix = f"{name}." if name else ""
    own: list[Part] = list(module.named_parameters(recurse=False)) + list(module.named_children())
    if buffers or any(True for _ in module.named_buffers(recurse=False)):
        own += list(module.named_buffers(recurse=False))
    return [(prefix + leaf, item) for leaf, item in own]


def _whole(part: Any, whole: set[str]) -> bool:
    return not isinstance(part, nn.Module) or type(part).__name__ in whole or next(part.children(), None) is None


def _largest(parts: list[Part], sizes: dict[str, int], whole: set[str]) -> int:
    """Bytes of the largest module among these that stays in one piece."""
    largest, todo = 0, [part for part in parts if isinstance(part[1], nn.Module)]
    while todo:
        name, part = todo.pop()
        if _whole(part, whole):
            largest = max(largest, sizes.get(name, 0))
        else:
            todo += [(f"{name}.{leaf}", child) for leaf, child in part.named_children()]
    return largest


def _tied_to(name: str, ties: list[list[str]], waiting: list[Part]) -> list[Part]:
    """Parts that share a parameter with the one of this name."""
    inside = [group for group in ties if any(f"{tied}.".startswith(f"{name}.") for tied in group)]
    return [
        (other, item)
        for other, item in waiting
        if any(f"{tied}.".startswith(f"{other}.") for group in inside for tied in group)
    ]


def _openable(name: str, part: Any, tied: list[Part], room: int, sizes: dict[str, int], whole: set[str]) -> Part | None:
    """What to take apart so that less has to fit: a tied part where this one alone would, otherwise this one."""
    if tied and sizes.get(name, 0) <= room:
        return next(((other, item) for other, item in tied if not _whole(item, whole)), None)
    return None if _whole(part, whole) else (name, part)


def _opened(chosen: Part, waiting: list[Part]) -> list[Part]:
    made: list[Part] = []
    for name, item in waiting:
        made += _parts(name, item) if name == chosen[0] else [(name, item)]
    return made


def clean_device_map(device_map: dict[str, Place], module_name: str = "") -> dict[str, Place]:
    """One entry where all below a name go to one place."""
    prefix = f"{module_name}." if module_name else ""
    below = [name for name in device_map if name.startswith(prefix) or name == module_name]
    if len({str(device_map[name]) for name in below}) == 1:
        first = device_map[below[0]]
        if below == [module_name]:
            return device_map
        for name in below:
            del device_map[name]
        device_map[module_name] = first
        return device_map
    for child in dict.fromkeys(prefix + name[len(prefix) :].split(".")[0] for name in below if name != module_name):
        clean_device_map(device_map, child)
    return device_map


def check_device_map(model: nn.Module, device_map: Mapping[str, Any]) -> None:
    """Refuse a map that leaves a tensor without a place, or names what isn't there.

    Raises:
        ArgumentError: it does.
    """
    known = {"", *(name for name, _ in model.named_modules()), *tensors_of(model), *model.state_dict()}
    unknown = [name for name in device_map if name not in known]
    if unknown:
        raise ArgumentError(f"device_map names {unknown[:5]}, which {type(model).__name__} hasn't")
    left = [name for name in model.state_dict() if place_of(name, device_map) is None]
    if left:
        raise ArgumentError(f"device_map gives no place for {left[:5]}{' and more' if len(left) > 5 else ''}")


def place_of(name: str, device_map: Mapping[str, Any]) -> Any:
    """The place of the nearest module above a name; None where there is none."""
    while name and name not in device_map:
        name = name.rpartition(".")[0]
    return device_map.get(name)
