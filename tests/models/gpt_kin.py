"""Configurations of the decoders that came after GPT-2, each with every option that its published checkpoints use."""

from typing import Any

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ODD = SMALL | {"hidden_size": 42, "num_attention_heads": 3, "num_hidden_layers": 3, "intermediate_size": 35}

CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "gpt_neox": {
        "plain": SMALL,  # a quarter of each head turns
        "behind": ODD
        | {
            "use_parallel_residual": False,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 1.0},
        },
        "old": SMALL
        | {
            "hidden_act": "gelu_new",
            "hidden_dropout": 0.1,
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5, "rope_theta": 90.0},
        },
    },
}


def old_neox_rope(entries: dict[str, Any]) -> None:
    """Rotary positions as GPT-NeoX's own files write them."""
    rope = entries.pop("rope_parameters")
    entries |= {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"]}
    entries["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}


EDITS = {("gpt_neox", "old"): old_neox_rope}
