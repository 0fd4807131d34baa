"""Configurations of BERT's kin: what each family adds, over small models of even and odd sizes."""

from typing import Any

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
ODD = SMALL | {
    "vocab_size": 101,
    "hidden_size": 33,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 29,
    "type_vocab_size": 1,
    "hidden_act": "relu",
    "layer_norm_eps": 1e-5,
    "classifier_dropout": 0.3,
}
ONE = SMALL | {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 1, "hidden_act": "gelu_new"}
MODERN = SMALL | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
DISENTANGLED = SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
ODD_TAPAS = {name: value for name, value in ODD.items() if name not in ("type_vocab_size", "classifier_dropout")}
ROBERTA = {"plain": SMALL, "odd": ODD, "other padding": ONE | {"pad_token_id": 5}}
CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "modernbert": {
        "plain": MODERN | {"local_attention": 6, "num_hidden_layers": 4},
        "biased": MODERN
        | {
            "hidden_size": 36,
            "num_attention_heads": 6,
            "num_hidden_layers": 5,
            "attention_bias": True,
            "mlp_bias": True,
            "norm_bias": True,
            "classifier_bias": True,
            "classifier_pooling": "mean",
            "decoder_bias": False,
            "hidden_activation": "relu",
            "classifier_activation": "silu",
            "local_attention": 3,
            "global_attn_every_n_layers": 2,
            "norm_eps": 1e-3,
        },
        "sparse": MODERN
        | {
            "num_hidden_layers": 3,
            "local_attention": 128,
            "tie_word_embeddings": False,
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        },
    },
    "mpnet": {
        "plain": SMALL | {"pad_token_id": 1},
        "odd": ODD | {"relative_attention_num_buckets": 35, "classifier_dropout": None},
        "single": ONE | {"pad_token_id": 1},
    },
    "deberta-v2": {
        "plain": DISENTANGLED | {"position_buckets": 4, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm"},
        "shared": DISENTANGLED
        | {"share_att_key": True, "position_buckets": 6, "max_relative_positions": 9, "legacy": False},
        "far": ODD
        | {"relative_attention": True, "max_relative_positions": 5, "type_vocab_size": 3, "pos_att_type": "c2p"},
        "convolved": ONE
        | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
        | {"conv_kernel_size": 3, "conv_groups": 2, "conv_act": "gelu", "embedding_size": 7, "num_hidden_layers": 2},
        "one kind": DISENTANGLED | {"pos_att_type": ["p2c"], "position_biased_input": False, "embedding_size": 20},
        "places alone": SMALL | {"pos_att_type": ["p2c"], "conv_kernel_size": 5, "pooler_hidden_act": "tanh"},
    },
    "tapas": {
        "plain": SMALL | {"type_vocab_sizes": [3, 9, 9, 2, 9, 9, 5]},
        "odd": ODD_TAPAS,
        "one": ONE | {"type_vocab_sizes": [3, 5, 7, 2, 4, 4, 10], "reset_position_index_per_cell": False},
    },
    "electra": {
        "plain": SMALL | {"embedding_size": 12},
        "odd": ODD | {"embedding_size": 33},
        "untied": ONE | {"embedding_size": 31, "tie_word_embeddings": False},
    },
    "albert": {
        "plain": SMALL | {"embedding_size": 12},
        "groups": ODD | {"embedding_size": 33, "num_hidden_layers": 5, "num_hidden_groups": 2},
        "new_gelu": ONE | {"embedding_size": 7, "num_hidden_layers": 3},
    },
}
# What the shared tests know of a family's pre-training.
PRE_TRAINING = {"electra": "detection", "albert": "sentence-order"}
# Families whose positions count tokens, not columns.
COUNTS_TOKENS = ("roberta", "xlm-roberta", "mpnet")
