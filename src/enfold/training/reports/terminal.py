"""A progress bar with loss, rate, speed and memory on a terminal; a line for each log entry elsewhere."""

import sys
import time
from typing import Any

import torch

from enfold.training.arguments import TrainingArguments
from enfold.training.callbacks import TrainerCallback, TrainerControl, TrainerState


class TerminalCallback(TrainerCallback):
    """What a person who waits wants to know."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._started, self._first_step = 0.0, 0
        self._last: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step
        shown = sys.stderr.isatty() if args.disable_tqdm is None else not args.disable_tqdm
        if not shown or not state.is_world_process_zero:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.add_task("", total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=state.global_step, description=self._described(state, self._last)
            )

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
        self._last |= {name: value for name, value in logs.items() if name in ("loss", "learning_rate")}
        values = "  ".join(f"{name} {_short(value)}" for name, value in logs.items())
        line = f"step {state.global_step}/{state.max_steps}  {values}"
        if self._bar is not None:
            self._bar.console.print(line)
        elif args.disable_tqdm is not True or "train_runtime" in logs:
            print(line, flush=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _described(self, state: TrainerState, logs: dict[str, float]) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        parts = [f"{name} {_short(value)}" for name, value in logs.items()]
        parts.append(f"{(state.global_step - self._first_step) / seconds:.2f} steps/s")
        if state.num_input_tokens_seen:
            parts.append(f"{state.num_input_tokens_seen / seconds:,.0f} tokens/s")
        parts.append(f"{_memory() / 2**30:.1f} GiB")
        return "  ".join(parts)


def _memory() -> int:
    """Bytes that the device has given out at most, or that this process has used at most."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
