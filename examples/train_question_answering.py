"""Answers from a text: python examples/train_question_answering.py MODEL ROWS.jsonl OUT (rows as SQuAD has them)."""

import sys

from enfold import AutoModelForQuestionAnswering, AutoTokenizer, Trainer, TrainingArguments, evaluate, pipeline
from enfold.datasets import load_dataset

model_id, file, output = sys.argv[1:4]
tokenizer, model = AutoTokenizer.from_pretrained(model_id), AutoModelForQuestionAnswering.from_pretrained(model_id)
data = load_dataset("json", data_files=file, split="train").train_test_split(test_size=0.2, seed=0)


def encode(rows):
    """Windows of long contexts; one that doesn't hold the answer points to its first token."""
    options = {"truncation": "only_second", "max_length": 64, "stride": 16}
    made = tokenizer(rows["question"], rows["context"], return_overflowing_tokens=True, **options)
    made["start_positions"], made["end_positions"] = [], []
    for window, row in enumerate(made.pop("overflow_to_sample_mapping")):
        start = rows["answers"][row]["answer_start"][0]
        end = start + len(rows["answers"][row]["text"][0]) - 1
        ends = [made.char_to_token(window, place, sequence_index=1) for place in (start, end)]
        first, last = (0, 0) if None in ends else ends
        made["start_positions"].append(first)
        made["end_positions"].append(last)
    return made


train = data["train"].map(encode, batched=True, remove_columns=data["train"].column_names)
args = TrainingArguments(output, num_train_epochs=8, learning_rate=2e-3, save_strategy="no")
trainer = Trainer(model, args, train_dataset=train, processing_class=tokenizer)
trainer.train()
trainer.save_model()
answer = pipeline("question-answering", output)
rows = [{"id": str(number), **row} for number, row in enumerate(data["test"])]
ours = [{"id": row["id"], "prediction_text": answer(row["question"], row["context"])["answer"]} for row in rows]
truth = [{"id": row["id"], "answers": row["answers"]} for row in rows]
print(evaluate.load("squad").compute(predictions=ours, references=truth)["f1"])
