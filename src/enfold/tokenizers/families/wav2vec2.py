"""Wav2Vec2's characters, read off frames by connectionist temporal classification (CTC)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.batch_encoding import to_python
from enfold.tokenizers.calls import refuse_unknown
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.formats.reading import checked_vocab, read_json
from enfold.tokenizers.loading import VOCAB_JSON

# {"char" or "word", "start_offset", "end_offset"}, in frames.
Span = dict[str, Any]


@dataclass
class Wav2Vec2CTCTokenizerOutput:
    """A decoded row (or rows, as lists) with the frames that its characters and words stand on."""

    text: Any
    char_offsets: Any = None
    word_offsets: Any = None

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def keys(self) -> Iterator[str]:
        """The results that were asked for."""
        return iter([name for name in ("text", "char_offsets", "word_offsets") if getattr(self, name) is not None])


class Wav2Vec2CTCTokenizer(PlainTokenizer):
    """One token for each character, `|` between words; repeated tokens are one, `<pad>` is the blank.

    Args:
        vocab_file: vocab.json: token → id, or language → such a vocabulary.
        word_delimiter_token: stands for the space between words.
        replace_word_delimiter_char: what it becomes in text.
        do_lower_case: the vocabulary has capitals, texts become lower case.
        target_lang: the language whose vocabulary is used.
    """

    defaults = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "word_delimiter_token": "|",
        "replace_word_delimiter_char": " ",
        "do_lower_case": False,
        "target_lang": None,
    }
    files = {"vocab_file": VOCAB_JSON}
    do_lower_case: bool
    target_lang: str | None
    replace_word_delimiter_char: str
    word_delimiter_token: str | None

    def __init__(self, vocab_file: str | os.PathLike, **options: Any):
        path = Path(vocab_file)
        self._whole = read_json(path)
        self._choose(options.get("target_lang"), path)
        super().__init__(**options)
        self._add_long_tokens()

    def _choose(self, language: str | None, source: Any) -> None:
        whole = self._whole
        nested = all(isinstance(value, dict) for value in whole.values())
        if language is not None and language not in whole:
            known = ", ".join(whole) if nested else "none: the vocabulary is of one language"
            raise TokenizerError(f"{source}: no vocabulary for target_lang={language!r}. Known: {known}.")
        if nested and language is None:
            raise ArgumentError(
                f"{source} holds vocabularies by language: choose one with target_lang=, {list(whole)}."
            )
        self.encoder = checked_vocab(whole if language is None else whole[language], source)
        self.decoder = {index: token for token, index in self.encoder.items()}

    def _add_long_tokens(self) -> None:
        from enfold.tokenizers import AddedToken

        for token in self.encoder:
            if len(token) > 1:
                self.add_tokens(AddedToken(token, rstrip=True, lstrip=True, normalized=False))

    def set_target_lang(self, target_lang: str) -> None:
        """Use the vocabulary of another language."""
        if self._whole is self.encoder:
            raise ArgumentError(f"The vocabulary is of one language: there is no {target_lang!r} to change to.")
        self._choose(target_lang, "set_target_lang")
        self.target_lang = self.init_kwargs["target_lang"] = target_lang
        for index in [index for index in self._added if index in self.decoder]:
            self._added_ids.pop(self._added.pop(index).content, None)
        self._add_long_tokens()

    @property
    def vocab(self) -> dict[str, Any]:
        """What the file holds: token → id, or language → vocabulary."""
        return self._whole

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary in use, without added ones."""
        return len(self.decoder)

    def _base_vocab(self) -> dict[str, int]:
        return self.encoder

    def _added_token(self, text: str, special: bool) -> Any:
        from enfold.tokenizers import AddedToken

        return AddedToken(text, normalized=False, special=special)

    def _tokens(self, text: str) -> list[str]:
        text = text.upper() if self.do_lower_case else text
        return list(text.replace(" ", str(self.word_delimiter_token)))

    def _known(self, token: str) -> int | None:
        return self.encoder.get(token)

    def _id(self, token: str) -> int | None:
        return self.encoder.get(token, self.encoder.get(str(self.unk_token)))

    def _token(self, index: int) -> str | None:
        return self.decoder.get(index, self.unk_token)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of several; the vocabulary's comes before an added one."""
        if isinstance(ids, int):
            return self.decoder[ids] if ids in self.decoder else super().convert_ids_to_tokens(ids)
        return super().convert_ids_to_tokens(ids, skip_special_tokens)

    def convert_tokens_to_string(  # type: ignore[override]
        self,
        tokens: list[str],
        group_tokens: bool = True,
        spaces_between_special_tokens: bool = False,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
    ) -> dict[str, Any]:
        """Tokens, one a frame → {"text", "char_offsets", "word_offsets"}; see `decode`."""
        if not tokens:
            return {"text": "", "char_offsets": [], "word_offsets": []}
        runs = [(token, len(list(run))) for token, run in groupby(tokens)] if group_tokens else [(t, 1) for t in tokens]
        spans: list[Span] = []
        frame = 0
        for token, length in runs:
            if token != self.pad_token:
                char = self.replace_word_delimiter_char if token == self.word_delimiter_token else token
                spans.append({"char": char, "start_offset": frame, "end_offset": frame + length})
            frame += length
        between = " " if spaces_between_special_tokens else ""
        text = between.join(span["char"] for span in spans).strip()
        return {
            "text": text.lower() if self.do_lower_case else text,
            "char_offsets": spans if output_char_offsets else None,
            "word_offsets": self._words(spans) if output_word_offsets else None,
        }

    def _words(self, spans: list[Span]) -> list[Span]:
        words: list[Span] = []
        for space, run in groupby(spans, key=lambda span: span["char"] == self.replace_word_delimiter_char):
            if not space:
                chars = list(run)
                word = "".join(span["char"] for span in chars)
                first, last = chars[0]["start_offset"], chars[-1]["end_offset"]
                words.append({"word": word, "start_offset": first, "end_offset": last})
        return words

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Ids, one a frame → text; a batch of rows gives a list.

        Args:
            token_ids, skip_special_tokens, clean_up_tokenization_spaces: as in every tokenizer.
            output_char_offsets, output_word_offsets: return a `Wav2Vec2CTCTokenizerOutput` with the frames of
                characters or words; a frame is as long as the model's stride.
            group_tokens: False keeps repeated tokens.
            spaces_between_special_tokens: put spaces between all tokens.
        """
        wanted = {"output_char_offsets": output_char_offsets, "output_word_offsets": output_word_offsets}
        return super().decode(token_ids, skip_special_tokens, clean_up_tokenization_spaces, **wanted, **kwargs)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Rows of ids → texts; with offsets one output of lists. See `decode`."""
        wanted = {"output_char_offsets": output_char_offsets, "output_word_offsets": output_word_offsets}
        options = {**wanted, **kwargs}
        rows = [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **options)
            for row in to_python(sequences)
        ]
        if not (output_char_offsets or output_word_offsets) or not rows:
            return rows
        names = list(rows[0].keys())
        return Wav2Vec2CTCTokenizerOutput(**{name: [row[name] for row in rows] for name in names})

    def _text(
        self,
        ids: list[int],
        skip_special: bool,
        tidy: bool | None,
        group_tokens: bool = True,
        spaces_between_special_tokens: bool = False,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        **unknown: Any,
    ) -> Any:
        if unknown:
            refuse_unknown(self.decode, unknown, ["group_tokens", "spaces_between_special_tokens"])
        left_out = set(self.all_special_tokens) - {self.word_delimiter_token} if skip_special else set()
        tokens = [token for token in self.convert_ids_to_tokens(ids) if token not in left_out]
        found = self.convert_tokens_to_string(
            tokens, group_tokens, spaces_between_special_tokens, output_char_offsets, output_word_offsets
        )
        found["text"] = self._tidied(found["text"], tidy)
        return Wav2Vec2CTCTokenizerOutput(**found) if output_char_offsets or output_word_offsets else found["text"]

    def save_vocabulary(self, save_directory: str | os.PathLike, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json."""
        return (str(self._write_json(Path(save_directory), VOCAB_JSON, self._whole, filename_prefix)),)
