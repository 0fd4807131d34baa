"""How processes divide the work: copies of the data, parts of the weights, of the ops, of a text."""

import os
from dataclasses import dataclass
from typing import Any

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from enfold.accelerate.processes import PartialState
from enfold.base.errors import ArgumentError, NotBuiltError

# From the outermost to the innermost: neighbours in rank exchange the most.
DIMENSIONS = ("dp_replicate", "dp_shard", "cp", "tp")


@dataclass
class ParallelismConfig:
    """Sizes of groups of processes; their product is the number of processes.

    Attributes:
        dp_replicate_size: groups that each read other data, and average their gradients.
        dp_shard_size: processes that read other data, and share the weights in parts (FSDP).
        tp_size: processes that share the heads and channels of every op (tensor parallelism); they read the same data.
        cp_size: processes that share each text (context parallelism); they read the same data.
        device_mesh: the processes, once `get_device_mesh` has been asked; `joint_meshes`, of several dimensions as one.

    Raises:
        ArgumentError: a size below one.
        NotBuiltError: sequence parallelism by DeepSpeed.
    """

    dp_replicate_size: int | None = None
    dp_shard_size: int | None = None
    tp_size: int | None = None
    cp_size: int | None = None
    cp_backend: str | None = None
    sp_size: int | None = None

    def __post_init__(self) -> None:
        self.device_mesh: DeviceMesh | None = None
        self.joint_meshes: dict[str, DeviceMesh] = {}
        for name in ("dp_replicate_size", "dp_shard_size", "tp_size", "cp_size", "sp_size"):
            given = getattr(self, name)
            if given is None:  # the launcher's choice
                given = int(os.environ.get(f"PARALLELISM_CONFIG_{name.upper()}", "1"))
            if not isinstance(given, int) or given < 1:
                raise ArgumentError(f"{name}={given!r}; expected a whole number of processes, 1 or more")
            setattr(self, name, given)
        if self.cp_backend not in (None, "torch"):
            raise ArgumentError(f"cp_backend={self.cp_backend!r}; expected 'torch'")
        if self.sp_size != 1:
            raise NotBuiltError(f"sp_size={self.sp_size} is DeepSpeed's, and not built: cp_size shares texts, too")

    def size(self, name: str) -> int:
        """Of a dimension of `DIMENSIONS`."""
        return getattr(self, f"{name}_size")

    @property
    def total_size(self) -> int:
        """Processes in all."""
        return self.data_parallel_size * self.non_data_parallel_size

    @property
    def data_parallel_size(self) -> int:
        """Groups of processes that read other data."""
        return self.size("dp_replicate") * self.size("dp_shard")

    @property
    def non_data_parallel_size(self) -> int:
        """Processes that read the same data."""
        return self.size("tp") * self.size("cp")

    @property
    def dp_replicate_enabled(self) -> bool:
        return self.size("dp_replicate") > 1

    @property
    def dp_shard_enabled(self) -> bool:
        return self.size("dp_shard") > 1

    @property
    def tp_enabled(self) -> bool:
        return self.size("tp") > 1

    @property
    def cp_enabled(self) -> bool:
        return self.size("cp") > 1

    @property
    def active_mesh_dims(self) -> list[str]:
        """Dimensions of more than one process."""
        return [name for name in DIMENSIONS if self.size(name) > 1]

    @property
    def fsdp_dim_names(self) -> list[str]:
        """Dimensions that FSDP works over: copies, and parts of the weights."""
        return [*(["dp_replicate"] if self.dp_replicate_enabled else []), "dp_shard_cp"]

    def fit(self, processes: int) -> None:
        """Check the sizes; where all are one, the processes are copies.

        Raises:
            ArgumentError: their product is another number.
        """
        if self.total_size == 1:
            self.dp_replicate_size = processes
        if self.total_size != processes:
            sizes = ", ".join(f"{name}_size={self.size(name)}" for name in self.active_mesh_dims)
            raise ArgumentError(f"{sizes} ask for {self.total_size} processes, and there are {processes}")

    def build_device_mesh(self, device_type: str) -> DeviceMesh | None:
        """The processes as a mesh of the dimensions in use, with the joint ones `dp`, `dp_shard_cp` and `dp_cp`."""
        names = tuple(self.active_mesh_dims)
        if not names:
            return None
        mesh = init_device_mesh(device_type, tuple(map(self.size, names)), mesh_dim_names=names)
        for joint, of in (
            ("dp", ("dp_replicate", "dp_shard")),
            ("dp_shard_cp", ("dp_shard", "cp")),
            ("dp_cp", ("dp_replicate", "dp_shard", "cp")),
        ):
            parts = tuple(name for name in of if name in names)
            if parts:
                self.joint_meshes[joint] = mesh[parts]._flatten(joint)
        return mesh

    def get_device_mesh(self, device_type: str | None = None) -> DeviceMesh | None:
        """The mesh, built when it is first asked for."""
        if self.device_mesh is None:
            if device_type is None:
                raise ArgumentError("get_device_mesh needs a device_type the first time, such as 'cuda' or 'cpu'")
            self.device_mesh = self.build_device_mesh(device_type)
        return self.device_mesh

    def share_data(self, state: PartialState) -> None:
        """Let processes that hold one model together, or share texts, read the same data."""
        if self.non_data_parallel_size == 1:
            return
        mesh = self.get_device_mesh(state.device.type)
        assert mesh is not None
        if self.data_parallel_size == 1:
            state.share_data(0, 1)
        else:
            data = self.joint_meshes["dp"]
            state.share_data(data.get_local_rank(), self.data_parallel_size, data.get_group())

    def to_json(self) -> dict[str, Any]:
        """The sizes, for a file."""
        return {f"{name}_size": self.size(name) for name in DIMENSIONS}
