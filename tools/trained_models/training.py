"""A plain training loop, and the files of what it trained."""

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Example = dict[str, Any]
# Batches among which rows are put together by length.
SORTED_TOGETHER = 12


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn; the rate rises over the first tenth of the steps and then falls to zero."""

    epochs: int
    rows: int
    rate: float
    weight_decay: float = 0.01
    seed: int = 0


def fit(model: Any, examples: Sequence[Example], plan: Plan) -> None:
    """Train a model in place.

    Args:
        examples: the model's arguments, one dictionary a row; lists are padded, numbers stacked.
    """
    torch.manual_seed(plan.seed)
    draw = random.Random(plan.seed)
    steps = plan.epochs * -(-len(examples) // plan.rows)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=plan.rate, weight_decay=plan.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps))
    )
    pad = model.config.pad_token_id
    model.train()
    for epoch in range(1, plan.epochs + 1):
        losses = []
        for rows in _batches(examples, plan.rows, draw):
            loss = model(**_stacked(rows, pad)).loss
            losses.append(float(loss.detach()))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        mean = sum(losses) / len(losses)
        print(f"  epoch {epoch} of {plan.epochs}: loss {mean:.3f}", file=sys.stderr, flush=True)
    model.eval()


def _batches(examples: Sequence[Example], rows: int, draw: random.Random) -> list[list[Example]]:
    """Batches in random order, of rows that are about equally long."""
    order = draw.sample(range(len(examples)), len(examples))
    batches = []
    for some in _cut(order, rows * SORTED_TOGETHER):
        by_length = sorted(some, key=lambda index: len(examples[index]["input_ids"]))
        batches += [[examples[index] for index in part] for part in _cut(by_length, rows)]
    draw.shuffle(batches)
    return batches


def _cut(items: list[int], size: int) -> list[list[int]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _stacked(rows: list[Example], pad: int) -> dict[str, Tensor]:
    """Rows → tensors, with a mask; labels are not learnt at padding."""
    made = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        if isinstance(first, list):
            width, fill = max(map(len, values)), {"input_ids": pad, "labels": -100}.get(name, 0)
            values = [[*value, *[fill] * (width - len(value))] for value in values]
        made[name] = torch.tensor(values)
    width = made["input_ids"].shape[1]
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return made | {"attention_mask": (torch.arange(width) < lengths[:, None]).long()}


def files_of(model: Any, tokenizer: Any, held_out: Any) -> dict[str, bytes]:
    """What a repository of the model holds."""
    with tempfile.TemporaryDirectory(prefix="enfold-trained-") as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"held_out.json": json.dumps(held_out, ensure_ascii=False, indent=0).encode()}
