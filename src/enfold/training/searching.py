"""A search for hyper-parameters by Optuna: `enfold[search]`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from enfold.accelerate import operations
from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState
from enfold.training.items import LabelSmoother

if TYPE_CHECKING:
    from enfold.training.trainer import Trainer

# What is decided when the trainer is made, and can't differ between the trials of one trainer.
_FIXED = (
    "bf16",
    "fp16",
    "use_cpu",
    "report_to",
    "output_dir",
    "run_name",
    "push_to_hub",
    "label_names",
    "hub_model_id",
)
_OPTIMIZE = ("timeout", "n_jobs", "gc_after_trial", "catch", "callbacks", "show_progress_bar")


class BestRun(NamedTuple):
    """The best trial of a search: its files are in `run-<run_id>` of the output folder, if it wrote any."""

    run_id: str
    objective: float | list[float]
    hyperparameters: dict[str, Any]
    run_summary: Any = None


@dataclasses.dataclass
class Trial:
    """One set of hyper-parameters under way.

    Attributes:
        trial: Optuna's; on other processes than the first, one with the same parameters.
        name: of its folder.
        values: what `hp_space` returned.
    """

    trial: Any
    name: str
    values: dict[str, Any]


def default_hp_space_optuna(trial: Any) -> dict[str, Any]:
    """Rate, epochs, seed and batch size."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16, 32, 64]),
    }


def default_compute_objective(metrics: dict[str, float]) -> float:
    """The evaluation's loss; with metrics, their sum."""
    passed_over = ("_runtime", "_per_second")
    own = {n: v for n, v in metrics.items() if n not in ("eval_loss", "epoch") and not n.endswith(passed_over)}
    return sum(own.values()) if own else metrics["eval_loss"]


class Searching:
    """The part of `Trainer` that searches."""

    _trial: Trial | None = None

    def hyperparameter_search(
        self: Any,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], Any] | None = None,
        n_trials: int = 20,
        direction: str | list[str] = "minimize",
        backend: str | None = None,
        hp_name: Callable[[Any], str] | None = None,
        **options: Any,
    ) -> "BestRun | list[BestRun] | None":
        """Train with several sets of hyper-parameters, each from a fresh `model_init()`, and tell the best.

        A trial is given up early where the study's pruner finds the objectives of its evaluations too bad. The trainer
        keeps its arguments; its model is that of the last trial.

        Args:
            hp_space: an Optuna trial → names and values of `TrainingArguments`; by default the rate, epochs, seed and
                batch size. A `model_init` with an argument gets the trial too.
            compute_objective: metrics of an evaluation → what to optimise, a list for several directions; by default
                the loss, or the sum of the metrics where there are any.
            n_trials: how many.
            direction: "minimize" or "maximize", or a list of them.
            backend: "optuna".
            hp_name: trial → the name of its folder and run; `run-<number>` by default.
            options: of `optuna.create_study` (`sampler`, `pruner`, `storage`, `study_name`, `load_if_exists`) and of
                `Study.optimize` (`timeout`, `gc_after_trial`, `catch`, `callbacks`, `show_progress_bar`).

        Returns:
            the best run, or the runs on the Pareto front of several directions; None on all processes but the first.
        """
        if backend not in (None, "optuna"):
            raise ArgumentError(f"backend={str(backend)!r}; searches run on 'optuna'")
        if self.model_init is None:
            raise ArgumentError("hyperparameter_search needs model_init: each trial starts from a fresh model")
        if self._given_optimizers != (None, None):
            raise ArgumentError("optimizers=(…) hold the weights of one model; name the optimiser in the arguments")
        if self.eval_dataset is None:
            raise ArgumentError("hyperparameter_search needs an eval_dataset to judge by")
        if options.get("n_jobs", 1) != 1:
            raise ArgumentError(f"n_jobs={options['n_jobs']}: a trainer trains one model at a time")
        optuna: Any = require("optuna", extra="search", purpose="hyperparameter_search")
        search = _Search(self, hp_space or default_hp_space_optuna, compute_objective, hp_name)
        if not self.is_world_process_zero():
            search.follow()
            return None
        running = {name: options.pop(name) for name in _OPTIMIZE if name in options}
        several = {"directions": direction} if isinstance(direction, list) else {"direction": direction}
        study = optuna.create_study(**several, **options)
        try:
            study.optimize(search.lead, n_trials=n_trials, **running)
        finally:
            search.say(None)
        if isinstance(direction, list):
            return [BestRun(str(found.number), found.values, found.params, study) for found in study.best_trials]
        best = study.best_trial
        return BestRun(str(best.number), best.value, best.params, study)


