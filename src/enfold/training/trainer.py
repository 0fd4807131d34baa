"""Trainer: any model of the house, or any module that returns a loss, on any data of the house."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enfold.accelerate import folders, operations
from enfold.accelerate.accelerator import Accelerator
from enfold.accelerate.keeping import write_parts
from enfold.accelerate.memory import find_executable_batch_size
from enfold.accelerate.prepared import PreparedOptimizer
from enfold.accelerate.randomness import set_seed
from enfold.base.errors import ArgumentError
from enfold.training import checkpoints
from enfold.training.arguments import TrainingArguments
from enfold.training.batches import Loaded
from enfold.training.callbacks import (
    Callbacks,
    DefaultFlowCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from enfold.training.collators import DataCollatorCTCWithPadding, DataCollatorWithPadding, default_data_collator
from enfold.training.evaluating import Evaluating
from enfold.training.evaluation import EvalPrediction
from enfold.training.inputs import KnownColumns, accepted_inputs, find_labels
from enfold.training.items import LabelSmoother, count_items
from enfold.training.loop import Run, TrainOutput
from enfold.training.noise import noisy_embeddings
from enfold.training.optimizers import make_optimizer
from enfold.training.optimizers.named import weight_groups
from enfold.training.publishing import Publishing
from enfold.training.records import Recording
from enfold.training.reports import reporters
from enfold.training.saving import load_weights, save_model, save_processor
from enfold.training.schedules import get_scheduler
from enfold.training.searching import Searching


class Trainer(Evaluating, Publishing, Searching, Recording):
    """Trains, evaluates, predicts, saves.

    >>> trainer = Trainer(model, TrainingArguments("out"), train_dataset=train, eval_dataset=test)
    >>> trainer.train()
    >>> trainer.evaluate()

    Args:
        model: a model of the house, or a module whose forward takes a batch by name and returns a loss first.
        args: `TrainingArguments`.
        data_collator: rows → batch; by default the tokenizer pads, or rows are stacked where there is none.
        train_dataset, eval_dataset: rows as dictionaries: a Dataset, a list, anything with a length and `[i]`, or a
            stream. `eval_dataset` may be a dictionary of several, whose names go into the metrics'.
        processing_class: the tokenizer (or processor) that made the rows; saved with the model.
        model_init: makes the model, anew for each call of `train`.
        compute_loss_func: (outputs, labels, num_items_in_batch) → loss, instead of the model's own.
        compute_metrics: `EvalPrediction` → dictionary of numbers.
        callbacks: told of what happens, beside those that log and save.
        optimizers: (optimizer, scheduler) instead of those that `args` name.
        optimizer_cls_and_kwargs: the optimiser's class and its options.
        preprocess_logits_for_metrics: (logits, labels) → what is kept of them for `compute_metrics`.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., nn.Module] | None = None,
        compute_loss_func: Callable[..., Tensor] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback | type[TrainerCallback]] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type, dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
    ):
        if (model is None) == (model_init is None):
            raise ArgumentError("Trainer needs exactly one of model and model_init")
        self.args = args or TrainingArguments()
        if self.args.eval_strategy != "no" and eval_dataset is None:
            raise ArgumentError(f"eval_strategy is {self.args.eval_strategy!r}, and there is no eval_dataset")
        set_seed(self.args.seed, deterministic=self.args.full_determinism)
        precision = "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "no"
        divided: Any = self.args.parallelism_config
        self.accelerator = Accelerator(
            mixed_precision=precision,
            cpu=self.args.use_cpu,
            fsdp_plugin=self.args.sharding(),
            parallelism_config=divided,
        )
        self.model_init = model_init
        self.model: nn.Module = model if model is not None else self.call_model_init()
        self.processing_class = processing_class
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.compute_loss_func, self.compute_metrics = compute_loss_func, compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.optimizer: Any
        self.optimizer, self.lr_scheduler = optimizers
        self._given_optimizers = optimizers
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self.label_names = self.args.label_names or find_labels(self.model)
        self.label_smoother = (
            LabelSmoother(self.args.label_smoothing_factor) if self.args.label_smoothing_factor else None
        )
        if data_collator is None:
            if hasattr(processing_class, "feature_extractor"):
                data_collator = DataCollatorCTCWithPadding(processing_class)
            elif processing_class is not None and hasattr(processing_class, "pad"):
                data_collator = DataCollatorWithPadding(processing_class)
            else:
                data_collator = default_data_collator
        self.data_collator = data_collator
        self.state = TrainerState(
            is_local_process_zero=self.accelerator.is_local_main_process,
            is_world_process_zero=self.accelerator.is_main_process,
        )
        self.control = TrainerControl()
        self.callbacks = Callbacks([DefaultFlowCallback, *reporters(self.args), *(callbacks or [])])
        self._wrapped: nn.Module | None = None
        self._pushes = []
        if self.args.push_to_hub:
            self.init_hf_repo()
        self.tell("on_init_end")

    # Data

    @property
    def collate(self) -> Callable[[list[Any]], dict[str, Any]]:
        """Rows → batch, without the columns that the model doesn't know."""
        names = accepted_inputs(self.model) if self.args.remove_unused_columns else None
        if names is None:
            return self.data_collator
        return KnownColumns(self.data_collator, names | set(self.label_names))

    def row_lengths(self, rows: Any) -> list[int]:
        """How many tokens each row has."""
        column = self.args.length_column_name
        if column in (getattr(rows, "column_names", None) or ()):
            return list(rows[column])
        return [len(row["input_ids"]) for row in rows]

    def get_train_dataloader(self) -> Any:
        """Batches of the training data in the order of the first epoch.

        One that is overridden returns a loader of one's own: a torch `DataLoader`, of which each process takes its
        batches in turn, or any iterable of batches. A `DataLoader` over rows by number is drawn under the run's seed
        and resumes without reading what was seen; of another, the batches that were seen are read and left out.
        """
        if self.train_dataset is None:
            raise ArgumentError("Trainer needs a train_dataset to train")
        run = Run(self, None, self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps, own=False)
        count = None if run.order is None else len(run.order)
        return Loaded(self.train_dataset, lambda: run.batches(0, 0), count)

    @property
    def has_own_loader(self) -> bool:
        """Whether `get_train_dataloader` is overridden."""
        return type(self).get_train_dataloader is not Trainer.get_train_dataloader

    def num_examples(self, dataloader: Any) -> int:
        """How many rows a loader reads; where its data have no length, as many as its batches may hold."""
        rows = getattr(dataloader, "dataset", None)
        if hasattr(rows, "__len__"):
            return len(rows)  # type: ignore[arg-type]
        return len(dataloader) * self.args.per_device_train_batch_size

    def get_total_train_batch_size(self, args: TrainingArguments | None = None) -> int:
        """Rows of one step on all devices."""
        args = args or self.args
        each = args.per_device_train_batch_size * args.gradient_accumulation_steps
        return each * self.accelerator.data_processes

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, trial: Any = None) -> TrainOutput:
        """Train, from the start or from a checkpoint.

        Args:
            resume_from_checkpoint: a checkpoint's folder, or True for the last one in `args.output_dir`. The resumed
                run ends with the weights of an undisturbed one, to the bit where the machine computes the same bits.
            trial: parameters of a search (`hyperparameter_search`).

        Raises:
            CheckpointError: no such checkpoint, or it isn't whole.
        """
        if self.train_dataset is None and not self.has_own_loader:
            raise ArgumentError("Trainer needs a train_dataset to train")
        resume = resume_from_checkpoint if resume_from_checkpoint is not None else self.args.resume_from_checkpoint
        folder = checkpoints.resolve(resume, self.args.output_dir)
        args = self.args
        if args.auto_find_batch_size and self.has_own_loader:
            raise ArgumentError("auto_find_batch_size can't change the batches of a get_train_dataloader of your own")
        if not args.auto_find_batch_size:
            return self._run(folder, args.per_device_train_batch_size, args.gradient_accumulation_steps, trial)
        # A smaller batch of each device, as many more of them: the step stays what it was.
        whole = args.per_device_train_batch_size * args.gradient_accumulation_steps
        attempt = find_executable_batch_size(
            lambda size: self._run(folder, size, max(1, whole // size), trial), args.per_device_train_batch_size
        )
        return attempt()

    def _run(self, folder: Path | None, batch_size: int, accumulation: int, trial: Any) -> TrainOutput:
        if self.model_init is not None:
            set_seed(self.args.seed, deterministic=self.args.full_determinism)
            self.model = self.call_model_init(trial)
        if self.args.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(self.args.gradient_checkpointing_kwargs)  # type: ignore[operator]
        self._wrapped = None
        self.optimizer, self.lr_scheduler = self._given_optimizers
        self.state = TrainerState(
            is_local_process_zero=self.accelerator.is_local_main_process,
            is_world_process_zero=self.accelerator.is_main_process,
            is_hyper_param_search=self._trial is not None,
            trial_name=None if self._trial is None else self._trial.name,
            trial_params=None if self._trial is None else dict(self._trial.values),
        )
        self.control.__dict__.update(TrainerControl().__dict__)
        set_seed(self.args.seed, deterministic=self.args.full_determinism)
        run = Run(self, folder, batch_size, accumulation)
        with noisy_embeddings(self.model, self.args.neftune_noise_alpha), self._without_cache():
            result = run.go()
        self._finish_current_push()
        return result

    @contextlib.contextmanager
    def _without_cache(self):
        config = getattr(self.model, "config", None)
        before = getattr(config, "use_cache", None)
        if config is not None and before:
            config.use_cache = False
        try:
            yield
        finally:
            if config is not None and before:
                config.use_cache = before

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """The model of `model_init`, which may take the trial."""
        assert self.model_init is not None
        takes = inspect.signature(self.model_init).parameters
        model = self.model_init(trial) if takes else self.model_init()
        if model is None:
            raise ArgumentError("model_init returned None; it must return the model")
        return model

    def wrapped_model(self) -> nn.Module:
        """The model as it runs: on the device, compiled, averaging gradients with other processes, or in parts."""
        if self._wrapped is not None:
            return self._wrapped
        model: Any = self.accelerator.prepare_model(self.model, autocast=False)  # each step enters it
        if self.args.torch_compile:
            backend = self.args.torch_compile_backend or "inductor"
            model = torch.compile(model, backend=backend, mode=self.args.torch_compile_mode)
        self._wrapped = model
        return model

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Both, unless they were given."""
        if self.accelerator.shards:
            self.wrapped_model()
        else:
            self.model.to(self.accelerator.device)
        self.create_optimizer()
        self.create_scheduler(num_training_steps)

    def create_optimizer(self) -> Any:
        """The optimiser that the arguments name."""
        if self.optimizer is None:
            if self.optimizer_cls_and_kwargs is not None:
                kind, options = self.optimizer_cls_and_kwargs
                self.optimizer = kind([p for p in self.model.parameters() if p.requires_grad], **options)
            else:
                self.optimizer = make_optimizer(self.model, self.args)
        if not isinstance(self.optimizer, PreparedOptimizer):
            self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule that the arguments name."""
        if self.lr_scheduler is None:
            inner = optimizer or self.optimizer
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type,
                getattr(inner, "optimizer", inner),
                self.args.total_steps("warmup_steps", num_training_steps),
                num_training_steps,
                self.args.lr_scheduler_kwargs,  # type: ignore[arg-type]
            )
        return self.lr_scheduler

    def exchanging(self, model: nn.Module, last: bool) -> Any:
        """Where gradients go to the other processes only with the last batch of a step."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(model)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | None = None, own: Any = None
    ) -> Tensor:
        """Forward and backward of one batch; its share of the step's loss, detached.

        Args:
            num_items_in_batch: items of the whole step on all processes.
            own: items of this batch; counted when None.
        """
        model.train()
        inputs = operations.send_to_device(inputs, self.accelerator.device)
        if own is None:
            own = count_items(self.model, inputs, self.label_names, _rows(inputs))
        with self.accelerator.autocast():
            loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        if self.compute_loss_func is None:
            share = 1.0 if num_items_in_batch is None else float(own) / max(float(num_items_in_batch), 1.0)
            # A mean over nothing is no number, and so would its gradient be.
            if share:
                loss = loss * share
            else:  # weights in parts have their gradients through the pass alone
                loss = loss.nan_to_num(0.0, 0.0, 0.0) * 0.0 if self.accelerator.shards else _nothing(model)
        # Processes average their gradients; the shares are to be summed.
        self.accelerator.scaler.scale(loss * self.accelerator.data_processes).backward()
        return loss.detach()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """The mean loss over the items of a batch; override it for a loss of one's own.

        With `compute_loss_func`, what that returns: it divides by `num_items_in_batch` itself.
        """
        bare = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if self.compute_loss_func is None and self.label_smoother is None:
            if not return_outputs and _makes_loss_alone(type(bare)):
                inputs = {**inputs, "output_logits": False}
            outputs = model(**inputs)
            loss = outputs.get("loss") if hasattr(outputs, "get") else outputs[0]
            if loss is None:
                raise ArgumentError(
                    f"The model returned no loss for the inputs {sorted(inputs)}: the data set needs a column of labels"
                    f" ({', '.join(self.label_names) or 'labels'})"
                )
            return (loss, outputs) if return_outputs else loss
        if "labels" not in inputs:
            raise ArgumentError(f"label smoothing and compute_loss_func need 'labels'; the batch has {sorted(inputs)}")
        fed = {name: value for name, value in inputs.items() if name != "labels"}
        if hasattr(bare, "prepare_decoder_input_ids_from_labels") and "decoder_input_ids" not in fed:
            fed["decoder_input_ids"] = bare.prepare_decoder_input_ids_from_labels(inputs["labels"])  # type: ignore[operator]
        outputs = model(**fed)
        if self.compute_loss_func is not None:
            loss = self.compute_loss_func(outputs, inputs["labels"], num_items_in_batch=num_items_in_batch)
        else:
            assert self.label_smoother is not None
            loss = self.label_smoother(outputs, inputs["labels"], shift_labels=hasattr(bare, "targets"))
        return (loss, outputs) if return_outputs else loss

    def clip(self, model: nn.Module) -> Tensor | None:
        """Scale the gradients down to `max_grad_norm`; their norm before."""
        if not self.args.max_grad_norm:
            return None
        return self.accelerator.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)

    def move(self) -> bool:
        """Move the weights; False where fp16 gradients weren't finite and the step was left out."""
        self.optimizer.step()
        return not self.optimizer.step_was_skipped

    def next_rate(self) -> None:
        """The learning rate of the next step."""
        if not isinstance(self.lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.lr_scheduler.step()

    def get_learning_rates(self) -> list[float]:
        """Of each group of weights."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Names of the weights that weight decay is for."""
        decayed = {id(p) for group in weight_groups(model, 1.0) if group["weight_decay"] for p in group["params"]}
        return [name for name, parameter in model.named_parameters() if id(parameter) in decayed]

    def get_optimizer_group(self, param: Any = None) -> Any:
        """The optimiser's group that holds a weight; all groups where none is given."""
        if self.optimizer is None:
            raise ArgumentError("There is no optimiser yet: call create_optimizer, or train")
        if param is None:
            return self.optimizer.param_groups
        return next((g for g in self.optimizer.param_groups if any(held is param for held in g["params"])), None)

    def get_num_trainable_parameters(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    # Files

    def save_model(self, output_dir: str | None = None) -> None:
        """The model and its tokenizer, as `from_pretrained` reads them; with `push_to_hub`, on the hub too."""
        self._write_model(Path(output_dir or self.args.output_dir))
        if self.args.push_to_hub:
            self.push_to_hub(commit_message="Model save")

    def _write_model(self, folder: Path) -> None:
        together = self.accelerator.shards or "splitting" in self._bare().__dict__
        tensors = self.accelerator.get_state_dict(self.model) if together else None
        if self.accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            save_model(self._bare(), self.processing_class, folder, tensors)
            self.args.save(folder / "training_args.json")
        self.accelerator.wait_for_everyone()

    def save_state(self) -> None:
        """How far the run has come, as `trainer_state.json` in the output folder."""
        if self.accelerator.is_main_process:
            Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(Path(self.args.output_dir) / "trainer_state.json")

    def save_checkpoint(self, run: Run) -> None:
        """A checkpoint of the run: whole, or not there."""
        args, state = self.args, self.state
        folder = Path(args.output_dir) / f"{checkpoints.PREFIX}-{state.global_step}"
        if state.best_global_step == state.global_step:
            state.best_model_checkpoint = str(folder)
        states = run.random_states()
        state.stateful_callbacks = self.callbacks.states()

        def write(unfinished: Path) -> None:
            optimizers = [] if args.save_only_model else [self.optimizer]
            kept = write_parts(self.accelerator, [self.model], optimizers, unfinished)
            if not self.accelerator.is_main_process:
                return
            kept.describe(unfinished)
            if kept.weights[0] is None:
                save_processor(self.processing_class, unfinished)
            else:
                together = self.accelerator.shards or "splitting" in self._bare().__dict__
                tensors = kept.weights[0] if together else None
                save_model(self._bare(), self.processing_class, unfinished, tensors)
            args.save(unfinished / "training_args.json")
            state.save_to_json(unfinished / "trainer_state.json")
            if not args.save_only_model:
                run.keep(unfinished, kept.states[0])
                torch.save(states, unfinished / "rng_state.pth")

        folders.write_together(folder, write)
        if self.accelerator.is_main_process:
            self._push_checkpoint(folder)
            checkpoints.rotate(Path(args.output_dir), args.save_total_limit, [state.best_model_checkpoint])
        self.accelerator.wait_for_everyone()
        self.tell("on_save")

    def load_weights(self, folder: Path) -> None:
        """The weights of a checkpoint, into the model as it is."""
        load_weights(self._bare(), folder)

    def _bare(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    # Telling

    def log(self, logs: dict[str, float]) -> None:
        """Add to the history, and tell the callbacks that report."""
        entry = {**logs, "epoch": self.state.epoch}
        if self.args.include_num_input_tokens_seen:
            entry["num_input_tokens_seen"] = self.state.num_input_tokens_seen
        self.state.log_history.append({**entry, "step": self.state.global_step})
        self.tell("on_log", logs=entry)

    def tell(self, event: str, **what: Any) -> None:
        """Tell all callbacks of an event."""
        self.callbacks.tell(
            event,
            self.args,
            self.state,
            self.control,
            model=self.model,
            processing_class=self.processing_class,
            optimizer=self.optimizer,
            lr_scheduler=self.lr_scheduler,
            **what,
        )

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """One more callback."""
        self.callbacks.add(callback)

    def pop_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> TrainerCallback | None:
        """Take a callback out, by itself or by its class."""
        return self.callbacks.pop(callback)

    def remove_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """The same, without returning it."""
        self.callbacks.pop(callback)

    def is_local_process_zero(self) -> bool:
        """Whether this is the machine's first process."""
        return self.accelerator.is_local_main_process

    def is_world_process_zero(self) -> bool:
        """Whether this is rank 0."""
        return self.accelerator.is_main_process


@functools.cache
def _makes_loss_alone(kind: type[nn.Module]) -> bool:
    """Whether models of this class can leave their logits unmade."""
    return "output_logits" in inspect.signature(kind.forward).parameters


def _rows(inputs: Mapping[str, Any]) -> int:
    return next((len(value) for value in inputs.values() if isinstance(value, Tensor) and value.ndim), 1)


def _nothing(model: nn.Module) -> Tensor:
    """Zero, with a gradient of zero for every weight that learns: other processes wait for it."""
    return sum((p.reshape(-1)[0] * 0.0 for p in model.parameters() if p.requires_grad), torch.zeros(()))
