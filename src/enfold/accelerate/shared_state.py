"""What the last `Accelerator` was made with, for code that isn't handed it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from enfold.accelerate.processes import PartialState
from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.accelerate.accelerator import Accelerator


class DistributedType(StrEnum):
    """How processes work together. The reference library's names; those below FSDP never come up here."""

    NO = "NO"
    MULTI_CPU = "MULTI_CPU"
    MULTI_GPU = "MULTI_GPU"
    FSDP = "FSDP"
    DEEPSPEED = "DEEPSPEED"
    MEGATRON_LM = "MEGATRON_LM"
    MULTI_HPU = "MULTI_HPU"
    MULTI_MLU = "MULTI_MLU"
    MULTI_MUSA = "MULTI_MUSA"
    MULTI_NEURON = "MULTI_NEURON"
    MULTI_NPU = "MULTI_NPU"
    MULTI_SDAA = "MULTI_SDAA"
    MULTI_XPU = "MULTI_XPU"
    XLA = "XLA"


class AcceleratorState:
    """The state of the last `Accelerator`: its precision, its plugins, and all that `PartialState` knows.

    Args:
        mixed_precision, cpu: those that the accelerator was made with, or nothing. Where there is none yet, one is made
            of them.

    Raises:
        ArgumentError: there is an accelerator, and it was made with another precision.
    """

    _shared: dict[str, Any] = {}

    def __init__(self, mixed_precision: str | None = None, cpu: bool = False):
        self.__dict__ = self._shared
        if not self._shared:
            from enfold.accelerate.accelerator import Accelerator

            Accelerator(mixed_precision=mixed_precision, cpu=cpu)
        elif mixed_precision not in (None, self.mixed_precision):
            raise ArgumentError(
                f"mixed_precision={mixed_precision!r}, and the Accelerator that is there has {self.mixed_precision!r}: "
                "say so where it is made"
            )

    @classmethod
    def follow(cls, accelerator: "Accelerator") -> None:
        """Take over what an accelerator was made with."""
        for name in ("mixed_precision", "fsdp_plugin", "parallelism_config", "device_mesh", "distributed_type"):
            cls._shared[name] = getattr(accelerator, name)

    @property
    def initialized(self) -> bool:
        """Whether there has been an accelerator."""
        return bool(self._shared)

    @property
    def is_fsdp2(self) -> bool:
        """Whether models are spread over the processes in parts."""
        return self.distributed_type is DistributedType.FSDP

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("mixed_precision", "distributed_type"):
            raise AttributeError(name)
        return getattr(PartialState(), name)


def distributed_type(state: PartialState, *, shards: bool) -> DistributedType:
    """How the processes of a state work together."""
    if not state.use_distributed:
        return DistributedType.NO
    if shards:
        return DistributedType.FSDP
    return DistributedType.MULTI_CPU if state.device.type == "cpu" else DistributedType.MULTI_GPU
