"""Configurations of the kin of BART and T5: what each family adds, over small models of even and odd sizes."""

from typing import Any

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
UNEVEN = SMALL | {
    "vocab_size": 71,
    "d_model": 30,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 5,
    "encoder_ffn_dim": 29,
    "decoder_ffn_dim": 41,
    "scale_embedding": True,
    "activation_function": "relu",
    "dropout": 0.2,
    "activation_dropout": 0.1,
    "classifier_dropout": 0.3,
}
UNTIED = SMALL | {
    "encoder_layers": 3,
    "decoder_layers": 1,
    "activation_function": "swish",
    "tie_word_embeddings": False,
    "encoder_layerdrop": 0.5,
    "decoder_layerdrop": 0.5,
}
ODD = UNEVEN | {"d_model": 15}


def _long(entries: dict[str, Any], window: int | list[int]) -> dict[str, Any]:
    """A configuration of BART with LED's two tables of positions, and windows."""
    positions = entries["max_position_embeddings"]
    given = {name: value for name, value in entries.items() if name != "max_position_embeddings"}
    given |= {"max_encoder_position_embeddings": positions + 8, "max_decoder_position_embeddings": positions}
    return given | {"attention_window": window}


LED = {
    "plain": _long(SMALL, [4, 8]),
    "uneven": _long({**UNEVEN, "scale_embedding": False}, 4),
    "untied": _long(UNTIED, [4, 4, 8]),
}
BART = {"plain": SMALL, "uneven": UNEVEN, "untied": UNTIED}
T5: dict[str, Any] = {
    "vocab_size": 99,
    "d_model": 24,
    "d_kv": 4,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
T5_KIN = {
    "plain": T5,
    "uneven": T5
    | {
        "d_model": 26,
        "d_kv": 6,
        "d_ff": 35,
        "num_layers": 3,
        "num_decoder_layers": 1,
        "num_heads": 3,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 12,
    },
    "plain mlp": T5 | {"num_layers": 1, "num_decoder_layers": 2, "num_heads": 1, "feed_forward_proj": "relu"},
}
CONFIGURATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "bart": BART,
    "mbart": BART,
    "marian": {
        "plain": SMALL | {"pad_token_id": 7, "decoder_start_token_id": 7},
        "uneven": ODD,
        "untied": UNTIED,
        "two vocabularies": UNEVEN | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 83},
        "two, untied": UNTIED | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 103},
    },
    "pegasus": {"plain": SMALL | {"pad_token_id": 0, "eos_token_id": 1}, "uneven": ODD, "untied": UNTIED},
    "blenderbot": BART,
    "blenderbot-small": BART,
    "m2m_100": {"plain": SMALL, "uneven": ODD, "untied": UNTIED | {"scale_embedding": False, "pad_token_id": 4}},
    "led": LED,
    "mt5": T5_KIN,
    "umt5": T5_KIN,
}
# What the shared tests ask of each head.
TASKS = {
    "base": "seq2seq",
    "seq2seq-lm": "seq2seq-lm",
    "causal-lm": "causal-lm",
    "sequence-classification": "seq2seq-sequence",
    "question-answering": "seq2seq-span",
    "token-classification": "token",
    "encoder": "base",
}
# Families without positions, and those that count tokens instead of columns.
NO_COLUMNS = ("t5", "mt5", "umt5")
