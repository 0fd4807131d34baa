"""From weights in parts to the safetensors files that everyone reads."""

import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from enfold.accelerate import parts
from enfold.accelerate.state import owned
from enfold.base.errors import ArgumentError, CheckpointError, ConfigError
from enfold.base.whole import remove
from enfold.weights.names import STORAGES, as_stored
from enfold.weights.saving import save_tensors

# What belongs to a run, not to the model that comes out of it.
_OF_A_RUN = ("optimizer", "scheduler", "scaler", "rng_state", "random_states", "custom_checkpoint", "trainer_state")


def merge_fsdp_weights(
    checkpoint_dir: str | Path,
    output_path: str | Path,
    safe_serialization: bool = True,
    remove_checkpoint_dir: bool = False,
    *,
    max_shard_size: int | str = "50GB",
) -> Path:
    """Merge weights in parts into safetensors, with the configuration and the tokenizer that stand beside them.

    Args:
        checkpoint_dir: a checkpoint of `Trainer` or `Accelerator`, or its folder `pytorch_model_fsdp_0`; of the
            reference library too.
        output_path: the folder to write.
        remove_checkpoint_dir: remove the parts once that is done.

    Returns:
        `output_path`.

    Raises:
        CheckpointError: there are no parts, or they aren't whole.
    """
    if not safe_serialization:
        raise ArgumentError("safe_serialization=False would write a pickle; weights go into safetensors")
    folder, target = Path(checkpoint_dir), Path(output_path)
    found = folder if (folder / parts.METADATA).is_file() else parts.model_folder(folder)
    if not (found / parts.METADATA).is_file():
        raise CheckpointError(f"{folder} has no weights in parts: neither it nor {found.name} below it has .metadata")
    tensors = {name.removeprefix(parts.MODEL): tensor for name, tensor in parts.read_all(found).items()}
    named = _named(tensors, found / parts.NAMES)
    target.mkdir(parents=True, exist_ok=True)
    save_tensors(named, target, max_shard_size=max_shard_size)
    for source in dict.fromkeys((found.parent if found != folder else found, found)):
        for path in source.iterdir():
            ours = path.name in (parts.NAMES, parts.METADATA, "training_args.json") or path.suffix == ".distcp"
            if path.is_file() and not ours and not path.name.startswith(_OF_A_RUN):
                shutil.copy2(path, target / path.name)
    if remove_checkpoint_dir:
        remove(found)
    return target


def _named(tensors: dict[str, Tensor], table: Path) -> dict[str, Tensor]:
    """Tensors under the names, and in the form, that the table says."""
    if not table.is_file():
        return owned(tensors)
    try:
        names: dict[str, Any] = json.loads(table.read_text(encoding="utf-8"))
        if names.keys() != tensors.keys():
            raise ConfigError("it names other weights than there are")
        named: dict[str, Tensor] = {}
        for name, pieces in names.items():
            for theirs, index, storage in pieces:
                if storage.split(":")[0] not in STORAGES:
                    raise ConfigError(f"it names a storage {storage!r}")
                named[theirs] = as_stored(tensors[name][tuple(map(int, index))], storage).contiguous()
    except (ValueError, TypeError, AttributeError, IndexError, RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{table} can't be used ({error})") from error
    return named
