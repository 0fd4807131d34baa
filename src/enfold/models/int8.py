"""`dtype="int8"`: which weights of a model become bytes, and when; what is saved of them."""

from typing import Any

import torch
from torch import Tensor, nn

from enfold.models.base import PreTrainedModel
from enfold.nn.int8 import Int8Linear, pack, quantise, regroup
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


def replace(model: PreTrainedModel, name: str, scale: Tensor | None = None) -> None:
    """Round the weight `name` to bytes, in place; with a scale […, out, 1], it holds whole steps already."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(module, Experts):
        module.round(leaf, scale)
    else:
        above, _, called = owner.rpartition(".")
        quantise(model.get_submodule(above), called, scale)


@torch.no_grad()
def round_to_int8(model: PreTrainedModel) -> None:
    """Round what is not rounded yet; a tied map onto the vocabulary gets bytes of its own, and the table stays."""
    for name in [name for name, _ in model.named_parameters(remove_duplicate=False) if rounds(model, name)]:
        replace(model, name)
        if name in model.ties():
            model.untied.add(name)
    regroup(model)


def saved_as_bytes(model: PreTrainedModel) -> list[str]:
    """Weights whose bytes go into files: all, but for a tied map's where rounding the table gives the same ones."""
    ties = model.ties()

    def told(name: str) -> bool:
        module: Any = model.get_submodule(name.rpartition(".")[0])
        return all(map(torch.equal, pack(model.get_parameter(ties[name])), (module.packed, module.scale)))

    return [name for name in model.rounded_weights() if name not in ties or not told(name)]


def steps_of(model: PreTrainedModel, name: str) -> tuple[Tensor, Tensor]:
    """A weight that is bytes: int8 […, out, in], and what a step is worth […, out, 1]."""
    owner, _, leaf = name.rpartition(".")
    module: Any = model.get_submodule(owner)
    return module.steps(leaf)


def bytes_of(model: PreTrainedModel) -> set[str]:
    """Names of the buffers behind the weights that are bytes."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if getattr(module, "rounded", None)
        for name in module._buffers
    }


def floating(model: PreTrainedModel, as_bytes: list[str]) -> list[str]:
    """Linear maps that are not bytes in the files, under the checkpoint's names."""
    table, kinds = model.name_table(), (nn.Linear, Int8Linear)
    maps = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)}
    rows = map(table.theirs, maps.difference(as_bytes))
    return sorted(row[0].removesuffix(".weight") for row in rows if row is not None)
