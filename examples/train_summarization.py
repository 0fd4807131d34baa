"""Fine-tune a summariser: python examples/train_summarization.py MODEL ROWS.jsonl OUT (columns text, summary)."""

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
data = load_dataset("json", data_files=file, split="train").train_test_split(test_size=0.2, seed=0)
prefix = "summarize: " if model.config.model_type == "t5" else ""


def encode(rows):
    return tokenizer([prefix + text for text in rows["text"]], text_target=rows["summary"], truncation=True)


def score(prediction):
    texts = [np.where(tokens < 0, tokenizer.pad_token_id, tokens).tolist() for tokens in prediction]
    ours, truth = (tokenizer.batch_decode(tokens, skip_special_tokens=True) for tokens in texts)
    return evaluate.load("rouge").compute(predictions=ours, references=truth)


data = data.map(encode, batched=True, remove_columns=["text", "summary"])
args = Seq2SeqTrainingArguments(
    output, predict_with_generate=True, generation_max_length=64, learning_rate=1e-3, save_strategy="no"
)
trainer = Seq2SeqTrainer(
    model,
    args,
    data_collator=DataCollatorForSeq2Seq(tokenizer, model),
    train_dataset=data["train"],
    processing_class=tokenizer,
    compute_metrics=score,
)
trainer.train()
trainer.save_model()
print(trainer.evaluate(data["test"], num_beams=4)["eval_rougeL"])
