"""Loading a model that several processes hold together: each reads its part of the weights."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from enfold.accelerate.processes import PartialState
from enfold.accelerate.tensor_parallel import Splitting
from enfold.base.errors import ArgumentError
from enfold.models.base import PreTrainedModel
from enfold.weights.files import Checkpoint
from enfold.weights.names import Piece, from_stored

if TYPE_CHECKING:
    from enfold.models.load import Request


def mesh_of(request: "Request") -> DeviceMesh | None:
    """The processes that hold the model together, as a mesh of one dimension; None: each holds its own.

    Raises:
        ArgumentError: a plan that isn't known, or sizes that don't fit the number of processes.
    """
    asked = {name: value for name in ("tp_size", "device_mesh") if (value := getattr(request, name)) is not None}
    if request.tp_plan is None:
        if asked:
            raise ArgumentError(f"{', '.join(asked)} was given without tp_plan: tp_plan='auto' splits the weights")
        return None
    if request.tp_plan != "auto":
        raise ArgumentError(f"tp_plan={request.tp_plan!r}; expected 'auto': the plans are those of the model's ops")
    if isinstance(request.device_map, dict):
        raise ArgumentError("tp_plan and a device_map of parts exclude each other: each process uses one device")
    mesh = request.device_mesh
    if mesh is None:
        state = PartialState(cpu=str(request.device) == "cpu")
        size = state.num_processes if request.tp_size is None else request.tp_size
        if size < 1 or state.num_processes % size:
            raise ArgumentError(
                f"tp_size={size} and {state.num_processes} processes: expected a divisor; start as many with torchrun"
            )
        if state.num_processes == 1:
            return None
        shape = (state.num_processes // size, size)
        mesh = init_device_mesh(state.device.type, shape, mesh_dim_names=("dp", "tp"))
    if mesh.ndim > 1:
        if "tp" not in (mesh.mesh_dim_names or ()):
            raise ArgumentError(
                f"device_mesh has the dimensions {mesh.mesh_dim_names}; expected one of them to be 'tp'"
            )
        mesh = mesh["tp"]
    if request.tp_size not in (None, mesh.size()):
        raise ArgumentError(f"tp_size={request.tp_size}, and device_mesh has {mesh.size()} processes")
    return None if mesh.size() == 1 else mesh


def own_device(request: "Request") -> Any:
    """Where this process puts its part."""
    return PartialState().device if request.device is None else request.device


class Parts:
    """What this process reads of a model's weights.

    Args:
        model: on the meta device.
        mesh: the processes that hold it together.
    """

    def __init__(self, model: PreTrainedModel, mesh: DeviceMesh):
        self.model, self.mesh = model, mesh
        self.splitting = Splitting(model, mesh.get_local_rank(), mesh.size())
        self.shapes: dict[str, tuple[int, ...]] = {}  # of whole weights of which a part was read

    def read(
        self,
        ours: str,
        shape: tuple[int, ...],
        checkpoint: Checkpoint,
        held: list[tuple[Piece, str]],
        dtype: torch.dtype,
    ) -> Tensor:
        """The part of a weight, from the tensors that hold its pieces; of those that are mapped no more is read."""
        self.shapes[ours] = shape
        target = torch.empty(self.splitting.shape(ours, shape), dtype=dtype)
        for piece, name in held:
            stored = from_stored(checkpoint.read(name), piece.storage)
            target[piece.index].copy_(self.splitting.take(ours, stored, taken=len(piece.index)))
        return target

    def put_together(self, fresh: list[str]) -> None:
        """Split the model, once all weights are there; those drawn anew are the first process's."""
        self._agree(fresh)
        self.splitting.apply(self.mesh, local=self.shapes)

    @torch.no_grad()
    def _agree(self, names: list[str]) -> None:
        for name in names:
            owner, _, leaf = name.rpartition(".")
            module = self.model.get_submodule(owner)
            parameter = module._parameters.get(leaf)
            held = module._buffers[leaf] if parameter is None else parameter.data
            assert held is not None
            moved = held.to(self.mesh.device_type).contiguous()
            distributed.broadcast(moved, group_src=0, group=self.mesh.get_group())
            held.copy_(moved)
