"""Every task from rows to a saved model that a pipeline answers with, and what is refused on the way."""

import json

import pytest
import torch

import enfold
from enfold import evaluate
from enfold.base.errors import ArgumentError
from enfold.cli.main import main
from enfold.training.tasks import Teaching, prepare_task
from enfold.training.tasks.fresh import word_piece_tokenizer
from tests.tokenizers.families.test_plain import m2m_folder

PRAISE, BLAME = ["good", "fine", "great", "nice"], ["bad", "awful", "poor", "sad"]
PLACES = ["Paris", "London", "Rome", "Oslo"]
WORDS = [*PRAISE, *BLAME, *PLACES, "lives", "works", "in", "the", "a", "she", "he", "who", "where"]
QUIET = {"report_to": "none", "use_cpu": True, "save_strategy": "no", "per_device_train_batch_size": 4}
BERT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = word_piece_tokenizer([" ".join(WORDS)] * 3, 120)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = enfold.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=1, **BERT)
    enfold.BertForMaskedLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    tokenizer = word_piece_tokenizer([" ".join(WORDS)] * 3, 120)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    ids = {"pad_token_id": 1, "eos_token_id": tokenizer.sep_token_id}
    enfold.T5ForConditionalGeneration(enfold.T5Config(vocab_size=len(tokenizer), **ids, **T5)).save_pretrained(folder)
    return str(folder)


def reviews(count):
    return [
        {"text": f"the {WORDS[n % 8]} {WORDS[8 + n % 4]}", "label": "praise" if n % 8 < 4 else "blame"}
        for n in range(count)
    ]


def test_text_classification(bert, tmp_path):
    run = prepare_task(
        "text-classification",
        model=bert,
        data=reviews(64),
        eval_data=reviews(16),
        output_dir=str(tmp_path / "out"),
        learning_rate=5e-3,
        num_train_epochs=4,
        **QUIET,
    )
    metrics = run.train()
    assert metrics["eval_accuracy"] > 0.9
    assert metrics["eval_f1"] > 0.9
    answer = enfold.pipeline("text-classification", str(tmp_path / "out"), device="cpu")("the awful Paris")
    assert answer[0]["label"] == "blame"


