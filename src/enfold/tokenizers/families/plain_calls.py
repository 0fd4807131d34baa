"""Encoding without an engine: rows of ids are cut, framed and padded in Python."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding, tensor_kind
from enfold.tokenizers.calls import Calls
from enfold.tokenizers.padding import Lengths, PaddingStrategy, TruncationStrategy
from enfold.tokenizers.requests import lengths_of, named


class PlainCalls(Calls):
    """The calls of a tokenizer that can tokenize one text."""

    if TYPE_CHECKING:
        truncation_side: str

        def num_special_tokens_to_add(self, pair: bool = False) -> int: ...
        def build_inputs_with_special_tokens(self, first: list[int], second: list[int] | None = None) -> list[int]: ...
        def create_token_type_ids_from_sequences(
            self, first: list[int], second: list[int] | None = None
        ) -> list[int]: ...
        def _special_mask(self, first: list[int], second: list[int] | None) -> list[int]: ...

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **kwargs: Any) -> Any:  # type: ignore[override]
        """The ids of a text: `tokenizer(text, …)["input_ids"]`, with the same arguments."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **kwargs)["input_ids"]

    def _prepared(self, options: tuple[Any, ...]) -> Any:
        by_name, max_target_length = named(options)
        lengths = lengths_of(self, by_name, max_target_length)  # type: ignore[arg-type]
        lengths.warn(stacklevel=3)
        return lengths, by_name

    def _answer(self, text: Any, pair: Any, prepared: Any) -> BatchEncoding:
        lengths, options = prepared
        return self._encode(text, pair, lengths, options)

    def _encode(self, text: Any, text_pair: Any, lengths: Lengths, options: Mapping[str, Any]) -> BatchEncoding:
        for name in ("return_offsets_mapping",):
            if options[name]:
                raise ArgumentError(f"{name}=True needs a tokenizer with an engine; {type(self).__name__} has none.")
        words = options["is_split_into_words"]
        tensors = None if options["return_tensors"] is None else tensor_kind(options["return_tensors"])
        if isinstance(text, (list, tuple)) and (not words or (text and isinstance(text[0], (list, tuple)))):
            if text and isinstance(text[0], int):
                return self._one(text, text_pair, lengths, tensors, options)
            return self._many(text, text_pair, lengths, tensors, options)
        return self._one(text, text_pair, lengths, tensors, options)

    def _many(
        self, texts: Sequence[Any], pairs: Any, lengths: Lengths, tensors: str | None, options: Mapping[str, Any]
    ) -> BatchEncoding:
        if pairs is not None and (not isinstance(pairs, (list, tuple)) or len(pairs) != len(texts)):
            raise ArgumentError("text is a batch, so text_pair must be a list of the same length.")
        unpadded = Lengths(PaddingStrategy.DO_NOT_PAD, lengths.truncation, lengths.max_length)
        rows = []
        for place, text in enumerate(texts):
            pair = None if pairs is None else pairs[place]
            if pairs is None and isinstance(text, tuple) and len(text) == 2:
                text, pair = text
            rows.append(self._row(text, pair, unpadded, options))
        keys = dict.fromkeys(key for row in rows for key in row)
        fill = {"overflowing_tokens": [], "num_truncated_tokens": 0}
        batch = {key: [row.get(key, fill.get(key)) for row in rows] for key in keys}
        if tensors:
            batch.pop("overflowing_tokens", None)
            batch.pop("num_truncated_tokens", None)
        if not rows:
            return BatchEncoding({"input_ids": [], "attention_mask": []}, tensor_type=tensors)
        padded = self._padded(batch, lengths, options)
        return BatchEncoding(dict(padded), tensor_type=tensors)

    def _one(
        self, text: Any, pair: Any, lengths: Lengths, tensors: str | None, options: Mapping[str, Any]
    ) -> BatchEncoding:
        row = self._row(text, pair, lengths, options)
        if tensors:
            row.pop("overflowing_tokens", None)
        asked = options["return_attention_mask"]
        with_mask = "attention_mask" in self.model_input_names if asked is None else asked
        row = dict(self._padded(row, lengths, {**options, "return_attention_mask": with_mask}))
        if options["return_length"]:
            row.pop("length")
            row["length"] = len(row["input_ids"])
        return BatchEncoding(row, tensor_type=tensors, prepend_batch_axis=True)

    def _padded(self, features: dict[str, Any], lengths: Lengths, options: Mapping[str, Any]) -> Any:
        return self.pad(
            features,
            padding=lengths.padding.value,
            max_length=lengths.max_length,
            pad_to_multiple_of=options["pad_to_multiple_of"],
            padding_side=options["padding_side"],
            return_attention_mask=options["return_attention_mask"],
            verbose=False,
        )

    def _row(self, text: Any, pair: Any, lengths: Lengths, options: Mapping[str, Any]) -> dict[str, Any]:
        """One text or pair without padding."""
        ids = self._ids(text, options)
        pair_ids = None if pair is None else self._ids(pair, options)
        special = options["add_special_tokens"]
        overflow: list[int] = []
        total = len(ids) + len(pair_ids or ())
        total += self.num_special_tokens_to_add(pair_ids is not None) if special else 0
        limit, cut = lengths.max_length, lengths.truncation
        if options["return_overflowing_tokens"] and cut is TruncationStrategy.LONGEST_FIRST and pair_ids is not None:
            raise ArgumentError(
                "What is cut from both texts of a pair can't be returned: use truncation='only_first' or 'only_second'."
            )
        if cut is not TruncationStrategy.DO_NOT_TRUNCATE and limit and total > limit:
            ids, pair_ids, overflow = self._truncated(ids, pair_ids, total - limit, cut, options["stride"])
        if special:
            row: dict[str, Any] = {"input_ids": self.build_inputs_with_special_tokens(ids, pair_ids)}
            types = self.create_token_type_ids_from_sequences(ids, pair_ids)
            mask = self._special_mask(ids, pair_ids)
        else:
            row = {"input_ids": ids + (pair_ids or [])}
            types = mask = [0] * len(row["input_ids"])
        with_types = options["return_token_type_ids"]
        if "token_type_ids" in self.model_input_names if with_types is None else with_types:
            row["token_type_ids"] = types
        if options["return_special_tokens_mask"]:
            row["special_tokens_mask"] = mask
        if options["return_overflowing_tokens"] and overflow:
            row |= {"overflowing_tokens": overflow, "num_truncated_tokens": total - (limit or 0)}
        if options["return_length"]:
            row["length"] = len(row["input_ids"])
        if options["verbose"] and limit is None:
            self._warn_if_long(len(row["input_ids"]))
        return row

    def _ids(self, text: Any, options: Mapping[str, Any]) -> list[int]:
        asked = options["split_special_tokens"]
        split = {} if asked is None else {"split_special_tokens": asked}
        if isinstance(text, str):
            return self.convert_tokens_to_ids(self.tokenize(text, **split))
        if isinstance(text, (list, tuple)) and text and all(isinstance(index, int) for index in text):
            return list(text)
        if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
            if options["is_split_into_words"]:
                text = [token for word in text for token in self.tokenize(word, **split)]
            return self.convert_tokens_to_ids(text)
        raise ArgumentError(f"A text must be a string, a list of words or a list of ids, got {text!r:.80}.")

    def _truncated(
        self, ids: list[int], pair: list[int] | None, excess: int, strategy: TruncationStrategy, stride: int
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Both texts without `excess` tokens, and what was cut with `stride` tokens before it."""
        left = self.truncation_side == "left"

        def shortened(row: list[int], by: int) -> tuple[list[int], list[int]]:
            window = min(len(row), stride + by)
            if left:
                return row[by:], row[:window]
            return row[: len(row) - by] if by < len(row) else [], row[len(row) - window :]

        if strategy is TruncationStrategy.ONLY_SECOND:
            if pair is None:
                return ids, pair, []
            pair, overflow = shortened(pair, excess)
            return ids, pair, overflow
        if strategy is TruncationStrategy.ONLY_FIRST or pair is None:
            ids, overflow = shortened(ids, excess)
            return ids, pair, overflow
        # The longer text is cut down to the other's length first; what is left is cut from both in turn.
        ahead = min(abs(len(pair) - len(ids)), excess)
        rest = excess - ahead
        first, second = (
            (ahead + rest // 2, rest - rest // 2) if len(ids) > len(pair) else (rest // 2, excess - rest // 2)
        )
        return shortened(ids, first)[0], shortened(pair, second)[0], []
