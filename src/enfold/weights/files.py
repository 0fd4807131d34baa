"""Which files make up a checkpoint, and opening and saving them.

with open_checkpoint("my-model") as checkpoint:
    for name in checkpoint:
        print(name, checkpoint.dtype(name), checkpoint.shape(name))
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from enfold.base.errors import ArgumentError, CheckpointError
from enfold.weights.checkpoint import Checkpoint
from enfold.weights.raw_file import listed
from enfold.weights.safetensors_file import SafetensorsCheckpoint
from enfold.weights.saving import save_tensors
from enfold.weights.sharding import ShardedCheckpoint, check_all_there, index_shards, read_index

__all__ = ["Checkpoint", "checkpoint_files", "index_shards", "open_checkpoint", "save_tensors"]

# In the order in which they are preferred, as the reference libraries prefer them.
_SINGLE_AND_INDEX = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_FOREIGN = (".h5", ".msgpack", ".onnx", ".ot", ".tflite", ".pt", ".pth", ".ckpt")


def open_checkpoint(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    variant: str | None = None,
    gguf_file: str | None = None,
) -> Checkpoint:
    """Open the weights in a folder, in one file, or in a list of files that belong together.

    Args:
        source: a folder, a weights file, an index, or the files that were fetched (shards, with or without the index).
        variant: `"fp16"` takes `model.fp16.safetensors` and so on in a folder.
        gguf_file: the GGUF file to take from a folder.

    Raises:
        CheckpointError: there are no weights, a shard is missing, or a file is torn or hostile.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _open_files([Path(path) for path in source])
    path = Path(source)
    if not path.is_dir():
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: a folder with weights or a weights file was expected")
        return _open_files([path])
    names = [entry.name for entry in path.iterdir()]
    chosen = checkpoint_files(names, variant=variant, gguf_file=gguf_file)
    if not chosen:
        raise CheckpointError(_no_weights(path, names, variant))
    return _open_files([path / name for name in chosen])


def checkpoint_files(names: Iterable[str], *, variant: str | None = None, gguf_file: str | None = None) -> list[str]:
    """The files of a repository to fetch first: one file of weights, or an index whose shards `index_shards` lists.

    Args:
        names: the names in the repository's folder (those in deeper folders are passed over).
        variant: `"fp16"` and the like, as it stands in the file names.
        gguf_file: the GGUF file that was asked for; without it, a GGUF file is taken only where it is the only one and
            there are no other weights.

    Returns:
        One name, or an empty list where there are no weights.

    Raises:
        CheckpointError: `gguf_file` is not there, or several GGUF files are and none was chosen.
    """
    there = set(names)
    ggufs = sorted(name for name in there if name.endswith(".gguf") and "/" not in name)
    if gguf_file is not None:
        if variant is not None:
            raise ArgumentError(f"variant={variant!r} and gguf_file={gguf_file!r} name two checkpoints: give one")
        if gguf_file not in there:
            raise CheckpointError(f"there is no {gguf_file!r}; the GGUF files are: {', '.join(ggufs) or 'none'}")
        return [gguf_file]
    for name in usual_names(variant):
        if name in there:
            return [name]
    if variant is None and ggufs:
        if len(ggufs) > 1:
            raise CheckpointError(
                f"there are {len(ggufs)} GGUF files and nothing says which one counts: give gguf_file= one of "
                f"{', '.join(ggufs[:12])}"
            )
        return ggufs
    return []


def usual_names(variant: str | None = None) -> list[str]:
    """The file names that a checkpoint has in the reference libraries, the preferred ones first."""
    return [_with_variant(name, variant) for pair in _SINGLE_AND_INDEX for name in pair]


def _with_variant(name: str, variant: str | None) -> str:
    """The variant stands before the last suffix: model.fp16.safetensors, model.safetensors.index.fp16.json."""
    if variant is None:
        return name
    if not variant or not all(c.isalnum() or c in "._-" for c in variant) or ".." in variant:
        raise ArgumentError(f"variant must be a word such as 'fp16', got {variant!r}")
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{variant}{dot}{suffix}"


def _no_weights(folder: Path, names: list[str], variant: str | None) -> str:
    message = f"{folder} has no weights: looked for {', '.join(usual_names(variant))}"
    message += "" if variant else ", *.gguf"
    message += f"; the folder holds {listed(folder)}"
    if variant and checkpoint_files(names):
        return f"{message}. It has {checkpoint_files(names)[0]}: leave out variant={variant!r} to load that"
    foreign = [name for name in sorted(names) if name.endswith(_FOREIGN)]
    if foreign:
        message += f". {', '.join(foreign)} can't be read: save the weights as safetensors first"
    return message


def _open_files(paths: list[Path]) -> Checkpoint:
    indices = [path for path in paths if path.name.endswith(".json")]
    if len(indices) > 1 or not paths:
        raise ArgumentError(f"one checkpoint's files were expected, got {[str(path) for path in paths]}")
    if indices:
        index = indices[0]
        weight_map = read_index(index)
        shards = list(dict.fromkeys(weight_map.values()))
        check_all_there(index, shards)
        return _open_shards(str(index), {name: index.parent / name for name in shards}, weight_map)
    if len(paths) == 1:
        return _opener(paths[0])(paths[0])
    return _open_shards(str(paths[0].parent), {str(path): path for path in paths}, None)


def _open_shards(path: str, files: dict[str, Path], weight_map: dict[str, str] | None) -> Checkpoint:
    with ExitStack() as opened:
        shards = {name: opened.enter_context(_opener(file)(file)) for name, file in files.items()}
        checkpoint = ShardedCheckpoint(path, shards, weight_map)
        opened.pop_all()
    return checkpoint


def _opener(path: Path) -> Callable[[Path], Checkpoint]:
    if path.name.endswith(".safetensors"):
        return SafetensorsCheckpoint
    if path.name.endswith((".bin", ".pt", ".pth")):
        from enfold.weights.torch_file import TorchCheckpoint

        return TorchCheckpoint
    if path.name.endswith(".gguf"):
        from enfold.weights.gguf_names import open_gguf

        return open_gguf
    raise CheckpointError(f"{path} is of no known format: .safetensors, .bin, .gguf or an index (.json) was expected")
