"""Marian's translators: a sentencepiece model for each side, and one vocabulary for both or one each."""

import os
import shutil
from copy import copy
from pathlib import Path
from typing import Any

from enfold.base.errors import TokenizerError
from enfold.tokenizers.families.pieces import SPACE, Pieces
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.formats.reading import read_vocab_json
from enfold.tokenizers.loading import VOCAB_JSON

_SOURCE, _TARGET, _TARGET_VOCAB = "source.spm", "target.spm", "target_vocab.json"


class MarianTokenizer(PlainTokenizer):
    """Pieces of the source side, or of the target side for texts to be learned; `>>fra<<` in front is one token.

    Args:
        source_spm, target_spm: the sentencepiece models of the two sides.
        vocab: vocab.json, piece → id.
        target_vocab_file: target_vocab.json, with `separate_vocabs`.
        separate_vocabs: each side has a vocabulary of its own.
        source_lang, target_lang: what the files say of themselves.
    """

    defaults = {
        "source_lang": None,
        "target_lang": None,
        "unk_token": "<unk>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": 512,
        "separate_vocabs": False,
        "sp_model_kwargs": None,
    }
    files = {
        "source_spm": _SOURCE,
        "target_spm": _TARGET,
        "vocab": VOCAB_JSON,
        "target_vocab_file": f"{_TARGET_VOCAB}?",
    }
    single, pair = "$A eos", "$A $B eos"
    separate_vocabs: bool

    def __init__(
        self,
        source_spm: str | os.PathLike,
        target_spm: str | os.PathLike,
        vocab: str | os.PathLike,
        target_vocab_file: str | os.PathLike | None = None,
        **options: Any,
    ):
        self.spm_source, self.spm_target = Pieces(Path(source_spm)), Pieces(Path(target_spm))
        self.encoder = read_vocab_json(Path(vocab))
        if str(options.get("unk_token", "<unk>")) not in self.encoder:
            raise TokenizerError(f"{vocab}: the unknown token is not in the vocabulary.")
        target = self.encoder
        if options.get("separate_vocabs"):
            if target_vocab_file is None:
                raise TokenizerError(f"separate_vocabs=True needs {_TARGET_VOCAB}.")
            target = read_vocab_json(Path(target_vocab_file))
        self.target_encoder = target
        self.decoder = {index: token for token, index in target.items()}
        self.supported_language_codes = [
            token
            for token in self.encoder
            if token.startswith(">>") and token.endswith("<<") and target is self.encoder
        ]
        self.current_spm, self.current_encoder = self.spm_source, self.encoder
        super().__init__(**options)

    @property
    def vocab_size(self) -> int:
        """Tokens of the source's vocabulary without added ones."""
        return len(self.encoder)

    def _base_vocab(self) -> dict[str, int]:
        return self.encoder

    def get_src_vocab(self) -> dict[str, int]:
        """token → id of the source side."""
        return self.get_vocab()

    def get_tgt_vocab(self) -> dict[str, int]:
        """token → id of the target side."""
        return {**self.target_encoder, **self._added_ids}

    def _known(self, token: str) -> int | None:
        return self.encoder.get(token)

    def _id(self, token: str) -> int | None:
        return self.current_encoder.get(token, self.current_encoder.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        if index in self.decoder:
            return self.decoder[index]
        model = self.spm_target if self.separate_vocabs else self.spm_source
        return model.all[index] if 0 <= index < len(model.all) else self.unk_token

    def _tokens(self, text: str) -> list[str]:
        code, text = self.remove_language_code(text)
        return [*code, *self.current_spm.encode(text)]

    @staticmethod
    def remove_language_code(text: str) -> tuple[list[str], str]:
        """(the code in front, if there is one; the rest)"""
        end = text.find("<<") if text.startswith(">>") else -1
        return ([text[: end + 2]], text[end + 2 :]) if end >= 0 else ([], text)

    def _switch_to_input_mode(self) -> None:
        self.current_spm, self.current_encoder = self.spm_source, self.encoder

    def _switch_to_target_mode(self) -> None:
        self.current_spm, self.current_encoder = self.spm_target, self.target_encoder

    def _for_targets(self) -> "MarianTokenizer":
        other = copy(self)
        other._switch_to_target_mode()
        return other

    def _special_ids(self) -> set[int]:
        return set(self.all_special_ids) - {self.unk_token_id}  # type: ignore[arg-type]

    def _special_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        special = self._special_ids()
        return [*(int(index in special) for index in [*first, *(second or [])]), 1]

    def get_special_tokens_mask(
        self, token_ids_0: Any, token_ids_1: Any = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 where a special token stands; the unknown one is none."""
        if already_has_special_tokens:
            special = self._special_ids()
            return [int(index in special) for index in token_ids_0]
        return super().get_special_tokens_mask(token_ids_0, token_ids_1)

    def decode(self, token_ids: Any, *args: Any, use_source_tokenizer: bool | None = None, **kwargs: Any) -> Any:
        """Ids → text; a batch of rows gives a list.

        Args:
            use_source_tokenizer: put the pieces together as the source side's; by default so if there is but one
                vocabulary.
        """
        source = not self.separate_vocabs if use_source_tokenizer is None else use_source_tokenizer
        other = copy(self)
        other.current_spm = self.spm_source if source else self.spm_target
        return PlainTokenizer.decode(other, token_ids, *args, **kwargs)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces → text; special tokens stand between as they are."""
        return joined(self.current_spm, tokens, set(self.all_special_tokens), " ").replace(SPACE, " ").strip()

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabularies and copy the sentencepiece models."""
        folder, prefix = Path(save_directory), f"{filename_prefix}-" if filename_prefix else ""
        saved = [self._write_json(folder, VOCAB_JSON, self.encoder, filename_prefix)]
        if self.separate_vocabs:
            saved.append(self._write_json(folder, _TARGET_VOCAB, self.target_encoder, filename_prefix))
        for name, model in ((_SOURCE, self.spm_source), (_TARGET, self.spm_target)):
            saved.append(copied(model.path, folder / f"{prefix}{name}"))
        return tuple(map(str, saved))


def joined(model: Pieces, tokens: list[str], special: set[str], after: str) -> str:
    """The text of pieces, with special tokens between them as they are and `after` behind each."""
    text, run = "", []
    for token in tokens:
        if token in special:
            text += model.decode(run) + token + after
            run = []
        else:
            run.append(token)
    return text + model.decode(run)


def copied(source: Path, target: Path) -> Path:
    """Copy a file, unless it is there already."""
    if source.resolve() != target.resolve():
        shutil.copyfile(source, target)
    return target
