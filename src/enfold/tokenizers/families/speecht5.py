"""SpeechT5's characters, by a sentencepiece model of characters."""

import os
from typing import Any

from enfold.base.errors import NotBuiltError
from enfold.tokenizers.families.pieces_files import PiecesTokenizer

_MODEL = "spm_char.model"


class SpeechT5Tokenizer(PiecesTokenizer):
    """One token for each character; texts end with `</s>`.

    Args:
        vocab_file: the sentencepiece model.
        normalize: must be False: numbers aren't written out.
    """

    defaults = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "normalize": False,
        "sp_model_kwargs": None,
    }
    files = {"vocab_file": _MODEL}
    single, pair = "$A eos", "$A $B eos"
    second_type = False

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
        if options.get("normalize"):
            raise NotBuiltError("normalize=True is not built yet: write numbers out in words beforehand.")
        super().__init__(vocab_file, **options)
