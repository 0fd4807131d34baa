"""Configurations of mixtures of experts."""

from typing import Any

from tests.models.llama_kin import DEEP_YARN, FULL, LOCAL, ODD, SMALL, TIED, WIDE, YARN

FEW: dict[str, Any] = {"num_experts_per_tok": 2, "router_aux_loss_coef": 0.3}
LATENT = FEW | {
    "num_key_value_heads": 4,
    "kv_lora_rank": 12,
    "q_lora_rank": None,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 8,
    "head_dim": 8,
    "v_head_dim": 5,
    "moe_intermediate_size": 10,
    "n_routed_experts": 4,
}
LONG_YARN = YARN | {"truncate": False, "rope_theta": 150000.0, "factor": 32.0}
CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mixtral": {
        "plain": SMALL | FEW | {"num_local_experts": 4},
        "window": ODD | FEW | {"num_local_experts": 5, "sliding_window": 3},
        "tied": TIED | {"num_experts_per_tok": 1, "num_local_experts": 3, "head_dim": None},
    },
    "qwen2_moe": {
        "plain": SMALL | FEW | {"num_experts": 4, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 28},
        "window": WIDE
        | FEW
        | {
            "num_experts": 6,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 9,
            "shared_expert_intermediate_size": 11,
            "norm_topk_prob": True,
            "mlp_only_layers": [1],
            "use_sliding_window": True,
            "sliding_window": 3,
            "qkv_bias": False,
        },
        "tied": TIED
        | {
            "num_experts": 3,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 12,
            "shared_expert_intermediate_size": 8,
            "decoder_sparse_step": 2,
        },
    },
    "qwen3_moe": {
        "plain": SMALL | FEW | {"num_experts": 4, "moe_intermediate_size": 20, "norm_topk_prob": True},
        "window": ODD
        | FEW
        | {
            "num_experts": 7,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 9,
            "mlp_only_layers": [0],
            "use_sliding_window": True,
            "sliding_window": 3,
        },
        "tied": TIED
        | {
            "num_experts": 3,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 12,
            "decoder_sparse_step": 2,
            "attention_bias": True,
            "rope_parameters": YARN,
        },
    },
    "gpt_oss": {
        "plain": SMALL | FEW | {"num_local_experts": 4, "sliding_window": 3, "rope_parameters": LONG_YARN},
        "odd": ODD
        | FEW
        | {
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "intermediate_size": 11,
            "layer_types": [FULL, LOCAL, LOCAL],
            "sliding_window": 2,
            "swiglu_limit": 0.4,
            "swiglu_alpha": 1.1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0},
        },
        "tied": TIED
        | {"num_local_experts": 3, "num_experts_per_tok": 1, "attention_bias": False, "rope_parameters": LONG_YARN},
    },
    "deepseek_v2": {
        "plain": SMALL | LATENT | {"first_k_dense_replace": 1, "rope_parameters": DEEP_YARN},
        "grouped": ODD
        | LATENT
        | {
            "num_key_value_heads": 6,
            "n_routed_experts": 6,
            "num_experts_per_tok": 3,
            "n_group": 3,
            "topk_group": 2,
            "topk_method": "group_limited_greedy",
            "routed_scaling_factor": 2.5,
            "q_lora_rank": 7,
            "attention_bias": True,
            "v_head_dim": 9,
        },
        "tied": TIED | LATENT | {"n_shared_experts": 1, "mlp_bias": True, "v_head_dim": 10},
    },
    "deepseek_v3": {
        "plain": SMALL | LATENT | {"first_k_dense_replace": 1, "q_lora_rank": 10, "n_group": 2, "topk_group": 1},
        "halves": ODD
        | LATENT
        | {
            "num_key_value_heads": 6,
            "n_routed_experts": 9,
            "num_experts_per_tok": 4,
            "n_group": 3,
            "topk_group": 2,
            "first_k_dense_replace": 1,
            "attention_bias": True,
            "norm_topk_prob": False,
            "rope_interleave": False,
            "rope_parameters": DEEP_YARN,
        },
        "tied": TIED | LATENT | {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "q_lora_rank": 9},
    },
}
