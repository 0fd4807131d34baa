"""Seq2SeqTrainer beside the reference's on the same rows."""

import numpy as np
import pytest
import torch
import transformers

import enfold
from enfold import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from enfold.base.errors import ArgumentError
from tests.training import little

T5 = {
    "vocab_size": 60,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 2,
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
MARIAN = {
    "vocab_size": 60,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "dropout": 0.0,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": None,
}


class Pads:
    """What collators and trainers need of a tokenizer."""

    pad_token_id, eos_token_id, padding_side = 0, 1, "right"

    def pad(self, rows, **options):
        longest = max(len(row["input_ids"]) for row in rows)
        filled = [list(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        ids = torch.tensor(filled)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def rows(count):
    return [
        {"input_ids": [*row["input_ids"], 1], "labels": [*row["input_ids"][:3], 1]}
        for row in little.rows(count, length=None)
    ]


@pytest.fixture(scope="module", params=["t5", "marian"])
def pair(request, tmp_path_factory):
    """The same weights in both libraries."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param == "t5":
        theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**T5))
    else:
        theirs = transformers.MarianMTModel(transformers.MarianConfig(**MARIAN))
    theirs.save_pretrained(folder)
    return type(theirs), folder


def trainers(pair, tmp_path, *, metric=None, model_in_collator=True, **options):
    kind, folder = pair
    options = {"per_device_eval_batch_size": 3, "predict_with_generate": True, "report_to": "none", **options}
    theirs = kind.from_pretrained(folder)
    ours = enfold.AutoModelForSeq2SeqLM.from_pretrained(folder)
    pads = Pads()
    reference = transformers.Seq2SeqTrainer(
        theirs,
        transformers.Seq2SeqTrainingArguments(
            str(tmp_path / "t"), use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False, **options
        ),
        data_collator=transformers.DataCollatorForSeq2Seq(pads, theirs if model_in_collator else None),
        compute_metrics=metric,
    )
    mine = Seq2SeqTrainer(
        ours,
        Seq2SeqTrainingArguments(str(tmp_path / "o"), use_cpu=True, **options),
        data_collator=DataCollatorForSeq2Seq(pads, ours if model_in_collator else None),
        processing_class=None,
        compute_metrics=metric,
    )
    return reference, mine


def stripped(tokens):
    """Rows without what fills them."""
    return [[token for token in row if token > 0] for row in tokens.tolist()]


@pytest.mark.parametrize("call", [{}, {"max_length": 9}, {"max_new_tokens": 5, "num_beams": 3}], ids=str)
@pytest.mark.parametrize(
    "options", [{"generation_max_length": 12}, {"generation_max_length": 8, "generation_num_beams": 2}], ids=str
)
def test_predictions_beside_the_reference(pair, tmp_path, options, call):
    theirs, ours = trainers(pair, tmp_path, **options)
    expected, got = theirs.predict(rows(8), **call), ours.predict(rows(8), **call)
    assert stripped(got.predictions) == stripped(expected.predictions)
    assert stripped(got.label_ids) == stripped(expected.label_ids)
    limit = call.get("max_length") or (call["max_new_tokens"] + 1 if call else options["generation_max_length"])
    assert got.predictions.shape == (8, limit)
    assert (got.predictions >= 0).all()
    assert got.metrics["test_loss"] == pytest.approx(expected.metrics["test_loss"], rel=0.05)


def test_evaluation_hands_tokens_to_the_metrics(pair, tmp_path):
    seen = []

    def metric(prediction):
        seen.append(prediction.predictions)
        return {"length": float(np.mean((prediction.predictions > 0).sum(1)))}

    theirs, ours = trainers(pair, tmp_path, metric=metric, model_in_collator=False, generation_max_length=10)
    expected, got = theirs.evaluate(rows(7)), ours.evaluate({"a": rows(7), "b": rows(4)}, num_beams=1)
    assert got["eval_a_length"] == expected["eval_length"]
    assert "eval_b_loss" in got
    assert all(part.shape[1] == 10 for part in seen[1:])


def test_one_batch_has_the_reference_loss(pair, tmp_path):
    theirs, ours = trainers(pair, tmp_path, per_device_eval_batch_size=8)
    assert ours.evaluate(rows(8))["eval_loss"] == pytest.approx(theirs.evaluate(rows(8))["eval_loss"], rel=1e-5)


def test_training_evaluates_by_writing(pair, tmp_path):
    _, ours = trainers(pair, tmp_path, metric=lambda p: {"wide": p.predictions.shape[1]}, generation_max_length=6)
    ours.train_dataset, ours.eval_dataset = rows(12), rows(5)
    ours.args.eval_strategy, ours.args.num_train_epochs, ours.args.save_strategy = "epoch", 2, "no"
    ours.train()
    assert [entry["eval_wide"] for entry in ours.state.log_history if "eval_wide" in entry] == [6, 6]


def test_rows_without_labels_and_settings_from_a_folder(pair, tmp_path):
    (tmp_path / "generation_config.json").write_text('{"max_length": 7, "num_beams": 2}')
    _, ours = trainers(pair, tmp_path, generation_config=None)
    ours = Seq2SeqTrainer(
        ours.model,
        Seq2SeqTrainingArguments(
            str(tmp_path), use_cpu=True, report_to="none", predict_with_generate=True, generation_config=str(tmp_path)
        ),
        data_collator=DataCollatorForSeq2Seq(Pads()),
    )
    found = ours.predict([{"input_ids": row["input_ids"]} for row in rows(4)])
    assert found.predictions.shape == (4, 7)
    assert found.label_ids is None
    assert ours.model.generation_config.num_beams == 2


def test_what_is_refused(pair, tmp_path):
    _, ours = trainers(pair, tmp_path, predict_with_generate=False)
    with pytest.raises(ArgumentError, match="predict_with_generate=True"):
        ours.predict(rows(2), num_beams=2)
    with pytest.raises(ArgumentError, match="group_by_length"):
        Seq2SeqTrainingArguments(sortish_sampler=True)
    with pytest.raises(ArgumentError, match="generation_num_beams=0"):
        Seq2SeqTrainingArguments(generation_num_beams=0)
    with pytest.raises(ArgumentError, match="Seq2SeqTrainingArguments, not TrainingArguments"):
        Seq2SeqTrainer(ours.model, enfold.TrainingArguments())
