"""The C++ tokenizer engine (native/tokenizers)."""

import asyncio
import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from enfold.tokenizers.decoders import Decoder
from enfold.tokenizers.models import Model
from enfold.tokenizers.normalizers import Normalizer
from enfold.tokenizers.pre_tokenizers import PreTokenizer
from enfold.tokenizers.processors import PostProcessor

Side = Literal["left", "right"]
Span = tuple[int, int]

def byte_alphabet() -> list[str]:
    """The 256 characters that stand for the bytes, in the order of the bytes."""

class Token:
    """A token of one word: id, text, and the bytes of the word that it stands for."""

    def __init__(self, id: int, value: str, offsets: Span) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def value(self) -> str: ...
    @property
    def offsets(self) -> Span: ...
    def as_tuple(self) -> tuple[int, str, Span]: ...

class _Slot:
    """A place that holds a component; tokenizers and Python objects share it."""

    def __init__(self, spec: str) -> None: ...
    @property
    def kind(self) -> str:
        """normalizer, pre_tokenizer, post_processor, decoder or model."""
    @property
    def type(self) -> str:
        """What the file format calls the component; "" for Python code."""
    @property
    def spec(self) -> str:
        """JSON. Raises TokenizerError for Python code."""
    def assign(self, spec: str) -> None: ...
    def clone(self) -> Self: ...

class _PartsSlot(_Slot):
    @staticmethod
    def sequence(parts: Sequence[Any]) -> Any: ...
    @property
    def object(self) -> Any:
        """The Python code of a custom component."""
    @property
    def parts(self) -> list[Any]: ...
    def set_part(self, index: int, part: Any) -> None: ...

class Regex:
    """A regular expression, where a str would be looked for as it stands.

    Raises:
        TokenizerError: it is none, or uses what the engine doesn't have.
    """

    def __init__(self, pattern: str) -> None: ...
    @property
    def pattern(self) -> str: ...

class NormalizedString:
    """A text under normalisation: what it was, what it is, and which characters stand for which."""

    def __init__(self, sequence: str) -> None: ...
    @property
    def normalized(self) -> str: ...
    @property
    def original(self) -> str: ...
    def nfc(self) -> None: ...
    def nfd(self) -> None: ...
    def nfkc(self) -> None: ...
    def nfkd(self) -> None: ...
    def lowercase(self) -> None: ...
    def uppercase(self) -> None: ...
    def prepend(self, s: str) -> None:
        """Puts `s` before the text, if there is any."""
    def append(self, s: str) -> None: ...
    def lstrip(self) -> None: ...
    def rstrip(self) -> None: ...
    def strip(self) -> None: ...
    def clear(self) -> None: ...
    def slice(self, range: int | tuple[int, int] | builtins.slice) -> NormalizedString | None:
        """Some of the characters as a text of their own; None if there are none there."""
    def __getitem__(self, range: int | tuple[int, int] | builtins.slice) -> NormalizedString | None: ...
    def filter(self, func: Callable[[str], bool]) -> None:
        """Keeps the characters for which `func` returns True."""
    def for_each(self, func: Callable[[str], object]) -> None: ...
    def map(self, func: Callable[[str], str]) -> None:
        """Replaces each character by the one that `func` returns."""
    def split(self, pattern: str | Regex, behavior: Any) -> list[NormalizedString]:
        """The parts between, or around, what the pattern finds.

        Args:
            behavior: what becomes of it: removed, isolated, merged_with_previous, merged_with_next or contiguous.
        """
    def replace(self, pattern: str | Regex, content: str) -> None: ...

