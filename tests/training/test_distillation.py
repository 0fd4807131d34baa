"""What a small model learns of a large one."""

import pytest
import torch
from torch.nn import functional as F

import enfold
from enfold import DistillationTrainer, TrainingArguments
from enfold.base.errors import ArgumentError
from enfold.training.collators import DataCollatorWithFlattening
from tests.training import little


def trainer(student, teacher, tmp_path, data, collate=None, **options):
    arguments = {name: options.pop(name) for name in ("num_train_epochs", "learning_rate") if name in options}
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, save_strategy="no", **arguments)
    return DistillationTrainer(student, args, teacher=teacher, train_dataset=data, data_collator=collate, **options)


def test_the_loss_is_the_formula(classifier, tmp_path):
    student, teacher = little.load_classifier(classifier), little.load_classifier(classifier)
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    run = trainer(student, teacher, tmp_path, None, temperature=3.0, logits_weight=0.25, hidden_layers={1: 2})
    rows = little.rows(5)
    batch = {"input_ids": torch.tensor([row["input_ids"] for row in rows])}
    batch["labels"] = torch.tensor([row["labels"] for row in rows])
    got = run.compute_loss(student.train(), batch)
    ours, theirs = student(**batch, output_hidden_states=True), teacher(**batch, output_hidden_states=True)
    p, q = (torch.softmax(output.logits / 3, -1) for output in (theirs, ours))
    surprise = (p * (p / q).log()).sum(-1).mean() * 9
    apart = 1 - F.cosine_similarity(ours.hidden_states[1], theirs.hidden_states[2], dim=-1).mean()
    torch.testing.assert_close(got, 0.75 * ours.loss + 0.25 * surprise + apart)
    assert run.compute_loss(student.eval(), batch) == ours.loss
    assert not any(weight.requires_grad for weight in teacher.parameters())


@pytest.mark.parametrize("collate", [None, DataCollatorWithFlattening()], ids=["rows", "packed"])
def test_a_writer_comes_near_its_teacher(writer, tmp_path, collate):
    teacher = little.load_writer(writer)
    with torch.no_grad():
        teacher.get_input_embeddings().weight.mul_(8)  # it is sure of something
    torch.manual_seed(1)
    student = enfold.GPT2LMHeadModel(enfold.GPT2Config(**little.GPT2))
    data = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in little.rows(32)]
    ids = torch.tensor([row["input_ids"] for row in data])

    def apart():
        with torch.no_grad():
            ours, theirs = (torch.log_softmax(model.eval()(ids).logits, -1) for model in (student, teacher))
        return float(F.kl_div(ours, theirs, log_target=True, reduction="batchmean"))

    before = apart()
    run = trainer(
        student,
        teacher,
        tmp_path,
        data,
        collate,
        logits_weight=1.0,
        hidden_layers={2: 2},
        num_train_epochs=10,
        learning_rate=1e-2,
    )
    run.train()
    assert apart() < 0.5 * before


def test_what_is_refused(classifier, writer, tmp_path):
    student, teacher = little.load_classifier(classifier), little.load_classifier(classifier)
    data = little.rows(8)
    with pytest.raises(ArgumentError, match="logits_weight=2"):
        trainer(student, teacher, tmp_path, data, logits_weight=2)
    with pytest.raises(ArgumentError, match="layers 0 to 2"):
        trainer(student, teacher, tmp_path, data, hidden_layers={3: 1}).train()
    other = enfold.BertForSequenceClassification(enfold.BertConfig(**{**little.BERT, "num_labels": 5}))
    with pytest.raises(ArgumentError, match="the same classes"):
        trainer(student, other, tmp_path, data).train()
    wide = enfold.BertForSequenceClassification(enfold.BertConfig(**{**little.BERT, "hidden_size": 48}))
    with pytest.raises(ArgumentError, match="same width"):
        trainer(student, wide, tmp_path, data, hidden_layers={1: 1}).train()
