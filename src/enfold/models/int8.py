"""`dtype="int8"`: which weights of a model become bytes, and when."""

from typing import Any

import torch
from torch import nn

from enfold.models.base import PreTrainedModel
from enfold.nn.int8 import quantise, regroup
from enfold.nn.linear import untouched


def is_int8(dtype: Any) -> bool:
    """Whether a caller asked for weights of bytes."""
    return dtype in (torch.int8, "int8", "torch.int8")


def rounds(model: PreTrainedModel, name: str) -> bool:
    """Whether the linear map `name` becomes bytes: those of the stacks and the one onto the vocabulary do.

    A task's own head stays as it is, being small, and so does what a module lists as `exact`.
    """
    module = model.get_submodule(name)
    owner, _, leaf = name.rpartition(".")
    if leaf in getattr(model.get_submodule(owner), "exact", ()):
        return False
    return untouched(module) and (
        module is model.get_output_embeddings()
        or any(module is inner for stack in model.stacks() for inner in stack.modules())
    )


def replace(model: PreTrainedModel, name: str) -> None:
    """Round the linear map `name` to bytes, in place."""
    owner, _, leaf = name.rpartition(".")
    quantise(model.get_submodule(owner), leaf)


@torch.no_grad()
def round_to_int8(model: PreTrainedModel) -> None:
    """Round what is not rounded yet; a tied map onto the vocabulary gets bytes of its own, and the table stays."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    tied = model.ties()
    for name in filter(lambda name: rounds(model, name), names):
        replace(model, name)
        if f"{name}.weight" in tied:
            model.untied.add(f"{name}.weight")
    regroup(model)
