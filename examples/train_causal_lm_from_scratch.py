"""A language model with a tokenizer of its own: python examples/train_causal_lm_from_scratch.py CORPUS.txt OUT."""

import sys

from enfold import pipeline
from enfold.training.tasks import prepare_task

file, output = sys.argv[1:3]
run = prepare_task(
    "causal-lm",
    data=file,
    eval_data=file,
    config={"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 64},
    tokenizer_vocab_size=400,
    max_length=32,
    output_dir=output,
    learning_rate=5e-3,
    num_train_epochs=2,
    save_strategy="no",
)
print(f"perplexity {run.train()['eval_perplexity']:.1f}")
write = pipeline("text-generation", output)
print(write("the", max_new_tokens=8, do_sample=False)[0]["generated_text"])
