"""A run beside the reference's on the same rows, and what a run promises by itself."""

import math

import numpy as np
import pytest
import torch
import transformers

import enfold
from enfold import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from enfold.base.errors import ArgumentError
from enfold.training.collators import DataCollatorWithFlattening
from tests.training import little


def reference(model, output, data, eval_dataset=None, **options):
    args = transformers.TrainingArguments(
        str(output),
        train_sampling_strategy="sequential",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
        **options,
    )
    return transformers.Trainer(model, args, train_dataset=data, eval_dataset=eval_dataset)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1, "warmup_steps": 3, "lr_scheduler_type": "cosine"},
        {"label_smoothing_factor": 0.2, "max_grad_norm": 0.1},
        {"optim": "sgd", "learning_rate": 0.1},
        {"optim": "adafactor"},
        {"optim": "adamw_torch", "adam_beta1": 0.8, "adam_epsilon": 1e-6},
        {"max_steps": 9},
        {"num_train_epochs": 1.5},
    ],
    ids=lambda options: ",".join(f"{k}={v}" for k, v in options.items()) or "plain",
)
def test_beside_the_reference(classifier, tmp_path, options):
    given = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        **options,
    }
    data = little.rows(23)
    theirs = reference(
        transformers.BertForSequenceClassification.from_pretrained(classifier), tmp_path / "t", data, **given
    )
    theirs.train()
    ours = little.trainer(
        little.load_classifier(classifier), tmp_path / "o", data, train_sampling_strategy="sequential", **given
    )
    result = ours.train()
    assert result.global_step == theirs.state.global_step
    steps = [entry for entry in theirs.state.log_history if "loss" in entry]
    assert len(steps) == result.global_step
    for expected, got in zip(steps, ours.state.log_history, strict=False):
        for name in ("loss", "grad_norm", "learning_rate", "epoch", "step"):
            assert got[name] == pytest.approx(expected[name], rel=2e-3, abs=1e-5), name
    ours.save_model(str(tmp_path / "saved"))
    back = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "saved")
    for name, expected in theirs.model.state_dict().items():
        if name.endswith("key.bias"):
            continue  # its gradient is rounding alone, which Adafactor scales up
        torch.testing.assert_close(back.state_dict()[name], expected, rtol=2e-2, atol=3e-4)


def test_a_writer_beside_the_reference(writer, tmp_path):
    """The reference weighs tokens over an accumulated step too, for models that take num_items_in_batch."""
    data = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in little.rows(24)]
    given = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
    }
    theirs = reference(transformers.GPT2LMHeadModel.from_pretrained(writer), tmp_path / "t", data, **given)
    theirs.train()
    ours = little.trainer(
        little.load_writer(writer), tmp_path / "o", data, train_sampling_strategy="sequential", **given
    )
    ours.train()
    # Of seven tokens six are predicted; the reference divides by seven, its own loss of a single batch by six.
    for expected, got in zip(theirs.state.log_history[:-1], ours.state.log_history, strict=False):
        assert got["loss"] == pytest.approx(expected["loss"] * 7 / 6, rel=1e-3)
    assert ours.state.log_history[0]["grad_norm"] == pytest.approx(
        theirs.state.log_history[0]["grad_norm"] * 7 / 6, rel=2e-3
    )


def tokens(count):
    return [{"input_ids": row["input_ids"]} for row in little.rows(count, length=None)]


class Padded:
    """Rows of unequal length as a padded batch of a language model."""

    def __call__(self, rows):
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length], mask[number, :length] = torch.tensor(row["input_ids"]), 1
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def test_batches_however_they_are_cut_give_the_same_weights(writer, tmp_path):
    """One batch of 12, three of 4, twelve of 1, and all in one packed row: the mean is over the same tokens."""
    data = tokens(36)
    ways = {
        "whole": (12, 1, Padded()),
        "in parts": (4, 3, Padded()),
        "one by one": (1, 12, Padded()),
        "packed": (12, 1, DataCollatorWithFlattening()),
        "packed in parts": (4, 3, DataCollatorWithFlattening()),
    }
    losses, models = {}, {}
    for name, (size, accumulation, collate) in ways.items():
        models[name] = little.load_writer(writer)
        run = little.trainer(
            models[name],
            tmp_path,
            data,
            data_collator=collate,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=2,
            learning_rate=1e-3,
            logging_steps=1,
            optim="sgd",
        )
        run.train()
        losses[name] = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    for name in ways:
        assert losses[name] == pytest.approx(losses["whole"], rel=1e-5), name
        for key, tensor in models["whole"].state_dict().items():
            torch.testing.assert_close(
                models[name].state_dict()[key], tensor, rtol=1e-4, atol=1e-6, msg=f"{name} {key}"
            )


