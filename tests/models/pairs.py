"""One row built in both libraries from one checkpoint, and the inputs that its task takes."""

import atexit
import functools
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from enfold.models.registry import class_by_name
from tests.models.rows import Row

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


@dataclass
class Pair:
    """A folder that the reference library wrote, and both models loaded from it, in eval mode."""

    row: Row
    folder: Path
    theirs: Any
    ours: Any


def ours_class(row: Row) -> Any:
    return class_by_name(row.head)


def theirs_class(row: Row) -> Any:
    return getattr(transformers, row.head)


def their_config(row: Row) -> Any:
    # Their plain attention counts Falcon's ALiBi twice.
    plain = {"attn_implementation": "sdpa" if row.entries.get("alibi") else "eager", "experts_implementation": "eager"}
    return getattr(transformers, row.config_name)(**row.entries, **plain)


@torch.no_grad()
def randomise(model: torch.nn.Module) -> None:
    """Weights large enough that every part of a model is seen in its output; what isn't trained stays as computed."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim > 1:
            parameter.normal_(0.0, 0.2)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.1)


@functools.cache
def pair(row: Row) -> Pair:
    """The row's models; tests must leave them as they are (`fresh` for those that don't)."""
    torch.manual_seed(sum(map(ord, str(row))))
    theirs = theirs_class(row)(their_config(row)).eval()
    randomise(theirs)
    folder = Path(tempfile.mkdtemp(prefix="enfold-family-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    theirs.save_pretrained(folder)
    if row.edit is not None:
        entries = json.loads((folder / "config.json").read_text())
        row.edit(entries)
        (folder / "config.json").write_text(json.dumps(entries))
    return Pair(row, folder, theirs, ours_class(row).from_pretrained(folder))


def fresh(row: Row, **options: Any) -> Any:
    """Our model of a row, loaded anew."""
    return ours_class(row).from_pretrained(pair(row).folder, **options)


def fresh_theirs(row: Row, **options: Any) -> Any:
    """The reference's model of a row, loaded anew (from its own object: edited files are for us)."""
    model = theirs_class(row)(their_config(row)).eval()
    model.load_state_dict(pair(row).theirs.state_dict())
    return model.to(**options) if options else model


# Inputs

ROWS, COLUMNS, TARGET = 3, 9, 6
LENGTHS = (9, 6, 4)


def right_mask(rows: int = ROWS, columns: int = COLUMNS) -> Tensor:
    lengths = [LENGTHS[i % len(LENGTHS)] * columns // COLUMNS for i in range(rows)]
    return (torch.arange(columns) < torch.tensor(lengths)[:, None]).long()


def inputs(row: Row, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Ids (and what else the task needs); masked places hold the padding token."""
    torch.manual_seed(len(row.head))
    vocabulary = row.entries["vocab_size"]
    pad = their_config(row).pad_token_id or 0
    if row.task in ("choice", "double-heads"):
        ids = torch.randint(8, vocabulary, (ROWS, 2, COLUMNS))
        given = {"input_ids": ids}
        if mask is not None:
            mask = mask[:, None].repeat(1, 2, 1)
        if row.task == "double-heads":
            given["mc_token_ids"] = torch.tensor([[2, 3], [1, 0], [3, 2]])
    else:
        given = {"input_ids": torch.randint(8, vocabulary, (ROWS, COLUMNS))}
    if mask is not None:
        given["input_ids"] = given["input_ids"].masked_fill(mask == 0, pad)
        given["attention_mask"] = mask
    if row.task == "seq2seq-sequence":  # one end-of-text token in each row
        last = COLUMNS - 1 if mask is None else None
        for i, ids in enumerate(given["input_ids"]):
            place = last if mask is None else int(mask[i].nonzero().max())
            ids[place] = row.entries["eos_token_id"]
    if row.task in ("seq2seq", "seq2seq-lm"):
        given["decoder_input_ids"] = torch.randint(8, vocabulary, (ROWS, TARGET))
    if row.task.startswith("crossed"):
        width = row.entries["hidden_size"]
        given["encoder_hidden_states"] = torch.randn(ROWS, 5, width)
        if mask is not None:
            given["encoder_attention_mask"] = right_mask(ROWS, 5)
    return given


def labels(row: Row, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What makes the task return a loss; -100 at padding."""
    ids, mask = given["input_ids"], given.get("attention_mask")

    def hidden(wanted: Tensor) -> Tensor:
        return wanted if mask is None else wanted.masked_fill(mask == 0, -100)

    match row.task:
        case "masked-lm" | "causal-lm" | "crossed-lm":
            return {"labels": hidden(ids.clone())}
        case "pre-training":
            return {"labels": hidden(ids.clone()), "next_sentence_label": torch.tensor([0, 1, 0])}
        case "sentence-order":
            return {"labels": hidden(ids.clone()), "sentence_order_label": torch.tensor([0, 1, 0])}
        case "detection":
            return {"labels": hidden(ids % 2)}
        case "next-sentence":
            return {"labels": torch.tensor([0, 1, 0])}
        case "sequence" | "seq2seq-sequence":
            return {"labels": torch.tensor([2, 0, 1])}
        case "regression":
            return {"labels": torch.tensor([0.3, -1.0, 2.0])}
        case "several-labels":
            return {"labels": torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])}
        case "token":
            return {"labels": hidden(ids % row.entries["num_labels"])}
        case "span" | "seq2seq-span":
            return {"start_positions": torch.tensor([0, 2, 30]), "end_positions": torch.tensor([3, 2, 1])}
        case "choice":
            return {"labels": torch.tensor([1, 0, 1])}
        case "double-heads":
            return {"labels": hidden(ids.clone()), "mc_labels": torch.tensor([1, 0, 1])}
        case "seq2seq-lm":
            wanted = torch.randint(8, row.entries["vocab_size"], (ROWS, TARGET))
            wanted[1, 4:] = -100
            return {"labels": wanted}
    return {}


ANSWERS = (
    "logits",
    "prediction_logits",
    "seq_relationship_logits",
    "sop_logits",
    "mc_logits",
    "start_logits",
    "end_logits",
    "last_hidden_state",
    "pooler_output",
    "encoder_last_hidden_state",
)
HIDDEN = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states")
ATTENTIONS = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    ours, theirs = ours.detach().double(), theirs.detach().double()
    if ours.numel() == 0:
        return 0.0
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


def at_tokens(name: str, value: Tensor, given: dict[str, Tensor]) -> Tensor:
    """The part of an output that stands at real tokens."""
    mask = given.get("attention_mask")
    if mask is None:
        return value
    target = "decoder_input_ids" in given or name.startswith("decoder")
    if target and not name.startswith("encoder"):
        return value
    real = mask != 0
    if value.shape[: mask.ndim] == mask.shape:
        return value[real]
    if value.shape[:2] == (mask.numel() // mask.shape[-1], mask.shape[-1]):  # choices, flattened
        return value[real.flatten(0, -2)]
    return value
