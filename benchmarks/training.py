"""Trainer beside transformers' on the same model, rows and arguments, each run in a process of its own.

    python -m benchmarks training --quick             # small models, minutes
    python -m benchmarks training classifier writer   # base-sized models

`classifier`: BERT on rows of 8 to 128 tokens; `writer`, `wide`: GPT-2 with 50k and 150k tokens, rows of equal length;
`translator`: T5; `overhead`: a model that costs nothing, so that the loop alone is seen.
Tokens a second are those of the steps after the first; memory is the peak of the process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measure import table

# What each process runs: `side` is "enfold" or "transformers".
PROGRAM = """
import json, random, re, sys, tempfile, time
started = time.perf_counter()
import torch
side, case, quick, threads = sys.argv[1], sys.argv[2], sys.argv[3] == "quick", int(sys.argv[4])
torch.set_num_threads(threads)
library = __import__(side)
draw = random.Random(0)
torch.manual_seed(0)
layers, width, heads = (4, 256, 4) if quick else (12, 768, 12)
if case == "overhead":
    layers, width, heads = 1, 8, 1
steps, size, length = {"overhead": (200, 2, 8), "wide": (3, 8, 512)}.get(case, (6, 8, 128))
vocabulary = {"wide": 150_000, "overhead": 50}.get(case, 50_257 if case == "writer" else 30_522)
if case in ("classifier", "overhead"):
    config = library.BertConfig(vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_labels=2,
                                num_attention_heads=heads, intermediate_size=4 * width)
    model = library.BertForSequenceClassification(config)
    lengths = [draw.randrange(8, length) if case == "classifier" else length for _ in range(steps * size)]
    rows = [{"input_ids": [draw.randrange(5, vocabulary) for _ in range(n)], "labels": draw.randrange(2)}
            for n in lengths]
elif case == "translator":
    config = library.T5Config(vocab_size=32_128, d_model=256 if quick else 512, d_ff=1024 if quick else 2048,
                              num_layers=layers // 2, num_heads=heads if quick else 8, decoder_start_token_id=0)
    model = library.T5ForConditionalGeneration(config)
    rows = [{"input_ids": [draw.randrange(5, 32_000) for _ in range(draw.randrange(8, length))],
             "labels": [draw.randrange(5, 32_000) for _ in range(draw.randrange(8, length // 2))]}
            for _ in range(steps * size)]
else:
    config = library.GPT2Config(vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads)
    model = library.GPT2LMHeadModel(config)
    rows = [{"input_ids": [draw.randrange(5, vocabulary) for _ in range(length)]} for _ in range(steps * size)]


def collate(rows):
    def padded(name, filling):
        longest = max(len(row[name]) for row in rows)
        return torch.tensor([row[name] + [filling] * (longest - len(row[name])) for row in rows])

    ids = padded("input_ids", 0)
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    if case == "translator":
        batch["labels"] = padded("labels", -100)
    elif "labels" in rows[0]:
        batch["labels"] = torch.tensor([row["labels"] for row in rows])
    else:
        batch["labels"] = ids.masked_fill(ids == 0, -100)
    return batch


moments = []


class Watch(library.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        moments.append(time.perf_counter())


folder = tempfile.mkdtemp()
args = library.TrainingArguments(
    folder, per_device_train_batch_size=size, max_steps=steps, train_sampling_strategy="sequential", use_cpu=True,
    report_to="none", save_strategy="no", logging_steps=10_000, disable_tqdm=True, dataloader_pin_memory=False)
trainer = library.Trainer(model, args, data_collator=collate, train_dataset=rows, callbacks=[Watch])
called = time.perf_counter()
trainer.train()
tokens = sum(len(row["input_ids"]) + len(row["labels"] if case == "translator" else []) for row in rows[size:])
saving = time.perf_counter()
trainer.save_model(folder + "/saved")
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
seconds = moments[-1] - moments[0]
print(json.dumps({"tokens": tokens / seconds, "step": seconds / (len(moments) - 1), "first": moments[0] - called,
                  "save": time.perf_counter() - saving, "peak": peak}))
"""
CASES = ("classifier", "writer", "wide", "translator", "overhead")


def measured(case: str, quick: bool, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Medians of each side, whose processes take turns."""
    found: dict[str, list[dict[str, float]]] = {"enfold": [], "transformers": []}
    for _ in range(rounds):
        for side, results in found.items():
            command = [sys.executable, "-c", PROGRAM, side, case, "quick" if quick else "whole", str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        side: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for side, results in found.items()
    }


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="models of four layers and width 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    rows: list[list[object]] = []
    for case in options.cases or CASES:
        sides = measured(case, options.quick, options.rounds, options.threads)
        ours, theirs = sides["enfold"], sides["transformers"]
        rows.append(
            [
                case,
                ours["tokens"] / theirs["tokens"],
                f"{1000 * ours['step']:.3g} / {1000 * theirs['step']:.3g}",
                f"{ours['peak']:.0f} / {theirs['peak']:.0f}",
                theirs["peak"] / ours["peak"],
                f"{ours['first']:.2f} / {theirs['first']:.2f}",
                f"{ours['save']:.2f} / {theirs['save']:.2f}",
            ]
        )
    table(
        ["case", "tokens a second, times", "ms a step", "peak MB", "memory, times less", "s to step 1", "s to save"],
        rows,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
