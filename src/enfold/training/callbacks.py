"""What a run tells while it goes on, and how one can steer it."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.training.arguments import TrainingArguments


@dataclass
class TrainerState:
    """How far a run has come; a checkpoint holds it as `trainer_state.json`."""

    epoch: float = 0.0
    global_step: int = 0
    max_steps: int = 0
    num_train_epochs: int = 0
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int | None = None
    num_input_tokens_seen: int = 0
    log_history: list[dict[str, float]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)
    epoch_number: int = 0
    epoch_step: int = 0
    loss_sum: float = 0.0
    loss_unlogged: float = 0.0
    logged_step: int = 0

    def save_to_json(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load_from_json(cls, path: str | Path) -> "TrainerState":
        """Read what `save_to_json`, or the reference library, wrote."""
        entries = json.loads(Path(path).read_text())
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in entries.items() if name in known})


@dataclass
class TrainerControl:
    """What callbacks ask the run to do next; the run takes each wish back once it is fulfilled."""

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False


class TrainerCallback:
    """Told of each event; a method may set wishes in `control`.

    Every method is called with (args, state, control, **what there is): `model`, `processing_class`, `optimizer`,
    `lr_scheduler`, `train_dataloader`, `eval_dataloader`, and `logs` or `metrics` where there are any.
    """

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any: ...
    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any: ...
    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any: ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback: JSON."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""


class Callbacks(TrainerCallback):
    """Several callbacks, told in order."""

    def __init__(self, callbacks: list[TrainerCallback | type[TrainerCallback]]):
        self.all: list[TrainerCallback] = []
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        """One more."""
        self.all.append(callback() if isinstance(callback, type) else callback)

    def pop(self, callback: TrainerCallback | type[TrainerCallback]) -> TrainerCallback | None:
        """Take one out, by itself or by its class; None if it isn't there."""
        for held in self.all:
            if held is callback or (isinstance(callback, type) and type(held) is callback):
                self.all.remove(held)
                return held
        return None

    def tell(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **what: Any
    ) -> None:
        """Tell all of an event."""
        for callback in self.all:
            changed = getattr(callback, event)(args, state, control, **what)
            if isinstance(changed, TrainerControl) and changed is not control:
                control.__dict__.update(changed.__dict__)

    def states(self) -> dict[str, Any]:
        """What checkpoints keep of them, by class name."""
        return {type(callback).__name__: kept for callback in self.all if (kept := callback.state_dict())}

    def restore(self, states: dict[str, Any]) -> None:
        """Give each what was kept of it."""
        for callback in self.all:
            if (kept := states.get(type(callback).__name__)) is not None:
                callback.load_state_dict(kept)


class DefaultFlowCallback(TrainerCallback):
    """When to log, evaluate and save, as the arguments say."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        step = state.global_step
        if args.logging_strategy == "steps" and (
            (step == 1 and args.logging_first_step) or _due(step, state.logging_steps)
        ):
            control.should_log = True
        if args.eval_strategy == "steps" and _due(step, state.eval_steps) and step >= args.eval_delay:
            control.should_evaluate = True
        if args.save_strategy == "steps" and _due(step, state.save_steps):
            control.should_save = True
        if step >= state.max_steps:
            control.should_training_stop = True
            # The end is always evaluated and saved, unless that was never asked for.
            if args.eval_strategy == "steps":
                control.should_evaluate = True
            if args.save_strategy == "steps":
                control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_log |= args.logging_strategy == "epoch"
        control.should_evaluate |= args.eval_strategy == "epoch" and state.epoch >= args.eval_delay
        control.should_save |= args.save_strategy == "epoch"


def _due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


class EarlyStoppingCallback(TrainerCallback):
    """Stop when the metric has not improved for some evaluations.

    Args:
        early_stopping_patience: how many evaluations without improvement end the run.
        early_stopping_threshold: by how much the metric must improve to count.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float | None = 0.0):
        self.early_stopping_patience = early_stopping_patience
        self.early_stopping_threshold = early_stopping_threshold or 0.0
        self.early_stopping_patience_counter = 0
        self.best: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.metric_for_best_model is None:
            raise ArgumentError("EarlyStoppingCallback needs metric_for_best_model")
        if args.eval_strategy == "no":
            raise ArgumentError("EarlyStoppingCallback needs evaluations: set eval_strategy to 'steps' or 'epoch'")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        value = named_metric(metrics or {}, args.metric_for_best_model)
        better = np.greater if args.greater_is_better else np.less
        if self.best is None or (better(value, self.best) and abs(value - self.best) > self.early_stopping_threshold):
            self.best, self.early_stopping_patience_counter = value, 0
        else:
            self.early_stopping_patience_counter += 1
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"counter": self.early_stopping_patience_counter, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early_stopping_patience_counter, self.best = state["counter"], state["best"]


def named_metric(metrics: dict[str, float], name: str | None) -> float:
    """The metric that `metric_for_best_model` names, with or without `eval_`.

    Raises:
        ArgumentError: there is none of that name.
    """
    wanted = name if name is None or name.startswith("eval_") else f"eval_{name}"
    if wanted not in metrics:
        raise ArgumentError(
            f"metric_for_best_model={name!r}, and the evaluation gave {', '.join(sorted(metrics)) or 'nothing'}; "
            "compute_metrics must return it"
        )
    return float(metrics[wanted])
