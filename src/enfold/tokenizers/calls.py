"""Text → ids and back: what happens when a tokenizer is called."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from enfold.base.errors import ArgumentError
from enfold.base.flat import results_to_arrow
from enfold.base.logging import get_logger
from enfold.tokenizers.batch_encoding import BatchEncoding, to_python
from enfold.tokenizers.padding import pad_features
from enfold.tokenizers.requests import OPTIONS, Prepared, named, prepare

if TYPE_CHECKING:
    from enfold.tokenizers import Tokenizer

logger = get_logger(__name__)

_KEPT_REQUESTS = 64
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
        _requests: dict[tuple[Any, ...], Prepared]
        model_input_names: list[str]
        model_max_length: int
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
            sanitize_control_tokens: the texts come from `apply_chat_template`, which has marked what users wrote.

        Returns:
            `input_ids`, then as asked or usual for the model `token_type_ids`, `attention_mask`,
            `special_tokens_mask`, `offset_mapping`, `length`, `overflow_to_sample_mapping`, `labels`.

        Raises:
            ArgumentError: an argument that doesn't exist or can't be honoured, or rows of different lengths asked for
                as a tensor.
        """
        # In the order of OPTIONS; then what tells True from 1, which are one key of a dictionary.
        options: tuple[Any, ...] = (
            add_special_tokens,
            padding,
            truncation,
            max_length,
            stride,
            is_split_into_words,
            pad_to_multiple_of,
            padding_side,
            return_tensors,
            return_token_type_ids,
            return_attention_mask,
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
            verbose,
            split_special_tokens,
            padding.__class__,
            truncation.__class__,
            max_length.__class__,
        )
        if unknown or tokenizer_kwargs:
            options = _with_others(type(self).__call__, options, tokenizer_kwargs, unknown)
        if sanitize_control_tokens:
            from enfold.tokenizers.control_tokens import encode_marked

            return encode_marked(self, text, text_pair, named(options)[0])  # type: ignore[arg-type]
        prepared = self._prepared(options)
        if text_target is None:
            if text is None:
                raise ArgumentError("Nothing to encode: give text, or text_target for texts to be learned.")
            return self._answer(text, text_pair, prepared)
        encoded = None if text is None else self._answer(text, text_pair, prepared)
        if max_target_length is not None:
            options = (*options, max_target_length)
        targets = self._for_targets()
        target = targets._answer(text_target, text_pair_target, targets._prepared(options))
        if encoded is None:
            return target
        encoded["labels"] = target["input_ids"]
        return encoded

    def _prepared(self, options: tuple[Any, ...]) -> Prepared:
        """What the tokenizer does for these options (values of OPTIONS, their classes, max_target_length)."""
        kept = self._requests
        try:
            found = kept.get(options)
        except TypeError:  # a value that can't be a key; preparing it says so if it matters
            kept, found = {}, None
        if found is None or found.names != self.model_input_names or not self._tokenizer.fits(found.engine):
            found = prepare(self, *named(options))  # type: ignore[arg-type]
            if kept is self._requests:
                if len(kept) >= _KEPT_REQUESTS:
                    kept.clear()
                kept[options] = found
        if found.lengths.notice is not None:
            found.lengths.warn(stacklevel=3)
        return found

    def _answer(self, text: Any, pair: Any, prepared: Prepared) -> BatchEncoding:
        engine = prepared.engine
        listed = prepared.kind is None and not prepared.overflow
        if type(text) is str and (not pair or type(pair) is str) and not prepared.words and (listed or prepared.kind):
            inputs: list = [(text, pair)] if pair else [text]
            if listed:
                data = engine.text(text, pair) if pair else engine.text(text)
                longest = len(data["input_ids"])
            else:
                data = prepared.tensors(inputs)
                longest = data["input_ids"].shape[1]
        else:
            inputs, batched = _inputs(text, pair, prepared.words)
            if prepared.kind is not None:
                data = prepared.tensors(inputs)
                longest = data["input_ids"].shape[1]
            elif results_to_arrow.get() and batched and inputs and not prepared.others:
                return self._flat(inputs, prepared)
            else:
                data = engine.lists(inputs)
                longest = 0 if prepared.limit is None else max(map(len, data["input_ids"]), default=0)
                if listed and not batched:
                    data = {key: rows if key == "length" else rows[0] for key, rows in data.items()}
        if prepared.limit is not None and longest > prepared.limit:
            self._warn_if_long(longest)
        return BatchEncoding.of_call(data, engine, inputs)

    def _flat(self, inputs: list, prepared: Prepared) -> BatchEncoding:
        """The result of a batch that goes into Arrow."""
        from enfold.tokenizers.flat import FlatEncoding

        batch = prepared.engine.encode(inputs)
        if prepared.limit is not None:
            splits = batch.row_splits
            self._warn_if_long(int((splits[1:] - splits[:-1]).max()))
        return FlatEncoding(prepared, inputs, batch)

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
        if type(text) is str and not pair and not kwargs and not self.split_special_tokens:
            tokens = self._tokenizer.encode_tokens(text, add_special_tokens)
            self._warn_if_long(len(tokens))
            return tokens
        return self(text, pair, add_special_tokens=add_special_tokens, **kwargs).tokens()

    def _for_targets(self) -> "Calls":
        """The tokenizer for texts to be learned: translators have another template or vocabulary for them."""
        return self

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

    def _fills(self, main: str) -> dict[str, Any]:
        """What padding puts into each feature; `main` is that of the ids."""
        return {
            "attention_mask": 0,
            "token_type_ids": self.pad_token_type_id,
            "special_tokens_mask": 1,
            main: self.pad_token_id,
        }

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
        if kwargs:
            kwargs.pop("use_source_tokenizer", None)
        if kwargs:
            known = ["token_ids", "skip_special_tokens", "clean_up_tokenization_spaces"]
            refuse_unknown(self.decode, kwargs, known)
        ids, several = _rows_of_ids(token_ids)
        decode = self._tokenizer.decode_batch if several else self._tokenizer.decode
        text: Any = decode(ids, skip_special_tokens)
        tidy = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        if tidy:
            return [self._tidy(one) for one in text] if several else self._tidy(text)
        return text

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


