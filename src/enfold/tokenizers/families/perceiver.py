"""Perceiver: the bytes of UTF-8 behind six special tokens. https://arxiv.org/abs/2107.14795"""

from collections.abc import Mapping
from typing import Any

from enfold.tokenizers.families.byt5 import ByT5Tokenizer
from enfold.tokenizers.families.plain import PlainTokenizer

_NAMES = ("pad_token", "bos_token", "eos_token", "mask_token", "cls_token", "sep_token")


class PerceiverTokenizer(ByT5Tokenizer):
    """One token for each byte: `[CLS] A [SEP] B [SEP]`."""

    defaults = {**{name: f"[{name[:-6].upper()}]" for name in _NAMES}, "model_max_length": 2048}
    flags = {name: {"lstrip": False, "rstrip": False} for name in _NAMES}
    single, pair = "cls $A sep", "cls $A sep $B sep"
    second_type = True
    offset = len(_NAMES)

    def __init__(self, **options: Any):
        PlainTokenizer.__init__(self, **options)

    def _extra(self, options: Mapping[str, Any]) -> list[str]:
        return []

    def _own_tokens(self, options: Mapping[str, Any]) -> dict[int, Any]:
        return {index: options[name] for index, name in enumerate(_NAMES)}

    def _base_vocab(self) -> dict[str, int]:
        return {chr(byte): byte + self.offset for byte in range(256)}

    build_inputs_with_special_tokens = PlainTokenizer.build_inputs_with_special_tokens
    create_token_type_ids_from_sequences = PlainTokenizer.create_token_type_ids_from_sequences

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Bytes → text."""
        content = b"".join(token.encode() if token in self._added_ids else bytes([ord(token)]) for token in tokens)
        return content.decode("utf-8", errors="replace")
