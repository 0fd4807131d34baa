"""Devices, processes and precision, over torch.distributed.

from enfold.accelerate import Accelerator

accelerator = Accelerator(mixed_precision="bf16")
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
"""

from enfold.base.lazy import lazy_names

_NAMES = {
    "cpu_offload": "enfold.accelerate.placement",
    "disk_offload": "enfold.accelerate.placement",
    "dispatch_model": "enfold.accelerate.placement",
    "init_empty_weights": "enfold.accelerate.placement",
    "init_on_device": "enfold.accelerate.placement",
    "load_checkpoint_and_dispatch": "enfold.accelerate.placement",
    "load_checkpoint_in_model": "enfold.accelerate.placement",
    "infer_auto_device_map": "enfold.accelerate.device_map",
    "Accelerator": "enfold.accelerate.accelerator",
    "FullyShardedDataParallelPlugin": "enfold.accelerate.fsdp",
    "AcceleratorState": "enfold.accelerate.shared_state",
    "DistributedType": "enfold.accelerate.shared_state",
    "GeneralTracker": "enfold.accelerate.tracking",
    "ParallelismConfig": "enfold.accelerate.parallelism",
    "PartialState": "enfold.accelerate.processes",
    "PipelineParallel": "enfold.accelerate.pipeline_parallel",
    "ProjectConfiguration": "enfold.accelerate.state",
    "find_executable_batch_size": "enfold.accelerate.memory",
    "merge_fsdp_weights": "enfold.accelerate.merging",
    "notebook_launcher": "enfold.accelerate.notebook",
    "prepare_data_loader": "enfold.accelerate.loading",
    "release_memory": "enfold.accelerate.memory",
    "set_seed": "enfold.accelerate.randomness",
    "skip_first_batches": "enfold.accelerate.loading",
}
# Names of the reference library that are not built yet; a name leaves this list when it gets its module.
_NOT_BUILT = ["DeepSpeedPlugin"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, not_built=dict.fromkeys(_NOT_BUILT, __name__))