def accuracy(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, -1) == labels).mean())}


def test_it_learns_evaluates_and_predicts(classifier, tmp_path):
    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(120),
        eval_dataset=little.rows(50, seed=1),
        compute_metrics=accuracy,
        num_train_epochs=5,
        learning_rate=3e-3,
        per_device_eval_batch_size=16,
        eval_strategy="epoch",
    )
    before = run.evaluate()["eval_accuracy"]
    run.train()
    after = run.evaluate()
    assert before < 0.7
    assert after["eval_accuracy"] > 0.9
    assert set(after) == {
        "eval_accuracy",
        "eval_loss",
        "eval_runtime",
        "eval_samples_per_second",
        "eval_steps_per_second",
    }
    assert len([entry for entry in run.state.log_history if "eval_accuracy" in entry]) == 6
    found = run.predict(little.rows(50, seed=1))
    assert found.predictions.shape == (50, 3)
    assert found.label_ids.shape == (50,)
    assert found.metrics is not None
    assert found.metrics["test_accuracy"] == after["eval_accuracy"]
    unlabelled = run.predict(little.rows(10, labels=False))
    assert unlabelled.label_ids is None
    assert unlabelled.predictions.shape == (10, 3)


def test_evaluation_beside_the_reference(classifier, tmp_path):
    data = little.rows(21, seed=3)
    theirs = transformers.Trainer(
        transformers.BertForSequenceClassification.from_pretrained(classifier),
        transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, disable_tqdm=True),
        compute_metrics=accuracy,
    )
    ours = little.trainer(little.load_classifier(classifier), tmp_path, None, compute_metrics=accuracy)
    expected, got = theirs.predict(data), ours.predict(data)
    np.testing.assert_allclose(got.predictions, expected.predictions, rtol=1e-4, atol=1e-5)
    assert got.metrics is not None
    for name in ("test_loss", "test_accuracy"):
        assert got.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-5)


def test_predictions_of_unequal_length_are_padded(writer, tmp_path):
    run = little.trainer(
        little.load_writer(writer), tmp_path, None, data_collator=Padded(), per_device_eval_batch_size=3
    )
    found = run.predict(tokens(8))
    longest = max(len(row["input_ids"]) for row in tokens(8))
    assert found.predictions.shape == (8, longest, 60)
    assert found.label_ids.shape == (8, longest)
    assert (found.label_ids == -100).any()


def test_several_evaluation_sets(classifier, tmp_path):
    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        None,
        eval_dataset={"a": little.rows(5), "b": little.rows(5, seed=1)},
    )
    metrics = run.evaluate()
    assert {"eval_a_loss", "eval_b_loss"} <= set(metrics)


def test_the_order_depends_on_the_seed_alone(classifier, tmp_path):
    def trained(**options):
        run = little.trainer(
            little.load_classifier(classifier), tmp_path, little.rows(30), num_train_epochs=1, **options
        )
        run.train()
        return run.model

    plain = trained()
    assert little.same_weights(plain, trained())
    assert little.same_weights(plain, trained(dataloader_num_workers=2))
    assert not little.same_weights(plain, trained(seed=1))
    assert not little.same_weights(plain, trained(data_seed=1))


def test_group_by_length(writer, tmp_path):
    seen = []

    class Watching(Padded):
        def __call__(self, rows):
            seen.append([len(row["input_ids"]) for row in rows])
            return super().__call__(rows)

    run = little.trainer(
        little.load_writer(writer),
        tmp_path,
        tokens(64),
        data_collator=Watching(),
        train_sampling_strategy="group_by_length",
        per_device_train_batch_size=4,
        num_train_epochs=1,
    )
    run.train()
    assert len(seen) == 16
    assert max(seen[0]) == max(map(max, seen))
    assert sum(max(batch) - min(batch) for batch in seen) < 16


def test_a_stream_needs_max_steps(classifier, tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from little.rows(10)

    run = little.trainer(little.load_classifier(classifier), tmp_path, Stream())
    with pytest.raises(ArgumentError, match="max_steps"):
        run.train()
    run = little.trainer(
        little.load_classifier(classifier), tmp_path, Stream(), max_steps=7, per_device_train_batch_size=4
    )
    assert run.train().global_step == 7


def test_early_stopping_and_the_best_model(classifier, tmp_path):
    scores = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    kept = {}

    def metric(prediction):
        score = next(scores)
        kept[score] = little.weights(run.model)
        return {"score": score}

    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(16),
        eval_dataset=little.rows(4),
        compute_metrics=metric,
        callbacks=[EarlyStoppingCallback(2)],
        num_train_epochs=6,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="score",
    )
    result = run.train()
    assert result.global_step == 8
    assert run.state.best_metric == 0.9
    assert run.state.best_model_checkpoint == str(tmp_path / "checkpoint-4")
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-8"]
    for name, tensor in little.weights(run.model).items():
        assert torch.equal(tensor, kept[0.9][name])


