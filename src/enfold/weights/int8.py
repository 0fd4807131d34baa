"""Weights of signed bytes with a scale for each output, as floats; compressed-tensors' layout "int-quantized".

layers.0.up_proj.weight        [out, in] int8, whole steps
layers.0.up_proj.weight_scale  [out, 1] what a step is worth
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from enfold.base.errors import CheckpointError, NotBuiltError
from enfold.weights.checkpoint import Checkpoint
from enfold.weights.packed import PackedCheckpoint

SCALES = "_scale"
METHOD, FORMAT = "compressed-tensors", "int-quantized"
# What is the same in every configuration that is read or written here.
_WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
# Activations are rounded as they come, here for each 64 of a row; the nearest that this format has a word for.
_ACTIVATIONS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def description(floating: Sequence[str]) -> dict[str, Any]:
    """The `quantization_config` of a repository whose linear maps are bytes, but for those that stay `floating`."""
    group = {"targets": ["Linear"], "weights": {**_WEIGHTS, "dynamic": False}}
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {**group, "input_activations": _ACTIVATIONS, "output_activations": None}},
        "ignore": list(floating),
    }


def check_description(path: str, given: Mapping[str, Any]) -> None:
    """Whether a `quantization_config` of compressed-tensors describes such weights.

    Raises:
        NotBuiltError: it describes others.
    """
    groups = given.get("config_groups") or {}
    for weights in (group.get("weights") or {} for group in groups.values()):
        other = {name: weights.get(name) for name, value in _WEIGHTS.items() if weights.get(name) != value}
        if other or weights.get("dynamic"):
            raise NotBuiltError(
                f"{path} is quantised by {METHOD!r} with weights of {other or 'dynamic scales'}; built are whole "
                "numbers of eight bits with a scale for each output. Load a repository of floating weights"
            )
    if not groups or given.get("format") not in (FORMAT, "naive-quantized") or given.get("kv_cache_scheme"):
        raise NotBuiltError(
            f"{path} is quantised by {METHOD!r} in the format {given.get('format')!r}; built is {FORMAT!r}, without "
            "quantised caches. Load a repository of floating weights"
        )


class Int8Checkpoint(PackedCheckpoint):
    """Another checkpoint, whose bytes appear as the weights that they and their scales stand for.

    Args:
        steps: they appear as the whole numbers that they are, in fp32.

    Raises:
        CheckpointError: bytes without scales that fit them.
    """

    def __init__(self, inner: Checkpoint, *, steps: bool = False):
        super().__init__(inner, (torch.int8,), SCALES)
        self._raw = steps
        for name in sorted(self._packed):
            shape = inner.shape(name)
            scales = inner.shape(name + SCALES) if name + SCALES in inner else None
            if len(shape) < 2 or scales not in ((*shape[:-1], 1), (*shape[:-2], 1, shape[-1])):
                found = "is missing" if scales is None else f"has shape {scales}"
                raise CheckpointError(
                    f"{self.path}: {name} of shape {shape} holds bytes, and {name + SCALES} {found}; expected a scale "
                    f"for each output, {(*shape[:-1], 1)}"
                )

    def steps(self) -> "Int8Checkpoint":
        """The same files, with bytes as whole numbers."""
        return Int8Checkpoint(self.inner, steps=True)

    def scale(self, name: str) -> Tensor | None:
        """[…, out, 1] fp32 (or […, 1, out] of a transposed weight), what a step is worth; None: no bytes."""
        return self.inner.read(name + SCALES).float() if name in self._packed else None

    def read(self, name: str) -> Tensor:
        scale = self.scale(name)
        if scale is None:
            return self.inner.read(name)
        wide = self.inner.read(name).float()
        return wide if self._raw else wide.mul_(scale)
