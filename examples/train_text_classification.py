"""A classifier of texts: python examples/train_text_classification.py MODEL ROWS.jsonl OUT (columns text, label)."""

import sys

import numpy as np

from enfold import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, evaluate
from enfold.datasets import load_dataset

model_id, file, output = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(model_id)
data = load_dataset("json", data_files=file, split="train").train_test_split(test_size=0.2, seed=0)
names = sorted(set(data["train"]["label"]))


def encode(rows):
    return {**tokenizer(rows["text"], truncation=True), "labels": [names.index(label) for label in rows["label"]]}


def score(prediction):
    logits, labels = prediction
    return evaluate.load("accuracy").compute(predictions=np.argmax(logits, -1), references=labels)


data = data.map(encode, batched=True, remove_columns=["text", "label"])
model = AutoModelForSequenceClassification.from_pretrained(model_id, id2label=dict(enumerate(names)))
trainer = Trainer(
    model,
    TrainingArguments(output, num_train_epochs=4, learning_rate=5e-4, eval_strategy="epoch", save_strategy="epoch"),
    train_dataset=data["train"],
    eval_dataset=data["test"],
    processing_class=tokenizer,  # pads, and is saved with the model
    compute_metrics=score,
)
trainer.train()
trainer.save_model()
print(trainer.evaluate()["eval_accuracy"])
