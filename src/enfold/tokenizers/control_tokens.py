"""Control tokens that users write: encoded as the text they look like, so that only the template speaks to the model.

What users give is marked before the template is rendered; the marks tell their tokens from the template's own.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.padding import TruncationStrategy
from enfold.tokenizers.requests import lengths_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

# Private-use characters, as transformers has them: what they stand around was written by a user.
_OPEN, _CLOSE = "\U000f0000", "\U000f0001"
_WITHOUT_MARKS = str.maketrans({_OPEN: None, _CLOSE: None})


def control_tokens(tokenizer: "PreTrainedTokenizerFast", template: str) -> tuple[str, ...]:
    """The tokens that users may not write: special ones, and those of `chat_control_tokens`.

    Where that names none, the added tokens count that the template writes itself, white space aside.
    """
    from enfold.tokenizers.chat_template import literals

    added = list(tokenizer.added_tokens_decoder.values())
    named = tokenizer.chat_control_tokens
    if named is None:
        written = literals(template)
        named = [t.content for t in added if t.content in written and not t.content.isspace()]
    return tuple(t.content for t in added if t.special or t.content in named)


def marked(value: Any, tokens: tuple[str, ...]) -> Any:
    """`value` (strings, lists, values of dictionaries) with marks around control tokens; marks of its own vanish."""
    if isinstance(value, str):
        return _any_of(tokens).sub(rf"{_OPEN}\g<0>{_CLOSE}", value.translate(_WITHOUT_MARKS))
    if isinstance(value, dict):
        return {key: marked(item, tokens) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [marked(item, tokens) for item in value]
    return value


def encode_marked(
    tokenizer: "PreTrainedTokenizerFast", text: Any, pair: Any, options: "Mapping[str, Any]"
) -> BatchEncoding:
    """The tokenizer's call for marked texts.

    Args:
        tokenizer: whose tokens are meant.
        text: a text, or a batch of them.
        pair: must be None.
        options: those of the call.

    Raises:
        ArgumentError: pairs, words, a template of special tokens around the texts, or results besides ids and mask.
        TokenizerError: plain text becomes a control token.
    """
    batched = isinstance(text, (list, tuple))
    texts = list(text) if batched else [text]
    if pair is not None or options["is_split_into_words"] or not all(isinstance(one, str) for one in texts):
        raise ArgumentError("sanitize_control_tokens=True takes a text or a list of texts; no pairs, no words.")
    if options["add_special_tokens"] and tokenizer.num_special_tokens_to_add():
        raise ArgumentError(
            "sanitize_control_tokens=True is for texts whose special tokens a chat template wrote: "
            "pass add_special_tokens=False."
        )
    unmet = ("offsets_mapping", "overflowing_tokens", "special_tokens_mask", "length", "token_type_ids")
    for name in (f"return_{what}" for what in unmet):
        if options[name]:
            raise ArgumentError(f"{name}=True can't be had together with sanitize_control_tokens=True.")
    lengths = lengths_of(tokenizer, options)
    rows = [_ids(tokenizer, one) for one in texts]
    if lengths.truncation is not TruncationStrategy.DO_NOT_TRUNCATE and lengths.max_length is not None:
        limit = lengths.max_length
        left = tokenizer.truncation_side == "left"
        rows = [row[max(len(row) - limit, 0) :] if left else row[:limit] for row in rows]
    alone = not batched and options["return_tensors"] is None
    return tokenizer.pad(
        {"input_ids": rows[0] if alone else rows},
        padding=lengths.padding.value,
        max_length=lengths.max_length,
        pad_to_multiple_of=options["pad_to_multiple_of"],
        padding_side=options["padding_side"],
        return_attention_mask=options["return_attention_mask"],
        return_tensors=options["return_tensors"],
    )


@lru_cache(maxsize=64)
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches each of the tokens, the longest where several begin."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


@lru_cache(maxsize=64)
def _in_marks(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches a token between marks, or a mark that a template has torn from its token."""
    return re.compile(f"{_OPEN}({_any_of(tokens).pattern}){_CLOSE}|[{_OPEN}{_CLOSE}]")


def _ids(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    tokens = tuple(token.content for token in tokenizer.added_tokens_decoder.values())
    # By turns what is encoded as it is, and a marked token (None for a lone mark, which only parts the text).
    first, *rest = _in_marks(tokens).split(text)
    ids = list(tokenizer.encode(first, add_special_tokens=False))
    line = tokenizer.encode("\n", add_special_tokens=False)
    for piece, by_user in zip(rest, [True, False] * (len(rest) // 2), strict=True):
        if not piece:
            continue
        found = _within(tokenizer, piece, line, plain=by_user)
        if by_user and tokenizer.convert_tokens_to_ids(piece) in found:
            raise TokenizerError(
                f"{piece!r} can't be encoded as text: this tokenizer's vocabulary makes the control token of it. "
                "Change it in the messages."
            )
        ids += found
    return ids


def _within(tokenizer: "PreTrainedTokenizerFast", piece: str, line: list[int], plain: bool) -> list[int]:
    """The ids of a piece from within a text; `plain` knows no added tokens."""

    def encode(text: str) -> list[int]:
        return _plain(tokenizer, text) if plain else list(tokenizer.encode(text, add_special_tokens=False))

    # Behind a line's end no tokenizer puts the space that some put before a text.
    ids = encode(f"\n{piece}")
    return ids[len(line) :] if ids[: len(line)] == line else encode(piece)


def _plain(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    engine = getattr(tokenizer, "_tokenizer", None)
    if engine is None:
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
    if engine.normalizer is not None:
        text = engine.normalizer.normalize_str(text)
    pieces: Iterable[str] = [text]
    if engine.pre_tokenizer is not None:
        pieces = [piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for piece in pieces for token in engine.model.tokenize(piece)]
