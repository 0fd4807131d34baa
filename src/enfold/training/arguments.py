"""What a training run is told: the reference library's names and defaults, each of which does something here."""

import dataclasses
import functools
import json
import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar, dataclass_transform

from enfold.accelerate.fsdp import FullyShardedDataParallelPlugin
from enfold.base.errors import ArgumentError
from enfold.training.schedules import SCHEDULES

T = TypeVar("T")
INTERVALS = ("no", "steps", "epoch")
SAVE_INTERVALS = (*INTERVALS, "best")
# Names of the reference's arguments that mean nothing here → what to do instead.
ELSEWHERE = {
    "use_liger_kernel": "nothing: enfold's own losses never build the logits",
    "liger_kernel_config": "nothing: enfold's own losses never build the logits",
    "tf32": 'set torch.set_float32_matmul_precision("high")',
    "trackio_space_id": 'report_to has "terminal", "csv", "tensorboard", "wandb" and "mlflow"',
    "trackio_bucket_id": 'report_to has "terminal", "csv", "tensorboard", "wandb" and "mlflow"',
    "trackio_static_space_id": 'report_to has "terminal", "csv", "tensorboard", "wandb" and "mlflow"',
    "save_safetensors": "weights are always saved as safetensors",
    "overwrite_output_dir": "checkpoints never overwrite each other, and the model is saved whole or not at all",
    "no_cuda": "use_cpu=True",
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "group_by_length": 'train_sampling_strategy="group_by_length"',
    "sortish_sampler": 'train_sampling_strategy="group_by_length"',
    "warmup_ratio": "warmup_steps, which takes a share of all steps as a number below 1",
}


