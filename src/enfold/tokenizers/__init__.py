"""Text to token ids and back: the C++ engine with the API of the `tokenizers` package, and what stands on it."""

from enfold.tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from enfold.tokenizers._engine import (
    AddedToken,
    DecodeStream,
    EncodedBatch,
    Encoding,
    NormalizedString,
    PreTokenizedString,
    Regex,
    Token,
    Tokenizer,
)

__all__ = [
    "AddedToken",
    "DecodeStream",
    "EncodedBatch",
    "Encoding",
    "NormalizedString",
    "PreTokenizedString",
    "Regex",
    "Token",
    "Tokenizer",
    "decoders",
    "models",
    "normalizers",
    "pre_tokenizers",
    "processors",
    "trainers",
]
