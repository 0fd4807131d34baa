"""Families in Python whose vocabulary is a list of tokens in a file: letters, words, word pieces."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from enfold.tokenizers.families.basic_words import BasicWords, WordPieces
from enfold.tokenizers.families.blenderbot_small import merged
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.formats.reading import read_merges, read_vocab_json, read_vocab_txt
from enfold.tokenizers.loading import MERGES, VOCAB_JSON, VOCAB_TXT

_END = "</w>"


class ListedTokenizer(PlainTokenizer):
    """The base of these families.

    Args:
        vocab_file: a JSON object of token → id, or a text with a token on each line.
    """

    files = {"vocab_file": VOCAB_JSON}

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
        self._vocab = self._read(Path(vocab_file))
        self._by_id = {index: token for token, index in self._vocab.items()}
        super().__init__(**options)

    def _read(self, path: Path) -> dict[str, int]:
        return read_vocab_json(path) if self.files["vocab_file"] == VOCAB_JSON else read_vocab_txt(path)

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without added ones."""
        return len(self._vocab)

    def _base_vocab(self) -> dict[str, int]:
        return self._vocab

    def _known(self, token: str) -> int | None:
        return self._vocab.get(token)

    def _id(self, token: str) -> int | None:
        return self._vocab.get(token, self._vocab.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        return self._by_id.get(index, self.unk_token)

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the list of tokens."""
        folder, name = Path(save_directory), self.files["vocab_file"]
        if name == VOCAB_JSON:
            return (str(self._write_json(folder, name, self._vocab, filename_prefix)),)
        path = folder / ((f"{filename_prefix}-" if filename_prefix else "") + name)
        path.write_text("".join(f"{token}\n" for token in self._vocab), encoding="utf-8")
        return (str(path),)


class MgpstrTokenizer(ListedTokenizer):
    """MGP-STR's letters, for reading text in pictures. https://arxiv.org/abs/2209.03592"""

    defaults = {"unk_token": "[GO]", "bos_token": "[GO]", "eos_token": "[s]", "pad_token": "[GO]"}

    def _tokens(self, text: str) -> list[str]:
        return list(text)

    def _token(self, index: int) -> str | None:
        return self._by_id.get(index)


class EsmTokenizer(ListedTokenizer):
    """ESM's amino acids: `<cls> A <eos> B <eos>`. Every token of the vocabulary is found wherever it stands.

    Args:
        vocab_file: vocab.txt.
    """

    defaults = {
        "unk_token": "<unk>",
        "cls_token": "<cls>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "eos_token": "<eos>",
    }
    files = {"vocab_file": VOCAB_TXT}
    single, pair = "cls $A eos", "cls $A eos $B eos"

    def _uncut(self) -> Iterable[str]:
        return filter(None, self._vocab)

    def _tokens(self, text: str) -> list[str]:
        return text.split()


class CTRLTokenizer(ListedTokenizer):
    """CTRL's BPE, whose tokens say with `@@` that the word goes on. https://arxiv.org/abs/1909.05858

    Args:
        vocab_file, merges_file: vocab.json and merges.txt.
    """

    defaults = {"unk_token": "<unk>"}
    files = {"vocab_file": VOCAB_JSON, "merges_file": MERGES}
    second_type = False

    def __init__(self, vocab_file: str | os.PathLike, merges_file: str | os.PathLike, **options: Any):
        self._merges = read_merges(Path(merges_file))
        self._ranks = {tuple(pair): rank for rank, pair in enumerate(self._merges)}
        super().__init__(vocab_file, **options)

    def _tokens(self, text: str) -> list[str]:
        return [token for word in re.findall(r"\S+\n?", text) for token in self._word(word)]

    def _word(self, word: str) -> list[str]:
        if len(word) == 1:
            return [word]
        *rest, last = merged([*word[:-1], word[-1] + _END], self._ranks)  # type: ignore[arg-type]
        return [*(f"{part}@@" for part in rest), last.removesuffix(_END)]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens → words."""
        return " ".join(tokens).replace("@@ ", "").strip()

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json and merges.txt."""
        path = Path(save_directory) / ((f"{filename_prefix}-" if filename_prefix else "") + MERGES)
        lines = "".join(f"{first} {second}\n" for first, second in self._merges)
        path.write_text(f"#version: 0.2\n{lines}", encoding="utf-8")
        return (*super().save_vocabulary(save_directory, filename_prefix), str(path))


class ProphetNetTokenizer(ListedTokenizer):
    """BERT's WordPiece by Python's rules: `A [SEP] B [SEP]`. https://arxiv.org/abs/2001.04063

    Args:
        vocab_file: prophetnet.tokenizer, a text with a token on each line.
        do_basic_tokenize: cut text at punctuation first, and the rest that the options below say.
        do_lower_case, never_split, tokenize_chinese_chars, strip_accents: as for `BasicWords`.
    """

    defaults = {
        "do_lower_case": True,
        "do_basic_tokenize": True,
        "never_split": None,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "x_sep_token": "[X_SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "clean_up_tokenization_spaces": True,
    }
    files = {"vocab_file": "prophetnet.tokenizer"}
    single, pair = "$A sep", "$A sep $B sep"

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
        given: Mapping[str, Any] = {**self.defaults, **options}
        self._words = BasicWords(
            lowercase=given["do_lower_case"],
            never_split=frozenset(given["never_split"] or ()),
            split_chinese=given["tokenize_chinese_chars"],
            strip_accents=given["strip_accents"],
        )
        super().__init__(vocab_file, **options)
        self._pieces = WordPieces(self._vocab, str(given["unk_token"]))

    def _tokens(self, text: str) -> list[str]:
        if not self.do_basic_tokenize:
            return self._pieces.pieces(text)
        whole = self._words.never_split
        return [
            token
            for word in self._words.words(text, self.all_special_tokens)
            for token in ([word] if word in whole else self._pieces.pieces(word))
        ]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Word pieces → text."""
        return " ".join(tokens).replace(" ##", "").strip()
