"""Fine-tune a translator: python examples/train_translation.py MODEL PAIRS.jsonl OUT (columns en, de)."""

import sys

import numpy as np

from enfold import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    evaluate,
)
from enfold.datasets import load_dataset

model_id, file, output = sys.argv[1:4]
tokenizer, model = AutoTokenizer.from_pretrained(model_id), AutoModelForSeq2SeqLM.from_pretrained(model_id)
pairs = load_dataset("json", data_files=file, split="train").train_test_split(test_size=0.2, seed=0)
pairs = pairs.map(lambda rows: tokenizer(rows["en"], text_target=rows["de"], truncation=True), batched=True)


def score(prediction):
    texts = [np.where(tokens < 0, tokenizer.pad_token_id, tokens).tolist() for tokens in prediction]
    ours, truth = (tokenizer.batch_decode(tokens, skip_special_tokens=True) for tokens in texts)
    return {"bleu": evaluate.load("sacrebleu").compute(predictions=ours, references=truth)["score"]}


args = Seq2SeqTrainingArguments(output, predict_with_generate=True, generation_max_length=64, save_strategy="no")
trainer = Seq2SeqTrainer(
    model,
    args,
    data_collator=DataCollatorForSeq2Seq(tokenizer),
    train_dataset=pairs["train"],
    processing_class=tokenizer,
    compute_metrics=score,
)
trainer.train()
trainer.save_model()
print(trainer.evaluate(pairs["test"], num_beams=4)["eval_bleu"])
