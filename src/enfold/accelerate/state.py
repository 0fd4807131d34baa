"""The state of a training loop in a folder: models, optimisers, schedulers, loaders, generators, the user's objects.

File names are the reference library's: `model.safetensors` (then `model_1.safetensors`, …), `optimizer.bin`,
`scheduler.bin`, `scaler.pt`, `custom_checkpoint_0.pkl`, and `random_states_<rank>.pkl` with what belongs to one rank;
of models in parts, folders `pytorch_model_fsdp_0` and `optimizer_0` (see `parts.py`).
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from enfold.accelerate import folders, operations
from enfold.accelerate.keeping import load_optimizers, load_parts, write_parts
from enfold.accelerate.randomness import random_states, restore_random_states
from enfold.base.errors import ArgumentError, CheckpointError, WeightsMismatchError
from enfold.base.whole import recover

if TYPE_CHECKING:
    from enfold.accelerate.accelerator import Accelerator

# The files of a state.
_OWN = re.compile(
    r"(model|optimizer|scheduler)(_\d+)?\.(safetensors|bin)|scaler\.pt|(custom_checkpoint|random_states)_\d+\.pkl"
    r"|(pytorch_model_fsdp|optimizer)_\d+"
)


@dataclass
class ProjectConfiguration:
    """Where a run's files go.

    Args:
        project_dir: its folder.
        logging_dir: of trackers; default: `project_dir`.
        automatic_checkpoint_naming: `save_state` writes `<project_dir>/checkpoints/checkpoint_<iteration>`.
        total_limit: keep no more of these; the oldest go first.
        iteration: the number of the next one.
    """

    project_dir: str | None = None
    logging_dir: str | None = None
    automatic_checkpoint_naming: bool = False
    total_limit: int | None = None
    iteration: int = 0

    def __post_init__(self) -> None:
        if self.logging_dir is None:
            self.logging_dir = self.project_dir


def numbered(stem: str, ending: str, number: int) -> str:
    """optimizer.bin, optimizer_1.bin, …"""
    return f"{stem}{ending}" if number == 0 else f"{stem}_{number}{ending}"


def save(accelerator: "Accelerator", folder: Path) -> None:
    """Write the folder, whole or not at all; the main process writes for all."""
    mine = {
        "step": accelerator.step,
        "random": random_states(),
        "loaders": [loader.state_dict() for loader in accelerator._loaders],
    }
    ranks = operations.gather_object([mine])

    def write(unfinished: Path) -> None:
        kept = write_parts(accelerator, accelerator._models, accelerator._optimizers, unfinished)
        if not accelerator.is_main_process:
            return
        _take_along(folder, unfinished)
        kept.describe(unfinished)
        for number, weights in enumerate(kept.weights):
            if weights is not None:
                write_weights(weights, unfinished, numbered("model", ".safetensors", number))
        schedules = [item.state_dict() for item in accelerator._schedulers]
        for kind, states in (("optimizer", kept.states), ("scheduler", schedules)):
            for number, state in enumerate(states):
                if state is not None:
                    torch.save(state, unfinished / numbered(kind, ".bin", number))
        if accelerator.scaler.is_enabled():
            torch.save(accelerator.scaler.state_dict(), unfinished / "scaler.pt")
        for number, item in enumerate(accelerator._custom):
            torch.save(item.state_dict(), unfinished / f"custom_checkpoint_{number}.pkl")
        for rank, held in enumerate(ranks):
            torch.save(held, unfinished / f"random_states_{rank}.pkl")

    folders.write_together(folder, write)


def _take_along(folder: Path, unfinished: Path) -> None:
    """What others have put into the folder, into the one that takes its place."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _OWN.fullmatch(entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, unfinished / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, unfinished / entry.name, follow_symlinks=False)


