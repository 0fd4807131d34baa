"""CANINE: Unicode code points, without a vocabulary. https://arxiv.org/abs/2103.06874"""

from enfold.tokenizers.families.plain import PlainTokenizer

_CODE_POINTS = 0x110000
# Special tokens stand in the private use area, but for padding.
_NAMES = {0: "[PAD]", 0xE000: "[CLS]", 0xE001: "[SEP]", 0xE002: "[BOS]", 0xE003: "[MASK]", 0xE004: "[RESERVED]"}


class CanineTokenizer(PlainTokenizer):
    """One token for each character, its code point; `[CLS] A [SEP] B [SEP]`."""

    model_input_names = ["input_ids", "attention_mask", "token_type_ids"]
    defaults = {
        "bos_token": chr(0xE000),
        "eos_token": chr(0xE001),
        "sep_token": chr(0xE001),
        "cls_token": chr(0xE000),
        "pad_token": chr(0),
        "mask_token": chr(0xE003),
        "add_prefix_space": False,
        "model_max_length": 2048,
    }
    flags = {
        **{f"{name}_token": {"lstrip": False, "rstrip": False} for name in ("bos", "eos", "sep", "cls", "pad")},
        "mask_token": {"lstrip": True, "rstrip": False},
    }
    single, pair = "cls $A sep", "cls $A sep $B sep"
    second_type = False

    @property
    def vocab_size(self) -> int:
        """The number of code points."""
        return _CODE_POINTS

    def _base_vocab(self) -> dict[str, int]:
        return {chr(index): index for index in range(_CODE_POINTS)}

    def _base_size(self) -> int:
        return _CODE_POINTS

    def _tokens(self, text: str) -> list[str]:
        return list(text)

    def _id(self, token: str) -> int | None:
        return ord(token) if len(token) == 1 else None

    _known = _id

    def _token(self, index: int) -> str | None:
        return _NAMES.get(index) or chr(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Characters → text."""
        return "".join(tokens)
