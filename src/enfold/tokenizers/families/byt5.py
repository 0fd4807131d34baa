"""ByT5: the bytes of UTF-8, without a vocabulary. https://arxiv.org/abs/2105.13626"""

from collections.abc import Mapping
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.tokenizers.families.plain import PlainTokenizer
from enfold.tokenizers.special_tokens import EXTRA

logger = get_logger(__name__)

_BYTES = 256


class ByT5Tokenizer(PlainTokenizer):
    """One token for each byte of UTF-8 after three special ones; texts end with `</s>`.

    Args:
        extra_ids: sentinel tokens behind the bytes.
    """

    defaults = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 125}
    flags = {name: {"lstrip": True, "rstrip": True} for name in ("pad_token", "eos_token", "unk_token")}
    single, pair = "$A eos", "$A eos $B eos"
    second_type = False
    offset = 3

    def __init__(self, **options: Any):
        count = options.get("extra_ids", self.defaults["extra_ids"])
        given = options.get("additional_special_tokens")
        if count > 0 and given and EXTRA not in options:
            named = len({str(token) for token in given if "extra_id" in str(token)})
            if named != count:
                raise ArgumentError(f"extra_ids={count}, but additional_special_tokens names {named} extra_id tokens.")
        super().__init__(**options)
        # The sentinels are among the special tokens from now on; a saved tokenizer must not add them again.
        self.init_kwargs["extra_ids"] = self.__dict__["extra_ids"] = 0

    def _extra(self, options: Mapping[str, Any]) -> list[str]:
        return [f"<extra_id_{index}>" for index in range(options["extra_ids"])]

    def _own_tokens(self, options: Mapping[str, Any]) -> dict[int, Any]:
        return {index: options[name] for index, name in enumerate(("pad_token", "eos_token", "unk_token"))}

    @property
    def vocab_size(self) -> int:
        """The number of bytes."""
        return _BYTES

    def _base_vocab(self) -> dict[str, int]:
        return {self.convert_ids_to_tokens(index): index for index in range(_BYTES + self.offset)}

    def _tokens(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode("utf-8")]

    def _id(self, token: str) -> int | None:
        return ord(token) + self.offset if len(token) == 1 else None

    def _known(self, token: str) -> int | None:
        return ord(token) + self.offset if len(token) == 1 and ord(token) < _BYTES else self._added_ids.get(token)

    def _token(self, index: int) -> str | None:
        return chr(index - self.offset)

    def __len__(self) -> int:
        return len(self.get_vocab())

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Each text with `</s>` behind it, unless it ends with one already."""
        rows = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
        end = self.eos_token_id
        assert end is not None
        return [index for row in rows for index in (row if row and row[-1] == end else [*row, end])]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros: the model knows no token types."""
        return [0] * (len(token_ids_0) + 1 + (0 if token_ids_1 is None else len(token_ids_1) + 1))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Bytes → text; what is no UTF-8 is left out."""
        content = b"".join(
            token.encode("utf-8") if token in self._added_ids else bytes([ord(token)]) for token in tokens
        )
        return content.decode("utf-8", errors="ignore")