class _Search:
    """The trials of one search: the first process leads, the others follow with the same parameters."""

    def __init__(
        self,
        trainer: "Trainer",
        space: Callable[[Any], dict[str, Any]],
        objective: Callable[[dict[str, float]], Any] | None,
        named: Callable[[Any], str] | None,
    ):
        self.trainer, self.space = trainer, space
        self.objective, self.named = objective or default_compute_objective, named

    def lead(self, trial: Any) -> Any:
        """Optuna's objective."""
        values = self.space(trial)
        name = self.named(trial) if self.named is not None else f"run-{trial.number}"
        self.say((trial.params, trial.number, name))
        return self._tried(Trial(trial, name, values))

    def follow(self) -> None:
        """Train what the first process says, until it says that there is no more."""
        import optuna

        while (told := self.say(None)) is not None:
            parameters, number, name = told
            trial = optuna.trial.FixedTrial(parameters, number)
            with contextlib.suppress(optuna.TrialPruned):
                self._tried(Trial(trial, name, self.space(trial)))

    def say(self, told: Any) -> Any:
        """The first process's word, to all."""
        if not self.trainer.accelerator.state.use_distributed:
            return told
        return operations.broadcast_object_list([told])[0]

    def _tried(self, trial: Trial) -> Any:
        trainer = self.trainer
        watch = _Watch(self, trial)
        with _under_trial(trainer, trial):
            trainer.add_callback(watch)
            try:
                trainer.train(trial=trial.trial)
                if watch.last is None:
                    trainer.evaluate()
            finally:
                trainer.remove_callback(watch)
        return watch.last


class _Watch(TrainerCallback):
    """Tells the study of each evaluation, and ends trials that it gives up."""

    def __init__(self, search: _Search, trial: Trial):
        self.search, self.trial = search, trial
        self.last: Any = None

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.last = self.search.objective(dict(metrics or {}))
        hopeless = False
        study = getattr(self.trial.trial, "study", None)
        if study is not None and len(study.directions) == 1:
            self.trial.trial.report(self.last, state.global_step)
            hopeless = self.trial.trial.should_prune()
        if self.search.say(hopeless):
            import optuna

            self.search.trainer.tell("on_train_end")
            raise optuna.TrialPruned(f"given up at step {state.global_step}")


@contextlib.contextmanager
def _under_trial(trainer: "Trainer", trial: Trial) -> Iterator[None]:
    """The trial's values in the arguments, and its own folder."""
    before = trainer.args, trainer.label_smoother
    known = {field.name for field in dataclasses.fields(before[0])}  # type: ignore[arg-type]
    for name in trial.values:
        if name in _FIXED:
            raise ArgumentError(f"hp_space gave {name!r}, which is the same for all trials of a trainer")
        if name not in known:
            raise ArgumentError(f"hp_space gave {name!r}, and {type(before[0]).__name__} has no such argument")
    folder = str(Path(before[0].output_dir) / trial.name)
    trainer.args = dataclasses.replace(before[0], **trial.values, output_dir=folder)  # type: ignore[type-var]
    if trainer.args.label_smoothing_factor != before[0].label_smoothing_factor:
        factor = trainer.args.label_smoothing_factor
        trainer.label_smoother = LabelSmoother(factor) if factor else None
    trainer._trial = trial
    try:
        yield
    finally:
        trainer._trial = None
        trainer.args, trainer.label_smoother = before
