"""Speech to text: python examples/train_speech_recognition.py MODEL FOLDER OUT (FOLDER has metadata.jsonl: text)."""

import sys

from enfold import AutoModelForCTC, AutoProcessor, DataCollatorCTCWithPadding, Trainer, TrainingArguments, evaluate
from enfold.datasets import Audio, load_dataset

model_id, folder, output = sys.argv[1:4]
processor = AutoProcessor.from_pretrained(model_id)
rate = processor.feature_extractor.sampling_rate
data = load_dataset("audiofolder", data_dir=folder, split="train").cast_column("audio", Audio(sampling_rate=rate))
data = data.add_column("labels", processor.tokenizer(list(data["text"]))["input_ids"])
blank = processor.tokenizer.pad_token_id
model = AutoModelForCTC.from_pretrained(model_id, ctc_loss_reduction="mean", pad_token_id=blank)
model.freeze_feature_encoder()


def score(prediction):
    tokens, labels = ([[max(token, blank) for token in row] for row in part] for part in prediction)
    heard, said = processor.batch_decode(tokens), processor.batch_decode(labels, group_tokens=False)
    return evaluate.load("wer").compute(predictions=heard, references=said)


trainer = Trainer(
    model,
    TrainingArguments(output, num_train_epochs=10, learning_rate=1e-3, remove_unused_columns=False),
    data_collator=DataCollatorCTCWithPadding(processor),  # reads the sounds of a batch, pads them and their labels
    train_dataset=data,
    eval_dataset=data,
    processing_class=processor,
    compute_metrics=score,
    preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
)
trainer.train()
trainer.save_model()
print(trainer.evaluate()["eval_wer"])