def test_save_strategy_best(classifier, tmp_path):
    scores = iter([0.5, 0.4, 0.6])
    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(8),
        eval_dataset=little.rows(4),
        compute_metrics=lambda prediction: {"score": next(scores)},
        num_train_epochs=3,
        eval_strategy="epoch",
        save_strategy="best",
        metric_for_best_model="score",
    )
    run.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-3"]


def test_the_plateau_lowers_the_rate(classifier, tmp_path):
    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(8),
        eval_dataset=little.rows(4),
        compute_metrics=lambda prediction: {"score": 1.0},
        num_train_epochs=4,
        eval_strategy="epoch",
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs={"patience": 0, "factor": 0.5, "mode": "max"},
        metric_for_best_model="score",
        learning_rate=1e-3,
    )
    run.train()
    assert run.get_learning_rates()[0] == pytest.approx(1e-3 / 8)


class Told(TrainerCallback):
    def __init__(self):
        self.events = []


for _event in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
    setattr(Told, _event, lambda self, args, state, control, event=_event, **kwargs: self.events.append(event))


def test_callbacks_are_told_in_the_reference_order(classifier, tmp_path):
    class Theirs(transformers.TrainerCallback):
        def __init__(self):
            self.events = []

    for event in [name for name in dir(transformers.TrainerCallback) if name.startswith("on_")]:
        setattr(Theirs, event, lambda self, args, state, control, event=event, **kwargs: self.events.append(event))
    given = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "eval_strategy": "epoch",
    }
    theirs, ours = Theirs(), Told()
    run = reference(
        transformers.BertForSequenceClassification.from_pretrained(classifier),
        tmp_path / "t",
        little.rows(16),
        eval_dataset=little.rows(4),
        **given,
    )
    run.add_callback(theirs)
    run.train()
    mine = little.trainer(
        little.load_classifier(classifier), tmp_path / "o", little.rows(16), eval_dataset=little.rows(4), **given
    )
    mine.add_callback(ours)
    mine.train()
    assert ours.events == theirs.events


def test_a_callback_stops_the_run(classifier, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 3

    run = little.trainer(little.load_classifier(classifier), tmp_path, little.rows(40), callbacks=[Stop])
    assert run.train().global_step == 3


def test_a_loss_of_ones_own(classifier, tmp_path):
    class Mine(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = torch.nn.functional.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss

    def by_function(outputs, labels, num_items_in_batch=None):
        return torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch

    given = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 1}
    runs = [
        little.trainer(little.load_classifier(classifier), tmp_path, little.rows(15), **given),
        little.trainer(little.load_classifier(classifier), tmp_path, little.rows(15), kind=Mine, **given),
        little.trainer(
            little.load_classifier(classifier), tmp_path, little.rows(15), compute_loss_func=by_function, **given
        ),
    ]
    losses = [run.train().training_loss for run in runs]
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-5)


def test_a_batch_without_labels_moves_nothing(writer, tmp_path):
    class Silent(Padded):
        def __call__(self, rows):
            batch = super().__call__(rows)
            batch["labels"].fill_(-100)
            return batch

    model = little.load_writer(writer)
    before = little.weights(model)
    run = little.trainer(model, tmp_path, tokens(4), data_collator=Silent(), max_steps=1)
    run.train()
    for name, tensor in little.weights(model).items():
        assert torch.equal(tensor, before[name])


def test_noise_on_embeddings_while_training_only(writer, tmp_path):
    def trained(**options):
        run = little.trainer(
            little.load_writer(writer), tmp_path, tokens(8), data_collator=Padded(), max_steps=2, **options
        )
        run.train()
        return run

    plain, noisy = trained(), trained(neftune_noise_alpha=5.0)
    assert not little.same_weights(plain.model, noisy.model)
    batch = Padded()(tokens(2))
    with torch.no_grad():
        assert torch.equal(noisy.model.eval()(**batch).logits, noisy.model(**batch).logits)
        assert not noisy.model.get_input_embeddings()._forward_hooks


def test_lower_precision_and_checkpointed_layers(writer, tmp_path):
    losses = {}
    for name, options in {
        "plain": {},
        "bf16": {"bf16": True},
        "checkpointed": {"gradient_checkpointing": True},
    }.items():
        run = little.trainer(
            little.load_writer(writer), tmp_path, tokens(16), data_collator=Padded(), num_train_epochs=2, **options
        )
        losses[name] = run.train().training_loss
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-6)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=2e-2)
    assert losses["bf16"] != losses["plain"]