def test_a_teacher(bert, t5, tmp_path, capsys):
    """A model of one layer, which never sees a label, learns the classes from one that was trained."""
    teacher, small = str(tmp_path / "teacher"), str(tmp_path / "small")
    given = {"learning_rate": 5e-3, "num_train_epochs": 4, **QUIET}
    prepare_task("text-classification", model=bert, data=reviews(64), output_dir=teacher, **given).train()
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in reviews(64)))
    command = ["train", "text-classification", "--model", bert, "--data", str(path), "--output-dir", small, "--json"]
    command += ["--use-cpu", "--report-to", "none", "--learning-rate", "5e-3", "--num-train-epochs", "6"]
    taught = ["--teacher", teacher, "--logits-weight", "1.0", "--hidden-layers", "0:0", "1:1", "--hidden-weight", "0.1"]
    assert main([*command, *taught, "--save-strategy", "no", "--eval-data", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["eval_accuracy"] > 0.9
    with pytest.raises(SystemExit):
        main([*command, "--temperature", "3"])
    assert "--temperature is for a model that learns from a --teacher" in capsys.readouterr().err
    dull = [*reviews(8), {"text": "the", "label": "dull"}]
    with pytest.raises(ArgumentError, match="knows the classes blame, praise, and the data and the model have blame"):
        prepare_task("text-classification", model=bert, data=dull, teaching=Teaching(teacher), output_dir=small)
    pairs = [{"text": "the good", "summary": "good"}] * 4
    run = prepare_task("summarization", model=t5, data=pairs, teaching=Teaching(t5), output_dir=small, **QUIET)
    batch = run.trainer.data_collator([run.trainer.train_dataset[0]])
    assert run.trainer.compute_loss(run.trainer.model.train(), batch) > 0
    narrow = enfold.BertForSequenceClassification(enfold.BertConfig(vocab_size=9, num_labels=2, **BERT))
    narrow.save_pretrained(tmp_path / "other")
    other = Teaching(str(tmp_path / "other"))
    with pytest.raises(ArgumentError, match="both models must read the same tokens"):
        prepare_task("text-classification", model=bert, data=reviews(8), teaching=other, output_dir=small)


def test_decimal_labels_are_regression(bert, tmp_path):
    rows = [{"text": row["text"], "label": float(row["label"] == "praise")} for row in reviews(16)]
    run = prepare_task(
        "text-classification", model=bert, data=rows, eval_data=rows, output_dir=str(tmp_path), max_steps=2, **QUIET
    )
    assert {"eval_mse", "eval_mae"} <= run.train().keys()
    assert run.trainer.model.config.num_labels == 1


def test_classes_that_the_model_knows_keep_their_numbers(bert, tmp_path):
    first = tmp_path / "first"
    prepare_task(
        "text-classification", model=bert, data=reviews(8), output_dir=str(first), max_steps=1, **QUIET
    ).train()
    praise = [row for row in reviews(16) if row["label"] == "praise"]
    again = prepare_task("text-classification", model=str(first), data=praise, output_dir=str(tmp_path), **QUIET)
    assert again.trainer.model.config.id2label == {0: "blame", 1: "praise"}
    assert {row["labels"] for row in again.trainer.train_dataset} == {1}


def test_token_classification(bert, tmp_path):
    rows = [
        {"words": ["she", "lives", "in", place], "ner": ["O", "O", "O", "B-LOC"]}
        for place in ["Paris", "London", "Rome", "Oslo"] * 8
    ]
    run = prepare_task(
        "token-classification",
        model=bert,
        data=rows,
        eval_data=rows[:4],
        columns={"text_column": "words", "label_column": "ner"},
        output_dir=str(tmp_path),
        learning_rate=5e-3,
        **QUIET,
    )
    assert run.train()["eval_f1"] == 1.0
    rows[3]["ner"] = ["O"]
    with pytest.raises(ArgumentError, match="row 3 of the training data: expected a list of words and as many tags"):
        prepare_task(
            "token-classification", model=bert, data=rows, columns={"text_column": "words", "label_column": "ner"}
        )


def test_question_answering(bert, tmp_path):
    rows = []
    for number in range(40):
        place = WORDS[8 + number % 4]
        context = f"{'the good ' * (number % 3)}she lives in {place} he works"
        answers = {"text": [place], "answer_start": [context.index(place)]}
        rows.append({"question": "where", "context": context, "answers": answers})
    rows.append({"question": "who", "context": "the bad", "answers": {"text": [], "answer_start": []}})
    run = prepare_task(
        "question-answering",
        model=bert,
        data=rows,
        eval_data=rows[:8],
        output_dir=str(tmp_path),
        learning_rate=5e-3,
        num_train_epochs=6,
        max_length=12,
        **QUIET,
    )
    assert len(run.trainer.train_dataset) >= 41
    assert run.train()["eval_exact_match"] > 90
    rows[1]["answers"]["answer_start"] = [0]
    with pytest.raises(ArgumentError, match="row 1 of the training data: the answer 'London' doesn't stand at 0"):
        prepare_task("question-answering", model=bert, data=rows)


@pytest.mark.parametrize("task", ["translation", "summarization"])
def test_writing(t5, tmp_path, task):
    pairs = [{"source": f"the {word} {word}", "summary": word} for word in WORDS[:8] * 6]
    columns = {"text_column": "source", "label_column": "summary"}
    run = prepare_task(
        task,
        model=t5,
        data=pairs,
        eval_data=pairs[:8],
        columns=columns,
        output_dir=str(tmp_path),
        learning_rate=2e-2,
        num_train_epochs=8,
        generation_max_length=6,
        **QUIET,
    )
    metrics = run.train()
    found = run.trainer.predict(run.trainer.eval_dataset, num_beams=2)
    assert found.predictions.shape == (8, 6)
    if task == "summarization":
        texts = run.task._decoded(found.predictions)
        again = evaluate.load("rouge").compute(predictions=texts, references=[row["summary"] for row in pairs[:8]])
        assert found.metrics["test_rouge1"] == again["rouge1"]
        assert metrics["eval_rouge1"] > 0.5
    else:
        assert 0 <= metrics["eval_sacrebleu"] <= 100


def test_translation_by_languages(t5, tmp_path):
    rows = [{"translation": {"en": "good", "de": "fine"}} for _ in range(4)]
    run = prepare_task(
        "translation",
        model=t5,
        data=rows,
        options={"source_lang": "en", "target_lang": "de", "prefix": "the "},
        output_dir=str(tmp_path),
        **QUIET,
    )
    row = run.trainer.train_dataset[0]
    assert run.task.tokenizer.decode(row["input_ids"], skip_special_tokens=True) == "the good"
    assert run.task.tokenizer.decode(row["labels"], skip_special_tokens=True) == "fine"
    with pytest.raises(ArgumentError, match="target_lang is 'fr', and the training data"):
        prepare_task("translation", model=t5, data=rows, options={"source_lang": "en", "target_lang": "fr"})


def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(f"{WORDS[n % 21]} {WORDS[n * 5 % 21]} in the {WORDS[8 + n % 4]}" for n in range(200)))
    return str(path)


def test_the_command_trains_from_scratch(tmp_path, capsys):
    config = json.dumps({"model_type": "gpt2", "n_layer": 1, "n_embd": 32, "n_head": 2, "n_positions": 32})
    options = ["--config", config, "--tokenizer-vocab-size", "300", "--max-length", "16", "--use-cpu", "--json"]
    options += ["--report-to", "none", "--save-strategy", "no", "--learning-rate", "5e-3", "--num-train-epochs", "2"]
    data = corpus(tmp_path)
    out = str(tmp_path / "out")
    assert main(["train", "causal-lm", "--data", data, "--eval-data", data, "--output-dir", out, *options]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert 1 < metrics["eval_perplexity"] < 40
    tokenizer = enfold.AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) <= 300
    model = enfold.AutoModelForCausalLM.from_pretrained(out)
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    written = enfold.pipeline("text-generation", out, device="cpu")("she lives in", max_new_tokens=4)
    assert written[0]["generated_text"].startswith("she lives in")


def test_masked_words_from_scratch(tmp_path):
    data = corpus(tmp_path)
    run = prepare_task(
        "masked-lm",
        data=data,
        eval_data=data,
        config={"model_type": "bert", "max_position_embeddings": 32, **BERT},
        tokenizer_vocab_size=100,
        options={"mlm_probability": 0.3},
        output_dir=str(tmp_path / "out"),
        max_steps=10,
        **QUIET,
    )
    assert run.train()["eval_perplexity"] < 100
    row = run.trainer.train_dataset[0]["input_ids"]
    assert len(row) == 32
    assert run.task.tokenizer.convert_ids_to_tokens([row[0], row[-1]]) == ["[CLS]", "[SEP]"]


def test_new_weights_are_those_of_the_seed(tmp_path):
    asked = {"data": corpus(tmp_path), "config": {"model_type": "gpt2", "n_layer": 1, "n_embd": 32, "n_head": 2}}

    def weights(seed):
        given = {"tokenizer_vocab_size": 300, "max_length": 16, "seed": seed, "output_dir": str(tmp_path)}
        return prepare_task("causal-lm", **asked, **given, **QUIET).trainer.model.state_dict()

    first, same, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_command_reads_every_kind_of_option(bert, tmp_path, capsys):
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in reviews(24)))
    options = ["--warmup-steps", "0.1", "--no-bf16", "--limit", "8", "--report-to", "csv"]
    given = ["train", "text-classification", "--model", bert, "--data", str(path), "--max-steps", "2", "--use-cpu"]
    assert main([*given, "--output-dir", str(tmp_path / "o"), *options]) == 0
    out = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert "train_loss" in out
    written = json.loads((tmp_path / "o" / "training_args.json").read_text())
    assert (written["warmup_steps"], written["max_steps"], written["report_to"]) == (0.1, 2, ["csv"])


