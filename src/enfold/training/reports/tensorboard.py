"""Event files for TensorBoard: `enfold[tensorboard]`."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from enfold.base.lazy import require
from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState
from enfold.training.reports.common import in_sections, numbers, parameters, run_name


class TensorBoardCallback(TrainerCallback):
    """Scalars, arguments and the table of hyper-parameters.

    They go to `runs/<run_name>` in the output folder, or below the folder that the environment's
    `TENSORBOARD_LOGGING_DIR` names. A resumed run goes on in the same folder, without the steps it does again.

    Args:
        tb_writer: a `SummaryWriter` of one's own.
    """

    def __init__(self, tb_writer: Any = None):
        if tb_writer is None:
            require("tensorboard", extra="tensorboard", purpose='report_to="tensorboard"')
        self.tb_writer = tb_writer
        self._given = tb_writer is not None
        self.logging_dir: str | None = None
        self._results: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        if state.global_step == 0 and self.tb_writer is None:
            self.logging_dir = None  # another run
        self._results = {}
        writer = self._open(args, state, purge=state.global_step + 1 if state.global_step else None)
        held = parameters(args, state, model)
        writer.add_text("args", _as_code({name: v for name, v in held.items() if "/" not in name}))
        if config := {name[6:]: v for name, v in held.items() if name.startswith("model/")}:
            writer.add_text("model_config", _as_code(config))

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
        ended = self.tb_writer is None and self.logging_dir is not None
        writer = self._open(args, state)
        for name, value in numbers(in_sections(logs)).items():
            writer.add_scalar(name, value, state.global_step)
            if not name.startswith("train/") or name == "train/train_loss":
                self._results[name] = value
        writer.flush()
        if ended:
            self._close(writer)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if self.tb_writer is None:
            return
        held = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
            for name, value in parameters(args, state, model).items()
            if value is not None and not name.startswith("model/")
        }
        self.tb_writer.add_hparams(held, {f"hparam/{name}": v for name, v in self._results.items()}, run_name=".")
        self._close(self.tb_writer)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.logging_dir is None else {"logging_dir": self.logging_dir}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.logging_dir = state["logging_dir"]

    def _open(self, args: TrainingArguments, state: TrainerState, purge: int | None = None) -> Any:
        if self.tb_writer is None:
            from torch.utils.tensorboard import SummaryWriter

            if self.logging_dir is None:
                base = os.environ.get("TENSORBOARD_LOGGING_DIR")
                name = run_name(args, state) or f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{socket.gethostname()}"
                self.logging_dir = str(Path(base).expanduser() / name if base else Path(args.output_dir, "runs", name))
            self.tb_writer = SummaryWriter(self.logging_dir, purge_step=purge)
        return self.tb_writer

    def _close(self, writer: Any) -> None:
        writer.close()
        if not self._given:
            self.tb_writer = None


def _as_code(values: dict[str, Any]) -> str:
    text = json.dumps(values, indent=2, default=str)
    return "\n".join(f"    {line}" for line in text.splitlines())  # Markdown shows it as it is