def _with_others(
    function: Callable,
    options: tuple[Any, ...],
    more: Mapping[str, Any] | None,
    unknown: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The options with those of `tokenizer_kwargs` in their place; refuses arguments that nobody reads."""
    known = [*OPTIONS, "text", "text_pair", "text_target", "text_pair_target", "max_target_length"]
    if unknown:
        refuse_unknown(function, unknown, known)
    if more and (strange := [key for key in more if key not in OPTIONS]):
        refuse_unknown(function, strange, known)
    values = {**dict(zip(OPTIONS, options, strict=False)), **(more or {})}
    return (*values.values(), *(values[key].__class__ for key in ("padding", "truncation", "max_length")))


def _inputs(text: Any, pair: Any, split_into_words: bool) -> tuple[list, bool]:
    """The engine's inputs, as lists that nobody else holds, and whether they are a batch."""
    for value in (text, pair):
        if value is not None and not _is_text(value):
            raise ArgumentError(f"{_TEXT_FORMS}; got {_describe(value)}.")
    own: Callable = _as_is
    if split_into_words:
        if isinstance(text, str) or isinstance(pair, str):
            raise ArgumentError(f"is_split_into_words=True needs lists of words; got {_describe(text)}.")
        batched = bool(text) and isinstance(text[0], (list, tuple))
        own = _own_words
    else:
        batched = isinstance(text, (list, tuple))
    if not batched:
        return [(own(text), own(pair))] if pair else [own(text)], False
    if pair is None:
        return [own(words) for words in text] if split_into_words else list(text), True
    if isinstance(pair, str):
        raise ArgumentError("text is a batch, so text_pair must be a list of the same length; got one string.")
    if len(text) != len(pair):
        raise ArgumentError(f"text has {len(text)} entries and text_pair {len(pair)}: they must be as many.")
    return list(zip(map(own, text), map(own, pair), strict=True)), True


def _rows_of_ids(given: Any) -> tuple[Any, bool]:
    """Ids as the engine takes them (lists or arrays), and whether they are several rows."""
    if type(given) is not list:
        if isinstance(given, Mapping):
            given = given["input_ids"]
        if hasattr(given, "detach"):
            given = given.detach().cpu().numpy()
        if hasattr(given, "ndim"):
            return (given, given.ndim > 1) if given.ndim else ([given.item()], False)
        if isinstance(given, int):
            return [given], False
    if not given or type(given[0]) is int:
        return given, False
    if not isinstance(given[0], (list, tuple)):
        given = to_python(given)
    return given, bool(given) and isinstance(given[0], (list, tuple))


def _as_is(text: Any) -> Any:
    return text


def _own_words(words: Any) -> Any:
    """A copy of a list of words, or of a pair of such lists."""
    return [_own_words(word) if isinstance(word, (list, tuple)) else word for word in words]


def _is_text(value: Any, depth: int = 0) -> bool:
    if isinstance(value, str):
        return True
    return depth < 3 and isinstance(value, (list, tuple)) and (not value or _is_text(value[0], depth + 1))


def _describe(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__ + (f" ({value!r})" if isinstance(value, (int, float, bool)) else "")