@dataclass_transform(kw_only_default=True)
def arguments(cls: type[T]) -> type[T]:
    """A dataclass whose constructor explains names it doesn't know; its first field may stand without its name."""
    cls = dataclass(kw_only=True)(cls)
    accept = cls.__init__
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    @functools.wraps(accept)
    def accept_known(self: T, *first: Any, **given: Any) -> None:
        if len(first) > 1:
            raise ArgumentError(f"{cls.__name__} takes one argument without a name, {known[0]}; name the others")
        for name in sorted(given.keys() - set(known)):
            if name in ELSEWHERE:
                raise ArgumentError(f"{cls.__name__} has no {name}; use instead: {ELSEWHERE[name]}")
            near = get_close_matches(name, known, 1)
            raise ArgumentError(f"{cls.__name__} has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        accept(self, **dict(zip(known, first, strict=False)), **given)

    cls.__init__ = accept_known
    return cls


@arguments
class TrainingArguments:
    """How to train.

    Args:
        output_dir: where checkpoints and reports go.
        per_device_train_batch_size: rows of a forward pass on each device.
        gradient_accumulation_steps: forward passes of each device before the weights move. The loss is the mean over
            all items (tokens, rows) of all of them on all devices, however they are spread.
        num_train_epochs: passes over the data, a fraction too; `max_steps` > 0 counts steps instead.
        learning_rate, lr_scheduler_type, lr_scheduler_kwargs: the peak and the course of the rate (`schedules.py`).
        warmup_steps: steps of rising rate; below 1, a share of all steps.
        optim, optim_args: optimiser by name (`optimizers`), and its options as `"name=value, name=value"` or a dict.
        weight_decay: not applied to biases, norms and other vectors.
        max_grad_norm: gradients are scaled down to this norm; 0 leaves them.
        label_smoothing_factor: share of the target given to all classes alike (Szegedy et al. 2016).
        neftune_noise_alpha: uniform noise on the embeddings while training (Jain et al. 2023).
        bf16, fp16: autocast in that type; fp16 scales the loss. `bf16_full_eval`, `fp16_full_eval` evaluate in it.
        gradient_checkpointing: recompute activations instead of keeping them.
        torch_compile, torch_compile_backend, torch_compile_mode: compile the model.
        auto_find_batch_size: halve the batch when memory runs out, and accumulate as much more.
        logging_*, eval_*, save_*: "no", "steps" (each so many; below 1, a share of all steps) or "epoch".
        save_total_limit: older checkpoints go, but never the best one nor the last.
        load_best_model_at_end, metric_for_best_model, greater_is_better: keep the best weights by a metric.
        report_to: any of "terminal", "csv", "tensorboard", "wandb", "mlflow", "html"; "all", "none".
        push_to_hub, hub_model_id: keep the model in a repository on a hub, by default one of the output folder's name.
            It is opened when the trainer is made, so that a token that won't do is known before the run.
        hub_strategy: "end" pushes when the model is saved, "every_save" also with each checkpoint; "checkpoint" adds
            the last checkpoint itself as `last-checkpoint`, "all_checkpoints" each under its own name.
        hub_always_push: push a checkpoint even while the one before is being pushed, instead of leaving it out.
        seed, data_seed: of weights and dropout, of the order of rows.
        full_determinism: refuse kernels that don't give the same bits twice.
        fsdp, fsdp_config: True leaves each process a part of the weights (FSDP2); options are those of
            `FullyShardedDataParallelPlugin`, as a dictionary, JSON, or the name of a JSON file.
        train_sampling_strategy: "random", "sequential" or "group_by_length".
        parallelism_config: how processes divide the work: an `enfold.accelerate.ParallelismConfig`, or its sizes as a
            dict or as `"tp_size=2, dp_replicate_size=4"`.
        label_names: the columns that are labels; found by the model's signature when None.
        resume_from_checkpoint: a folder, or True for the last in `output_dir`.
    """

    output_dir: str = "trainer_output"
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False

    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    average_tokens_across_devices: bool = True
    num_train_epochs: float = 3.0
    max_steps: int = -1
    auto_find_batch_size: bool = False

    learning_rate: float = 5e-5
    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: dict[str, Any] | str | None = None
    warmup_steps: float = 0
    optim: str = "adamw_torch_fused"
    optim_args: dict[str, Any] | str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.0
    neftune_noise_alpha: float | None = None

    bf16: bool = False
    fp16: bool = False
    bf16_full_eval: bool = False
    fp16_full_eval: bool = False
    gradient_checkpointing: bool = False
    gradient_checkpointing_kwargs: dict[str, Any] | str | None = None
    torch_compile: bool = False
    torch_compile_backend: str | None = None
    torch_compile_mode: str | None = None
    torch_empty_cache_steps: int | None = None

    logging_strategy: str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    logging_nan_inf_filter: bool = True
    include_num_input_tokens_seen: bool = False
    report_to: str | list[str] = "terminal"
    run_name: str | None = None
    project: str = "enfold"
    disable_tqdm: bool | None = None

    eval_strategy: str = "no"
    eval_steps: float | None = None
    eval_delay: float = 0
    eval_on_start: bool = False
    eval_accumulation_steps: int | None = None
    prediction_loss_only: bool = False
    batch_eval_metrics: bool = False
    include_for_metrics: list[str] = field(default_factory=list)

    save_strategy: str = "steps"
    save_steps: float = 500
    save_total_limit: int | None = None
    save_only_model: bool = False
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    resume_from_checkpoint: str | bool | None = None
    ignore_data_skip: bool = False

    push_to_hub: bool = False
    hub_model_id: str | None = None
    hub_strategy: str = "every_save"
    hub_token: str | None = None
    hub_private_repo: bool | None = None
    hub_revision: str | None = None
    hub_always_push: bool = False

    seed: int = 42
    data_seed: int | None = None
    full_determinism: bool = False
    use_cpu: bool = False
    parallelism_config: dict[str, Any] | str | None = None
    fsdp: str | bool | None = None
    fsdp_config: dict[str, Any] | str | None = None

    train_sampling_strategy: str = "random"
    length_column_name: str = "length"
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = True
    dataloader_prefetch_factor: int | None = None
    remove_unused_columns: bool = True
    label_names: list[str] | None = None

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "logging_strategy": INTERVALS,
        "eval_strategy": INTERVALS,
        "save_strategy": SAVE_INTERVALS,
        "lr_scheduler_type": tuple(SCHEDULES),
        "train_sampling_strategy": ("random", "sequential", "group_by_length"),
        "hub_strategy": ("end", "every_save", "checkpoint", "all_checkpoints"),
    }

    def __post_init__(self) -> None:
        for name, allowed in self._choices.items():
            value = getattr(self, name)
            value = getattr(value, "value", value)  # the reference's enumerations
            value = "no" if value is False else value
            if value not in allowed:
                raise ArgumentError(f"{name}={value!r}; expected one of {', '.join(map(repr, allowed))}")
            setattr(self, name, value)
        for name in ("lr_scheduler_kwargs", "optim_args", "gradient_checkpointing_kwargs"):
            setattr(self, name, as_options(name, getattr(self, name)))
        if self.parallelism_config is not None:
            self.parallelism_config = parallelism(self.parallelism_config)
        self._check_numbers()
        self.sharding()
        if self.bf16 and self.fp16:
            raise ArgumentError("bf16=True and fp16=True: choose one")
        if self.eval_steps is None:
            self.eval_steps = self.logging_steps
        if self.load_best_model_at_end:
            self._check_best()
        if self.metric_for_best_model is not None and self.greater_is_better is None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")

    def _check_numbers(self) -> None:
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)!r}; expected a whole number of at least 1")
        for name in ("learning_rate", "weight_decay", "max_grad_norm", "warmup_steps"):
            if not math.isfinite(getattr(self, name)) or getattr(self, name) < 0:
                raise ArgumentError(f"{name}={getattr(self, name)!r}; expected a number of at least 0")
        if self.max_steps <= 0 and self.num_train_epochs <= 0:
            raise ArgumentError(f"num_train_epochs={self.num_train_epochs}; expected more than 0, or max_steps")
        if not 0 <= self.label_smoothing_factor < 1:
            raise ArgumentError(f"label_smoothing_factor={self.label_smoothing_factor}; expected 0 to below 1")

    def sharding(self) -> FullyShardedDataParallelPlugin | None:
        """How weights are spread over the processes; None where these arguments don't ask for it."""
        if isinstance(self.fsdp_config, str):
            named = Path(self.fsdp_config)
            self.fsdp_config = as_options("fsdp_config", named.read_text() if named.is_file() else self.fsdp_config)
        if not self.fsdp or self.fsdp == "false":
            if self.fsdp_config:
                raise ArgumentError("fsdp_config was given, and fsdp=True was not")
            return None
        options = {**self.fsdp_config} if isinstance(self.fsdp_config, dict) else {}
        if isinstance(self.fsdp, str | list):
            for word in self.fsdp.split() if isinstance(self.fsdp, str) else map(str, self.fsdp):
                match word:
                    case "auto_wrap" | "true":
                        pass
                    case "offload":
                        options["cpu_offload"] = True
                    case _:
                        options["sharding_strategy"] = word
        return FullyShardedDataParallelPlugin.from_options(options)

    def _check_best(self) -> None:
        if self.save_strategy != "best" and self.eval_strategy != self.save_strategy:
            raise ArgumentError(
                f"load_best_model_at_end=True needs an evaluation at each checkpoint: eval_strategy is "
                f"{self.eval_strategy!r} and save_strategy is {self.save_strategy!r}; make them equal"
            )
        if self.eval_strategy == "steps" and self.save_strategy == "steps":
            ratio = self.save_steps / (self.eval_steps or 1)
            if abs(ratio - round(ratio)) > 1e-9 or round(ratio) == 0:
                raise ArgumentError(
                    f"load_best_model_at_end=True needs save_steps ({self.save_steps}) to be a multiple of eval_steps "
                    f"({self.eval_steps}): only evaluated weights can be the best"
                )
        if self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"

    def total_steps(self, name: str, max_steps: int) -> int:
        """`logging_steps`, `eval_steps`, `save_steps` or `warmup_steps`, in steps of a run of `max_steps`."""
        value = getattr(self, name)
        return math.ceil(value * max_steps) if 0 < value < 1 else int(value)

    def to_dict(self) -> dict[str, Any]:
        """As it can be written to a file; tokens are left out."""
        entries = dataclasses.asdict(self)  # type: ignore[call-overload]
        entries["hub_token"] = None
        return entries

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")


def parallelism(given: Any) -> Any:
    """A `ParallelismConfig` from one, or from its sizes."""
    from enfold.accelerate.parallelism import ParallelismConfig

    if isinstance(given, ParallelismConfig):
        return given
    options = as_options("parallelism_config", given)
    known = [field.name for field in dataclasses.fields(ParallelismConfig)]
    if unknown := sorted(options.keys() - set(known)):
        raise ArgumentError(f"parallelism_config has {unknown}; expected sizes of {', '.join(known)}")
    return ParallelismConfig(**options)


def as_options(name: str, value: dict[str, Any] | str | None) -> dict[str, Any]:
    """A dictionary of options from one, from JSON, or from `"a=1, b=x"`."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        key, equals, text = part.partition("=")
        if not equals:
            raise ArgumentError(f"{name}={value!r}; expected 'name=value, name=value'")
        try:
            options[key.strip()] = json.loads(text)
        except json.JSONDecodeError:
            options[key.strip()] = text.strip()
    return options
