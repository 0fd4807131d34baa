"""Configurations of LLaMA's kin: what each family adds, over a small model whose sizes are odd where they may be."""

from typing import Any

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ODD = SMALL | {
    "hidden_size": 36,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 6,
    "num_hidden_layers": 3,
}
WIDE = {name: value for name, value in ODD.items() if name != "head_dim"} | {"hidden_size": 48}  # heads of 8
TIED = SMALL | {"num_key_value_heads": 4, "intermediate_size": 33, "tie_word_embeddings": True}
ONE = SMALL | {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": 1}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 16.0,
}
DEEP_YARN = YARN | {"mscale": 0.7, "mscale_all_dim": 1.3, "truncate": False}
LOCAL, FULL = "sliding_attention", "full_attention"


def long_rope(dims: int) -> dict[str, Any]:
    """Factors for heads of `dims` dimensions, where texts of over two tokens count as long."""
    short, long = ([1.0 + k * i / dims for i in range(dims // 2)] for k in (0.5, 3.0))
    return {"rope_type": "longrope", "short_factor": short, "long_factor": long, "original_max_position_embeddings": 2}


CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mistral": {
        "window": SMALL | {"sliding_window": 3},
        "full": ODD | {"sliding_window": None},
        "tied": TIED | {"sliding_window": 5},
    },
    "qwen2": {
        "plain": SMALL,
        "window": ODD | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
        "tied": TIED | {"rope_parameters": YARN},
    },
    "qwen3": {
        "plain": SMALL,
        "window": ODD | {"layer_types": [LOCAL, FULL, LOCAL], "use_sliding_window": True, "sliding_window": 2},
        "biased": TIED | {"attention_bias": True, "rope_parameters": DEEP_YARN},
    },
    "gemma": {
        "plain": SMALL,
        "odd": ODD | {"attention_bias": True, "tie_word_embeddings": False},
        "one": ONE | {"head_dim": 20},
    },
    "gemma2": {
        "plain": SMALL | {"sliding_window": 3, "query_pre_attn_scalar": 11},
        "uncapped": ODD | {"attn_logit_softcapping": None, "final_logit_softcapping": None, "sliding_window": 4},
        "one": ONE | {"layer_types": [FULL], "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    },
    "gemma3_text": {
        "plain": SMALL | {"sliding_window": 3, "layer_types": [LOCAL, FULL]},
        "deep": ODD | {"sliding_window": 4, "num_hidden_layers": 7, "query_pre_attn_scalar": 9},
        "scaled": TIED
        | {
            "sliding_window": 2,
            "rope_parameters": {
                LOCAL: {"rope_type": "default", "rope_theta": 500.0},
                FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0},
            },
        },
    },
    "phi": {
        "plain": SMALL | {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "odd": WIDE | {"resid_pdrop": 0.1, "qk_layernorm": True},
        "one": ONE | {"hidden_act": "relu"},
    },
    "stablelm": {
        "plain": SMALL,
        "beside": WIDE | {"use_parallel_residual": True, "use_qkv_bias": True},
        "normed": WIDE | {"use_parallel_residual": True, "qk_layernorm": True},
        "tied": TIED | {"hidden_dropout": 0.2},
    },
    "phi3": {
        "plain": SMALL,
        "window": ODD | {"sliding_window": 3, "resid_pdrop": 0.1},
        "long": ONE | {"rope_parameters": long_rope(16) | {"rope_theta": 10000.0}, "tie_word_embeddings": True},
    },
    "granite": {
        "plain": SMALL,
        "scaled": ODD
        | {
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.4,
            "logits_scaling": 5.0,
        },
        "biased": TIED | {"attention_bias": True, "mlp_bias": True},
    },
    "olmo2": {
        "plain": SMALL,
        "odd": WIDE | {"attention_bias": True},
        "tied": TIED,
    },
    "smollm3": {
        "plain": SMALL | {"no_rope_layers": [1, 0]},
        "window": ODD | {"use_sliding_window": True, "sliding_window": 3, "no_rope_layer_interval": 2},
        "biased": TIED | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    },
}
