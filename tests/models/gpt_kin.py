"""Configurations of the decoders that came after GPT-2, each with every option that its published checkpoints use."""

from typing import Any

TOKENS: dict[str, Any] = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = TOKENS | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
ODD = SMALL | {"hidden_size": 42, "num_attention_heads": 3, "num_hidden_layers": 3, "intermediate_size": 35}
GPTJ = TOKENS | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4}
NEO = TOKENS | {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "max_position_embeddings": 64,
    "attention_types": [[["global"], 2]],
}
OPT = TOKENS | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 40,
}
BLOOM = TOKENS | {"hidden_size": 32, "n_layer": 2, "n_head": 4}
FALCON = TOKENS | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}

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
    "gptj": {
        "plain": GPTJ | {"resid_pdrop": 0.1},
        "odd": GPTJ
        | {"n_embd": 42, "n_head": 3, "n_layer": 3, "rotary_dim": 10, "n_inner": 35, "tie_word_embeddings": True},
        "whole": GPTJ | {"n_head": 1, "rotary_dim": 32, "activation_function": "relu"},
    },
    "gpt_neo": {
        "plain": NEO,
        "odd": NEO
        | {
            "hidden_size": 42,
            "num_heads": 3,
            "num_layers": 3,
            "intermediate_size": 35,
            "attention_types": [[["local"], 2], [["global"], 1]],
            "window_size": 2,
            "tie_word_embeddings": False,
        },
        "local": NEO
        | {
            "num_heads": 1,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 3,
            "activation_function": "gelu",
        },
    },
    "opt": {
        "plain": OPT,
        "narrow": OPT | {"word_embed_proj_dim": 20, "do_layer_norm_before": False, "num_hidden_layers": 3},
        "bare": OPT
        | {
            "hidden_size": 42,
            "num_attention_heads": 3,
            "enable_bias": False,
            "layer_norm_elementwise_affine": False,
            "activation_function": "gelu",
            "tie_word_embeddings": False,
        },
        "endless": OPT | {"_remove_final_layer_norm": True, "word_embed_proj_dim": 40},
    },
    "bloom": {
        "plain": BLOOM,
        "odd": BLOOM | {"hidden_size": 42, "n_head": 3, "n_layer": 3, "tie_word_embeddings": False},
        "many": BLOOM | {"hidden_size": 48, "n_head": 12, "layer_norm_epsilon": 1e-3},
        "old": BLOOM | {"pretraining_tp": 4},
    },
    "falcon": {
        "plain": FALCON,  # 7B: all queries share one key
        "alibi": FALCON | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},  # rw-1b
        "grouped": FALCON
        | {
            "hidden_size": 48,
            "num_attention_heads": 6,
            "num_kv_heads": 2,
            "num_hidden_layers": 3,
            "new_decoder_architecture": True,
            "ffn_hidden_size": 35,
            "tie_word_embeddings": False,
        },  # 40B
        "one_norm": FALCON | {"num_kv_heads": 2, "new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},  # 11B
        "sloped": FALCON | {"hidden_size": 48, "num_attention_heads": 6, "alibi": True},
    },
}


def old_neox_rope(entries: dict[str, Any]) -> None:
    """Rotary positions as GPT-NeoX's own files write them."""
    rope = entries.pop("rope_parameters")
    entries |= {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"]}
    entries["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}


def old_bloom_sizes(entries: dict[str, Any]) -> None:
    """The spellings of BLOOM's own files."""
    entries |= {"n_embed": entries.pop("hidden_size"), "num_attention_heads": entries.pop("n_head")}


EDITS = {("gpt_neox", "old"): old_neox_rope, ("bloom", "old"): old_bloom_sizes}
# Families whose positions, or distances, count tokens and not columns.
COUNTS_TOKENS = ("opt", "bloom")
