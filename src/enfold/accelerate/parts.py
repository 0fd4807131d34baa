"""Tensors in files of parts: every process writes its own (torch.distributed.checkpoint), any number of them reads.

pytorch_model_fsdp_0/   .metadata          what lies where: a pickle, of which only its own classes are built
                        __<rank>_<n>.distcp  tensors
                        weights.json       the names that a merged file has, where they are others
                        config.json        of a model of the house
optimizer_0/            .metadata, __<rank>_<n>.distcp, and groups.pt: what is no tensor
"""

import io
import json
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from enfold.accelerate import folders
from enfold.accelerate.sharding import copy_whole, whole
from enfold.base.errors import CheckpointError, WeightsMismatchError

NAMES, GROUPS, METADATA = "weights.json", "groups.pt", ".metadata"
# Tensors of a model and of an optimiser stand in their folders below these.
MODEL, OPTIMIZER = "model.", "optimizer.state."
_FILE = re.compile(r"__\d+_\d+\.distcp")
_CLASSES = {
    ("torch.distributed.checkpoint.metadata", name)
    for name in (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    )
}
_CLASSES |= {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    *(("pathlib", name) for name in ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")),
    *(("pathlib._local", name) for name in ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")),
}


def model_folder(folder: Path, number: int = 0) -> Path:
    """Where the weights of the model with this number are."""
    return folder / f"pytorch_model_fsdp_{number}"


def optimizer_folder(folder: Path, number: int = 0) -> Path:
    """Where the state of the optimiser with this number is."""
    return folder / f"optimizer_{number}"


def write(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write tensors, each process its parts. All processes call it, and all fail where one does.

    Raises:
        CheckpointError: a file couldn't be written.
    """
    writer = FileSystemWriter(folder, sync_files=True)
    try:
        save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        first = next(iter(error.failures.items()))
        raise CheckpointError(f"{folder} was not written: process {first[0]} failed ({first[1][0]})") from error


def read(tensors: dict[str, Tensor], folder: Path, metadata: Metadata | None = None) -> None:
    """Fill tensors, whole ones or parts, from what any number of processes wrote. All processes call it.

    Raises:
        CheckpointError: the folder isn't whole, or not one of these.
        WeightsMismatchError: it lacks one of the tensors, or has it in another shape.
    """
    metadata = metadata or read_metadata(folder)
    for name, tensor in tensors.items():
        held = metadata.state_dict_metadata.get(name)
        if not isinstance(held, TensorStorageMetadata):
            raise WeightsMismatchError(f"{folder} has no {name}: it is of another model, or optimiser")
        if held.size != tensor.shape:
            raise WeightsMismatchError(
                f"{folder}: {name} has shape {list(held.size)}, and {list(tensor.shape)} is wanted"
            )
    try:
        _load(tensors, folder, metadata, alone=not distributed.is_initialized())
    except CheckpointException as error:
        reason = next(iter(error.failures.values()))[0]
        raise CheckpointError(f"{folder} can't be read ({reason}): it isn't whole") from error


def read_metadata(folder: Path) -> Metadata:
    """What lies where in a folder of parts, checked.

    Raises:
        CheckpointError: it is missing, holds other objects than it needs, or doesn't fit the files beside it.
    """
    path = folder / METADATA
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {METADATA}: it is no folder of parts, or not whole")
    try:
        metadata = _Unpickler(io.BytesIO(path.read_bytes())).load()
        _check(metadata, folder)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} can't be read ({error})") from error
    return metadata


class _Unpickler(pickle.Unpickler):
    """Builds what such a file needs, and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) in _CLASSES:
            return super().find_class(module_name, global_name)
        if module_name == "torch" and isinstance(found := getattr(torch, global_name, None), torch.dtype):
            return found
        raise CheckpointError(
            f"{METADATA} names {module_name}.{global_name}, which no such file needs: it was not made by "
            "torch.distributed.checkpoint, and is not read"
        )


def _check(metadata: Any, folder: Path) -> None:
    if not isinstance(metadata, Metadata):
        raise CheckpointError(f"{folder / METADATA} holds a {type(metadata).__name__}")
    covered: dict[str, int] = {}
    for index, info in metadata.storage_data.items():
        path = info.relative_path
        if not isinstance(path, str) or not _FILE.fullmatch(path) or info.transform_descriptors:
            raise CheckpointError(f"{folder / METADATA} points to {path!r}, which is no file of parts")
        if not (folder / path).is_file() or not 0 <= info.offset <= info.offset + info.length <= os.path.getsize(
            folder / path
        ):
            raise CheckpointError(f"{folder / path} is missing or too short: the checkpoint isn't whole")
        held = metadata.state_dict_metadata[index.fqn]
        if isinstance(held, TensorStorageMetadata):
            chunk = next(chunk for chunk in held.chunks if chunk.offsets == index.offset)
            count = chunk.sizes.numel()
            if count * held.properties.dtype.itemsize > info.length:
                raise CheckpointError(f"{folder / path} is too short for {index.fqn}")
            covered[index.fqn] = covered.get(index.fqn, 0) + count
    for name, held in metadata.state_dict_metadata.items():
        if isinstance(held, TensorStorageMetadata) and covered.get(name, 0) != held.size.numel():
            raise CheckpointError(f"{folder}: parts of {name} are missing: the checkpoint isn't whole")


class _Reader(FileSystemReader):
    def __init__(self, folder: Path, metadata: Metadata):
        super().__init__(folder)
        self._metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return self._metadata


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        raise CheckpointError("parts hold tensors only; what else such a file has would have to be unpickled")


def read_all(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, whole, in this process alone."""
    metadata = read_metadata(folder)
    tensors = {
        name: torch.empty(held.size, dtype=held.properties.dtype)
        for name, held in metadata.state_dict_metadata.items()
        if isinstance(held, TensorStorageMetadata)
    }
    _load(tensors, folder, metadata, alone=True)
    return tensors


def _load(tensors: dict[str, Tensor], folder: Path, metadata: Metadata, *, alone: bool) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as meant
        load(tensors, storage_reader=_Reader(folder, metadata), planner=_Planner(), no_dist=alone)


# Models


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that are saved, each once."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            kept[name] = tensor.detach()
    return kept


def write_model(model: nn.Module, folder: Path) -> None:
    """A model's weights in parts. All processes call it."""
    write({MODEL + name: tensor for name, tensor in own_tensors(model).items()}, folder)


def describe_model(model: nn.Module, folder: Path) -> None:
    """What a merged file needs beside the weights."""
    if hasattr(model, "name_table"):
        table: Any = model.name_table()  # type: ignore[operator]
        names = {
            name: [[piece.theirs, list(piece.index), piece.storage] for piece in table.pieces(name, tuple(t.shape))]
            for name, t in own_tensors(model).items()
        }
        (folder / NAMES).write_text(json.dumps(names, indent=1) + "\n")
    if hasattr(model, "save_settings"):
        model.save_settings(folder)  # type: ignore[operator]


@torch.no_grad()
def load_model(model: nn.Module, folder: Path) -> None:
    """The weights that `write_model` wrote, into a model that is whole or in parts. All processes call it."""
    tensors = {MODEL + name: tensor for name, tensor in own_tensors(model).items()}
    metadata = read_metadata(folder)
    if unknown := sorted(metadata.state_dict_metadata.keys() - tensors.keys()):
        raise WeightsMismatchError(f"{folder} is of another model than {type(model).__name__}: unknown {unknown[:5]}")
    read(tensors, folder, metadata)


# Optimisers


def parameter_names(models: list[nn.Module]) -> dict[int, str]:
    """Names of the parameters by their ids; those of a second model begin with its number."""
    return {
        id(parameter): f"{number}:{name}" if number else name
        for number, model in enumerate(models)
        for name, parameter in model.named_parameters()
    }


def write_optimizer(optimizer: Optimizer, names: dict[int, str], folder: Path) -> None:
    """What an optimiser remembers, in parts. All processes call it."""
    write(dict(_tensors(optimizer, names)), folder)


def describe_optimizer(optimizer: Optimizer, names: dict[int, str], folder: Path) -> None:
    """Groups, and what it remembers that is no tensor."""
    groups = [{**group, "params": [names[id(p)] for p in group["params"]]} for group in optimizer.param_groups]
    state = {
        names[id(p)]: {key: value for key, value in held.items() if not isinstance(value, Tensor)}
        for p, held in optimizer.state.items()
    }
    torch.save({"param_groups": groups, "state": state}, folder / GROUPS)


def load_optimizer(optimizer: Optimizer, names: dict[int, str], folder: Path) -> None:
    """What `write_optimizer` wrote, into an optimiser of the same groups. All processes call it.

    It moves weights on its way: load the model's behind it.

    Raises:
        CheckpointError: the folder isn't whole.
        WeightsMismatchError: it is of other groups of parameters.
    """
    rest = folders.read(folder / GROUPS)
    theirs = [group["params"] for group in rest["param_groups"]]
    ours = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    if ours != theirs:
        raise WeightsMismatchError(f"{folder} is of an optimiser with other groups of parameters")
    metadata = read_metadata(folder)
    _fill_state(optimizer)
    wanted = dict(_tensors(optimizer, names))
    if unknown := sorted(metadata.state_dict_metadata.keys() - wanted.keys()):
        raise WeightsMismatchError(f"{folder} is of another optimiser than {type(optimizer).__name__}: {unknown[:5]}")
    read({name: tensor for name, tensor in wanted.items() if name in metadata.state_dict_metadata}, folder, metadata)
    for parameter in list(optimizer.state):
        name = names[id(parameter)]
        if name not in rest["state"]:
            del optimizer.state[parameter]  # its first gradient is still to come
            continue
        optimizer.state[parameter].update(rest["state"][name])
    _set_groups(optimizer, rest["param_groups"])


def whole_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """`state_dict` with whole tensors. All processes call it."""

    state = optimizer.state_dict()
    state["state"] = {
        number: {name: whole(value).cpu() if isinstance(value, Tensor) else value for name, value in held.items()}
        for number, held in state["state"].items()
    }
    return state


@torch.no_grad()
def load_whole_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """A `state_dict` with whole tensors, into an optimiser of parts. It moves weights on its way.

    Raises:
        WeightsMismatchError: it is of other groups of parameters.
    """
    sizes = [[len(group["params"]) for group in groups] for groups in (optimizer.param_groups, state["param_groups"])]
    if sizes[0] != sizes[1]:
        raise WeightsMismatchError(f"the optimiser has groups of {sizes[0]} parameters, and the state is of {sizes[1]}")
    _fill_state(optimizer)
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        for parameter, number in zip(group["params"], saved["params"], strict=True):
            if number not in state["state"]:
                optimizer.state.pop(parameter, None)
                continue
            held = optimizer.state[parameter]
            for name, value in state["state"][number].items():
                if isinstance(value, Tensor) and isinstance(held.get(name), Tensor):
                    copy_whole(held[name], value)
                else:
                    held[name] = value
    _set_groups(optimizer, state["param_groups"])


def _tensors(optimizer: Optimizer, names: dict[int, str]) -> Iterator[tuple[str, Tensor]]:
    for parameter, held in optimizer.state.items():
        for key, value in held.items():
            if isinstance(value, Tensor):
                yield f"{OPTIMIZER}{names[id(parameter)]}.{key}", value


def _set_groups(optimizer: Optimizer, groups: list[dict[str, Any]]) -> None:
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group.update({name: value for name, value in saved.items() if name != "params"})


def _fill_state(optimizer: Optimizer) -> None:
    """Let an optimiser make all that it remembers, by a step of size zero."""
    if all(p in optimizer.state for group in optimizer.param_groups for p in group["params"]):
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = (
            None if group["lr"] is None else torch.zeros_like(group["lr"]) if (isinstance(group["lr"], Tensor)) else 0.0
        )
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    type(optimizer).step(optimizer)  # a schedule counts the calls of the instance's own
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.zero_grad()
