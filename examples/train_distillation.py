"""A small model from a large one: python examples/train_distillation.py LARGE TEXTS.jsonl OUT (columns text, label).

LARGE is a classifier that was trained already; the small one has every other of its layers.
"""

import sys

from enfold import AutoModelForSequenceClassification, AutoTokenizer, DistillationTrainer, TrainingArguments
from enfold.datasets import load_dataset

large_id, file, output = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(large_id)
large = AutoModelForSequenceClassification.from_pretrained(large_id)
depth = large.config.num_hidden_layers // 2
small = AutoModelForSequenceClassification.from_pretrained(large_id, num_hidden_layers=depth)
numbers = large.config.label2id


def encode(rows):
    return {**tokenizer(rows["text"], truncation=True), "labels": [numbers[label] for label in rows["label"]]}


rows = load_dataset("json", data_files=file, split="train")
rows = rows.map(encode, batched=True, remove_columns=["text", "label"])
trainer = DistillationTrainer(
    small,
    TrainingArguments(output, num_train_epochs=4, learning_rate=1e-3, save_strategy="no"),
    teacher=large,
    temperature=2.0,
    logits_weight=0.7,
    hidden_layers={layer: 2 * layer for layer in range(depth + 1)},  # layer of the small one: layer of the large one
    train_dataset=rows,
    processing_class=tokenizer,
)
trainer.train()
trainer.save_model()
print(trainer.evaluate(rows)["eval_loss"])
