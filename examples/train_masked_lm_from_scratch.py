"""An encoder that fills gaps, its tokenizer too: python examples/train_masked_lm_from_scratch.py CORPUS.txt OUT."""

import sys

from enfold import pipeline
from enfold.training.tasks import prepare_task

file, output = sys.argv[1:3]
run = prepare_task(
    "masked-lm",
    data=file,
    eval_data=file,
    config={
        "model_type": "bert",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 64,
    },
    tokenizer_vocab_size=400,
    max_length=32,
    output_dir=output,
    learning_rate=5e-3,
    num_train_epochs=4,
    save_strategy="no",
)
print(f"perplexity {run.train()['eval_perplexity']:.1f}")
for answer in pipeline("fill-mask", output)("she lives in [MASK]"):
    print(f"{answer['score']:.3f} {answer['sequence']}")
