"""What every evaluator does: data in, answers of a pipeline, times, scores, confidence intervals."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.evaluate.evaluators.data import Data, load_data
from enfold.evaluate.loading import CombinedEvaluations, combine, load
from enfold.evaluate.metrics.checks import choose
from enfold.evaluate.metrics.comparisons import confidence_interval
from enfold.evaluate.module import EvaluationModule

Metrics = str | EvaluationModule | CombinedEvaluations | Sequence[str | EvaluationModule]


@dataclass
class Outcome:
    """A model's answers beside what they should have been.

    Attributes:
        columns: what metrics take: `predictions` and `references`, or `data`.
        times: `total_time_in_seconds`, `samples_per_second` and `latency_in_seconds` (for one sample).
        confidence: how sure the model was of each answer, where it says so.
    """

    columns: dict[str, Any]
    times: dict[str, float]
    confidence: list[float] = field(default_factory=list)


class Evaluator:
    """Scores a model or pipeline of one task.

    Class attributes of a task:
        call: options of the pipeline's call.
        inputs: the arguments that name columns, and the columns they name by default.

    Args:
        task: its name.
        default_metric_name: what is computed when nobody says otherwise.
    """

    call: ClassVar[dict[str, Any]] = {}
    inputs: ClassVar[dict[str, str | None]] = {"input_column": "text", "label_column": "label"}

    def __init__(self, task: str, default_metric_name: str | None = None):
        self.task, self.default_metric_name = task, default_metric_name

    def compute(
        self,
        model_or_pipeline: Any = None,
        data: Any = None,
        subset: str | None = None,
        split: str | None = None,
        metric: Metrics | None = None,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        strategy: str = "simple",
        confidence_level: float = 0.95,
        n_resamples: int = 9999,
        device: Any = None,
        random_state: int | None = None,
        metric_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Score a model.

        Args:
            model_or_pipeline: a repository id, folder, model, pipeline, or any function from a list of inputs to a list
                of answers as the task's pipeline gives them; None is the task's default model.
            data: a dataset, a list of dictionaries, a dictionary of columns, a data frame, a file, or a dataset's name.
            subset, split: of a dataset that is loaded.
            metric: a name, a module, or several; by default the task's own.
            tokenizer: the model's, if it doesn't say.
            strategy: "simple" gives scores; "bootstrap" gives `{"score", "confidence_interval", "standard_error"}` for
                each.
            confidence_level, n_resamples, random_state: of the bootstrap, as of `metrics.confidence_interval`.
            device: where the model runs.
            metric_options: options of the metric, such as `{"average": "macro"}`.
            options: the columns' names (`input_column=…`, `label_column=…`), and what else the task takes.

        Returns:
            the metric's numbers, and `total_time_in_seconds`, `samples_per_second`, `latency_in_seconds` of the
            pipeline.

        Raises:
            ArgumentError: columns that aren't there, a pipeline of another task, unknown options; before the model runs
                where that can be known.
        """
        if feature_extractor is not None:
            raise ArgumentError(f"{self.task} works on texts and has no feature extractor")
        choose("strategy", strategy, ("simple", "bootstrap"))
        chosen = self.prepare_metric(metric)
        outcome = self.run(model_or_pipeline, data, subset, split, tokenizer=tokenizer, device=device, **options)
        if strategy == "simple":
            return self.score(chosen, outcome, metric_options) | outcome.times
        return (
            self.intervals(
                chosen,
                outcome,
                metric_options,
                confidence_level=confidence_level,
                n_resamples=n_resamples,
                random_state=random_state,
            )
            | outcome.times
        )

    def run(
        self,
        model_or_pipeline: Any = None,
        data: Any = None,
        subset: str | None = None,
        split: str | None = None,
        *,
        tokenizer: Any = None,
        device: Any = None,
        **options: Any,
    ) -> Outcome:
        """A model's answers, without a score. Arguments as of `compute`."""
        chosen = self.settings(options)
        rows = load_data(data, subset, split)
        rows.check(**{name: chosen[name] for name in self.inputs})
        references, inputs, call = self.prepare(rows, chosen)
        pipe = self.prepare_pipeline(model_or_pipeline, tokenizer, device)
        started = time.perf_counter()
        answers = pipe(**inputs, **call) if isinstance(inputs, dict) else pipe(inputs, **call)
        answers = [answers] if isinstance(answers, dict) else list(answers)
        seconds = time.perf_counter() - started
        count = self.count(inputs)
        if len(answers) != count:
            raise ArgumentError(
                f"the pipeline gave {len(answers)} answers to {count} inputs; expected one each, in order"
            )
        columns, confidence = self.read(answers, rows, references, pipe, chosen)
        times = {
            "total_time_in_seconds": seconds,
            "samples_per_second": count / seconds,
            "latency_in_seconds": seconds / count,
        }
        return Outcome(columns, times, confidence)

    # What a task says

    def settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The columns' names and the task's options, with their defaults.

        Raises:
            ArgumentError: an unknown option.
        """
        known = self.inputs | self.extra_options()
        if strange := sorted(options.keys() - known.keys()):
            raise ArgumentError(f"{self.task} has no option {', '.join(strange)}; it has {', '.join(known)}")
        return {**known, **options}

    def extra_options(self) -> dict[str, Any]:
        """Options beside the columns' names, and their defaults."""
        return {"label_mapping": None, "pipeline_options": None}

    def prepare(self, rows: Data, chosen: Mapping[str, Any]) -> tuple[list[Any] | None, Any, dict[str, Any]]:
        """References, the pipeline's inputs (a list, or arguments by name), and options of its call."""
        call = {**self.call, **(chosen["pipeline_options"] or {})}
        return rows[chosen["label_column"]], rows[chosen["input_column"]], call

    def count(self, inputs: Any) -> int:
        """How many answers inputs ask for."""
        return len(next(iter(inputs.values()))) if isinstance(inputs, dict) else len(inputs)

    def read(
        self, answers: list[Any], rows: Data, references: list[Any] | None, pipe: Any, chosen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[float]]:
        """Answers → the metric's columns, and how sure the model was."""
        raise NotImplementedError

    # Steps

    def prepare_pipeline(self, model: Any = None, tokenizer: Any = None, device: Any = None) -> Callable[..., Any]:
        """The pipeline of a model, or what was handed over, if it can do the task.

        Raises:
            ArgumentError: a pipeline of another task, or on another device.
        """
        if callable(model) and not hasattr(model, "from_pretrained"):
            self._check_task(model)
            if tokenizer is not None:
                raise ArgumentError("a pipeline was handed over, which has its tokenizer: leave tokenizer out")
            self._check_device(model, device)
            return model
        from enfold.pipelines import pipeline

        place = {} if device is None else {"device": device}
        return pipeline(self.task, model=str(model) if isinstance(model, Path) else model, tokenizer=tokenizer, **place)

    def _check_task(self, pipe: Any) -> None:
        theirs = getattr(pipe, "task", None)
        if theirs is None or theirs == self.task:
            return
        from enfold.pipelines.registry import find_task

        names = [find_task(name)[0] for name in (theirs, self.task)]
        if names[0] != names[1]:
            raise ArgumentError(f"the pipeline's task is {theirs}; expected one for {self.task}")

    @staticmethod
    def _check_device(pipe: Any, device: Any) -> None:
        place = getattr(pipe, "device", None)
        if device is None or place is None:
            return
        asked = "cpu" if device == -1 else f"cuda:{device}" if isinstance(device, int) else str(device)
        if asked.partition(":")[0] != str(place).partition(":")[0]:
            raise ArgumentError(
                f"the pipeline is on {place} and device={device!r} was asked for: make it there, or leave it out"
            )

    def prepare_metric(self, metric: Metrics | None) -> EvaluationModule | CombinedEvaluations:
        """The metric, loaded."""
        if metric is None:
            if self.default_metric_name is None:
                raise ArgumentError(f"{self.task} has no metric of its own: name one with metric=…")
            metric = self.default_metric_name
        if isinstance(metric, str):
            return load(metric)
        if isinstance(metric, (list, tuple)):
            return combine(list(metric))
        if not hasattr(metric, "measure"):
            raise ArgumentError(
                f"metric is a {type(metric).__name__}; expected a name, a module of evaluate.load, or a list"
            )
        return metric  # type: ignore[return-value]

    def score(
        self,
        metric: EvaluationModule | CombinedEvaluations,
        outcome: Outcome,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The metric's numbers.

        Raises:
            ArgumentError: a metric that takes other columns than the task has.
        """
        wanted, has = metric.column_names(), outcome.columns
        if set(wanted) - has.keys():
            raise ArgumentError(f"{metric.name} takes {', '.join(wanted)}, and {self.task} gives {', '.join(has)}")
        return metric.compute(**{name: has[name] for name in wanted}, **(options or {})) or {}

    def intervals(
        self,
        metric: EvaluationModule | CombinedEvaluations,
        outcome: Outcome,
        options: Mapping[str, Any] | None = None,
        *,
        confidence_level: float = 0.95,
        n_resamples: int = 9999,
        random_state: int | None = None,
    ) -> dict[str, Any]:
        """The metric's numbers with their confidence intervals."""
        self.score(metric, outcome, options)  # checks the columns
        columns = {name: _as_array(outcome.columns[name]) for name in metric.column_names()}
        return confidence_interval(
            lambda **drawn: metric.measure(**drawn, **(options or {})),
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            random_state=random_state,
            **columns,
        )


def _as_array(column: Any) -> Any:
    """Labels and numbers as an array, which is quick to draw from."""
    if isinstance(column, list) and all(isinstance(value, (int, float)) for value in column):
        return np.asarray(column)
    return column
