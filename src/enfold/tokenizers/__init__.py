"""Text to token ids and back: the C++ engine with the API of the `tokenizers` package, and what stands on it."""

from enfold.tokenizers._engine import AddedToken, DecodeStream, EncodedBatch, Encoding, Tokenizer

__all__ = ["AddedToken", "DecodeStream", "EncodedBatch", "Encoding", "Tokenizer"]
