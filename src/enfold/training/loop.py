"""One training run, from its first step (or the one it resumes at) to its last."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from enfold.accelerate import folders, operations
from enfold.accelerate.keeping import load_optimizers
from enfold.accelerate.randomness import random_states, restore_random_states
from enfold.base.errors import ArgumentError
from enfold.training.batches import Batch, Drawn, Loaded, NumberedBatches, Order, drawn, loader, streamed
from enfold.training.callbacks import TrainerState
from enfold.training.evaluation import speed_metrics
from enfold.training.items import count_items

if TYPE_CHECKING:
    from enfold.training.trainer import Trainer


class TrainOutput(NamedTuple):
    """What `train` returns: steps taken, their mean loss, and times."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


class Run:
    """A run of a trainer.

    Args:
        trainer: whose model, data and callbacks.
        resume: the checkpoint to go on from.
        batch_size, accumulation: of each device; they differ from the arguments where memory ran out.
        own: whether a loader of the trainer's own class is asked for.
    """

    def __init__(self, trainer: "Trainer", resume: Path | None, batch_size: int, accumulation: int, own: bool = True):
        self.trainer, self.args, self.accelerator = trainer, trainer.args, trainer.accelerator
        self.resume, self.batch_size, self.accumulation = resume, batch_size, accumulation
        self.state, self.control = trainer.state, trainer.control
        self.rows: Any = trainer.train_dataset
        self.collate = trainer.collate
        self.terminated = False
        self.last_norm: Tensor | None = None
        # Of this process, since it was last added to that of all; a device isn't waited for each step to say it.
        wide = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        self.loss = torch.zeros((), device=self.accelerator.device, dtype=wide)
        self.rate = 0.0
        self.loader = trainer.get_train_dataloader() if own and trainer.has_own_loader else None
        if self.loader is None or isinstance(self.loader, Loaded):
            self.loader = None
            self.order = self._order() if hasattr(self.rows, "__len__") else None
        else:
            self.order = self._order_of(self.loader)
        self._plan()

    def _order_of(self, loader: Any) -> Drawn | None:
        """The order of a loader of one's own, where its rows have numbers; batches and rows are then the loader's."""
        self.rows = getattr(loader, "dataset", None)
        if not isinstance(loader, DataLoader) or not hasattr(loader.batch_sampler, "__len__"):
            return None
        self.collate = loader.collate_fn
        order = Drawn(loader, self.accelerator.data_processes, self._seed)
        self.batch_size = order.batch_size // self.accelerator.data_processes
        return order

    @property
    def _seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def _order(self) -> Order:
        args = self.args
        order = Order(
            rows=len(self.rows),
            batch_size=self.batch_size * self.accelerator.data_processes,
            strategy=args.train_sampling_strategy,
            seed=self._seed,
            lengths=self.trainer.row_lengths(self.rows) if args.train_sampling_strategy == "group_by_length" else None,
            drop_last=args.dataloader_drop_last,
        )
        if not len(order):
            raise ArgumentError(
                f"The training data hold {len(self.rows)} rows: no batch of {order.batch_size} can be made of them"
            )
        return order

    def _plan(self) -> None:
        """How many steps there are, in an epoch and in all."""
        args, state = self.args, self.state
        if self.order is not None:
            self.epoch_batches = len(self.order)
        elif hasattr(self.loader, "__len__"):
            self.epoch_batches = -(-len(self.loader) // self.accelerator.data_processes)  # type: ignore[arg-type]
        elif args.max_steps <= 0:
            raise ArgumentError("The training data have no length, so max_steps must say when to stop")
        else:
            self.epoch_batches = None
        self.epoch_steps = None if self.epoch_batches is None else -(-self.epoch_batches // self.accumulation)
        if args.max_steps > 0:
            state.max_steps = args.max_steps
            epochs = 2**62 if self.epoch_steps is None else -(-args.max_steps // self.epoch_steps)
        else:
            assert self.epoch_steps is not None
            state.max_steps = math.ceil(args.num_train_epochs * self.epoch_steps)
            epochs = math.ceil(args.num_train_epochs)
        self.epochs = state.num_train_epochs = epochs
        state.train_batch_size = self.batch_size
        state.logging_steps = args.total_steps("logging_steps", state.max_steps)
        state.eval_steps = args.total_steps("eval_steps", state.max_steps)
        state.save_steps = args.total_steps("save_steps", state.max_steps)

    def go(self) -> TrainOutput:
        """Train."""
        trainer, state, control = self.trainer, self.state, self.control
        trainer.create_optimizer_and_scheduler(num_training_steps=state.max_steps)
        self.model: nn.Module = trainer.wrapped_model()
        if self.resume is not None:
            self._restore(self.resume)
        started, first_step = time.monotonic(), state.global_step
        with self._signals():
            trainer.tell("on_train_begin")
            if self.args.eval_on_start:
                trainer.evaluate_now()
            while state.epoch_number < self.epochs and state.global_step < state.max_steps:
                self._epoch(state.epoch_number)
                if control.should_training_stop:
                    break
        seconds = time.monotonic() - started
        return self._end(seconds, state.global_step - first_step)

    def _epoch(self, epoch: int) -> None:
        trainer, state, control = self.trainer, self.state, self.control
        if state.epoch_step == 0:
            trainer.tell("on_epoch_begin")
        if hasattr(self.rows, "set_epoch"):
            self.rows.set_epoch(epoch)
        batches = self.batches(epoch, state.epoch_step * self.accumulation)
        while group := list(islice(batches, self.accumulation)):
            self._step(group, epoch)
            if control.should_epoch_stop or control.should_training_stop:
                break
        if self.terminated:
            return  # the run that resumes here ends the epoch
        if not state.epoch_step:
            raise ArgumentError("The training data gave not a single batch")
        if not control.should_training_stop or state.epoch_step == self.epoch_steps:
            state.epoch_number, state.epoch_step, state.epoch = epoch + 1, 0, epoch + 1.0
        control.should_epoch_stop = False
        trainer.tell("on_epoch_end")
        self._follow_wishes()

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """This process's batches of an epoch, from number `start` on."""
        args, accelerator = self.args, self.accelerator
        where = {"index": accelerator.data_index, "count": accelerator.data_processes}
        seed = (args.seed, epoch)
        if self.order is None and self.loader is not None:
            return drawn(self.loader, seed, skip=0 if args.ignore_data_skip else start, **where)
        if self.order is None:
            size = self.batch_size * accelerator.data_processes
            skip = 0 if args.ignore_data_skip else start
            return streamed(self.rows, self.collate, size, seed, skip=skip, **where)
        numbered = NumberedBatches(self.rows, self.collate, self.order.batches(epoch), seed, **where)
        return iter(
            loader(
                numbered,
                start=0 if args.ignore_data_skip else start,
                workers=args.dataloader_num_workers if self.loader is None else self.loader.num_workers,
                pin=args.dataloader_pin_memory and accelerator.device.type == "cuda",
                prefetch=args.dataloader_prefetch_factor,
            )
        )

    def _step(self, group: list[Batch], epoch: int) -> None:
        """One move of the weights: the gradients of a group of batches, weighted by what each counts."""
        trainer, args, state = self.trainer, self.args, self.state
        trainer.tell("on_step_begin")
        counts = [self._count(batch) for batch in group]
        items = self._everywhere(sum(counts, torch.tensor(0.0)))
        for number, (batch, count) in enumerate(zip(group, counts, strict=True)):
            last = number == len(group) - 1
            with trainer.exchanging(self.model, last):
                share = trainer.training_step(self.model, batch.inputs, items, own=0.0 if batch.filling else count)
            self.loss += self._as_shown(share)
            if not last:
                trainer.tell("on_substep_end")
        norm = trainer.clip(self.model)
        trainer.tell("on_pre_optimizer_step")
        self.rate = trainer.get_learning_rates()[0]
        moved = trainer.move()
        trainer.tell("on_optimizer_step")
        if moved:
            trainer.next_rate()
        trainer.optimizer.zero_grad()
        state.global_step += 1
        state.epoch_step += 1
        if self.epoch_batches is not None:
            state.epoch = epoch + min(state.epoch_step * self.accumulation / self.epoch_batches, 1.0)
        self.last_norm = norm
        if args.include_num_input_tokens_seen:
            self._count_tokens(group)
        if args.torch_empty_cache_steps and state.global_step % args.torch_empty_cache_steps == 0:
            torch.accelerator.memory.empty_cache()
        trainer.tell("on_step_end")
        if self.terminated:
            self.control.should_save = self.control.should_training_stop = True
        self._follow_wishes()

    def _count(self, batch: Batch) -> Tensor:
        if batch.filling:
            return torch.tensor(0.0)
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return count_items(model, batch.inputs, self.trainer.label_names, batch.rows).float().cpu()

    def _everywhere(self, items: Tensor) -> Tensor:
        """The items of all processes; with them, whether any of them was told to end."""
        if not self.accelerator.state.use_distributed:
            return items
        both = torch.stack([items, torch.tensor(float(self.terminated))])
        distributed.all_reduce(both)  # who reads the same data may be told to end a moment later
        self.terminated = bool(both[1] > 0)
        return both[0] * self.accelerator.data_processes / self.accelerator.num_processes

    def _as_shown(self, loss: Tensor) -> Tensor:
        """The loss, or the mean so far where it is no number and `logging_nan_inf_filter` says so."""
        if not self.args.logging_nan_inf_filter:
            return loss
        state = self.state
        so_far = state.loss_unlogged / self.accelerator.data_processes + self.loss
        return torch.where(torch.isfinite(loss), loss, so_far / max(state.global_step - state.logged_step, 1))

    def add_loss(self) -> None:
        """Bring the state's sums of losses up to date; all processes call it."""
        loss = float(operations.reduce(self.loss, "sum"))
        self.state.loss_sum += loss
        self.state.loss_unlogged += loss
        self.loss.zero_()

    def _count_tokens(self, group: list[Batch]) -> None:
        name = getattr(self.trainer.model, "main_input_name", "input_ids")
        seen = sum(batch.inputs[name].numel() for batch in group if name in batch.inputs)
        self.state.num_input_tokens_seen += int(operations.reduce(torch.tensor(seen), "sum"))

    def _follow_wishes(self) -> None:
        """Log, evaluate and save, where callbacks asked for it."""
        trainer, state, control = self.trainer, self.state, self.control
        if control.should_log and state.global_step > state.logged_step:
            self.add_loss()
            steps = state.global_step - state.logged_step
            logs = {"loss": state.loss_unlogged / steps}
            if self.last_norm is not None:
                logs["grad_norm"] = float(self.last_norm)
            logs["learning_rate"] = self.rate
            state.loss_unlogged, state.logged_step = 0.0, state.global_step
            trainer.log(logs)
        control.should_log = False
        if control.should_evaluate:
            control.should_evaluate = False
            trainer.evaluate_now()
        if control.should_save:
            control.should_save = False
            self.add_loss()
            trainer.save_checkpoint(self)

    def keep(self, folder: Path, optimizer: dict[str, Any] | None) -> None:
        """Write what the run needs to go on (the main process).

        Args:
            optimizer: its state; None where its parts are written.
        """
        trainer = self.trainer
        if optimizer is not None:
            torch.save(optimizer, folder / "optimizer.pt")
        torch.save(trainer.lr_scheduler.state_dict(), folder / "scheduler.pt")
        if self.accelerator.scaler.is_enabled():
            torch.save(self.accelerator.scaler.state_dict(), folder / "scaler.pt")

    def random_states(self) -> list[dict[str, Any]]:
        """The generators of all ranks."""
        return operations.gather_object([random_states()])

    def _restore(self, folder: Path) -> None:
        trainer, state = self.trainer, self.state
        found = TrainerState.load_from_json(folder / "trainer_state.json")
        if found.train_batch_size not in (None, self.batch_size) and not self.args.ignore_data_skip:
            raise ArgumentError(
                f"{folder} was written with per_device_train_batch_size={found.train_batch_size}, and now it is "
                f"{self.batch_size}: which rows were seen can't be told. Use the same, or ignore_data_skip=True"
            )
        planned = {"max_steps", "num_train_epochs", "logging_steps", "eval_steps", "save_steps", "train_batch_size"}
        for name, value in vars(found).items():
            if name not in planned:
                setattr(state, name, value)
        load_optimizers([trainer.model], [trainer.optimizer], folder, [folder / "optimizer.pt"])
        trainer.load_weights(folder)
        trainer.lr_scheduler.load_state_dict(folders.read(folder / "scheduler.pt"))
        if self.accelerator.scaler.is_enabled() and (folder / "scaler.pt").is_file():
            self.accelerator.scaler.load_state_dict(folders.read(folder / "scaler.pt"))
        trainer.callbacks.restore(found.stateful_callbacks)
        states = folders.read(folder / "rng_state.pth")
        # With another number of processes each rank draws anew.
        if len(states) == self.accelerator.num_processes:
            restore_random_states(states[self.accelerator.process_index])

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM asks for a checkpoint behind the step under way, and for the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end(number: int, frame: Any) -> None:
            self.terminated = True

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end(self, seconds: float, steps: int) -> TrainOutput:
        trainer, state, args = self.trainer, self.state, self.args
        if self.terminated:
            raise SystemExit(128 + signal.SIGTERM)
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            trainer.load_weights(Path(state.best_model_checkpoint))
        rows = steps * self.batch_size * self.accumulation * self.accelerator.data_processes
        metrics = speed_metrics("train", seconds, rows, steps)
        self.add_loss()
        mean = state.loss_sum / max(state.global_step, 1)
        metrics["train_loss"] = mean
        trainer.log(metrics)
        self.control.should_log = False
        trainer.tell("on_train_end")
        return TrainOutput(state.global_step, mean, metrics)
