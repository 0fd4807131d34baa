"""What checkpoints keep of models whose ops are split: all of it whole, so that any number of processes goes on."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from enfold.accelerate.tensor_parallel import Splitting, splitting_of


def _owners(models: Iterable[nn.Module]) -> dict[int, tuple[Splitting, str]]:
    """How each split weight is split, and its name."""
    found = {}
    for model in models:
        split = splitting_of(model)
        if split is not None:
            found |= {id(parameter): (split, name) for name, parameter in model.named_parameters()}
    return found


@torch.no_grad()
def whole_optimizer(optimizer: Optimizer, models: Iterable[nn.Module]) -> dict[str, Any]:
    """An optimiser's state as one process has it, on the CPU. All processes call it."""
    owners, state = _owners(models), optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    held = {}
    for number, entries in state["state"].items():
        split, name = owners.get(id(parameters[number]), (None, ""))
        held[number] = {
            key: split.whole(name, value).cpu() if split is not None and isinstance(value, Tensor) else value
            for key, value in entries.items()
        }
    return state | {"state": held}


@torch.no_grad()
def laid_out_optimizer(
    optimizer: Optimizer, state: Mapping[str, Any], models: Iterable[nn.Module]
) -> Mapping[str, Any]:
    """The same state, its tensors as the processes' parts lie behind each other."""
    owners = _owners(models)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    held = {}
    for number, entries in state["state"].items():
        parameter = parameters[number]
        split, name = owners.get(id(parameter), (None, ""))
        held[number] = {
            key: split.laid_out(name, value)
            if split is not None and isinstance(value, Tensor) and value.shape == parameter.shape
            else value
            for key, value in entries.items()
        }
    return {**state, "state": held}
