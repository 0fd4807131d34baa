"""Trackers of a loop of one's own: what `Accelerator.log` is given, to a file or a service."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require

# Parameters that MLflow takes at once, and bytes of one.
_AT_ONCE, _LONGEST = 100, 6000


class GeneralTracker:
    """What a tracker does; a subclass names itself, and may be given to `Accelerator(log_with=…)`.

    Attributes:
        name: under which `get_tracker` finds it.
        requires_logging_directory: whether it is made with a `logging_dir`.
        main_process_only: whether the other processes leave it alone.
    """

    name: ClassVar[str] = ""
    requires_logging_directory: ClassVar[bool] = False
    main_process_only: ClassVar[bool] = True

    @property
    def tracker(self) -> Any:
        """What is underneath: a writer, a run."""
        return self

    def start(self) -> None:
        """Open it."""

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """The run's parameters."""

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Some values at a step."""

    def finish(self) -> None:
        """Close it."""


class CSVTracker(GeneralTracker):
    """`<run_name>/log.csv` with the columns step, name, value, and `<run_name>/parameters.json`."""

    name = "csv"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str | Path):
        self.folder = Path(logging_dir) / run_name

    @property
    def tracker(self) -> Path:
        """The file."""
        return self.folder / "log.csv"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(dict(values), indent=2, default=str)
        (self.folder / "parameters.json").write_text(text + "\n", encoding="utf-8")

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        new = not self.tracker.exists()
        with open(self.tracker, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "name", "value"])
            for name, value in values.items():
                writer.writerow([step, name, value])


class TensorBoardTracker(GeneralTracker):
    """Event files in `<logging_dir>/<run_name>`; `options` are those of `SummaryWriter`."""

    name = "tensorboard"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str | Path, **options: Any):
        require("tensorboard", extra="tensorboard", purpose='log_with="tensorboard"')
        self.logging_dir, self._options = os.path.join(logging_dir, run_name), options
        self.writer: Any = None

    @property
    def tracker(self) -> Any:
        return self.writer

    def start(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.logging_dir, **self._options)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in values.items() if value is not None}
        shown = {
            n: v if isinstance(v, bool | int | float | str) else json.dumps(v, default=str) for n, v in plain.items()
        }
        self.writer.add_hparams(shown, {}, run_name=".")
        self.writer.flush()

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        for name, value in values.items():
            if isinstance(value, str):
                self.writer.add_text(name, value, step, **options)
            elif isinstance(value, Mapping):
                self.writer.add_scalars(name, dict(value), step, **options)
            else:
                self.writer.add_scalar(name, float(value), step, **options)
        self.writer.flush()

    def finish(self) -> None:
        self.writer.close()


class WandBTracker(GeneralTracker):
    """A run of the project `run_name`; `options` are those of `wandb.init`."""

    name = "wandb"

    def __init__(self, run_name: str, **options: Any):
        self._wandb: Any = require("wandb", extra="wandb", purpose='log_with="wandb"')
        self._options = {"project": run_name, **options}
        self.run: Any = None

    @property
    def tracker(self) -> Any:
        return self.run

    def start(self) -> None:
        self.run = self._wandb.init(**self._options)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        self.run.config.update(dict(values), allow_val_change=True)

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        self.run.log(dict(values), step=step, **options)

    def finish(self) -> None:
        self.run.finish()


class MLflowTracker(GeneralTracker):
    """A run of the experiment `experiment_name`; other `options` are those of `mlflow.start_run`."""

    name = "mlflow"

    def __init__(self, experiment_name: str, **options: Any):
        self._mlflow: Any = require("mlflow", extra="mlflow", purpose='log_with="mlflow"')
        self._experiment, self._options = experiment_name, options
        self.active_run: Any = None

    @property
    def tracker(self) -> Any:
        return self.active_run

    def start(self) -> None:
        self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", self._experiment))
        self.active_run = self._mlflow.start_run(**self._options)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        texts = {
            name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in values.items()
        }
        if long := [name for name, text in texts.items() if len(text.encode()) > _LONGEST]:
            raise ArgumentError(f"MLflow takes parameters of up to {_LONGEST} bytes; {long} are longer")
        pairs = list(texts.items())
        for start in range(0, len(pairs), _AT_ONCE):
            self._mlflow.log_params(dict(pairs[start : start + _AT_ONCE]))

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        self._mlflow.log_metrics({name: float(value) for name, value in values.items()}, step=step, **options)

    def finish(self) -> None:
        self._mlflow.end_run()


TRACKERS: dict[str, type[GeneralTracker]] = {
    kind.name: kind for kind in (CSVTracker, TensorBoardTracker, WandBTracker, MLflowTracker)
}


def chosen(log_with: Any) -> list[Any]:
    """Trackers' classes by their names, and trackers of one's own.

    Raises:
        ArgumentError: an unknown name.
    """
    asked = log_with if isinstance(log_with, list | tuple) else [] if log_with is None else [log_with]
    found: list[Any] = []
    for item in asked:
        name = getattr(item, "value", item)  # the reference's enumeration
        if isinstance(item, GeneralTracker) or (isinstance(item, type) and issubclass(item, GeneralTracker)):
            found.append(item)
        elif name in TRACKERS:
            found.append(TRACKERS[name])
        else:
            raise ArgumentError(
                f"log_with={name!r}; there are {', '.join(map(repr, TRACKERS))}, and trackers of one's own"
            )
    return found


class Tracking:
    """The part of `Accelerator` that tells trackers."""

    def init_trackers(
        self: Any,
        project_name: str,
        config: Mapping[str, Any] | None = None,
        init_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Open the trackers that `log_with` names.

        Args:
            project_name: of the run, the project or the experiment.
            config: the run's parameters.
            init_kwargs: options of trackers, by their names.
        """
        options = init_kwargs or {}
        for item in self.log_with:
            if item.main_process_only and not self.is_main_process:
                continue
            made = item
            if isinstance(item, type):
                first: list[Any] = [project_name]
                if item.requires_logging_directory:
                    if self.project_configuration.logging_dir is None:
                        raise ArgumentError(f"log_with={item.name!r} writes files: give Accelerator(project_dir=…)")
                    first.append(self.project_configuration.logging_dir)
                made = item(*first, **options.get(item.name, {}))
            made.start()
            self.trackers.append(made)
            if config is not None:
                made.store_init_configuration(config)

    def log(
        self: Any,
        values: Mapping[str, Any],
        step: int | None = None,
        log_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Some values at a step, to all trackers; `log_kwargs` are options of trackers, by their names."""
        for tracker in self.trackers:
            tracker.log(values, step=step, **(log_kwargs or {}).get(tracker.name, {}))

    def get_tracker(self: Any, name: str, unwrap: bool = False) -> Any:
        """A tracker by its name, or with `unwrap` what is underneath. A process without it gets one that does nothing.

        Raises:
            ArgumentError: `log_with` doesn't name it.
        """
        for tracker in self.trackers:
            if tracker.name == name:
                return tracker.tracker if unwrap else tracker
        if name not in [item.name for item in self.log_with]:
            raise ArgumentError(f"there is no tracker {name!r}: log_with names {[item.name for item in self.log_with]}")
        return GeneralTracker()

    def finish_trackers(self: Any) -> None:
        """Close them."""
        for tracker in self.trackers:
            tracker.finish()
        self.trackers.clear()