def test_any_module_with_a_loss(tmp_path):
    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def forward(self, x, labels=None):
            y = self.line(x)
            return (torch.nn.functional.mse_loss(y, labels), y) if labels is not None else (y,)

    data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([3.0 * i + 1])} for i in range(8)]
    run = little.trainer(
        Line(), tmp_path, data, num_train_epochs=300, learning_rate=0.05, save_strategy="epoch", save_total_limit=1
    )
    run.train()
    assert float(run.model.line.weight) == pytest.approx(3.0, abs=0.1)
    again = little.trainer(Line(), tmp_path, data, num_train_epochs=300, learning_rate=0.05)
    again.train(resume_from_checkpoint=True)
    assert little.same_weights(again.model, run.model)


def test_memory_that_runs_out_halves_the_batch(classifier, tmp_path):
    sizes = []

    class Tight(Trainer):
        def compute_loss(self, model, inputs, *args, **options):
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > 2:
                raise torch.OutOfMemoryError("out of memory")
            return super().compute_loss(model, inputs, *args, **options)

    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(16),
        kind=Tight,
        per_device_train_batch_size=8,
        auto_find_batch_size=True,
        num_train_epochs=1,
    )
    result = run.train()
    assert sizes == [8, 4, *[2] * 8]
    assert result.global_step == 2  # four batches of two are the step of eight that was asked for


def test_the_model_is_made_anew(classifier, tmp_path):
    run = little.trainer(
        None, tmp_path, little.rows(8), model_init=lambda: little.load_classifier(classifier), num_train_epochs=1
    )
    first = run.train().training_loss
    assert run.train().training_loss == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"use_liger_kernel": True}, "has no use_liger_kernel"),
        ({"evaluation_strategy": "epoch"}, "eval_strategy"),
        ({"eval_strategy": "sometimes"}, "expected one of 'no', 'steps', 'epoch'"),
        ({"per_device_train_batch_size": 0}, "at least 1"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"bf16": True, "fp16": True}, "choose one"),
        ({"load_best_model_at_end": True}, "make them equal"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 3},
            "multiple",
        ),
        ({"lr_scheduler_type": "zigzag"}, "'cosine'"),
        ({"optim_args": "a"}, "name=value"),
        ({"report_to": "telegraph"}, "report_to has 'telegraph'"),
        ({"optim": "adamx"}, "no optimiser 'adamx'"),
    ],
)
def test_arguments_that_can_not_be_honoured(classifier, tmp_path, options, message):
    def train():
        args = TrainingArguments(str(tmp_path), use_cpu=True, **{"report_to": "none", **options})
        data = {"train_dataset": little.rows(4), "eval_dataset": little.rows(4)}
        Trainer(little.load_classifier(classifier), args, **data).train()

    with pytest.raises(ArgumentError, match=message):
        train()


def test_rows_that_do_not_fit_say_so(classifier, tmp_path):
    def run(data, **options):
        little.trainer(little.load_classifier(classifier), tmp_path, data, **options).train()

    with pytest.raises(ArgumentError, match="tokenize the data set first"):
        run([{"text": "a"}] * 8)
    with pytest.raises(ArgumentError, match="returned no loss"):
        run(little.rows(8, labels=False))
    with pytest.raises(ArgumentError, match="differ in length"):
        run(little.rows(8, length=None))
    with pytest.raises(ArgumentError, match="hold 0 rows"):
        run([])
    with pytest.raises(ArgumentError, match="needs a train_dataset"):
        run(None)


def test_names_of_the_package():
    assert enfold.Trainer is Trainer
    assert enfold.DataCollatorWithFlattening is DataCollatorWithFlattening


@pytest.mark.parametrize(("filtered", "expected"), [(True, [2.0, 5.0]), (False, [None, 5.0])])
def test_losses_that_are_no_numbers(classifier, tmp_path, filtered, expected):
    given = iter([1.0, float("nan"), 4.0, 5.0, 5.0, 5.0])

    class Scripted(enfold.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return next(given) + 0.0 * sum(p.sum() for p in model.parameters())

    options = {"logging_steps": 3, "max_steps": 6, "per_device_train_batch_size": 2}
    options["logging_nan_inf_filter"] = filtered
    run = little.trainer(little.load_classifier(classifier), tmp_path, little.rows(12), kind=Scripted, **options)
    run.train()
    logged = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert [None if loss != loss else pytest.approx(loss) for loss in logged] == expected
