"""From a model to the files that others read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from enfold.base.errors import ArgumentError
from enfold.models.base import PreTrainedModel
from enfold.models.int8 import bytes_of, floating, saved_as_bytes, steps_of
from enfold.weights.files import save_tensors
from enfold.weights.int8 import SCALES, description
from enfold.weights.names import as_stored


def stored_tensors(
    model: PreTrainedModel, as_bytes: list[str], tensors: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Every weight once, under the checkpoint's name and in its storage; of those that are bytes their scales, too.

    Args:
        tensors: weights instead of the model's own.
    """
    table, hidden = model.name_table(), bytes_of(model)
    for ours, held in model.weights():
        weight = held if tensors is None else tensors[ours]
        if hasattr(weight, "full_tensor"):
            raise ArgumentError(
                "the weights are in parts, over several processes: call accelerator.save_model(model, folder), or "
                "save_pretrained(folder, state_dict=accelerator.get_state_dict(model)), on all of them"
            )
        for piece in table.pieces(ours, tuple(weight.shape)) if ours not in hidden else ():
            yield piece.theirs, as_stored(weight.detach()[piece.index], piece.storage).contiguous()
    for ours in as_bytes:
        steps, scale = steps_of(model, ours)
        for piece in table.pieces(ours, tuple(steps.shape)):
            for suffix, part in (("", steps), (SCALES, scale)):
                yield piece.theirs + suffix, as_stored(part[piece.index], piece.storage).contiguous()


def save_model(
    model: PreTrainedModel,
    folder: Path,
    *,
    max_shard_size: str | int,
    variant: str | None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write configuration, generation settings and weights; see `PreTrainedModel.save_pretrained`."""
    folder.mkdir(parents=True, exist_ok=True)
    filename = "model.safetensors" if variant is None else f"model.{variant}.safetensors"
    named = stored_tensors(model, saved_as_bytes(model), tensors)
    save_tensors(named, folder, max_shard_size=max_shard_size, filename=filename)
    save_settings(model, folder)


def save_settings(model: PreTrainedModel, folder: Path) -> None:
    """Write configuration and generation settings."""
    config = type(model.config).from_dict(model.config.entries)
    # A model in parts is of a class that torch derives, FSDPLlamaForCausalLM.
    config.architectures = [type(model).__name__.removeprefix("FSDP")]
    config.entries.pop("torch_dtype", None)
    config.dtype = str(model.dtype).removeprefix("torch.")
    as_bytes = saved_as_bytes(model)
    if as_bytes:
        config.entries["quantization_config"] = description(floating(model, as_bytes))
    config.save_pretrained(folder)
    entries = dict(getattr(model, "generation_entries", None) or {})
    chosen = getattr(model, "generation_settings", None)  # by hand, after the model was loaded
    if chosen is not None:
        entries = {name: value for name, value in entries.items() if name not in chosen.known()} | chosen.to_dict()
    if entries:
        (folder / "generation_config.json").write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
