"""MLflow: `enfold[mlflow]`."""

import json
import os
import time
from typing import Any

from enfold.base.lazy import require
from enfold.base.logging import get_logger
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState
from enfold.training.reports.common import in_sections, numbers, parameters, run_name

LONGEST_VALUE = 6000  # bytes of a parameter that every store takes
PER_CALL = 100
_logger = get_logger("enfold.training")


class MLflowCallback(TrainerCallback):
    """Metrics and parameters to the experiment `project`, as a run named `run_name`.

    MLflow's own settings decide where it goes (`MLFLOW_TRACKING_URI`, `mlflow.set_tracking_uri`), and
    `MLFLOW_EXPERIMENT_NAME` may name the experiment. A run that is active already is used as it is, and left active.
    A resumed run goes on in its own. What is logged behind the end of a run still goes to it.
    """

    def __init__(self) -> None:
        self._mlflow: Any = require("mlflow", extra="mlflow", purpose='report_to="mlflow"')
        self._client: Any = None
        self._run_id: str | None = None
        self._resumed: str | None = None
        self._opened = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        resumed = self._resumed is not None
        self._run_id = None
        self._open(args, state)
        if not resumed:  # MLflow refuses a second value of a parameter
            self._log_parameters(parameters(args, state, model))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if self._run_id is None:
            self._open(args, state)
        now = int(time.time() * 1000)
        kind = self._mlflow.entities.Metric
        metrics = [kind(name, v, now, state.global_step) for name, v in numbers(in_sections(logs)).items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._opened:
            self._mlflow.end_run()
            self._opened = False

    def state_dict(self) -> dict[str, Any]:
        return {} if self._run_id is None else {"run_id": self._run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resumed = state["run_id"]

    def _open(self, args: TrainingArguments, state: TrainerState) -> None:
        self._client = self._mlflow.MlflowClient()
        active = self._mlflow.active_run()
        if active is None:
            if self._resumed is None:
                self._mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", args.project))
            active = self._mlflow.start_run(run_id=self._resumed, run_name=run_name(args, state))
            self._opened = True
        self._run_id, self._resumed = active.info.run_id, None

    def _log_parameters(self, values: dict[str, Any]) -> None:
        entries = []
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            if len(text.encode()) > LONGEST_VALUE:
                _logger.warning("MLflow doesn't get %s: it is longer than %d bytes", name, LONGEST_VALUE)
                continue
            entries.append(self._mlflow.entities.Param(name, text))
        for at in range(0, len(entries), PER_CALL):
            self._client.log_batch(self._run_id, params=entries[at : at + PER_CALL])