class PreTokenizedString:
    """A text that is being cut into pieces, which then get their tokens. Pieces that have tokens are left alone."""

    def __init__(self, sequence: str) -> None: ...
    def split(self, func: Callable[[int, NormalizedString], Sequence[NormalizedString]]) -> None:
        """Replaces each piece by the parts that `func` returns for its index and text."""
    def normalize(self, func: Callable[[NormalizedString], object]) -> None:
        """Calls `func` with each piece, which it may change; the text is lent to it for the length of the call."""
    def tokenize(self, func: Callable[[str], Iterable[Token]]) -> None: ...
    def to_encoding(self, type_id: int = 0, word_idx: int | None = None) -> Encoding:
        """The tokens as an encoding.

        Args:
            word_idx: the word of all tokens; otherwise it is the index of their piece.

        Raises:
            TokenizerError: a piece has no tokens yet.
        """
    def get_splits(
        self, offset_referential: Any = "original", offset_type: Any = "char"
    ) -> list[tuple[str, Span, list[Token] | None]]:
        """The pieces: text, offsets, tokens.

        Args:
            offset_referential: original or normalized: the text that the offsets count in.
            offset_type: char or byte: what they count.
        """

class NormalizerSlot(_PartsSlot):
    @staticmethod
    def custom(object: Any) -> NormalizerSlot: ...
    def normalize(self, normalized: NormalizedString) -> None: ...
    def normalize_str(self, sequence: str) -> str: ...

class PreTokenizerSlot(_PartsSlot):
    @staticmethod
    def custom(object: Any) -> PreTokenizerSlot: ...
    def pre_tokenize(self, pretok: PreTokenizedString) -> None: ...
    def pre_tokenize_str(self, sequence: str) -> list[tuple[str, Span]]: ...

class PostProcessorSlot(_PartsSlot):
    def process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding: ...
    def num_special_tokens_to_add(self, is_pair: bool) -> int: ...

class DecoderSlot(_PartsSlot):
    @staticmethod
    def custom(object: Any) -> DecoderSlot: ...
    def decode(self, tokens: Sequence[str]) -> str: ...

class ModelSlot(_Slot):
    @property
    def options(self) -> str:
        """JSON: the specification without the vocabulary."""
    def set_options(self, options: str) -> None: ...
    @property
    def sampling(self) -> tuple[float | None, int | None]:
        """`alpha` and `nbest_size` of a Unigram model."""
    def set_sampling(self, alpha: float | None, nbest: int | None) -> None: ...
    def tokenize(self, sequence: str) -> list[Token]: ...
    def token_to_id(self, token: str) -> int | None: ...
    def id_to_token(self, id: int) -> str | None: ...

class AddedToken:
    """A token put on top of a model's vocabulary, and how it is looked for.

    `normalized` follows `special` until it is set: special tokens match the raw text, others the normalised one.
    """

    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool
    def __init__(
        self,
        content: str = "",
        single_word: bool = False,
        lstrip: bool = False,
        rstrip: bool = False,
        normalized: bool | None = None,
        special: bool = False,
    ) -> None: ...
    def __hash__(self) -> int: ...

