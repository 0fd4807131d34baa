"""What a tokenizer call returns: a dictionary of lists or tensors that also maps tokens, words and characters."""

from collections import UserDict
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from enfold.base.errors import ArgumentError

if TYPE_CHECKING:
    from enfold.tokenizers import Encoding
    from enfold.tokenizers._engine import Request

_new = object.__new__


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of the row."""

    start: int
    end: int


class BatchEncoding(UserDict):
    """The result of `tokenizer(...)`.

    A mapping (`batch["input_ids"]`), with attributes (`batch.input_ids`), that can be passed to a model as `**batch`.

    Args:
        data: name → list, array or tensor.
        encoding: the engine's encodings of the rows, if there are any.
        tensor_type: `"pt"` or `"np"` converts the lists at once.
        prepend_batch_axis: with `tensor_type`, make a batch of one.
        n_sequences: 1, or 2 for pairs of texts.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: "Encoding | Sequence[Encoding] | None" = None,
        tensor_type: Any = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ):
        super().__init__(data)
        self._made: Any = encoding if encoding is None or isinstance(encoding, Sequence) else [encoding]
        self._source: tuple[Request, list] | None = None
        self._n_sequences = n_sequences
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @staticmethod
    def of_call(data: dict[str, Any], request: "Request", inputs: list) -> "BatchEncoding":
        """The result of a call; its encodings are made of the inputs when somebody looks at them."""
        made = _new(BatchEncoding)
        made.data = data
        made._made = None
        made._source = (request, inputs)
        made._n_sequences = None
        return made

    @property
    def _encodings(self) -> Any:
        # Offsets and words cost time that few calls need.
        if self._source is not None:
            request, inputs = self._source
            self._made, self._source = request.encodings(inputs), None
        return self._made

    @property
    def n_sequences(self) -> int | None:
        """How many texts make a row: 1, 2 (pairs), None (unknown)."""
        if self._n_sequences is None and self._encodings:
            self._n_sequences = self._encodings[0].n_sequences
        return self._n_sequences

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(
            f"{item!r}: a key is a name ({', '.join(self.data)}), or an index of a row, which needs the tokenizer's "
            "own result (this one holds no encodings), or a slice."
        )

    def __getattr__(self, name: str) -> Any:
        # `data` itself is missing while a copy is being unpickled.
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"BatchEncoding has no attribute or key {name!r}; keys: {', '.join(data)}")

    def __getstate__(self) -> dict[str, Any]:
        # The encodings stay behind: with them every batch of a loader's worker would carry the whole tokenizer.
        return {"data": self.data, "n_sequences": self.n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.data = state["data"]
        self._made = self._source = None
        self._n_sequences = state["n_sequences"]

    def __deepcopy__(self, memo: dict[int, Any]) -> "BatchEncoding":
        return type(self)(deepcopy(self.data, memo), self._encodings, n_sequences=self._n_sequences)

    @property
    def is_fast(self) -> bool:
        """Whether rows can be mapped back to words and characters."""
        return self._made is not None or self._source is not None

    @property
    def encodings(self) -> "Sequence[Encoding] | None":
        """The engine's encodings, one per row."""
        return self._encodings

    def _rows(self, asked: str) -> "Sequence[Encoding]":
        if not self._encodings:
            raise ArgumentError(
                f"{asked}() needs the tokenizer's own result; this one holds no encodings (pickles leave them behind)."
            )
        return self._encodings

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, as strings of the vocabulary."""
        return self._rows("tokens")[batch_index].tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token 0 or 1, the text of the pair it comes from; None for special tokens."""
        return self._rows("sequence_ids")[batch_index].sequence_ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token the index of its word; None for special tokens."""
        return self._rows("word_ids")[batch_index].word_ids

    def _locate(self, asked: str, first: int, second: int | None) -> "tuple[Encoding, int]":
        """(row, index) from `(index)` or `(row, index)`; an index below 0 counts from the row's end."""
        rows = self._rows(asked)
        row, index = (0, first) if second is None else (first, second)
        encoding = rows[row]
        return encoding, index + len(encoding.ids) if index < 0 else index

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The text (0 or 1) that a token comes from."""
        encoding, index = self._locate("token_to_sequence", batch_or_token_index, token_index)
        return encoding.token_to_sequence(index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The word that a token comes from."""
        encoding, index = self._locate("token_to_word", batch_or_token_index, token_index)
        return encoding.token_to_word(index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word."""
        encoding, index = self._locate("word_to_tokens", batch_or_word_index, word_index)
        span = encoding.word_to_tokens(index, sequence_index)
        return None if span is None else TokenSpan(*span)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters that a token stands for."""
        encoding, index = self._locate("token_to_chars", batch_or_token_index, token_index)
        span = encoding.token_to_chars(index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that holds a character; None if it stands between tokens."""
        rows = self._rows("char_to_token")
        row, index = (0, batch_or_char_index) if char_index is None else (batch_or_char_index, char_index)
        return rows[row].char_to_token(index, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word."""
        rows = self._rows("word_to_chars")
        row, index = (0, batch_or_word_index) if word_index is None else (batch_or_word_index, word_index)
        span = rows[row].word_to_chars(index, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that holds a character."""
        rows = self._rows("char_to_word")
        row, index = (0, batch_or_char_index) if char_index is None else (batch_or_char_index, char_index)
        return rows[row].char_to_word(index, sequence_index)

    def convert_to_tensors(self, tensor_type: Any = None, prepend_batch_axis: bool = False) -> "BatchEncoding":
        """Turn the lists into torch tensors (`"pt"`) or numpy arrays (`"np"`), in place.

        Raises:
            ArgumentError: rows of different lengths, values that are no numbers, or another tensor type.
        """
        if tensor_type is None:
            return self
        kind = tensor_kind(tensor_type)
        for key, value in self.data.items():
            if hasattr(value, "detach") if kind == "pt" else _is_array(value):
                continue
            self.data[key] = _tensor(key, [value] if prepend_batch_axis else value, kind)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> "BatchEncoding":
        """Move the torch tensors to `device`, in place; other values stay as they are."""
        import torch

        if not isinstance(device, (str, int, torch.device)):
            raise ArgumentError(f"to() takes a device ('cpu', 'cuda:0', 0, torch.device), got {device!r}.")
        for key, value in self.data.items():
            if isinstance(value, torch.Tensor):
                self.data[key] = value.to(device=device, non_blocking=non_blocking)
        return self


def tensor_kind(value: Any) -> str:
    """`"pt"` or `"np"`, from what was passed as `return_tensors`."""
    kind = getattr(value, "value", value)
    if kind not in ("pt", "np"):
        raise ArgumentError(f"return_tensors must be 'pt' (torch) or 'np' (numpy), got {value!r}.")
    return kind


def to_python(value: Any) -> Any:
    """Tensors and arrays, also inside lists and dictionaries, as lists and numbers."""
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], int):
            return list(value)
        return [to_python(item) for item in value]
    if isinstance(value, dict | UserDict):
        return {key: to_python(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and hasattr(value, "ndim")


def _tensor(key: str, value: Any, kind: str) -> Any:
    import numpy as np

    if kind == "pt" and isinstance(value, np.ndarray) and value.dtype != object:
        import torch

        return torch.from_numpy(value)
    try:
        if kind == "pt" and isinstance(value, list) and value and hasattr(value[0], "detach"):
            import torch

            return torch.stack(value)
        array = np.asarray(to_python(value))
        if array.size == 0 and array.dtype == np.float64:
            array = array.astype(np.int64)
        if array.dtype == object or array.dtype.kind in "US":
            raise TypeError(f"values of type {array.dtype}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"{key!r} can't become a tensor ({error}). If its rows differ in length, ask for padding=True (and "
            "truncation=True to cut long ones); if it is nested deeper or holds text, leave it out."
        ) from error
    if kind == "np":
        return array
    import torch

    # Python floats are float32 in torch and float64 in numpy.
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)
