"""The same operation on every process, over tensors in any nesting of lists, tuples and dictionaries."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, distributed

from enfold.accelerate.processes import PartialState
from enfold.base.errors import ArgumentError


def nested(function: Callable[[Tensor], Any], data: Any, *, others: Callable[[Any], Any] | None = None) -> Any:
    """`function` of every tensor in `data`, in the same nesting; `others` of what is no tensor."""
    if isinstance(data, Tensor):
        return function(data)
    if isinstance(data, Mapping):
        made = {name: nested(function, value, others=others) for name, value in data.items()}
        return made
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(nested(function, value, others=others) for value in data))
    if isinstance(data, list | tuple):
        return type(data)(nested(function, value, others=others) for value in data)
    return others(data) if others is not None else data


def send_to_device(data: Any, device: torch.device | str, non_blocking: bool = False) -> Any:
    """Every tensor on `device`."""
    return nested(lambda tensor: tensor.to(device, non_blocking=non_blocking), data)


def gather(data: Any) -> Any:
    """Every tensor with the rows of all processes, in the order of ranks; scalars become a row each.

    Of processes that read the same data (tensor and context parallelism) the rows count once. The processes' tensors
    must have one shape, but for the number of rows.
    """
    if PartialState().data_count == 1:
        return nested(lambda tensor: tensor[None] if tensor.ndim == 0 else tensor, data)
    return nested(_gather, data, others=_refuse("gather"))


def _gather(tensor: Tensor) -> Tensor:
    tensor = (tensor[None] if tensor.ndim == 0 else tensor).contiguous()
    state = PartialState()
    shapes: list[Any] = [None] * state.data_count
    distributed.all_gather_object(shapes, tuple(tensor.shape), group=state.data_group)
    if len({shape[1:] for shape in shapes}) > 1:
        raise ArgumentError(
            f"gather: the processes' tensors have shapes {shapes}; only the number of rows may differ: use "
            "pad_across_processes first"
        )
    longest = max(shape[0] for shape in shapes)
    padded = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
    parts = [torch.empty_like(padded) for _ in shapes]
    distributed.all_gather(parts, padded, group=state.data_group)
    return torch.cat([part[: shape[0]] for part, shape in zip(parts, shapes, strict=True)])


def gather_object(data: list[Any], *, of_data: bool = False) -> list[Any]:
    """The lists of all processes behind each other; what they hold is pickled between processes of this job.

    With `of_data`, those of processes that read the same data count once.
    """
    state = PartialState()
    count, group = (state.data_count, state.data_group) if of_data else (state.num_processes, None)
    if count == 1:
        return data
    parts: list[Any] = [None] * count
    distributed.all_gather_object(parts, data, group=group)
    return [item for part in parts for item in part]


def broadcast(data: Any, from_process: int = 0) -> Any:
    """Every tensor as `from_process` has it."""
    if not PartialState().use_distributed:
        return data

    def send(tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous().clone()
        distributed.broadcast(tensor, from_process)
        return tensor

    return nested(send, data, others=_refuse("broadcast"))


def broadcast_object_list(items: list[Any], from_process: int = 0) -> list[Any]:
    """The list as `from_process` has it, in place."""
    if PartialState().use_distributed:
        distributed.broadcast_object_list(items, from_process)
    return items


def reduce(data: Any, reduction: str = "mean", scale: float = 1.0) -> Any:
    """The "sum" or "mean" of every tensor over the processes, times `scale`; "none" leaves them.

    Of processes that read the same data one counts.
    """
    if reduction not in ("sum", "mean", "none"):
        raise ArgumentError(f"reduction={reduction!r}; expected 'sum', 'mean' or 'none'")
    state = PartialState()
    if reduction == "none" or state.data_count == 1:
        return nested(lambda tensor: tensor * scale, data) if scale != 1.0 else data

    def total(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        distributed.all_reduce(tensor, group=state.data_group)
        return tensor * (scale / state.data_count if reduction == "mean" else scale)

    return nested(total, data, others=_refuse("reduce"))


def pad_across_processes(data: Any, dim: int = 0, pad_index: float = 0, pad_first: bool = False) -> Any:
    """Every tensor as long in `dim` as the longest among the processes, filled with `pad_index`."""
    state = PartialState()
    if state.data_count == 1:
        return data

    def pad(tensor: Tensor) -> Tensor:
        if dim >= tensor.ndim or dim < -tensor.ndim:
            return tensor
        lengths: list[Any] = [None] * state.data_count
        distributed.all_gather_object(lengths, tensor.shape[dim], group=state.data_group)
        short = max(lengths) - tensor.shape[dim]
        if not short:
            return tensor
        shape = list(tensor.shape)
        shape[dim] = short
        filling = tensor.new_full(shape, pad_index)
        return torch.cat([filling, tensor] if pad_first else [tensor, filling], dim)

    return nested(pad, data)


def concatenate(data: list[Any], dim: int = 0) -> Any:
    """The tensors of several nestings of one form behind each other."""
    first = data[0]
    if isinstance(first, Tensor):
        return torch.cat(data, dim)
    if isinstance(first, Mapping):
        return {name: concatenate([item[name] for item in data], dim) for name in first}
    if isinstance(first, list | tuple):
        return type(first)(concatenate(list(parts), dim) for parts in zip(*data, strict=True))
    raise ArgumentError(f"can't concatenate {type(first).__name__}; expected tensors, or lists or dictionaries of them")


def _refuse(name: str) -> Callable[[Any], Any]:
    def refuse(value: Any) -> Any:
        if value is None:
            return None
        raise ArgumentError(
            f"{name} takes tensors, and lists, tuples and dictionaries of them; got {type(value).__name__}"
        )

    return refuse
