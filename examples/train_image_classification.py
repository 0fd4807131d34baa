"""A classifier of images: python examples/train_image_classification.py MODEL FOLDER OUT (a folder for each class)."""

import sys

from enfold import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    DataCollatorForImages,
    Trainer,
    TrainingArguments,
)
from enfold.datasets import load_dataset

model_id, folder, output = sys.argv[1:4]
processor = AutoImageProcessor.from_pretrained(model_id)
data = load_dataset("imagefolder", data_dir=folder, split="train").train_test_split(test_size=0.2, seed=0)
names = data["train"].features["label"].names
model = AutoModelForImageClassification.from_pretrained(model_id, id2label=dict(enumerate(names)))


def score(prediction):
    logits, labels = prediction
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


args = TrainingArguments(output, num_train_epochs=10, learning_rate=3e-3, remove_unused_columns=False)
trainer = Trainer(
    model,
    args,
    data_collator=DataCollatorForImages(processor),  # reads the images of a batch when it is made
    train_dataset=data["train"],
    eval_dataset=data["test"],
    processing_class=processor,
    compute_metrics=score,
)
trainer.train()
trainer.save_model()
print(trainer.evaluate()["eval_accuracy"])
