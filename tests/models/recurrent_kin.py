"""Configurations of families whose layers remember a state."""

from typing import Any

from tests.models.llama_kin import ODD, SMALL, TIED

STATES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "state_size": 5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADED: dict[str, Any] = {"mamba_d_ssm": 24, "mamba_n_heads": 4, "mamba_d_state": 7, "mamba_n_groups": 2}
NO_POSITIONS = ("mamba",)
CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mamba": {
        "plain": STATES,
        "odd": STATES
        | {
            "hidden_size": 18,
            "num_hidden_layers": 3,
            "expand": 3,
            "conv_kernel": 3,
            "time_step_rank": 4,
            "use_conv_bias": False,
            "residual_in_fp32": False,
            "tie_word_embeddings": False,
        },
        "biased": STATES
        | {
            "num_hidden_layers": 1,
            "state_size": 1,
            "conv_kernel": 2,
            "use_bias": True,
            "rescale_prenorm_residual": True,
            "time_step_init_scheme": "constant",
        },
    },
    "falcon_h1": {
        "plain": SMALL | HEADED,
        "factors": ODD
        | HEADED
        | {
            "mamba_d_ssm": None,
            "mamba_expand": 2,
            "mamba_n_heads": 12,
            "mamba_n_groups": 3,
            "mamba_d_conv": 3,
            "mamba_chunk_size": 4,
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": False,
            "mamba_conv_bias": False,
            "embedding_multiplier": 2.5,
            "lm_head_multiplier": 0.3,
            "mlp_multipliers": [0.7, 1.4],
            "key_multiplier": 0.6,
            "attention_in_multiplier": 1.2,
            "attention_out_multiplier": 0.8,
            "ssm_multipliers": [0.5, 1.5, 0.8, 1.1, 0.6],
            "ssm_in_multiplier": 1.3,
            "ssm_out_multiplier": 0.7,
        },
        "tied": TIED
        | HEADED
        | {"mamba_rms_norm": True, "attention_bias": True, "mlp_bias": True, "projectors_bias": True},
    },
}
