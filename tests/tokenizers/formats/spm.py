"""Small sentencepiece models, trained on the spot."""

import io
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from ..folders import corpus

KINDS = {
    "bpe": {"model_type": "bpe", "vocab_size": 900},
    "llama": {
        "model_type": "bpe",
        "vocab_size": 1200,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "user_defined_symbols": ["<user>", "  ", "▁▁▁"],
        "control_symbols": ["[INST]", "[/INST]"],
    },
    "unigram": {"model_type": "unigram", "vocab_size": 700},
    "t5": {
        "model_type": "unigram",
        "vocab_size": 800,
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        "user_defined_symbols": ["<extra>"],
    },
    "albert": {
        "model_type": "unigram",
        "vocab_size": 600,
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": 2,
        "eos_id": 3,
        "bos_piece": "[CLS]",
        "eos_piece": "[SEP]",
        "control_symbols": ["[MASK]"],
    },
    "bytes": {"model_type": "unigram", "vocab_size": 900, "byte_fallback": True, "add_dummy_prefix": False},
    "folded": {"model_type": "unigram", "vocab_size": 600, "normalization_rule_name": "nmt_nfkc_cf"},
    "suffix": {"model_type": "unigram", "vocab_size": 600, "treat_whitespace_as_suffix": True},
}


def train(kind: str) -> bytes:
    """The bytes of a `.model` file."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for line in corpus() if line.strip()),
        model_writer=made,
        character_coverage=0.999,
        minloglevel=2,
        num_threads=1,
        hard_vocab_limit=False,
        **KINDS[kind],
    )
    return made.getvalue()


def proto(content: bytes):
    """The model as the reference library's message, to be changed and written again."""
    return sentencepiece_model_pb2.ModelProto.FromString(content)


def write(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name