def test_help_names_options_of_both_kinds(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--tokenizer-vocab-size" in shown
    assert "--learning-rate" in shown
    assert "examples:" in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": {"label_column": "stars"}}, "no column 'stars'.*they have text, label.*--label-column"),
        ({"columns": {"words": "text"}}, "has no column 'words'; it has text_column"),
        ({"options": {"prefix": "x"}}, "has no option 'prefix'"),
        ({"eval_data": [{"text": "a", "label": "dull"}]}, "row 0 of the evaluation data has the label 'dull'.*'blame'"),
        ({"data": [{"text": "a", "label": None}, {"text": "b", "label": "x"}]}, r"holds None \(row 0\)"),
        ({"learnin_rate": 1.0}, "did you mean 'learning_rate'"),
        ({"predict_with_generate": True}, "TrainingArguments has no 'predict_with_generate'"),
        ({"max_length": 4000}, "room for 64 tokens"),
        ({"model": None, "config": {"model_type": "bert"}, "tokenizer_vocab_size": 100}, "only language models"),
        ({"tokenizer_vocab_size": 100}, "leave out tokenizer and model"),
        ({"eval_data": "nowhere.jsonl"}, "there is no file nowhere.jsonl"),
        ({"eval_split": "test"}, "eval_split is 'test'; the data have train"),
    ],
    ids=str,
)
def test_what_is_refused(bert, tmp_path, given, message):
    asked = {"model": bert, "data": reviews(8), "output_dir": str(tmp_path), **QUIET, **given}
    with pytest.raises(ArgumentError, match=message):
        prepare_task("text-classification", **asked)


