"""M2M-100's tokenizer: sentencepiece's pieces, numbered by vocab.json, behind a language code."""

import os
from copy import copy
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.families.languages import M2M100
from enfold.tokenizers.families.marian import copied, joined
from enfold.tokenizers.families.pieces import Pieces
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.formats.reading import read_vocab_json
from enfold.tokenizers.loading import VOCAB_JSON

_MODEL = "sentencepiece.bpe.model"


class M2M100Tokenizer(PlainTokenizer):
    """`__en__ A </s>`; language codes have the ids behind the vocabulary, but are no special tokens.

    Args:
        vocab_file, spm_file: vocab.json and the sentencepiece model.
        src_lang, tgt_lang: codes of the languages of texts and of texts to be learned ("en").
        language_codes: "m2m100" or "wmt21", the set of languages.
    """

    defaults = {
        "src_lang": None,
        "tgt_lang": None,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "language_codes": "m2m100",
        "num_madeup_words": 8,
        "sp_model_kwargs": None,
    }
    files = {"vocab_file": VOCAB_JSON, "spm_file": _MODEL}
    tgt_lang: str | None

    def __init__(self, vocab_file: str | os.PathLike, spm_file: str | os.PathLike, **options: Any):
        self.encoder = read_vocab_json(Path(vocab_file))
        self.decoder = {index: token for token, index in self.encoder.items()}
        self.sp_model = Pieces(Path(spm_file))
        name = options.get("language_codes", "m2m100")
        if name not in M2M100:
            raise ArgumentError(f"language_codes must be one of {', '.join(M2M100)}; got {name!r}.")
        first = len(self.encoder)
        self.lang_code_to_id = {code: first + index for index, code in enumerate(M2M100[name])}
        self.lang_code_to_token = {code: f"__{code}__" for code in M2M100[name]}
        self.lang_token_to_id = {f"__{code}__": index for code, index in self.lang_code_to_id.items()}
        self.id_to_lang_token = {index: token for token, index in self.lang_token_to_id.items()}
        self._src_lang = options.get("src_lang") or "en"
        self.get_lang_id(self._src_lang)
        super().__init__(**options)
        self.set_src_lang_special_tokens(self._src_lang)

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without language codes and added ones."""
        return len(self.encoder)

    def _base_vocab(self) -> dict[str, int]:
        return {self.convert_ids_to_tokens(index): index for index in range(len(self.encoder))}

    def _base_size(self) -> int:
        return len(self.encoder)

    def _known(self, token: str) -> int | None:
        return self.encoder.get(token)

    def _id(self, token: str) -> int | None:
        if token in self.lang_token_to_id:
            return self.lang_token_to_id[token]
        return self.encoder.get(token, self.encoder.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        return self.id_to_lang_token.get(index) or self.decoder.get(index, self.unk_token)

    def _tokens(self, text: str) -> list[str]:
        return self.sp_model.encode(text)

    def get_lang_token(self, lang: str) -> str:
        """`"en"` → `"__en__"`."""
        if lang not in self.lang_code_to_token:
            raise ArgumentError(f"No language {lang!r}. Known: {', '.join(self.lang_code_to_token)}.")
        return self.lang_code_to_token[lang]

    def get_lang_id(self, lang: str) -> int:
        """The id of a language's code, with which generation in it begins."""
        return self.lang_token_to_id[self.get_lang_token(lang)]

    @property
    def src_lang(self) -> str:
        """The language of the texts."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        self.set_src_lang_special_tokens(language)
        self._src_lang = language

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Put the code of this language before texts, without changing `src_lang`."""
        self.cur_lang_id = self.get_lang_id(src_lang)
        self.prefix_tokens = [self.cur_lang_id]
        self.suffix_tokens = self.convert_tokens_to_ids([self.eos_token])

    set_tgt_lang_special_tokens = set_src_lang_special_tokens

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> BatchEncoding:
        """Encode texts in `src_lang`, and those to be learned (`text_target`) in `tgt_lang`."""
        if text is not None:
            self.set_src_lang_special_tokens(self._src_lang)
        return super().__call__(text, *args, **kwargs)

    def _for_targets(self) -> "M2M100Tokenizer":
        if self.tgt_lang is None:
            raise ArgumentError("Texts to be learned need tgt_lang.")
        other = copy(self)
        other.set_tgt_lang_special_tokens(self.tgt_lang)
        return other

    def _build_translation_inputs(
        self, raw_inputs: Any, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> BatchEncoding:
        """Source texts with the id of the target language's code, which generation must begin with."""
        if src_lang is None or tgt_lang is None:
            raise ArgumentError("A translation needs src_lang and tgt_lang.")
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, **kwargs)
        inputs["forced_bos_token_id"] = self.get_lang_id(tgt_lang)
        return inputs

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The language's code, the ids, `</s>`."""
        return [*self.prefix_tokens, *token_ids_0, *(token_ids_1 or []), *self.suffix_tokens]

    def _special_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        around = [1] * len(self.prefix_tokens), [1] * len(self.suffix_tokens)
        return [*around[0], *[0] * (len(first) + len(second or [])), *around[1]]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces → text; special tokens stand between as they are."""
        return joined(self.sp_model, tokens, set(self.all_special_tokens), "").strip()

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json and copy the sentencepiece model."""
        folder, prefix = Path(save_directory), f"{filename_prefix}-" if filename_prefix else ""
        vocab = self._write_json(folder, VOCAB_JSON, self.encoder, filename_prefix)
        return str(vocab), str(copied(self.sp_model.path, folder / f"{prefix}{_MODEL}"))
