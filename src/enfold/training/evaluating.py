"""The part of the trainer that runs a model without learning."""

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from enfold.accelerate import operations
from enfold.base.errors import ArgumentError
from enfold.training.batches import Batch, Loaded, NumberedBatches, Order, drawn, loader, streamed
from enfold.training.callbacks import named_metric
from enfold.training.evaluation import (
    EvalPrediction,
    Gathered,
    PredictionOutput,
    named_metrics,
    outputs_of,
    speed_metrics,
)
from enfold.training.items import count_items


class Evaluating:
    """The part of `Trainer` that evaluates and predicts."""

    def get_eval_dataloader(self: Any, eval_dataset: Any = None) -> Any:
        """Batches to evaluate on: of the trainer's own data, of one of several by its name, or of others."""
        if isinstance(eval_dataset, str):
            parts = self.eval_dataset if isinstance(self.eval_dataset, dict) else {}
            if eval_dataset not in parts:
                raise ArgumentError(f"There is no eval_dataset {eval_dataset!r}; there are {sorted(parts)}")
            eval_dataset = parts[eval_dataset]
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        if data is None:
            raise ArgumentError("get_eval_dataloader needs an eval_dataset")
        return self.get_test_dataloader(data)

    def get_test_dataloader(self: Any, test_dataset: Any) -> Any:
        """Batches of rows in their order."""
        accelerator, args = self.accelerator, self.args
        where = {"index": accelerator.data_index, "count": accelerator.data_processes}
        size = args.per_device_eval_batch_size * accelerator.data_processes
        if not hasattr(test_dataset, "__len__"):
            return Loaded(test_dataset, lambda: streamed(test_dataset, self.collate, size, (args.seed,), **where), None)
        order = Order(len(test_dataset), size, "sequential")

        def batches() -> Any:
            return loader(NumberedBatches(test_dataset, self.collate, order.batches(0), (args.seed,), **where))

        return Loaded(test_dataset, batches, len(order))

    @property
    def _has_own_eval_loader(self) -> bool:
        return type(self).get_eval_dataloader is not Evaluating.get_eval_dataloader

    def evaluate(
        self: Any, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss and metrics over `eval_dataset` (default: the trainer's own), which are logged too.

        The loss is the mean over all items (tokens, rows), whatever the batch size.
        """
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        if data is None and not self._has_own_eval_loader:
            raise ArgumentError("evaluate needs an eval_dataset")
        if isinstance(data, dict):
            metrics: dict[str, float] = {}
            for name, part in data.items():
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        found = self.evaluation_loop(self.get_eval_dataloader(data), ignore_keys, metric_key_prefix).metrics or {}
        self.log(found)
        self.tell("on_evaluate", metrics=found)
        return found

    def predict(
        self: Any, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Predictions for a data set, and metrics if it has labels."""
        found = self.evaluation_loop(self.get_test_dataloader(test_dataset), ignore_keys, metric_key_prefix, keep=True)
        self.tell("on_predict", metrics=found.metrics)
        return found

    def evaluation_loop(
        self: Any,
        dataloader: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        keep: bool = False,
    ) -> PredictionOutput:
        """Run the model over a loader's batches; predictions are kept for `compute_metrics`, or where `keep`."""
        args, started = self.args, time.monotonic()
        keeps = keep or (self.compute_metrics is not None and not args.prediction_loss_only)
        model = self._for_evaluation()
        predictions, labels, inputs, losses = Gathered(), Gathered(), Gathered(), Gathered()
        total = torch.zeros(2, dtype=torch.float64)
        count = steps = 0
        running: dict[str, Any] = {}
        rows: Any = getattr(dataloader, "dataset", None)
        with self._without_cache():
            for batch in self._evaluation_batches(dataloader):
                loss, logits, wanted = self.prediction_step(model, batch.inputs, not keeps, ignore_keys)
                steps += 1
                count += int(operations.reduce(torch.tensor(0 if batch.filling else batch.rows), "sum"))
                if loss is not None and not batch.filling:
                    items = count_items(self.model, batch.inputs, self.label_names, batch.rows)
                    total += torch.tensor([float(loss) * float(items) if items else 0.0, float(items)])
                if batch.filling:
                    logits, wanted = operations.nested(lambda tensor: tensor[:0], (logits, wanted))
                if keeps:
                    predictions.add(logits)
                    labels.add(wanted)
                    if "inputs" in args.include_for_metrics:
                        inputs.add(batch.inputs[getattr(self.model, "main_input_name", "input_ids")])
                    if "loss" in args.include_for_metrics and loss is not None:
                        losses.add(loss)
                    if args.batch_eval_metrics and self.compute_metrics is not None:
                        last = count >= len(rows) if hasattr(rows, "__len__") else False
                        parts = EvalPrediction(predictions.arrays(), labels.arrays())
                        running = self.compute_metrics(parts, compute_result=last)  # type: ignore[call-arg]
                        predictions, labels = Gathered(), Gathered()
                self.tell("on_prediction_step")
        total = operations.reduce(total, "sum")
        made = EvalPrediction(predictions.arrays(), labels.arrays(), inputs.arrays(), losses.arrays())
        metrics: dict[str, Any] = dict(running)
        if self.compute_metrics is not None and made.label_ids is not None and not args.batch_eval_metrics:
            metrics = self.compute_metrics(made)
        metrics = named_metrics(metrics, metric_key_prefix)
        if total[1] > 0:
            metrics[f"{metric_key_prefix}_loss"] = float(total[0] / total[1])
        metrics |= speed_metrics(metric_key_prefix, time.monotonic() - started, count, steps)
        return PredictionOutput(made.predictions, made.label_ids, metrics)

    def _for_evaluation(self: Any) -> nn.Module:
        if self.accelerator.shards:
            self.wrapped_model()
        model = self._wrapped if self._wrapped is not None else self.model.to(self.accelerator.device)
        full = torch.bfloat16 if self.args.bf16_full_eval else torch.float16 if self.args.fp16_full_eval else None
        if full is not None:
            if self._wrapped is not None:
                raise ArgumentError(
                    "bf16_full_eval and fp16_full_eval are for evaluation alone; while training, use bf16"
                )
            model = model.to(full)
        return model.eval()

    def _evaluation_batches(self: Any, dataloader: Any) -> Iterable[Batch]:
        if isinstance(dataloader, Loaded):
            if dataloader.empty:
                raise ArgumentError("The data set to evaluate on is empty")
            return dataloader.batches()
        accelerator = self.accelerator
        where = {"index": accelerator.data_index, "count": accelerator.data_processes}
        return drawn(dataloader, (self.args.seed,), **where)

    def prediction_step(
        self: Any,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """(loss, logits, labels) of one batch; the latter two None where only the loss is wanted."""
        labelled = bool(self.label_names) and all(inputs.get(name) is not None for name in self.label_names)
        inputs = operations.send_to_device(inputs, self.accelerator.device)
        labels = tuple(inputs[name] for name in self.label_names) if labelled else None
        with torch.no_grad(), self.accelerator.autocast():
            if labelled and prediction_loss_only:
                return self.compute_loss(model, inputs).detach(), None, None
            if labelled:
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
            else:
                loss, outputs = None, model(**inputs)
        logits = outputs_of(outputs, ignore_keys or [])
        if self.preprocess_logits_for_metrics is not None:
            logits = self.preprocess_logits_for_metrics(logits, labels[0] if labels and len(labels) == 1 else labels)
        loss = None if loss is None else loss.detach()
        return loss, logits, labels[0] if labels is not None and len(labels) == 1 else labels

    def evaluate_now(self: Any) -> None:
        """An evaluation within a run: what is best so far, and the rate where it follows a metric."""
        args, state = self.args, self.state
        metrics = self.evaluate()
        if isinstance(self.lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.lr_scheduler.step(named_metric(metrics, args.metric_for_best_model or "loss"))
        if args.metric_for_best_model is None:
            return
        value = named_metric(metrics, args.metric_for_best_model)
        best = state.best_metric
        if best is None or (value > best if args.greater_is_better else value < best):
            state.best_metric, state.best_global_step = value, state.global_step
            if args.save_strategy == "best":
                self.control.should_save = True
