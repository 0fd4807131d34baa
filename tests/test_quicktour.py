"""The lines that users type, for every room that stands."""

import pytest
import torch

from enfold.base.errors import NotBuiltError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"

pytestmark = pytest.mark.weights


def test_tokenizer_and_classifier(tmp_path):
    from enfold import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    inputs = tokenizer("I love NLP", return_tensors="pt")
    assert inputs["input_ids"][0, :4].tolist() == [101, 1045, 2293, 17953]
    assert inputs["input_ids"][0, -1] == 102
    assert set(inputs) == {"input_ids", "token_type_ids", "attention_mask"}
    model = AutoModelForSequenceClassification.from_pretrained(MINILM, num_labels=2)
    with torch.no_grad():
        outputs = model(**inputs)
    assert torch.nn.functional.softmax(outputs.logits, dim=1).sum().item() == pytest.approx(1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, outputs.logits)
    assert AutoConfig.from_pretrained(tmp_path).num_labels == 2


def test_one_line_pipelines():
    from enfold import pipeline

    embed = pipeline("feature-extraction", model=MINILM)
    assert len(embed("Paris")) == 384
    assert [len(state) for state in embed("Paris", pooling="none")[0]] == [384] * 3
    best = pipeline("fill-mask", model="enfold-starter/splade-tiny")("Paris is the [MASK] of France.")
    assert len(best) == 5
    half = pipeline("feature-extraction", model=MINILM, device="cpu", torch_dtype="float16", batch_size=32)
    assert half.model.dtype == torch.float16
    words = pipeline("ner", model="enfold-starter/gector-distilbert-cased", aggregation_strategy="none")("I has it .")
    assert any(word["entity"] == "$REPLACE_have" for word in words)


def test_chat_in_a_stream_and_at_once():
    from enfold import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(CHAT), AutoModelForCausalLM.from_pretrained(CHAT)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    pieces = list(model.stream(**prompt, tokenizer=tokenizer, max_new_tokens=20))
    assert len(pieces) > 4
    assert "Paris" in "".join(pieces)
    ids = model.generate(**prompt, max_new_tokens=20)
    assert tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True) == "".join(pieces)


def test_hub_names():
    from enfold.hub import HfApi, hf_hub_download, login, snapshot_download

    path = hf_hub_download(repo_id=MINILM, filename="config.json", local_files_only=True)
    assert path.endswith("config.json")
    assert callable(login)
    assert callable(snapshot_download)
    assert HfApi


def test_datasets(tmp_path, monkeypatch):
    from huggingface_hub import constants

    from enfold.datasets import load_dataset

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ENFOLD_DATASETS_CACHE", str(tmp_path / "built"))
    storage = tmp_path / "datasets--stanfordnlp--imdb"
    (storage / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text("a" * 40)
    rows = "".join(f'{{"text": "{text}", "label": 1}}\n' for text in ("GOOD", "An Excellent Film"))
    (storage / "snapshots" / ("a" * 40) / "train.jsonl").write_text(rows)

    dataset = load_dataset("imdb")["train"]
    dataset = dataset.map(lambda x: {"text": x["text"].lower()})
    dataset = dataset.filter(lambda x: len(x["text"]) > 10)
    assert dataset["text"][:] == ["an excellent film"]
    (tmp_path / "data.csv").write_text("a\n1\n")
    assert load_dataset("csv", data_files=str(tmp_path / "data.csv"))["train"]["a"][:] == [1]


def test_metrics():
    from enfold import evaluate

    assert evaluate.load("accuracy").compute(predictions=[0, 1], references=[0, 1]) == {"accuracy": 1.0}


def test_training(tmp_path):
    from enfold import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    from enfold.accelerate import Accelerator

    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    model = BertForSequenceClassification(config)
    train = test = [{"input_ids": [label + 2] * 4, "labels": label} for label in (0, 1)] * 16
    args = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, num_train_epochs=10, learning_rate=1e-2, report_to="none"
    )
    trainer = Trainer(model=model, args=args, train_dataset=train, eval_dataset=test)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before / 2

    accelerator = Accelerator(mixed_precision="bf16", device_placement=True, cpu=True)
    rows = [{name: torch.tensor(value) for name, value in row.items()} for row in train]
    optimizer, loader = torch.optim.AdamW(model.parameters()), torch.utils.data.DataLoader(rows, batch_size=8)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for batch in loader:
        optimizer.zero_grad()
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
    assert float(loss.detach()) < before / 2


def test_what_is_not_built_says_so():
    for line in (
        "from enfold.peft import get_peft_model, LoraConfig, TaskType",
        "from enfold.trl import SFTTrainer, DPOTrainer",
        "from enfold import pipeline; pipeline('automatic-speech-recognition')",
        "from enfold import pipeline; pipeline('image-classification')",
    ):
        with pytest.raises(NotBuiltError):
            exec(line)
