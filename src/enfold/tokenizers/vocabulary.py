"""The vocabulary of a tokenizer as its users see it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken, Tokenizer


class Vocabulary:
    """Tokens and their ids, and how many there are."""

    if TYPE_CHECKING:
        _tokenizer: Tokenizer
        model_max_length: int

    @property
    def _model_type(self) -> str:
        return type(self._tokenizer.model).__name__

    @property
    def backend_tokenizer(self) -> "Tokenizer":
        """The engine."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary without added ones."""
        return self._tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """token → id, added tokens included."""
        return self._tokenizer.get_vocab(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """token → id, added tokens included."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> "dict[int, AddedToken]":
        """id → added token."""
        return self._tokenizer.get_added_tokens_decoder()

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """added token → id, in the order of ids."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """added token → id, in the order of ids."""
        return self.added_tokens_encoder

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens encoding adds to a text, or to a pair."""
        return self._tokenizer.num_special_tokens_to_add(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The tokens that the model's limit leaves to a text."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The tokens that the model's limit leaves to both texts of a pair."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens → text, without looking at ids."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))
