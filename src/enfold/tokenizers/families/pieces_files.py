"""Families that are a sentencepiece file as it is."""

import os
import re
import string
from pathlib import Path
from typing import Any

from enfold.tokenizers.families.marian import copied
from enfold.tokenizers.families.pieces import SPACE, Pieces
from enfold.tokenizers.families.plain import PlainTokenizer

_MODEL = "spiece.model"
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class PiecesTokenizer(PlainTokenizer):
    """The base of these families.

    Args:
        vocab_file: the sentencepiece model.
    """

    files = {"vocab_file": _MODEL}

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
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
        name = (f"{filename_prefix}-" if filename_prefix else "") + self.files["vocab_file"]
        return (str(copied(self.sp_model.path, Path(save_directory) / name)),)


class BertGenerationTokenizer(PiecesTokenizer):
    """BERT for generation's pieces, without anything around them. https://arxiv.org/abs/1907.12461"""

    defaults = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "sep_token": "<::::>",
        "sp_model_kwargs": None,
    }


class SiglipTokenizer(PiecesTokenizer):
    """SigLIP's pieces of text in lower case without punctuation; texts end with `</s>`. https://arxiv.org/abs/2303.15343

    Args:
        do_lower_case: lower-case texts.
    """

    defaults = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "</s>",
        "sp_model_kwargs": None,
        "model_max_length": 64,
        "do_lower_case": True,
    }
    flags = {
        name: {"lstrip": True, "rstrip": True, "normalized": False, "special": True}
        for name in ("eos_token", "unk_token", "pad_token")
    }
    single, pair = "$A eos", "$A eos $B eos"

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text as strings of the vocabulary."""
        if add_special_tokens or pair is not None:
            return super().tokenize(text, pair, add_special_tokens, **kwargs)
        tokens = super().tokenize(SPACE + text.replace(SPACE, " "), **kwargs)
        return tokens[1:] if tokens[:1] == [SPACE] and tokens[1:2] and tokens[1] in self.all_special_tokens else tokens

    def canonicalize_text(self, text: str, *, keep_punctuation_exact_string: str | None = None) -> str:
        """Text as the model was trained on: lower case, no punctuation but for one string, single spaces."""
        text = text.lower() if self.do_lower_case else text
        kept = keep_punctuation_exact_string
        parts = [part.translate(_WITHOUT_PUNCTUATION) for part in (text.split(kept) if kept else [text])]
        return re.sub(r"\s+", " ", (kept or "").join(parts)).strip()

    def _tokens(self, text: str) -> list[str]:
        # The model puts a space before a text, which must not become part of its first piece.
        before = str(self.unk_token)
        pieces = self.sp_model.encode(before + self.canonicalize_text(text))
        length = len(self.sp_model.encode(before))
        return pieces[length:] if len(pieces) >= length else pieces

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Each text with `</s>` behind it, unless it ends with one already."""
        rows = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
        end = self.eos_token_id
        assert end is not None
        return [index for row in rows for index in (row if row and row[-1] == end else [*row, end])]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: the model knows no token types."""
        return [0] * (len(token_ids_0) + 1 + (0 if token_ids_1 is None else len(token_ids_1) + 1))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces → text; special tokens stay as they are."""
        special = set(self.all_special_tokens)
        text, run, after_special = "", [], False
        for token in tokens:
            if token in special:
                text += ("" if after_special else " ") + self.sp_model.decode(run) + token
                run = []
            else:
                run.append(token)
            after_special = token in special
        return (text + self.sp_model.decode(run)).strip()
