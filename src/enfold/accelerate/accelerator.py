"""A training loop of the user's own, on whatever devices and processes there are."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from enfold.accelerate import operations, state
from enfold.accelerate.fsdp import FullyShardedDataParallelPlugin
from enfold.accelerate.loading import prepare_data_loader, skip_first_batches
from enfold.accelerate.parallelism import ParallelismConfig
from enfold.accelerate.precision import Autocast
from enfold.accelerate.prepared import PreparedOptimizer, PreparedScheduler
from enfold.accelerate.processes import PartialState
from enfold.accelerate.shared_state import AcceleratorState, DistributedType, distributed_type
from enfold.accelerate.state import ProjectConfiguration, checkpoints_of, next_folder, write_weights
from enfold.accelerate.tracking import Tracking, chosen
from enfold.base.errors import ArgumentError, CheckpointError, NotBuiltError
from enfold.base.whole import remove

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Accelerator(Tracking):
    """Devices, processes and precision behind a few calls.

    >>> accelerator = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4)
    >>> model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    >>> for batch in loader:
    ...     with accelerator.accumulate(model):
    ...         accelerator.backward(model(**batch).loss)
    ...         optimizer.step()
    ...         optimizer.zero_grad()

    Args:
        device_placement: move models and batches to the device.
        split_batches: a loader's batch size is that of all processes together, not of each.
        mixed_precision: "no", "bf16" or "fp16" (which scales the loss).
        gradient_accumulation_steps: batches before `optimizer.step` moves the weights; `backward` divides by it.
        cpu: stay on the CPU.
        even_batches: at the end of the data, repeat rows so that every process gets as many batches.
        step_scheduler_with_optimizer: a prepared scheduler steps once for each process, when the optimiser does.
        project_dir, project_config: where `save_state` writes without a folder.
        fsdp_plugin: leave each process a part of the weights (FSDP2); by default what the launcher says. One process
            alone keeps them whole.
        log_with: "csv", "tensorboard", "wandb", "mlflow", trackers of one's own (`GeneralTracker`), or a list of them;
            `init_trackers` opens them.
        use_stateful_dataloader: after `load_state`, prepared loaders go on behind the last batch that they gave;
            otherwise they begin anew, in the same order, and `skip_first_batches` goes on.
        parallelism_config: how the processes divide the work; by default each reads other data.
    """

    def __init__(
        self,
        device_placement: bool = True,
        split_batches: bool = False,
        mixed_precision: str | None = None,
        gradient_accumulation_steps: int = 1,
        cpu: bool = False,
        *,
        even_batches: bool = True,
        step_scheduler_with_optimizer: bool = True,
        find_unused_parameters: bool = False,
        fsdp_plugin: FullyShardedDataParallelPlugin | None = None,
        log_with: Any = None,
        project_dir: str | Path | None = None,
        project_config: ProjectConfiguration | None = None,
        use_stateful_dataloader: bool = False,
        parallelism_config: ParallelismConfig | None = None,
    ):
        # The launcher's choice, for scripts that make none.
        precision = str(mixed_precision or os.environ.get("ENFOLD_MIXED_PRECISION", "no"))
        if precision not in PRECISIONS:
            raise ArgumentError(f"mixed_precision={mixed_precision!r}; expected 'no', 'bf16' or 'fp16'")
        if gradient_accumulation_steps < 1:
            raise ArgumentError(f"gradient_accumulation_steps={gradient_accumulation_steps}; expected at least 1")
        self.state = PartialState(cpu=cpu)
        self.parallelism_config, self.device_mesh = parallelism_config, None
        if parallelism_config is not None:
            parallelism_config.fit(self.state.num_processes)
            self.device_mesh = parallelism_config.get_device_mesh(self.device.type)
            parallelism_config.share_data(self.state)
        self.device_placement, self.split_batches, self.even_batches = device_placement, split_batches, even_batches
        self.mixed_precision = precision
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.step_scheduler_with_optimizer = step_scheduler_with_optimizer
        self.find_unused_parameters = find_unused_parameters
        self.fsdp_plugin = fsdp_plugin or FullyShardedDataParallelPlugin.from_environment()
        if self.fsdp_plugin is None and parallelism_config is not None and parallelism_config.dp_shard_enabled:
            self.fsdp_plugin = FullyShardedDataParallelPlugin()
        self.sync_gradients = True
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.project_configuration = project_config or ProjectConfiguration()
        if project_dir is not None and self.project_configuration.project_dir is None:
            self.project_configuration.project_dir = str(project_dir)
        if self.project_configuration.logging_dir is None:
            self.project_configuration.logging_dir = self.project_configuration.project_dir
        self.use_stateful_dataloader = use_stateful_dataloader
        self.log_with, self.trackers = chosen(log_with), []
        self.step = 0
        self._replaced: dict[int, Any] = {}  # parameters of models that are split or in parts, by their ids
        self._custom: list[Any] = []
        self._models: list[nn.Module] = []
        self._optimizers: list[PreparedOptimizer] = []
        self._schedulers: list[PreparedScheduler] = []
        self._loaders: list[Any] = []
        AcceleratorState.follow(self)

    @property
    def device(self) -> torch.device:
        """Where models and batches go."""
        return self.state.device

    @property
    def num_processes(self) -> int:
        """How many processes train together."""
        return self.state.num_processes

    @property
    def process_index(self) -> int:
        """The rank of this one."""
        return self.state.process_index

    @property
    def data_processes(self) -> int:
        """How many shares the data are read in; processes that hold one model together read the same."""
        return self.state.data_count

    @property
    def data_index(self) -> int:
        """The share that this process reads."""
        return self.state.data_index

    @property
    def local_process_index(self) -> int:
        """Its number on this machine."""
        return self.state.local_process_index

    @property
    def is_main_process(self) -> bool:
        """Rank 0."""
        return self.state.is_main_process

    @property
    def is_local_main_process(self) -> bool:
        """The first process of this machine."""
        return self.state.is_local_main_process

    @property
    def optimizer_step_was_skipped(self) -> bool:
        """Whether the last step was left out, because fp16 gradients were not finite."""
        return any(optimizer.step_was_skipped for optimizer in self._optimizers)

    @property
    def distributed_type(self) -> DistributedType:
        """How the processes work together."""
        return distributed_type(self.state, shards=self.shards)

    @property
    def shards(self) -> bool:
        """Whether models are spread over the processes in parts (FSDP)."""
        return self.fsdp_plugin is not None and self.state.use_distributed

    def prepare(self, *objects: Any) -> Any:
        """Models, optimisers, data loaders and schedulers, in the order given, ready for this device and all processes.

        A model goes to the device (before its optimiser moves anything) and, with several processes, averages its
        gradients with the others', or is spread over them in parts; its optimiser then moves the parts.
        """
        prepared = [self._prepare(item) for item in objects]
        return prepared[0] if len(prepared) == 1 else tuple(prepared)

    def _prepare(self, item: Any) -> Any:
        if isinstance(item, nn.Module):
            return self.prepare_model(item)
        if isinstance(item, DataLoader):
            return self.prepare_data_loader(item)
        if isinstance(item, Optimizer):
            return self.prepare_optimizer(item)
        if isinstance(item, LRScheduler):
            return self.prepare_scheduler(item)
        return item

    def prepare_model(
        self,
        model: nn.Module,
        device_placement: bool | None = None,
        evaluation_mode: bool = False,
        *,
        autocast: bool = True,
    ):
        """The model on the device; with several processes, as one that averages gradients, or in parts.

        Its forward runs in the mixed precision by itself, unless `autocast` is False.
        """
        dtype = PRECISIONS[self.mixed_precision]
        if dtype is not None and autocast:
            Autocast(model, self.device.type, dtype)
        if self.shards and not evaluation_mode:
            if self.parallelism_config is not None and self.parallelism_config.tp_enabled:
                model = model.to(self.device)
            self._divide(model)
            self._shard(model)
            self._models.append(model)
            return model
        place = self.device_placement if device_placement is None else device_placement
        if place and any(p.device.type == "meta" for p in model.parameters()):
            raise ArgumentError("the model's weights are on the meta device: load them before prepare")
        if place:
            model = model.to(self.device)
        learns = any(p.requires_grad for p in model.parameters())
        self._divide(model)
        if self.state.use_distributed and not evaluation_mode and learns:
            model = self._averaged(model)
        self._models.append(model)
        return model

    def _shard(self, model: nn.Module) -> None:
        from enfold.accelerate import sharding

        assert self.fsdp_plugin is not None
        if isinstance(model, sharding.FSDPModule):
            return
        precision = PRECISIONS[self.mixed_precision]
        parts = sharding.shard(model, self.fsdp_plugin, self._parts_mesh(), self.device, precision)
        # What was split before is in parts now.
        moved = {old: (first, parts[id(now)][1]) for old, (first, now) in self._replaced.items() if id(now) in parts}
        self._replaced |= moved | parts
        for prepared in self._optimizers:
            self._follow(prepared.optimizer)

    def _parts_mesh(self) -> Any:
        """The processes among which models are spread: those that share the parts, and copies of them."""
        config, mesh = self.parallelism_config, self.device_mesh
        if config is None or mesh is None:
            return init_device_mesh(self.device.type, (self.num_processes,), mesh_dim_names=("dp_shard",))
        if sum((config.dp_replicate_enabled, config.tp_enabled, config.cp_enabled)) > 1:
            raise NotBuiltError(
                "weights in parts (FSDP) go with one of dp_replicate_size, tp_size and cp_size; beside two of them "
                "they are not built"
            )
        if config.cp_enabled:
            return config.joint_meshes["dp_shard_cp"]
        if not config.dp_shard_enabled:  # fsdp_plugin alone says that nothing is a copy
            return mesh["dp_replicate"]
        return mesh["dp_replicate", "dp_shard"] if config.dp_replicate_enabled else mesh["dp_shard"]

    def _divide(self, model: nn.Module) -> None:
        """Split a model's ops, and the texts that it reads, over the processes that share them."""
        config = self.parallelism_config
        split = model.__dict__.get("splitting")
        if split is not None and (config is None or config.tp_size != split.ranks):
            raise ArgumentError(
                f"the model is split over {split.ranks} processes: say so with "
                f"Accelerator(parallelism_config=ParallelismConfig(tp_size={split.ranks}, …))"
            )
        if config is not None and self.device_mesh is not None and config.tp_enabled and split is None:
            from enfold.accelerate.tensor_parallel import tensor_parallel

            self._replaced |= tensor_parallel(model, self.device_mesh["tp"])
            for prepared in self._optimizers:
                self._follow(prepared.optimizer)

        if config is not None and self.device_mesh is not None and config.cp_enabled:
            from enfold.accelerate.context_parallel import context_parallel

            context_parallel(model, self.device_mesh["cp"])

    def _follow(self, optimizer: Optimizer) -> None:
        """Let an optimiser made before its model was split, or cut, move the parts."""
        if self._replaced and self.shards:
            from enfold.accelerate.sharding import replace_parameters

            replace_parameters(optimizer, self._replaced)
        elif self._replaced:
            from enfold.accelerate.tensor_parallel import follow

            follow(optimizer, self._replaced)

    def _averaged(self, model: nn.Module) -> nn.Module:
        """A model whose gradients are averaged over the processes that read other data, or other parts of a text."""
        group = None
        if self.parallelism_config is not None and self.device_mesh is not None:
            if self.parallelism_config.tp_size == self.num_processes:
                return model
            group = self.parallelism_config.joint_meshes["dp_cp"].get_group()
        if "splitting" in model.__dict__:
            from enfold.accelerate.averaging import Averaging

            assert group is not None
            if "averaging" not in model.__dict__:
                Averaging(model, group)
            return model
        ids = None if self.device.type == "cpu" else [self.device.index]
        unused = self.find_unused_parameters
        return DistributedDataParallel(model, device_ids=ids, find_unused_parameters=unused, process_group=group)

    def prepare_optimizer(self, optimizer: Optimizer) -> "PreparedOptimizer":
        """The optimiser, which waits for the last batch of an accumulated step."""
        prepared = optimizer if isinstance(optimizer, PreparedOptimizer) else PreparedOptimizer(optimizer, self)
        self._follow(prepared.optimizer)
        self._optimizers.append(prepared)
        return prepared

    def prepare_scheduler(self, scheduler: LRScheduler) -> "PreparedScheduler":
        """The scheduler, which steps when the optimiser has stepped."""
        prepared = PreparedScheduler(scheduler, self)
        self._schedulers.append(prepared)
        return prepared

    def prepare_data_loader(self, loader: DataLoader) -> Any:
        """The loader, with this process's share of every batch, on the device."""
        prepared = prepare_data_loader(
            loader,
            device=self.device if self.device_placement else None,
            split_batches=self.split_batches,
            even_batches=self.even_batches,
            goes_on=self.use_stateful_dataloader,
        )
        self._loaders.append(prepared)
        return prepared

    def autocast(self) -> Any:
        """Where matrix products run in the mixed precision."""
        dtype = PRECISIONS[self.mixed_precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    @contextlib.contextmanager
    def accumulate(self, *models: nn.Module) -> Iterator[None]:
        """One batch of an accumulated step: gradients are exchanged, and the weights move, only with the last."""
        self.step += 1
        ended = any(getattr(loader, "end_of_dataloader", False) for loader in self._loaders)
        self.sync_gradients = ended or self.step % self.gradient_accumulation_steps == 0
        if ended:
            self.step = 0
        with contextlib.ExitStack() as stack:
            if not self.sync_gradients:
                for model in models:
                    stack.enter_context(self.no_sync(model))
            yield

    def no_sync(self, model: nn.Module) -> Any:
        """Where backward leaves the gradients with this process."""
        if "averaging" in model.__dict__:
            return model.__dict__["averaging"].paused()
        if isinstance(model, DistributedDataParallel):
            return model.no_sync()
        if self.shards:
            from enfold.accelerate.sharding import FSDPModule, without_exchange

            bare = self.unwrap_model(model, keep_torch_compile=False)
            if isinstance(bare, FSDPModule):
                return without_exchange(bare)
        return contextlib.nullcontext()

    def gathered(self, model: nn.Module) -> Any:
        """Where a model in parts is whole, and runs without exchange: for `generate`, say. All processes enter it."""
        if not self.shards:
            return contextlib.nullcontext()
        from enfold.accelerate import sharding

        return sharding.gathered(self.unwrap_model(model, keep_torch_compile=False))

    def backward(self, loss: Tensor, **options: Any) -> None:
        """The gradients of `loss`, divided by the number of accumulated batches."""
        if self.gradient_accumulation_steps > 1:
            loss = loss / self.gradient_accumulation_steps
        self.scaler.scale(loss).backward(**options)

    def unscale_gradients(self, optimizer: Optimizer | None = None) -> None:
        """Gradients in the size of the loss, before they are looked at (fp16)."""
        for prepared in [optimizer] if optimizer is not None else self._optimizers:
            inner = getattr(prepared, "optimizer", prepared)
            found = self.scaler._per_optimizer_states[id(inner)]["stage"].name if self.scaler.is_enabled() else ""
            if self.scaler.is_enabled() and found == "READY":
                self.scaler.unscale_(inner)
                if self.shards:  # all leave the step out where one part of a gradient isn't finite
                    for seen in self.scaler._per_optimizer_states[id(inner)]["found_inf_per_device"].values():
                        agreed = seen.to(self.device)
                        distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
                        seen.copy_(agreed)

    def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor | None:
        """Scale the gradients down to `max_norm`; the norm before, or None within an accumulated step."""
        if not self.sync_gradients:
            return None
        self.unscale_gradients()
        if self.shards:
            from enfold.accelerate.sharding import clip_grad_norm

            return clip_grad_norm(_listed(parameters), max_norm, norm_type, self.device)
        norm = nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        whole: Any = getattr(norm, "full_tensor", None)  # of weights in parts
        return norm if whole is None else whole()

    def clip_grad_value_(self, parameters: Any, clip_value: float) -> None:
        """Cut each gradient to ±`clip_value`."""
        if self.sync_gradients:
            self.unscale_gradients()
            if self.shards:
                from enfold.accelerate.sharding import clip_grad_value

                clip_grad_value(_listed(parameters), clip_value)
            else:
                nn.utils.clip_grad_value_(parameters, clip_value)

    def gather(self, data: Any) -> Any:
        """Every tensor with the rows of all processes."""
        return operations.gather(data)

    def gather_for_metrics(self, data: Any, use_gather_object: bool = False) -> Any:
        """`gather`, without the rows that were repeated to make the last batch even."""
        held = operations.gather_object(data, of_data=True) if use_gather_object else operations.gather(data)
        ending = next((loader for loader in self._loaders if getattr(loader, "end_of_dataloader", False)), None)
        real = getattr(ending, "remainder", None)
        if real is None:
            return held
        if use_gather_object:
            return held[:real]
        return operations.nested(lambda tensor: tensor[:real], held)

    def reduce(self, data: Any, reduction: str = "sum", scale: float = 1.0) -> Any:
        """The sum or mean of every tensor over the processes."""
        return operations.reduce(data, reduction, scale)

    def pad_across_processes(self, data: Any, dim: int = 0, pad_index: float = 0, pad_first: bool = False) -> Any:
        """Every tensor as long in `dim` as the longest among the processes."""
        return operations.pad_across_processes(data, dim, pad_index, pad_first)

    def unwrap_model(self, model: nn.Module, keep_torch_compile: bool = True) -> nn.Module:
        """The model that was prepared."""
        compiled = getattr(model, "_orig_mod", None)
        inner = compiled if compiled is not None else model
        if isinstance(inner, DistributedDataParallel):
            inner = inner.module
        return model if compiled is not None and keep_torch_compile and inner is compiled else inner

    def get_state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """The weights, by the names of the model that was prepared.

        Of a model that several processes hold together, all of them call it, and the main process gets them.
        """
        bare = self.unwrap_model(model, keep_torch_compile=False)
        if "splitting" in bare.__dict__:
            return bare.__dict__["splitting"].whole_state()
        if self.shards:
            from enfold.accelerate.sharding import is_sharded, whole_state

            if is_sharded(bare):
                return whole_state(bare)
        return bare.state_dict()

    @property
    def project_dir(self) -> str | None:
        """The run's folder."""
        return self.project_configuration.project_dir

    @property
    def save_iteration(self) -> int:
        """The number of the next state that is named automatically."""
        return self.project_configuration.iteration

    def register_for_checkpointing(self, *objects: Any) -> None:
        """Objects with `state_dict` and `load_state_dict`, which `save_state` and `load_state` take along."""
        wrong = [item for item in objects if not (hasattr(item, "state_dict") and hasattr(item, "load_state_dict"))]
        if wrong:
            raise ArgumentError(
                f"register_for_checkpointing takes objects with state_dict and load_state_dict; "
                f"{', '.join(type(item).__name__ for item in wrong)} have none"
            )
        self._custom.extend(objects)

    def save_state(self, output_dir: str | Path | None = None, safe_serialization: bool = True) -> str:
        """Everything that the loop needs to go on, into a folder that is whole or not there.

        All processes call it. Weights go into safetensors, the rest into files that hold tensors, numbers and
        containers of them.

        Args:
            output_dir: default: the next one, where the project's checkpoints are named automatically.

        Returns:
            The folder.
        """
        if not safe_serialization:
            raise ArgumentError("safe_serialization=False would write a pickle; weights go into safetensors")
        project = self.project_configuration
        if not project.automatic_checkpoint_naming and output_dir is None:
            raise ArgumentError("save_state needs an output_dir, or ProjectConfiguration(automatic_checkpoint_naming)")
        folder = next_folder(project) if project.automatic_checkpoint_naming else Path(str(output_dir))
        state.save(self, folder)
        if project.automatic_checkpoint_naming:
            project.iteration += 1
            if project.total_limit is not None and self.is_main_process:
                for old in checkpoints_of(project)[: -project.total_limit]:
                    remove(old)
        self.wait_for_everyone()
        return str(folder)

    def load_state(self, input_dir: str | Path | None = None) -> None:
        """Go on from what `save_state` wrote; the same objects must be prepared. Files are read, never run.

        Args:
            input_dir: default: the project's last checkpoint.

        Raises:
            CheckpointError: there is none, or it isn't whole.
            WeightsMismatchError: it is another model's.
        """
        if input_dir is None:
            found = checkpoints_of(self.project_configuration)
            if not found:
                raise CheckpointError(f"{self.project_dir} holds no checkpoints of a project: give a folder")
            input_dir = found[-1]
        state.load(self, Path(input_dir))
        self.wait_for_everyone()

    def save_model(
        self,
        model: nn.Module,
        save_directory: str | Path,
        max_shard_size: int | str = "10GB",
        safe_serialization: bool = True,
    ) -> None:
        """The weights as safetensors; a model of the house as `from_pretrained` reads it."""
        if not safe_serialization:
            raise ArgumentError("safe_serialization=False would write a pickle; weights go into safetensors")
        bare, tensors = self.unwrap_model(model, keep_torch_compile=False), self.get_state_dict(model)
        if self.is_main_process:
            if hasattr(bare, "save_pretrained"):
                bare.save_pretrained(save_directory, state_dict=tensors, max_shard_size=max_shard_size)  # type: ignore[operator]
            else:
                write_weights(tensors, Path(save_directory), "model.safetensors", max_shard_size)
        self.wait_for_everyone()

    def skip_first_batches(self, dataloader: Any, num_batches: int = 0) -> Any:
        """The loader's batches from number `num_batches` on."""
        return skip_first_batches(dataloader, num_batches)

    def wait_for_everyone(self) -> None:
        """Return when every process has come here."""
        self.state.wait_for_everyone()

    def print(self, *args: Any, **options: Any) -> None:
        """`print`, once a machine."""
        self.state.print(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_THE_STATE:
            return getattr(self.state, name)
        raise AttributeError(f"Accelerator has no attribute {name!r}")

    def free_memory(self, *objects: Any) -> list[None]:
        """Forget what was prepared; as many None as there are objects."""
        from enfold.accelerate.memory import release_memory

        for held in (self._models, self._optimizers, self._schedulers, self._loaders, self._custom):
            held.clear()
        return release_memory(*objects)

    def end_training(self) -> None:
        """Close the trackers, and leave the process group."""
        self.finish_trackers()
        self.state.destroy_process_group()


_OF_THE_STATE = (
    "main_process_first",
    "local_main_process_first",
    "split_between_processes",
    "on_main_process",
    "on_local_main_process",
    "on_last_process",
    "on_process",
    "is_last_process",
    "use_distributed",
)


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
