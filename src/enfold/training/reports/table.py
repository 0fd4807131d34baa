"""`log.csv` in the output folder: a line each time something is logged."""

import csv
from pathlib import Path
from typing import Any

from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState


class CSVCallback(TrainerCallback):
    """Columns `step`, `epoch`, `name`, `value`: metrics that come later need no other header."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        path = Path(args.output_dir) / "log.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with open(path, "a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "epoch", "name", "value"])
            for name, value in logs.items():
                if name != "epoch":
                    writer.writerow([state.global_step, logs.get("epoch", state.epoch), name, value])
