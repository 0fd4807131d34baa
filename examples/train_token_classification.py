"""A tagger of words: python examples/train_token_classification.py MODEL ROWS.jsonl OUT (columns tokens, tags)."""

import sys

import numpy as np

from enfold import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
    evaluate,
)
from enfold.datasets import load_dataset

model_id, file, output = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(model_id)
data = load_dataset("json", data_files=file, split="train").train_test_split(test_size=0.2, seed=0)
names = sorted({tag for tags in data["train"]["tags"] for tag in tags})


def encode(rows):
    made = tokenizer(rows["tokens"], is_split_into_words=True, truncation=True)
    made["labels"] = []
    for row, tags in enumerate(rows["tags"]):  # a word's first token has its tag, the others none
        words = [None, *made.word_ids(row)]
        pairs = zip(words[1:], words, strict=False)
        made["labels"].append([-100 if w is None or w == before else names.index(tags[w]) for w, before in pairs])
    return made


def score(prediction):
    logits, labels = prediction
    pairs = [(row[truth >= 0].argmax(-1), truth[truth >= 0]) for row, truth in zip(logits, labels, strict=True)]
    ours, truth = ([np.array(names)[row].tolist() for row in rows] for rows in zip(*pairs, strict=True))
    return {"f1": evaluate.load("seqeval").compute(predictions=ours, references=truth)["overall_f1"]}


data = data.map(encode, batched=True, remove_columns=["tokens", "tags"])
model = AutoModelForTokenClassification.from_pretrained(model_id, id2label=dict(enumerate(names)))
args = TrainingArguments(output, num_train_epochs=4, learning_rate=1e-3, save_strategy="no")
pads = DataCollatorForTokenClassification(tokenizer)
trainer = Trainer(model, args, pads, data["train"], data["test"], processing_class=tokenizer, compute_metrics=score)
trainer.train()
trainer.save_model()
print(trainer.evaluate()["eval_f1"])
