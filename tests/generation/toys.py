"""Tiny models in both libraries, and a byte-level decoder, for tests of decoding."""

import functools
from typing import Any

import torch
import transformers

from enfold.models.registry import class_by_name

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": (
        "LlamaConfig",
        {
            "vocab_size": 97,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 48,
            "bos_token_id": 1,
            "eos_token_id": None,
            "pad_token_id": 0,
        },
    ),
    "GPT2LMHeadModel": (
        "GPT2Config",
        {
            "vocab_size": 97,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 100,
            "bos_token_id": 1,
            "eos_token_id": None,
            "pad_token_id": 0,
        },
    ),
    "T5ForConditionalGeneration": (
        "T5Config",
        {
            "vocab_size": 97,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": None,
        },
    ),
}
HEADS = list(CONFIGURATIONS)
CONFIGURATIONS["BertLMHeadModel"] = (
    "BertConfig",
    {
        "vocab_size": 97,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "is_decoder": True,
        "pad_token_id": 0,
    },
)
# Seed and size of weights that make greedy answers long and varied.
TALKATIVE = {
    "LlamaForCausalLM": (10, 0.5),
    "GPT2LMHeadModel": (7, 0.5),
    "T5ForConditionalGeneration": (1, 0.8),
    "BertLMHeadModel": (0, 0.5),
}


@functools.cache
def folder(head: str) -> str:
    """Where the reference library saved the model."""
    import atexit
    import shutil
    import tempfile

    config_name, entries = CONFIGURATIONS[head]
    seed, scale = TALKATIVE[head]
    torch.manual_seed(seed)
    model = getattr(transformers, head)(getattr(transformers, config_name)(**entries))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, scale)
            elif name.endswith(("final_layer_norm.weight", "ln_f.weight", "model.norm.weight")):
                parameter.normal_(0, 1)  # else a token mostly predicts itself
        model.get_input_embeddings().weight.normal_(0, 1)
    path = tempfile.mkdtemp(prefix="enfold-generation-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    model.save_pretrained(path)
    return path


@functools.cache
def both(head: str) -> tuple[Any, Any]:
    """(ours, theirs)."""
    theirs = getattr(transformers, head).from_pretrained(folder(head)).eval()
    return class_by_name(head).from_pretrained(folder(head)), theirs


def prompts(rows: int = 4, columns: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, 97, (rows, columns), generator=torch.Generator().manual_seed(seed))


def padded(ids: torch.Tensor, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths, padded on one side: ids and mask."""
    lengths = torch.tensor([ids.shape[1], 5, 7, 2])[: len(ids)]
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    mask = mask.flip(1) if side == "left" else mask
    return ids.masked_fill(mask == 0, 0), mask


class Bytes:
    """A tokenizer whose token n is the byte n; tokens from 256 on are special."""

    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids, skip_special_tokens: bool = False, **_: Any) -> str:
        ids = [int(i) for i in ids]
        self.decoded += len(ids)
        pieces, run = [], []
        for token in [*ids, 256]:
            if token < 256:
                run.append(token)
                continue
            pieces.append(bytes(run).decode(errors="replace"))
            run = []
            if not skip_special_tokens:
                pieces.append("<end>")
        text = "".join(pieces)
        return text if skip_special_tokens else text.removesuffix("<end>")
