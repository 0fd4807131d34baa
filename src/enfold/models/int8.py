"""`dtype="int8"`: which weights of a model become bytes, and when."""

from typing import Any

import torch

from enfold.models.base import PreTrainedModel
from enfold.nn.int8 import quantise, regroup
from enfold.nn.linear import untouched
from enfold.nn.moe import Experts


def is_int8(dtype: Any) -> bool:
    """Whether a caller asked for weights of bytes."""
    return dtype in (torch.int8, "int8", "torch.int8")


def rounds(model: PreTrainedModel, name: str) -> bool:
    """Whether the weight `name` becomes bytes: linear maps of the stacks do, experts, and the map onto the vocabulary.

    A task's own head stays as it is, being small, and so does what a module lists as `exact`.
    """
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(module, Experts):
        return leaf in module.stacked and getattr(module, leaf).is_floating_point()
    if leaf != "weight" or not untouched(module):
        return False
    above, _, called = owner.rpartition(".")
    if called in getattr(model.get_submodule(above), "exact", ()):
        return False
    return module is model.get_output_embeddings() or any(
        module is inner for stack in model.stacks() for inner in stack.modules()
    )


def replace(model: PreTrainedModel, name: str) -> None:
    """Round the weight `name` to bytes, in place."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(module, Experts):
        module.round(leaf)
    else:
        above, _, called = owner.rpartition(".")
        quantise(model.get_submodule(above), called)


@torch.no_grad()
def round_to_int8(model: PreTrainedModel) -> None:
    """Round what is not rounded yet; a tied map onto the vocabulary gets bytes of its own, and the table stays."""
    for name in [name for name, _ in model.named_parameters(remove_duplicate=False) if rounds(model, name)]:
        replace(model, name)
        if name in model.ties():
            model.untied.add(name)
    regroup(model)
