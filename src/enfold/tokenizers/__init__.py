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
from enfold.tokenizers.implementations import (
    BertWordPieceTokenizer,
    ByteLevelBPETokenizer,
    CharBPETokenizer,
    SentencePieceBPETokenizer,
    SentencePieceUnigramTokenizer,
)
from enfold.tokenizers.names import OffsetReferential, OffsetType, SplitDelimiterBehavior

__all__ = [
    "AddedToken",
    "BertWordPieceTokenizer",
    "ByteLevelBPETokenizer",
    "CharBPETokenizer",
    "DecodeStream",
    "EncodedBatch",
    "Encoding",
    "NormalizedString",
    "OffsetReferential",
    "OffsetType",
    "PreTokenizedString",
    "Regex",
    "SentencePieceBPETokenizer",
    "SentencePieceUnigramTokenizer",
    "SplitDelimiterBehavior",
    "Token",
    "Tokenizer",
    "decoders",
    "models",
    "normalizers",
    "pre_tokenizers",
    "processors",
    "trainers",
]
