"""Checkpoints that are spread over several files, with or without an index."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from enfold.base.errors import CheckpointError
from enfold.hub.paths import safe_relative_path
from enfold.weights.checkpoint import Checkpoint, no_such_tensor, shown

# An index lists one line per tensor: even a model of a million tensors stays far below.
MAX_INDEX_BYTES = 1 << 28


class ShardedCheckpoint(Checkpoint):
    """Several checkpoints that together hold one model.

    Args:
        path: the index or the folder, for messages.
        shards: file name → opened checkpoint; closed with this one.
        weight_map: tensor name → the shard's file name, as the index says. Tensors that a shard holds and the index
            leaves out are kept too, so that whoever loads the model can report them.
        metadata: the notes; by default the first shard's.

    Raises:
        CheckpointError: the index names a tensor that its shard lacks, or two shards hold a tensor and nothing says
            which one counts.
    """

    def __init__(
        self,
        path: str,
        shards: Mapping[str, Checkpoint],
        weight_map: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._shards = dict(shards)
        self.metadata = metadata if metadata is not None else next((s.metadata for s in shards.values()), {})
        self._owner: dict[str, Checkpoint] = {}
        for name, file_name in (weight_map or {}).items():
            if name not in self._shards[file_name]:
                raise CheckpointError(
                    f"{path} says that {shown(name)} is in {file_name}, which does not hold it: the index and the "
                    "shards are not of the same save"
                )
            self._owner[name] = self._shards[file_name]
        found_in: dict[str, str] = {}
        for file_name, shard in self._shards.items():
            for name in shard.names():
                if name in self._owner and name not in found_in:
                    continue
                if name in found_in:
                    raise CheckpointError(
                        f"{path}: both {found_in[name]} and {file_name} hold {shown(name)}, and no index says which "
                        "one counts"
                    )
                found_in[name] = file_name
                self._owner[name] = shard

    def names(self) -> list[str]:
        return list(self._owner)

    def __contains__(self, name: object) -> bool:
        return name in self._owner

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shard(name).shape(name)

    def dtype(self, name: str) -> torch.dtype:
        return self._shard(name).dtype(name)

    def is_quantized(self, name: str) -> bool:
        return self._shard(name).is_quantized(name)

    def is_mappable(self, name: str) -> bool:
        return self._shard(name).is_mappable(name)

    def read(self, name: str) -> torch.Tensor:
        return self._shard(name).read(name)

    def read_into(self, name: str, out: torch.Tensor) -> None:
        self._shard(name).read_into(name, out)

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()

    def _shard(self, name: str) -> Checkpoint:
        shard = self._owner.get(name)
        if shard is None:
            raise no_such_tensor(self.path, name, self.names())
        return shard


def read_index(path: str | os.PathLike[str]) -> dict[str, str]:
    """The `weight_map` of an index file: tensor name → shard's file name, every one checked.

    Raises:
        CheckpointError: the file is no index.
        UnsafePathError: a shard's name would leave the index's folder.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes: far too large for an index")
        index = json.loads(path.read_bytes())
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}): the index is torn") from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map (tensor name → file name), so it is no index of shards")
    for name, file_name in weight_map.items():
        if not isinstance(file_name, str):
            raise CheckpointError(f"{path}: the file of {shown(name)} is {shown(file_name)}, not a file name")
    for file_name in set(weight_map.values()):
        safe_relative_path(file_name)
    return weight_map


def index_shards(path: str | os.PathLike[str]) -> list[str]:
    """The shards' file names that an index lists, each once, in its order: what to fetch after the index."""
    return list(dict.fromkeys(read_index(path).values()))


def check_all_there(path: str | os.PathLike[str], shards: Sequence[str]) -> None:
    """Name the shards that are not beside the index, before any is opened."""
    folder = Path(path).parent
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise CheckpointError(
            f"{path} lists {len(shards)} shards, of which {', '.join(missing[:5])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} missing: download the checkpoint again"
        )
