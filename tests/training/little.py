"""Little models and rows, the same for both libraries."""

import random
from pathlib import Path
from typing import Any

import torch

import enfold
from enfold import Trainer, TrainingArguments

BERT = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 3,
}
GPT2 = {
    "vocab_size": 60,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def classifier(folder: Path) -> Path:
    """A BERT with three classes."""
    import transformers  # here: scripts that train import this module too

    torch.manual_seed(0)
    transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)).save_pretrained(folder)
    return folder


def writer(folder: Path, **options: Any) -> Path:
    """A GPT-2."""
    import transformers

    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT2, **options})).save_pretrained(folder)
    return folder


def rows(count: int, *, length: int | None = 7, seed: int = 0, labels: bool = True) -> list[dict[str, Any]]:
    """Rows of tokens; the class can be learnt: it is that of the most frequent third of the vocabulary."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        wanted = draw.randrange(3)
        ids = [draw.randrange(1 + 19 * wanted, 20 + 19 * wanted) for _ in range(length or draw.randrange(3, 12))]
        made.append({"input_ids": ids, **({"labels": wanted} if labels else {})})
    return made


def trainer(model: Any, output: Path, data: Any, *, kind: type[Trainer] = Trainer, **options: Any) -> Trainer:
    """A trainer on the CPU that reports nothing."""
    extra = {
        name: options.pop(name)
        for name in (
            "eval_dataset",
            "data_collator",
            "compute_metrics",
            "callbacks",
            "compute_loss_func",
            "processing_class",
            "preprocess_logits_for_metrics",
            "model_init",
            "optimizers",
        )
        if name in options
    }
    args = TrainingArguments(str(output), **{"report_to": "none", "use_cpu": True, "save_strategy": "no", **options})
    return kind(model, args, train_dataset=data, **extra)


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_weights(one: Any, other: Any) -> bool:
    """Bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def load_classifier(folder: Path) -> Any:
    return enfold.BertForSequenceClassification.from_pretrained(folder)


def load_writer(folder: Path) -> Any:
    return enfold.GPT2LMHeadModel.from_pretrained(folder)