class Encoding:
    """The tokens of one input, with what each of them stands for. Lists are made when they are asked for."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[Span]:
        """Characters of the input that each token stands for."""
    @property
    def type_ids(self) -> list[int]: ...
    @property
    def word_ids(self) -> list[int | None]: ...
    @property
    def words(self) -> list[int | None]: ...
    @property
    def sequence_ids(self) -> list[int | None]: ...
    @property
    def attention_mask(self) -> list[int]: ...
    @property
    def special_tokens_mask(self) -> list[int]: ...
    @property
    def overflowing(self) -> list[Encoding]: ...
    @property
    def n_sequences(self) -> int: ...
    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None: ...
    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None: ...
    def token_to_chars(self, token_index: int) -> Span | None: ...
    def token_to_word(self, token_index: int) -> int | None: ...
    def token_to_sequence(self, token_index: int) -> int | None: ...
    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> Span | None: ...
    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Span | None: ...
    def set_sequence_id(self, sequence_id: int) -> None: ...
    def truncate(self, max_length: int, stride: int = 0, direction: str = "right") -> None: ...
    def pad(
        self, length: int, direction: str = "right", pad_id: int = 0, pad_type_id: int = 0, pad_token: str = "[PAD]"
    ) -> None: ...
    def byte_offsets(
        self, sequence: str | Sequence[str], pair: str | Sequence[str] | None = None
    ) -> list[tuple[int, int]]:
        """The offsets in bytes of the UTF-8 text, instead of characters.

        Args:
            sequence: the text, or list of words, that was encoded; the offsets of words count within each word.
            pair: the second one, if it was a pair.
        """
    @staticmethod
    def merge(encodings: Sequence[Encoding], growing_offsets: bool = True) -> Encoding: ...

class EncodedBatch:
    """Encoded inputs as flat arrays of N tokens in R rows; row r is [row_splits[r], row_splits[r + 1]) of each.

    The overflow rows of an input follow its first row. The arrays are views of the batch and keep it alive.
    """

    def __len__(self) -> int: ...
    @property
    def row_splits(self) -> NDArray[np.int64]:
        """[R + 1]"""
    @property
    def ids(self) -> NDArray[np.int32]:
        """[N]"""
    @property
    def type_ids(self) -> NDArray[np.int32]:
        """[N]"""
    @property
    def special_tokens_mask(self) -> NDArray[np.int8]:
        """[N]"""
    @property
    def sequence_ids(self) -> NDArray[np.int8]:
        """[N], -1 for special tokens"""
    @property
    def offsets(self) -> NDArray[np.int32]:
        """[N, 2], if asked for"""
    @property
    def word_ids(self) -> NDArray[np.int32]:
        """[N], -1 for none, if asked for"""
    @property
    def overflow_to_sample(self) -> NDArray[np.int32]:
        """[R]"""
    def encoding(self, index: int) -> Encoding: ...
    def ids_lists(self) -> list[list[int]]: ...
    def type_ids_lists(self) -> list[list[int]]: ...
    def attention_mask_lists(self) -> list[list[int]]: ...
    def special_tokens_mask_lists(self) -> list[list[int]]: ...
    def padded(
        self,
        length: int,
        *,
        side: str = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        keys: Sequence[str] = ("input_ids", "attention_mask"),
    ) -> dict[str, NDArray[np.int64]]:
        """Matrices [R, length]. `keys` from input_ids, token_type_ids, attention_mask, special_tokens_mask.

        Raises:
            TokenizerError: a row is longer than `length`, or a key is unknown.
        """

class Request:
    """The options of a call, resolved; made by `Tokenizer.request`."""

    def text(self, text: str, pair: str | None = None) -> dict[str, Any]:
        """The results for one text or pair, as flat lists."""
    def lists(self, inputs: Iterable[Any]) -> dict[str, Any]:
        """The results for a batch, as lists of lists."""
    def encode(self, inputs: Iterable[Any]) -> EncodedBatch: ...
    def shape(self, batch: EncodedBatch) -> tuple[int, int] | None:
        """(R, L) of the batch's matrices; None if its rows differ in length and aren't padded."""
    def fill(self, batch: EncodedBatch, columns: int, out: dict[str, Any]) -> None:
        """Writes the results into int64 arrays [R, columns] (`offset_mapping` [R, columns, 2]) that stand in `out`."""
    def encodings(self, inputs: Iterable[Any]) -> list[Encoding]:
        """An encoding for each row of the results, padded as they are."""

class DecodeStream:
    """Decodes ids as they come, whole characters at a time, in time linear in the text.

    Args:
        ids: ids whose text is known already; what follows is decoded as it would be after them.
        skip_special_tokens: leave special tokens out of the text.
    """

    def __init__(self, ids: Sequence[int] | None = None, skip_special_tokens: bool | None = False) -> None: ...
    @overload
    def step(self, tokenizer: Tokenizer, id: int | Sequence[int]) -> str | None:
        """The text that an id, or several, complete; None if there is none yet.

        Raises:
            TokenizerError: the decoder rewrites text that was given out already.
        """
    @overload
    def step(self, id: int | Sequence[int]) -> str | None:
        """The same for a stream that `Tokenizer.decode_stream` made."""

class Tokenizer:
    """Text to ids and back, as a tokenizer.json says. Encoding is safe from many threads at once."""

    model: Model
    normalizer: Normalizer | None
    pre_tokenizer: PreTokenizer | None
    post_processor: PostProcessor | None
    decoder: Decoder | None
    """The components. A component is shared with whoever else holds it; what is changed in it takes effect here."""

    def __init__(self, model: Model) -> None: ...
    @staticmethod
    def from_str(json: str) -> Tokenizer: ...
    @staticmethod
    def _from_parts(
        sections: str,
        model: str,
        vocab: Mapping[str, int] | Sequence[Sequence[Any]],
        merges: Sequence[Sequence[str]] | None = None,
    ) -> Tokenizer:
        """From a tokenizer.json without its model, the model's options, its vocabulary and its merges."""
    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer: ...
    @staticmethod
    def from_file(path: str | PathLike[str]) -> Tokenizer: ...
    @staticmethod
    def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
        """The tokenizer.json of a repository on the hub (what is in the cache needs no network), or of a folder."""
    def to_str(self, pretty: bool = False) -> str:
        """Raises TokenizerError if a component is Python code."""
    def save(self, path: str | PathLike[str], pretty: bool = True) -> None: ...
    def encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> Encoding: ...
    def encode_batch(
        self, input: Iterable[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]: ...
    def encode_batch_fast(
        self, input: Iterable[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]: ...
    def encode_arrays(
        self,
        inputs: Iterable[Any],
        *,
        add_special_tokens: bool = True,
        is_pretokenized: bool = False,
        truncation: Mapping[str, Any] | None = None,
        offsets: bool | Literal["bytes"] = False,
        words: bool = False,
        overflow: bool = True,
    ) -> EncodedBatch:
        """Encodes a batch into flat arrays, whatever truncation and padding the tokenizer itself is set to.

        Args:
            inputs: texts or pairs of texts; with `is_pretokenized` lists of words or pairs of them.
            truncation: `max_length`, `stride`, `strategy` (longest_first, only_first, only_second), `direction`.
            offsets: keep offsets: True for characters, "bytes" for bytes of the UTF-8 text.
            words: keep word ids.
            overflow: keep what truncation cuts, as further rows.

        Raises:
            TypeError: an input is no str, or has lone surrogates.
            TokenizerError: the truncation leaves no room.
        """
    def train(self, files: Sequence[str | PathLike[str]], trainer: Any = None) -> None:
        """Trains the model on text files; see `enfold.tokenizers.trainers`."""
    def train_from_iterator(self, iterator: Iterable[Any], trainer: Any = None, length: int | None = None) -> None:
        """Trains the model on texts, or on lists of texts; see `enfold.tokenizers.trainers`."""
    encode_special_tokens: bool
    """Whether special tokens in a text are split like any other text."""
    def request(self, options: dict[str, Any]) -> Request:
        """Resolves a call's options: `add_special_tokens`, `is_pretokenized`, `split_special_tokens`, `overflow`,
        `offsets`, `type_ids`, `attention_mask`, `special_tokens_mask`, `lengths`; `truncation` as for `encode_arrays`;
        `padding` None or `length` (None for the longest), `multiple`, `side`, `id`, `type_id`, `token`.
        """
    def fits(self, request: Request) -> bool:
        """Whether the tokenizer is still what it was when it made the request."""
    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Truncation, post-processor and padding, applied to encodings."""
    def async_encode(
        self,
        sequence: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        is_pretokenized: bool = False,
        add_special_tokens: bool = True,
    ) -> asyncio.Future[Encoding]:
        """`encode`, in a thread of the running event loop."""
    def async_encode_batch(
        self, input: Iterable[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> asyncio.Future[list[Encoding]]: ...
    def async_encode_batch_fast(
        self, input: Iterable[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> asyncio.Future[list[Encoding]]: ...
    def async_decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> asyncio.Future[list[str]]: ...
    def encode_ids(self, text: str, add_special_tokens: bool = True) -> list[int]: ...
    def encode_tokens(self, text: str, add_special_tokens: bool = True) -> list[str]: ...
    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str: ...
    def decode_batch(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]: ...
    def decode_stream(self, skip_special_tokens: bool = True) -> DecodeStream: ...
    def token_to_id(self, token: str) -> int | None: ...
    def id_to_token(self, id: int) -> str | None: ...
    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]: ...
    def get_vocab_size(self, with_added_tokens: bool = True) -> int: ...
    def get_added_tokens_decoder(self) -> dict[int, AddedToken]: ...
    def add_tokens(self, tokens: Sequence[str | AddedToken]) -> int: ...
    def add_special_tokens(self, tokens: Sequence[str | AddedToken]) -> int: ...
    def num_special_tokens_to_add(self, is_pair: bool) -> int: ...
    def enable_truncation(
        self, max_length: int, stride: int = 0, strategy: str = "longest_first", direction: str = "right"
    ) -> None: ...
    def no_truncation(self) -> None: ...
    @property
    def truncation(self) -> dict[str, Any] | None: ...
    def enable_padding(
        self,
        direction: str = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> None: ...
    def no_padding(self) -> None: ...
    @property
    def padding(self) -> dict[str, Any] | None: ...
    @property
    def _has_plan(self) -> bool: ...
    def _without_plan(self) -> Tokenizer: ...

def merges_of_vocabulary(
    vocab: dict[str, int], scores: dict[str, float] | None = None, skip: set[str] = ...
) -> list[tuple[str, str]]: ...
def byte_level_vocabulary(ranks: list[bytes]) -> tuple[list[str], list[tuple[str, str]]]: ...
def sentencepiece_file(
    content: bytes,
) -> tuple[list[str], list[float], list[int], list[tuple[int, int | bytes]], list[tuple[int, int | bytes]]]: ...
def prefixed_strings(buffer: Any, at: int, count: int) -> tuple[list[str], int]: ...

class WordCounts:
    """Distinct words and how often each of them occurs."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add(self, word: str, count: int = 1) -> None: ...
    def most_common(self, limit: int, min_count: int = 0) -> list[str]:
        """Words by their counts, equals by their bytes."""
    def items(self) -> list[tuple[str, int]]: ...

class WordCounter:
    """Counts the words that a tokenizer cuts texts into."""

    def __init__(self, tokenizer: Tokenizer) -> None: ...
    def pull(self, iterator: Any) -> int:
        """Takes about a megabyte of texts; returns how many, 0 at the end.

        Raises:
            TypeError: something else than a str.
        """
    def feed(self, block: bytes, file: str) -> None:
        """Takes a block of a file, each line of which is a text."""
    def end_file(self, file: str) -> None: ...
    def finish(self) -> WordCounts:
        """Waits until everything is counted; the counter is empty then.

        Raises:
            TokenizerError: a file is no UTF-8 text.
        """

class BpeTraining:
    """Byte-pair encoding learnt from word counts, a few merges at a time."""

    def __init__(
        self,
        words: WordCounts,
        *,
        vocab_size: int,
        min_frequency: int,
        special_tokens: Sequence[str],
        limit_alphabet: int | None,
        initial_alphabet: str,
        continuing_subword_prefix: str | None,
        end_of_word_suffix: str | None,
        max_token_length: int | None,
    ) -> None: ...
    def __len__(self) -> int: ...
    def advance(self, merges: int) -> bool:
        """Applies up to so many merges; False once there is nothing left to do."""
    @property
    def tokens(self) -> list[str]: ...
    @property
    def merges(self) -> list[tuple[str, str]]: ...

class UnigramTraining:
    """A unigram language model learnt from word counts, turn by turn. Sorts the words."""

    def __init__(
        self,
        words: WordCounts,
        *,
        vocab_size: int,
        n_sub_iterations: int,
        shrinking_factor: float,
        special_tokens: Sequence[str],
        initial_alphabet: str,
        unk_token: str | None,
        max_piece_length: int,
        seed_size: int,
    ) -> None: ...
    def __len__(self) -> int: ...
    def advance(self) -> bool:
        """One turn; False once the vocabulary is small enough."""
    @property
    def tokens(self) -> list[tuple[str, float]]: ...
    @property
    def unk_id(self) -> int | None: ...
