"""Languages of translation: how a tokenizer is told them, and what generation begins with."""

import re
from collections.abc import Mapping
from copy import copy
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.pipelines.encoding import Row, encode
from enfold.pipelines.registry import TRANSLATION


def languages_of_task(task: str) -> tuple[str | None, str | None]:
    """ "translation_en_to_de" → ("en", "de")."""
    found = re.fullmatch(TRANSLATION, task)
    return (found[1], found[2]) if found else (None, None)


class Languages:
    """What a tokenizer makes of languages.

    Tokenizers of several languages (M2M100, NLLB, mBART) put a code beside the text, and say which token the
    translation begins with. Others take no languages. The tokenizer itself is never changed, so calls may overlap.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.several = hasattr(tokenizer, "_build_translation_inputs")
        self._begins: dict[tuple[str, str], int] = {}

    def check(self, source: str | None, target: str | None) -> None:
        """Refuse what this tokenizer can't translate between.

        Raises:
            ArgumentError: a language is missing, or unknown to the tokenizer.
        """
        if self.several and source is not None and target is not None:
            self.begin(source, target)

    def begin(self, source: str | None, target: str | None) -> int | None:
        """The token that a translation begins with; None where the model speaks one language."""
        if not self.several:
            return None
        pair = self._pair(source, target)
        if pair not in self._begins:
            self._build(pair, [""], {})
        return self._begins[pair]

    def encode(self, texts: list[str], source: str | None, target: str | None, call: Mapping[str, Any]) -> list[Row]:
        """Tokenise source texts."""
        if not self.several:
            return encode(self.tokenizer, texts, None, call)
        return [Row(ids) for ids in self._build(self._pair(source, target), texts, call)]

    def _pair(self, source: str | None, target: str | None) -> tuple[str, str]:
        if source is None or target is None:
            raise ArgumentError(
                f"{type(self.tokenizer).__name__} knows several languages: pass src_lang= and tgt_lang=, by its codes, "
                f"for example {self._codes()}"
            )
        return source, target

    def _codes(self) -> str:
        known = list(
            getattr(self.tokenizer, "lang_code_to_id", None) or getattr(self.tokenizer, "lang_code_to_token", {})
        )
        return ", ".join(map(repr, known[:6])) or f"{getattr(self.tokenizer, 'src_lang', None)!r}"

    def _build(self, pair: tuple[str, str], texts: list[str], call: Mapping[str, Any]) -> list[list[int]]:
        source, target = pair
        for name, code in (("src_lang", source), ("tgt_lang", target)):
            self._check_code(name, code)
        # A copy: the source language is a state of the tokenizer, and the pipeline is shared by threads.
        inputs = copy(self.tokenizer)._build_translation_inputs(texts, src_lang=source, tgt_lang=target, **call)
        self._begins[pair] = inputs["forced_bos_token_id"]
        return inputs["input_ids"]

    def _check_code(self, name: str, code: str) -> None:
        known = getattr(self.tokenizer, "lang_code_to_id", None) or getattr(self.tokenizer, "lang_code_to_token", None)
        special = set(self.tokenizer.all_special_tokens)
        if code in (known or ()) or code in special or f"__{code}__" in special:
            return
        raise ArgumentError(
            f"{name} is {code!r}, and {type(self.tokenizer).__name__} knows no such language; its codes are like "
            f"{self._codes()}"
        )
