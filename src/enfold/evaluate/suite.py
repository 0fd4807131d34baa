"""Several tasks, one model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError


@dataclass
class SubTask:
    """One evaluation of a suite.

    Attributes:
        task_type: a task that `evaluator` knows.
        data, subset, split: as of `Evaluator.compute`.
        data_preprocessor: row → row, before the evaluation.
        args_for_task: further arguments of `Evaluator.compute`, such as `metric` and `label_column`.
        name: what it is called in the results; by default the data's name.
    """

    task_type: str
    data: Any = None
    subset: str | None = None
    split: str | None = None
    data_preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    args_for_task: dict[str, Any] = field(default_factory=dict)
    name: str | None = None

    def __post_init__(self) -> None:
        self.args_for_task = dict(self.args_for_task or {})
        if not isinstance(self.task_type, str):
            raise ArgumentError(f"task_type is a {type(self.task_type).__name__}; expected a task's name")
        if self.data_preprocessor is not None and not callable(self.data_preprocessor):
            raise ArgumentError(f"data_preprocessor is a {type(self.data_preprocessor).__name__}; expected a function")

    @property
    def title(self) -> str:
        """What it is called."""
        named = self.name or (str(self.data) if isinstance(self.data, (str, Path)) else self.task_type)
        return f"{named}/{self.subset}" if self.subset else named


class EvaluationSuite:
    """Evaluations that run one after the other.

    Args:
        name: what the suite is called.
        suite: its tasks; a subclass may set `self.suite` itself.
    """

    def __init__(self, name: str, suite: Sequence[SubTask] = ()):
        self.name = name
        self.suite: list[SubTask] = list(suite)

    def __repr__(self) -> str:
        return f"EvaluationSuite name: {self.name!r}, Tasks: {[task.title for task in self.suite]}"

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationSuite":
        """A suite from a JSON file: `{"name": …, "suite": [{"task_type": …, "data": …, "args_for_task": {…}}, …]}`.

        Raises:
            ArgumentError: a script or a repository, whose code is never run; a file that isn't so.
        """
        file = Path(path)
        if file.suffix != ".json" or not file.is_file():
            raise ArgumentError(
                f"{path} is no JSON file: a suite is loaded from one, or made as EvaluationSuite(name, [SubTask(…)]). "
                "Scripts and repositories of suites are code, which is never run"
            )
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return cls(found.get("name", file.stem), [SubTask(**task) for task in found["suite"]])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArgumentError(f"{path} describes no suite: {error}") from error

    def run(self, model_or_pipeline: Any) -> list[dict[str, Any]]:
        """The results of each task, with its `task_name` and `data_preprocessor`.

        Raises:
            ArgumentError: a suite without tasks.
        """
        from enfold.evaluate.evaluators.data import Data, load_data, rows_of
        from enfold.evaluate.evaluators.factory import evaluator

        if not self.suite:
            raise ArgumentError(f"the suite {self.name!r} has no tasks: give it SubTasks")
        results = []
        for task in self.suite:
            data, where = task.data, {"subset": task.subset, "split": task.split}
            if task.data_preprocessor is not None:
                rows: Data = load_data(data, task.subset, task.split)
                every = rows_of({name: rows[name] for name in rows.column_names})
                data, where = [task.data_preprocessor(row) for row in every], {}
            given = {"model_or_pipeline": model_or_pipeline, "data": data, **where, **task.args_for_task}
            found = evaluator(task.task_type).compute(**given)
            found["task_name"] = task.title
            found["data_preprocessor"] = None if task.data_preprocessor is None else str(task.data_preprocessor)
            results.append(found)
        return results
