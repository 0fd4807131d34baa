"""SpeechT5's characters, by a sentencepiece model of characters."""

import os
from pathlib import Path
from typing import Any

from enfold.base.errors import NotBuiltError
from enfold.tokenizers.families.marian import copied
from enfold.tokenizers.families.pieces import SPACE, Pieces
from enfold.tokenizers.families.plain import PlainTokenizer

_MODEL = "spm_char.model"


class SpeechT5Tokenizer(PlainTokenizer):
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
        self.sp_model = Pieces(Path(vocab_file))
        super().__init__(**options)

    @property
    def vocab_size(self) -> int:
        """Pieces of the model, without added tokens."""
        return len(self.sp_model.all)

    def _base_vocab(self) -> dict[str, int]:
        return self.sp_model.ids

    def _known(self, token: str) -> int | None:
        return self.sp_model.ids.get(token)

    def _id(self, token: str) -> int | None:
        return self.sp_model.ids.get(token, self.sp_model.unknown_id)

    def _token(self, index: int) -> str | None:
        pieces = self.sp_model.all
        return pieces[index] if 0 <= index < len(pieces) else None

    def _tokens(self, text: str) -> list[str]:
        return self.sp_model.encode(text)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces → text."""
        return "".join(tokens).replace(SPACE, " ").strip()

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Copy the sentencepiece model."""
        name = (f"{filename_prefix}-" if filename_prefix else "") + _MODEL
        return (str(copied(self.sp_model.path, Path(save_directory) / name)),)
