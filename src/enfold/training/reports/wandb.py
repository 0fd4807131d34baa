"""Weights & Biases: `enfold[wandb]`."""

import os
from pathlib import Path
from typing import Any

from enfold.base.lazy import require
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState
from enfold.training.reports.common import in_sections, parameters, run_name


class WandbCallback(TrainerCallback):
    """Each log entry to a run of the project `project`, named `run_name`.

    The environment decides where it goes (`WANDB_MODE=offline` keeps it in the output folder) and may name the project
    (`WANDB_PROJECT`). A run that is open already is used as it is, and left open. A resumed run goes on in its own.
    """

    def __init__(self) -> None:
        self._wandb: Any = require("wandb", extra="wandb", purpose='report_to="wandb"')
        self._run: Any = None
        self._opened = False
        self._resumed: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        if self._opened:
            self._finish()  # the run before
        run = self._open(args, state)
        run.config.update(_plain(parameters(args, state, model)), allow_val_change=True)

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
        run = self._open(args, state) if self._run is None else self._run
        if "train_runtime" in logs:
            run.summary.update(logs)
        run.log({**in_sections(logs), "train/global_step": state.global_step})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # A trial is over; after a run of its own an evaluation may follow, and the client ends it with the process.
        if self._opened and state.is_hyper_param_search:
            self._finish()

    def state_dict(self) -> dict[str, Any]:
        return {} if self._run is None else {"run_id": self._run.id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resumed = state["run_id"]

    def _open(self, args: TrainingArguments, state: TrainerState) -> Any:
        if self._wandb.run is not None:
            self._run = self._wandb.run
        else:
            Path(args.output_dir).mkdir(parents=True, exist_ok=True)
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", args.project),
                name=run_name(args, state),
                group=args.run_name if state.is_hyper_param_search else None,
                dir=args.output_dir,
                id=self._resumed,
                resume="allow" if self._resumed else None,
            )
            self._opened = True
            self._resumed = None
        self._run.define_metric("train/global_step")
        self._run.define_metric("*", step_metric="train/global_step", step_sync=True)
        return self._run

    def _finish(self) -> None:
        self._run.finish()
        self._run, self._opened = None, False


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