def load(accelerator: "Accelerator", folder: Path) -> None:
    """Put everything back as `save` found it.

    With another number of processes than it was saved with, each rank goes on with its own random numbers, and loaders
    begin their data anew.
    """
    recover(folder.parent, folder.name)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder: load_state takes one that save_state has written")
    models = [accelerator.unwrap_model(model, keep_torch_compile=False) for model in accelerator._models]
    files = [folder / numbered("optimizer", ".bin", number) for number, _ in enumerate(accelerator._optimizers)]
    load_optimizers(models, accelerator._optimizers, folder, files)
    for number, model in enumerate(models):
        if not load_parts(model, folder, number):
            read_weights(model, folder / numbered("model", ".safetensors", number))
    for number, item in enumerate(accelerator._schedulers):
        item.load_state_dict(folders.read(folder / numbered("scheduler", ".bin", number)))
    if accelerator.scaler.is_enabled() and (folder / "scaler.pt").is_file():
        accelerator.scaler.load_state_dict(folders.read(folder / "scaler.pt"))
    for number, item in enumerate(accelerator._custom):
        item.load_state_dict(folders.read(folder / f"custom_checkpoint_{number}.pkl"))
    ranks = len(list(folder.glob("random_states_*.pkl")))
    alike = ranks == accelerator.num_processes
    states = folders.read(folder / f"random_states_{accelerator.process_index if alike else 0}.pkl")
    if not isinstance(states, Mapping) or not {"step", "random", "loaders"} <= states.keys():
        raise CheckpointError(f"{folder}: random_states_0.pkl is not one that enfold's save_state wrote")
    accelerator.step = states["step"]
    if alike:
        if len(states["loaders"]) != len(accelerator._loaders):
            raise CheckpointError(
                f"{folder} has the positions of {len(states['loaders'])} data loaders, and {len(accelerator._loaders)} "
                "are prepared: prepare the same objects before load_state"
            )
        for loader, state in zip(accelerator._loaders, states["loaders"], strict=True):
            loader.load_state_dict(state)
        restore_random_states(states["random"])


def owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the further names of those that share one memory."""
    seen: set[tuple[Any, ...]] = set()
    kept = {}
    for name, tensor in tensors.items():
        key = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor
    return kept


def write_weights(
    tensors: Mapping[str, Tensor], folder: Path, filename: str, max_shard_size: int | str = "10GB"
) -> None:
    """Tensors into safetensors files; one that has several names goes under the first."""
    from enfold.weights.saving import save_tensors

    save_tensors(owned(tensors), folder, filename=filename, max_shard_size=max_shard_size)


@torch.no_grad()
def read_weights(model: nn.Module, file: Path) -> None:
    """The weights of a file that `write_weights` wrote, into the model as it is.

    Raises:
        CheckpointError: the file is missing or torn.
        WeightsMismatchError: it is another model's.
    """
    from enfold.weights.files import open_checkpoint

    index = file.with_name(file.name + ".index.json")
    sharded = any(hasattr(parameter, "full_tensor") for parameter in model.parameters())
    if sharded:
        from enfold.accelerate.parts import own_tensors

        needed = own_tensors(model)
    else:
        needed = owned(model.state_dict(keep_vars=True))
    with open_checkpoint(file if file.is_file() or not index.is_file() else index) as checkpoint:
        names = set(checkpoint.names())
        if names != set(needed):
            raise WeightsMismatchError(
                f"{file} is of another model than {type(model).__name__}: missing are "
                f"{sorted(set(needed) - names)[:5]}, unknown {sorted(names - set(needed))[:5]}"
            )
        for name, tensor in needed.items():
            if checkpoint.shape(name) != tuple(tensor.shape):
                raise WeightsMismatchError(
                    f"{file}: {name} has shape {list(checkpoint.shape(name))}, and the model's {list(tensor.shape)}"
                )
        split = model.__dict__.get("splitting")
        for name, tensor in needed.items():
            if split is not None:
                split.load_whole(name, checkpoint.read(name))
            elif sharded:
                from enfold.accelerate.sharding import copy_whole

                copy_whole(tensor, checkpoint.read(name))
            else:
                tensor.data.copy_(checkpoint.read(name))


def checkpoints_of(project: ProjectConfiguration) -> list[Path]:
    """The folders that automatic naming made, the oldest first."""
    if project.project_dir is None:
        raise ArgumentError("give a folder, or Accelerator(project_dir=…) whose checkpoints are named automatically")
    pattern = re.compile(r"checkpoint_(\d+)")
    parent = Path(project.project_dir) / "checkpoints"
    recover(parent)
    found = [(int(m[1]), path) for path in parent.glob("checkpoint_*") if (m := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def next_folder(project: ProjectConfiguration) -> Path:
    """The folder that the next state is saved in."""
    folder = Path(project.project_dir or ".") / "checkpoints" / f"checkpoint_{project.iteration}"
    if folder.exists():
        raise ArgumentError(
            f"{folder} exists: say from which number to go on with ProjectConfiguration(iteration={project.iteration})"
        )
    return folder
