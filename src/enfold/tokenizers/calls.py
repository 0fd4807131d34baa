"""Text → ids and back: what happens when a tokenizer is called."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from enfold.base.errors import ArgumentError, NotBuiltError
from enfold.base.logging import get_logger
from enfold.tokenizers.batch_encoding import BatchEncoding, LazyEncodings, tensor_kind, to_python
from enfold.tokenizers.padding import (
    Lengths,
    PaddingStrategy,
    TruncationStrategy,
    pad_features,
    resolve_lengths,
    round_up,
    side,
)
from enfold.tokenizers.rows import Rows

if TYPE_CHECKING:
    from enfold.tokenizers import Encoding, Tokenizer

logger = get_logger(__name__)

# The order in which the results appear.
_ROW_KEYS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")
_LONG_TEXT = "sequence-length-is-longer-than-the-specified-maximum"
_TEXT_FORMS = (
    "Text must be a string, a list of strings (a batch, or one text split into words with is_split_into_words=True), "
    "or a list of lists of strings (a batch of split texts)"
)
_TIDY = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"))
_TIDY_MORE = ((" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


def refuse_unknown(function: Callable, names: Mapping[str, Any] | Sequence[str], known: Sequence[str]) -> NoReturn:
    """Raise for keyword arguments that nobody reads, each with the nearest name there is."""
    hints = []
    for name in names:
        near = difflib.get_close_matches(name, known, n=1)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    raise ArgumentError(f"{function.__name__}() has no argument {', '.join(hints)}.")


class Calls:
    """Encoding, decoding and padding of a tokenizer."""

    if TYPE_CHECKING:
        _tokenizer: Tokenizer
        _warned: set[str]
        model_input_names: list[str]
        model_max_length: int
        padding_side: str
        truncation_side: str
        split_special_tokens: bool
        clean_up_tokenization_spaces: bool
        clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: bool
        pad_token: str | None
        pad_token_id: int | None
        pad_token_type_id: int
        unk_token_id: int | None
        all_special_ids: list[int]

        @property
        def _model_type(self) -> str: ...
        def _engine(self, split_special_tokens: bool) -> Tokenizer: ...

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        *,
        split_special_tokens: bool | None = None,
        max_target_length: int | None = None,
        sanitize_control_tokens: bool = False,
        **unknown: Any,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a batch of either.

        Args:
            text: a string; a list of strings (batch); with `is_split_into_words` a list of words, or a batch of such.
            text_pair: the second text of each pair, in the same form.
            text_target, text_pair_target: texts to be learned; their ids are returned as `labels`.
            add_special_tokens: add `[CLS]`, `</s>` and the like.
            padding: True or "longest" (to the longest row), "max_length", False.
            truncation: True or "longest_first", "only_first", "only_second", False. Off by default, on if only
                `max_length` is given.
            max_length: tokens per row, special ones included; the model's limit by default.
            stride: tokens that a truncated row's successor repeats (with `return_overflowing_tokens`).
            is_split_into_words: the texts come as lists of words.
            pad_to_multiple_of: round padded lengths up.
            padding_side: "left" or "right"; the tokenizer's own by default.
            return_tensors: "pt" or "np"; lists by default.
            return_token_type_ids, return_attention_mask: by default what the model takes.
            return_overflowing_tokens: return what truncation cut as further rows.
            return_special_tokens_mask, return_offsets_mapping, return_length: further results.
            verbose: warn of rows that are longer than the model's limit.
            tokenizer_kwargs: further arguments as a dictionary; they win.
            split_special_tokens: treat special tokens in the text as plain text.
            max_target_length: `max_length` for the target texts.

        Returns:
            `input_ids`, then as asked or usual for the model `token_type_ids`, `attention_mask`,
            `special_tokens_mask`, `offset_mapping`, `length`, `overflow_to_sample_mapping`, `labels`.

        Raises:
            ArgumentError: an argument that doesn't exist or can't be honoured, or rows of different lengths asked for
                as a tensor.
        """
        options: dict[str, Any] = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": split_special_tokens,
        }
        known = [*options, "text", "text_pair", "text_target", "text_pair_target", "max_target_length"]
        if unknown:
            refuse_unknown(type(self).__call__, unknown, known)
        if tokenizer_kwargs:
            if strange := [key for key in tokenizer_kwargs if key not in options]:
                refuse_unknown(type(self).__call__, strange, known)
            options.update(tokenizer_kwargs)
        if sanitize_control_tokens:
            raise NotBuiltError("sanitize_control_tokens=True is not built yet: escape control tokens in the messages.")
        if text is None and text_target is None:
            raise ArgumentError("Nothing to encode: give text, or text_target for texts to be learned.")
        lengths = self._lengths(options)
        encoded = None if text is None else self._encode(text, text_pair, lengths, **options)
        if text_target is None:
            assert encoded is not None
            return encoded
        if max_target_length is not None:
            lengths = Lengths(lengths.padding, lengths.truncation, max_target_length)
        target = self._for_targets()._encode(text_target, text_pair_target, lengths, **options)
        if encoded is None:
            return target
        encoded["labels"] = target["input_ids"]
        return encoded

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The ids of a text: `tokenizer(text, …)["input_ids"]`, with the same arguments."""
        plain = not (padding or truncation or max_length is not None or return_tensors or kwargs)
        if plain and isinstance(text, str) and text_pair is None and not self.split_special_tokens:
            ids = self._tokenizer.encode_ids(text, add_special_tokens=add_special_tokens)
            self._warn_if_long(len(ids))
            return ids
        return self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **kwargs,
        )["input_ids"]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text as strings of the vocabulary."""
        return self(text, pair, add_special_tokens=add_special_tokens, **kwargs).tokens()

    def _for_targets(self) -> "Calls":
        """The tokenizer for texts to be learned: translators have another template or vocabulary for them."""
        return self

    def _lengths(self, options: dict[str, Any]) -> Lengths:
        return resolve_lengths(
            self,  # type: ignore[arg-type]
            options.pop("padding"),
            options.pop("truncation"),
            options.pop("max_length"),
            options["pad_to_multiple_of"],
            options["verbose"],
        )

    def _encode(
        self,
        text: Any,
        text_pair: Any,
        lengths: Lengths,
        *,
        add_special_tokens: bool,
        stride: int,
        is_split_into_words: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: Any,
        return_token_type_ids: bool | None,
        return_attention_mask: bool | None,
        return_overflowing_tokens: bool,
        return_special_tokens_mask: bool,
        return_offsets_mapping: bool,
        return_length: bool,
        verbose: bool,
        split_special_tokens: bool | None,
    ) -> BatchEncoding:
        inputs, batched = _inputs(text, text_pair, is_split_into_words)
        kind = None if return_tensors is None else tensor_kind(return_tensors)
        names = self.model_input_names
        wanted = {
            "input_ids": True,
            "token_type_ids": "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
            "attention_mask": "attention_mask" in names if return_attention_mask is None else return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
        }
        keys = tuple(key for key in _ROW_KEYS if wanted[key])
        truncation = None
        if lengths.truncation is not TruncationStrategy.DO_NOT_TRUNCATE:
            truncation = {
                "max_length": lengths.max_length,
                "stride": stride,
                "strategy": lengths.truncation.value,
                "direction": side(self.truncation_side, "truncation_side"),
            }
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        engine = self._engine(split)
        asked = {
            "add_special_tokens": add_special_tokens,
            "is_pretokenized": is_split_into_words,
            "truncation": truncation,
        }
        batch = engine.encode_arrays(inputs, **asked, offsets=return_offsets_mapping)
        limit = None if truncation is None or return_overflowing_tokens else len(inputs)
        rows = Rows(batch, limit)
        target = self._padded_length(rows, lengths, pad_to_multiple_of)
        where = side(self.padding_side if padding_side is None else padding_side, "padding_side")
        fills = {
            "input_ids": self.pad_token_id if target is not None else 0,
            "token_type_ids": self.pad_token_type_id,
            "attention_mask": 0,
            "special_tokens_mask": 1,
        }
        data: dict[str, Any]
        if kind is not None:
            data = rows.tensors(keys, target, where, fills, return_offsets_mapping)
        else:
            data = rows.lists(keys, target, where, fills, return_offsets_mapping)
        if return_length:
            data["length"] = [max(n, target or 0) for n in rows.lengths()]
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = rows.samples()
        if verbose and lengths.max_length is None:
            self._warn_if_long(max([target or 0, *rows.lengths()]))

        pad_token = self.pad_token or ""
        pad_id, pad_type_id = fills["input_ids"], fills["token_type_ids"]

        # Offsets and words cost time that few calls need: they are computed when somebody looks.
        @cache
        def with_spans() -> Rows:
            return Rows(copy(engine).encode_arrays(inputs, **asked, offsets=True, words=True), limit)

        def make(row: int) -> "Encoding":
            encoding = with_spans().encoding(row)
            if target is not None:
                encoding.pad(target, direction=where, pad_id=pad_id, pad_type_id=pad_type_id, pad_token=pad_token)
            return encoding

        encodings = LazyEncodings(len(rows), make)
        if kind is None and not batched and not return_overflowing_tokens:
            data = {key: value[0] if value and isinstance(value[0], list) else value for key, value in data.items()}
        return BatchEncoding(data, encodings, tensor_type=kind)

    def _padded_length(self, rows: "Rows", lengths: Lengths, multiple: int | None) -> int | None:
        if lengths.padding is PaddingStrategy.DO_NOT_PAD:
            return None
        if lengths.padding is PaddingStrategy.LONGEST:
            return round_up(max(rows.lengths(first_of_sample=True), default=0), multiple)
        assert lengths.max_length is not None
        return round_up(lengths.max_length, multiple)

    def _warn_if_long(self, n: int) -> None:
        if n <= self.model_max_length or self.model_max_length == 0:
            return
        if _LONG_TEXT not in self._warned:
            logger.warning(
                "A text has %d tokens, more than the %d that this model was made for: cut it with truncation=True, "
                "or the model will refuse it.",
                n,
                self.model_max_length,
            )
        self._warned.add(_LONG_TEXT)

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
    ) -> Any:
        """Pad encodings to a common length, as data collators do.

        Args:
            encoded_inputs: one encoding, a batch of them as a dictionary of lists, or a list of dictionaries; lists,
                arrays or tensors. Only ids, masks and token types are padded.
            padding, max_length, pad_to_multiple_of, padding_side, return_tensors: as for the call.
            return_attention_mask: by default what the model takes.

        Raises:
            ArgumentError: no `input_ids` among the features, features of other types, no padding token.
        """
        return pad_features(
            self,  # type: ignore[arg-type]
            encoded_inputs,
            padding,
            max_length,
            pad_to_multiple_of,
            padding_side,
            return_attention_mask,
            return_tensors,
            verbose,
        )

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or the ids of several; the unknown token's for what is not in the vocabulary."""
        if isinstance(tokens, str):
            index = self._tokenizer.token_to_id(tokens)
            return self.unk_token_id if index is None and tokens != self._unknown() else index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _unknown(self) -> str | None:
        # An unknown token that is itself missing from the vocabulary must not be looked up for ever.
        return getattr(self, "unk_token", None)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of several; None where there is no such id."""
        if isinstance(ids, int):
            return self._tokenizer.id_to_token(ids)
        skip = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._tokenizer.id_to_token(int(index)) for index in ids if int(index) not in skip]

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ids → text; a batch of rows gives a list of texts.

        Args:
            token_ids: an id, a list, array or tensor of ids, or a batch of these.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: drop spaces before punctuation (WordPiece only); the tokenizer's setting by
                default.
        """
        kwargs.pop("use_source_tokenizer", None)
        if kwargs:
            known = ["token_ids", "skip_special_tokens", "clean_up_tokenization_spaces"]
            refuse_unknown(self.decode, kwargs, known)
        if isinstance(token_ids, Mapping):
            token_ids = token_ids["input_ids"]
        ids: Any = to_python(token_ids)
        tidy = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        if isinstance(ids, int):
            ids = [ids]
        if ids and isinstance(ids[0], (list, tuple)):
            texts = self._tokenizer.decode_batch([list(row) for row in ids], skip_special_tokens=skip_special_tokens)
            return [self._tidy(text) for text in texts] if tidy else texts
        text = self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        return self._tidy(text) if tidy else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Rows of ids → a list of texts; see `decode`."""
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        return [texts] if isinstance(texts, str) else texts

    def _tidy(self, text: str) -> str:
        if self._model_type != "BPE" or self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output:
            return self.clean_up_tokenization(text)
        if "tidy" not in self._warned:
            logger.warning(
                "clean_up_tokenization_spaces is meant for WordPiece and would damage BPE text; it is not applied. "
                "Pass clean_up_tokenization_spaces=False to say so yourself."
            )
            self._warned.add("tidy")
        return text

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Drop the spaces that stand before punctuation and English contractions."""
        for spaced, tight in (*_TIDY, *_TIDY_MORE):
            text = text.replace(spaced, tight)
        return text


def _inputs(text: Any, pair: Any, split_into_words: bool) -> tuple[list, bool]:
    """The engine's inputs, and whether they are a batch."""
    for value in (text, pair):
        if value is not None and not _is_text(value):
            raise ArgumentError(f"{_TEXT_FORMS}; got {_describe(value)}.")
    if split_into_words:
        if isinstance(text, str) or isinstance(pair, str):
            raise ArgumentError(f"is_split_into_words=True needs lists of words; got {_describe(text)}.")
        batched = bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    if not batched:
        return [(text, pair)] if pair else [text], False
    if pair is None:
        return (text if isinstance(text, list) else list(text)), True
    if isinstance(pair, str):
        raise ArgumentError("text is a batch, so text_pair must be a list of the same length; got one string.")
    if len(text) != len(pair):
        raise ArgumentError(f"text has {len(text)} entries and text_pair {len(pair)}: they must be as many.")
    return list(zip(text, pair, strict=True)), True


def _is_text(value: Any, depth: int = 0) -> bool:
    if isinstance(value, str):
        return True
    return depth < 3 and isinstance(value, (list, tuple)) and (not value or _is_text(value[0], depth + 1))


def _describe(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__ + (f" ({value!r})" if isinstance(value, (int, float, bool)) else "")