@pytest.mark.parametrize("shape", ["columns", "pairs"])
def test_a_language_of_several(tmp_path, shape):
    """What the model writes begins with the code of the target language: in evaluation, and when it is loaded again."""
    folder = tmp_path / "m2m"
    m2m_folder(folder)
    tokenizer = enfold.AutoTokenizer.from_pretrained(folder)
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    room = 1 + max(len(tokenizer), *tokenizer.lang_token_to_id.values())
    config = enfold.M2M100Config(
        vocab_size=room, decoder_start_token_id=tokenizer.eos_token_id, **sizes, **heads, **ids
    )
    enfold.M2M100ForConditionalGeneration(config).save_pretrained(folder)
    rows = [{"text": "hello", "label": "welt"}] * 4
    languages = {"source_lang": "en", "target_lang": "de"}
    if shape == "pairs":
        rows = [{"translation": {"en": row["text"], "de": row["label"]}} for row in rows]
    given = {"model": str(folder), "data": rows, "eval_data": rows, "output_dir": str(tmp_path / "out"), "max_steps": 1}
    run = prepare_task("translation", options=languages, **given, **QUIET)
    german = tokenizer.get_lang_id("de")
    row = run.trainer.train_dataset[0]
    assert (row["input_ids"][0], row["labels"][0]) == (tokenizer.get_lang_id("en"), german)
    run.train()
    written = run.trainer.predict(run.trainer.eval_dataset, max_new_tokens=4).predictions
    assert (written[:, 1] == german).all()
    again = enfold.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert again.generation_config.forced_bos_token_id == german
    with pytest.raises(ArgumentError, match="xx"):
        prepare_task("translation", options={**languages, "target_lang": "xx"}, **given, **QUIET)
