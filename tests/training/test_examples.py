"""The scripts in examples/ run on little data and learn it; each is short."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

import enfold
from enfold.training.tasks.fresh import letters, word_piece_tokenizer
from tests.training.test_senses import CARDS, VIT, WAV2VEC2, digits
from tests.training.test_tasks import WORDS, corpus, reviews

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("train_*.py"))
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}


def saved(folder, model):
    tokenizer = word_piece_tokenizer([" ".join(WORDS)] * 3, 120)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model(len(tokenizer)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example; its last line."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def call(name, *arguments):
        script = next(path for path in EXAMPLES if path.stem == f"train_{name}")
        monkeypatch.setattr(sys, "argv", [str(script), *arguments, str(tmp_path / "out")])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out.strip().splitlines()

    return call


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(script):
    assert len(script.read_text().splitlines()) < 50


def test_text_classification(run, tmp_path):
    def make(size):
        return enfold.BertForMaskedLM(enfold.BertConfig(vocab_size=size, num_hidden_layers=1, **SIZES))

    model = saved(tmp_path / "bert", make)
    assert float(run("text_classification", model, lines(tmp_path / "r.jsonl", reviews(480)))[-1]) > 0.9
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_causal_lm_from_scratch(run, tmp_path):
    said = run("causal_lm_from_scratch", corpus(tmp_path))
    assert float(next(line for line in said if line.startswith("perplexity")).split()[1]) < 60
    assert said[-1].startswith("the")


def test_translation(run, tmp_path):
    def make(size):
        ids = {"pad_token_id": 1, "eos_token_id": 3, "decoder_start_token_id": 1}
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2}
        return enfold.T5ForConditionalGeneration(enfold.T5Config(vocab_size=size, **ids, **sizes))

    rows = [{"en": f"the {word}", "de": word} for word in WORDS] * 2
    said = run("translation", saved(tmp_path / "t5", make), lines(tmp_path / "p.jsonl", rows))
    assert 0 <= float(said[-1]) <= 100
    assert (tmp_path / "out" / "generation_config.json").is_file() or (tmp_path / "out" / "config.json").is_file()


def bert(kind, layers=1):
    return lambda size: kind(enfold.BertConfig(vocab_size=size, num_hidden_layers=layers, **SIZES))


def test_token_classification(run, tmp_path):
    rows = [
        {"tokens": ["she", verb, "in", place], "tags": ["O", "O", "O", "B-LOC"]}
        for verb in ("lives", "works")
        for place in WORDS[8:12]
    ]
    model = saved(tmp_path / "bert", bert(enfold.BertForMaskedLM))
    assert float(run("token_classification", model, lines(tmp_path / "r.jsonl", rows * 20))[-1]) == 1.0


def test_question_answering(run, tmp_path):
    rows = []
    for number in range(120):
        place, filler = WORDS[8 + number % 4], "the good " * (number % 3)
        context = f"{filler}she lives in {place} he works"
        answers = {"text": [place], "answer_start": [context.index(place)]}
        rows.append({"question": "where", "context": context, "answers": answers})
    model = saved(tmp_path / "bert", bert(enfold.BertForMaskedLM))
    assert float(run("question_answering", model, lines(tmp_path / "r.jsonl", rows))[-1]) > 90


def test_summarization(run, tmp_path):
    def make(size):
        ids = {"pad_token_id": 1, "eos_token_id": 3, "decoder_start_token_id": 1}
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2}
        return enfold.T5ForConditionalGeneration(enfold.T5Config(vocab_size=size, **ids, **sizes))

    rows = [{"text": f"the {word} in the {word}", "summary": word} for word in WORDS] * 2
    said = run("summarization", saved(tmp_path / "t5", make), lines(tmp_path / "r.jsonl", rows))
    assert 0 <= float(said[-1]) <= 1


def test_masked_lm_from_scratch(run, tmp_path):
    said = run("masked_lm_from_scratch", corpus(tmp_path))
    assert float(next(line for line in said if line.startswith("perplexity")).split()[1]) < 25
    assert len([line for line in said if "she lives in" in line]) == 5


def test_distillation(run, tmp_path):
    def make(size):
        config = enfold.BertConfig(vocab_size=size, num_hidden_layers=2, id2label={0: "blame", 1: "praise"}, **SIZES)
        return enfold.BertForSequenceClassification(config)

    loss = float(run("distillation", saved(tmp_path / "large", make), lines(tmp_path / "r.jsonl", reviews(64)))[-1])
    assert math.isfinite(loss)
    small = enfold.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert small.config.num_hidden_layers == 1


def test_image_classification(run, tmp_path):
    data = digits(tmp_path / "digits", train=range(60))
    enfold.ViTModel(enfold.ViTConfig(**VIT)).save_pretrained(tmp_path / "vit")
    enfold.ViTImageProcessor(size=8, image_mean=[0.5], image_std=[0.5]).save_pretrained(tmp_path / "vit")
    assert 0 <= float(run("image_classification", str(tmp_path / "vit"), str(data / "train"))[-1]) <= 1
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()


def test_speech_recognition(run, tmp_path):
    tokenizer = letters(json.loads(line)["text"] for line in (CARDS / "metadata.jsonl").read_text().splitlines())
    enfold.Wav2Vec2ForCTC(enfold.Wav2Vec2Config(**WAV2VEC2, vocab_size=len(tokenizer))).save_pretrained(tmp_path / "w")
    enfold.Wav2Vec2Processor(enfold.Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(tmp_path / "w")
    assert float(run("speech_recognition", str(tmp_path / "w"), str(CARDS))[-1]) >= 0
    assert (tmp_path / "out" / "processor_config.json").is_file()
