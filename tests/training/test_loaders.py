"""Loaders of the trainer, and of a user's own."""

import pytest
import torch
import transformers
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, WeightedRandomSampler

import enfold
from enfold.base.errors import ArgumentError
from tests.training import little


def test_loaders(classifier, tmp_path):
    run = little.trainer(
        little.load_classifier(classifier),
        tmp_path,
        little.rows(10),
        eval_dataset={"a": little.rows(5), "b": little.rows(7)},
        per_device_train_batch_size=4,
        per_device_eval_batch_size=3,
        gradient_accumulation_steps=2,
    )
    assert run.num_examples(run.get_train_dataloader()) == 10
    assert len(run.get_train_dataloader()) == 3
    assert run.get_total_train_batch_size() == 8
    loaded = run.get_eval_dataloader("b")
    assert [len(batch["labels"]) for batch in loaded] == [3, 3, 1]
    assert len(loaded) == 3
    assert [len(batch["input_ids"]) for batch in run.get_test_dataloader(little.rows(4))] == [3, 1]
    with pytest.raises(ArgumentError, match="there are"):
        run.get_eval_dataloader("c")


def stacked(rows):
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def same(model, other):
    """Weights equal to the bit."""
    for name, weight in little.weights(model).items():
        assert torch.equal(weight, other.state_dict()[name]), name


class Weighted(enfold.Trainer):
    """Rows drawn with weights, which is what people override the loader for."""

    workers = 0

    def get_train_dataloader(self):
        rows = self.train_dataset
        sampler = WeightedRandomSampler([1.0 + row for row in range(len(rows))], len(rows))
        return DataLoader(rows, batch_size=3, sampler=sampler, collate_fn=stacked, num_workers=self.workers)


def seen_by(run):
    """The rows of each batch that the model is trained on, as numbers."""
    given, step = [], run.training_step

    def training_step(model, inputs, *args, **options):
        given.append(inputs["input_ids"].clone())
        return step(model, inputs, *args, **options)

    run.training_step = training_step
    return given


def test_a_sampler_of_ones_own_and_the_run_that_resumes(classifier, tmp_path):
    options = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "learning_rate": 1e-2}
    whole = little.trainer(little.load_classifier(classifier), tmp_path, little.rows(10), kind=Weighted, **options)
    seen = seen_by(whole)
    assert whole.train().global_step == 8
    assert [len(ids) for ids in seen] == [3, 3, 3, 1] * 2
    assert len({tuple(row.tolist()) for ids in seen[:4] for row in ids}) < 10, "drawn with repetition"
    assert not torch.equal(seen[0], seen[4])

    class Reading(Weighted):
        workers = 1

    for kind in (Weighted, Reading):
        run = little.trainer(little.load_classifier(classifier), tmp_path, little.rows(10), kind=kind, **options)
        rest = seen_by(run)
        run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
        assert len(rest) == 5
        assert all(map(torch.equal, rest, seen[3:]))
        same(run.model, whole.model)


def test_batches_from_anywhere(classifier, tmp_path):
    rows = little.rows(10)

    class Plain(enfold.Trainer):
        def get_train_dataloader(self):
            return [stacked(rows[i : i + 4]) for i in range(0, 10, 4)]

    options = {"num_train_epochs": 2, "gradient_accumulation_steps": 2, "lr_scheduler_type": "constant"}
    options |= {"save_strategy": "steps", "save_steps": 1}
    whole = little.trainer(little.load_classifier(classifier), tmp_path, None, kind=Plain, **options)
    seen = seen_by(whole)
    assert whole.train().global_step == 4
    assert [len(ids) for ids in seen] == [4, 4, 2] * 2
    resumed = little.trainer(little.load_classifier(classifier), tmp_path, None, kind=Plain, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    same(resumed.model, whole.model)

    class Endless(enfold.Trainer):
        def get_train_dataloader(self):
            return (stacked(rows[:2]) for _ in range(1000))

    with pytest.raises(ArgumentError, match="max_steps"):
        little.trainer(little.load_classifier(classifier), tmp_path, None, kind=Endless).train()
    few = little.trainer(little.load_classifier(classifier), tmp_path, None, kind=Endless, max_steps=3)
    assert few.train().global_step == 3
    with pytest.raises(ArgumentError, match="auto_find_batch_size"):
        little.trainer(
            little.load_classifier(classifier), tmp_path, None, kind=Endless, max_steps=3, auto_find_batch_size=True
        ).train()


def test_evaluation_and_prediction_read_the_loaders_of_ones_own(classifier, tmp_path):
    class Backwards(enfold.Trainer):
        def get_eval_dataloader(self, eval_dataset=None):
            return DataLoader((eval_dataset or little.rows(7))[::-1], batch_size=3, collate_fn=stacked)

        def get_test_dataloader(self, test_dataset):
            return super().get_test_dataloader(test_dataset[:2])

    run = little.trainer(little.load_classifier(classifier), tmp_path, None, kind=Backwards)
    plain = little.trainer(little.load_classifier(classifier), tmp_path, None)
    assert run.evaluate()["eval_loss"] == pytest.approx(plain.evaluate(little.rows(7))["eval_loss"], abs=1e-6)
    assert len(run.predict(little.rows(5)).predictions) == 2


def test_the_reference_trains_on_the_same_batches(classifier, tmp_path):
    """With a sampler that doesn't draw, so that both see the same order."""
    rows = little.rows(12)
    order = [5, 3, 8, 1, 0, 11, 2, 9, 4, 10, 7, 6]

    def get_train_dataloader(self):
        return DataLoader(rows, batch_sampler=BatchSampler(order, 4, drop_last=False), collate_fn=stacked)

    options = {"num_train_epochs": 1, "learning_rate": 1e-2, "report_to": "none", "use_cpu": True}
    ours = type("Ours", (enfold.Trainer,), {"get_train_dataloader": get_train_dataloader})
    theirs = type("Theirs", (transformers.Trainer,), {"get_train_dataloader": get_train_dataloader})
    model, peer = (
        little.load_classifier(classifier),
        transformers.BertForSequenceClassification.from_pretrained(classifier),
    )
    before = model(**stacked(rows)).logits
    arguments = {"save_strategy": "no", "output_dir": str(tmp_path), **options}
    ours(model, enfold.TrainingArguments(**arguments), train_dataset=rows).train()
    theirs(peer, transformers.TrainingArguments(**arguments), train_dataset=rows).train()
    after, wanted = (module.eval()(**stacked(rows)).logits for module in (model, peer))
    assert (after - before).abs().max() > 0.05
    torch.testing.assert_close(after, wanted, rtol=1e-3, atol=1e-4)


def test_a_random_sampler_draws_anew_each_epoch():
    from enfold.training.batches import Drawn

    loader = DataLoader(list(range(9)), batch_sampler=BatchSampler(RandomSampler(range(9)), 2, drop_last=True))
    alone, two = Drawn(loader, 1, 7), Drawn(loader, 2, 7)
    assert (len(alone), len(two)) == (4, 2)
    assert alone.batches(0) == alone.batches(0) != alone.batches(1)
    assert two.batches(3) == [a + b for a, b in zip(alone.batches(3)[::2], alone.batches(3)[1::2], strict=True)]
